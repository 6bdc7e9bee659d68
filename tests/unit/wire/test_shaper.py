import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from partita.errors import Unreachable
from partita.testing.channel_suite import echo
from partita.wire import Drop, Forward, Result, ShapedLink, connect, listen, parse_shape
from partita.wire.shaper import Meter


@asynccontextmanager
async def mirror():
    """A TCP server that sends back what it gets."""

    async def answer(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def there_and_back(port, size):
    """Seconds until as many bytes are back, and whether they are the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data, start = bytes(range(256)) * (size // 256), time.monotonic()

    async def send():
        writer.write(data)
        await writer.drain()

    sending = asyncio.create_task(send())
    same = await reader.readexactly(len(data)) == data
    await sending
    writer.close()
    return time.monotonic() - start, same


@pytest.mark.parametrize(
    ("shape", "least"),
    [
        ("8mbit", 0.25),  # 256 KB at 1 MB/s; the way back overlaps
        ("unlimited/100ms", 0.1),
        ("rate=16mbit,half", 0.25),  # both ways share the medium
        ("up=8mbit,down=100mbit,rtt=20ms,jitter=5ms", 0.27),
        ("100mbit/2ms/20%", 0.02),
    ],
)
def test_bytes_arrive_whole_and_not_too_early(run, shape, least):
    """A shape never changes a byte and never lets them pass faster than it says."""

    async def main():
        async with mirror() as port, ShapedLink("127.0.0.1", port, parse_shape(shape)) as link:
            seconds, same = await there_and_back(link.port, 256 << 10)

            assert same
            assert seconds >= least * 0.97
            assert link.bytes_up == link.bytes_down == 256 << 10

    run(main)


def test_the_medium_keeps_its_rate():
    """However late its timer fires, the medium carries no more than its rate, and makes up for the delay."""
    meter, now = Meter(), 100.0
    for _ in range(1000):
        due = meter.pass_through(1000, 8e6, now)
        now = due + 0.0004
        meter.woke(due, now)

    assert meter.free_at - 100.0 == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "most"), [("2mbit", 1448), ("10mbit", 3750), ("200mbit", 8192), ("unlimited", 8192)]
)
def test_a_slow_medium_takes_small_pieces(shape, most):
    """At most 3 ms of it, down to a packet: a large piece would be all there with its first byte."""
    link = ShapedLink("127.0.0.1", 1, parse_shape(shape))

    assert link._piece(up=True) == most


def test_an_idle_medium_saves_nothing_up():
    """After a pause the first bytes take their full time."""
    meter = Meter()
    meter.pass_through(1000, 8e6, 1.0)

    assert meter.pass_through(1000, 8e6, 5.0) == pytest.approx(5.001)


def test_the_shape_can_change(run):
    """A link that becomes faster is faster for the connection that is open."""

    async def main():
        async with mirror() as port, ShapedLink("127.0.0.1", port, parse_shape("1mbit")) as link:
            going = asyncio.create_task(there_and_back(link.port, 1 << 20))
            await asyncio.sleep(0.05)
            link.set(parse_shape("unlimited"))
            seconds, same = await going

            assert same
            assert seconds < 8.0  # at 1 Mbit/s it would have been 8.4 s

    run(main)


def test_a_session_outlives_a_cut(run):
    """While the link is cut nothing arrives; when it is back everything does, once."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            async with ShapedLink("127.0.0.1", server.port, parse_shape("100mbit/2ms")) as link:
                connection = await connect(f"ws://127.0.0.1:{link.port}")
                await connection.send(Drop(1, "p"))
                await connection.receive()
                link.cut()
                await connection.send(Forward(2, "p"))
                with pytest.raises(Unreachable):
                    await connect(f"ws://127.0.0.1:{link.port}")
                link.restore()

                assert (await connection.receive())[0] == Result(2)
                assert connection.stats.resumed == 1
                await connection.close()

    run(main)


def test_a_server_that_is_gone_breaks_the_flow(run):
    """The proxy passes on that nobody answers behind it."""

    async def main():
        async with mirror() as port:
            pass
        async with ShapedLink("127.0.0.1", port, parse_shape("1mbit")) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    run(main)
