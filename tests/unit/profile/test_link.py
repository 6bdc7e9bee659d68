"""What a connection carries, on one that answers as told."""

import asyncio
from dataclasses import dataclass

import pytest

from partita.errors import BadDocument, Unreachable
from partita.profile import measure_link
from partita.profile.link import next_size, summarize
from partita.wire import ShapedLink, connect, listen, parse_shape


@dataclass(frozen=True)
class Estimate:
    up: float | None
    down: float | None
    rtt: float | None


class Wire:
    """A connection on which every probe takes as long as told by a hand-moved clock."""

    def __init__(self, *estimates, took=0.5):
        self.estimates, self.took, self.now, self.sizes = list(estimates), took, 0.0, []

    def clock(self):
        return self.now

    async def measure(self, size=0):
        await asyncio.sleep(0)
        self.now += self.took
        self.sizes.append(size)
        return self.estimates.pop(0) if len(self.estimates) > 1 else self.estimates[0]


def test_a_link_is_the_highest_of_its_later_probes_and_the_shortest_round_trip():
    """Bytes a second become bits a second; the first half of the probes does not count for the rate."""
    wire = Wire(
        Estimate(9e6, 1, 0.5), Estimate(1e6, 2e6, 0.04), Estimate(3e6, 2e6, 0.06), Estimate(2e6, 2e6, 0.05)
    )

    found = asyncio.run(measure_link(wire, seconds=2.0, clock=wire.clock))

    assert (found.link.up, found.link.down, found.link.rtt) == (24e6, 16e6, 0.04)
    assert (found.up.spread, found.up.samples) == (4e6, 2)
    assert str(found) == "up 24 +- 2 Mbit/s, down 16 +- 0 Mbit/s, round trip 40 ms, 2 probes"


def test_probing_ends_with_the_time():
    """Once the least of probes is there, no new one starts after the time given."""
    wire = Wire(Estimate(1e6, 1e6, 0.1))

    found = asyncio.run(measure_link(wire, seconds=5.0, clock=wire.clock))

    assert len(wire.sizes) == 10
    assert found.seconds == 5.0


def test_a_link_that_answers_no_probe_is_not_waited_for():
    """A dead link ends with the time given, and with a sentence."""

    class Dead:
        async def measure(self, size=0):
            await asyncio.Event().wait()

    with pytest.raises(Unreachable, match=r"no probe of 262144 bytes came back within 0\.05 s"):
        asyncio.run(measure_link(Dead(), seconds=0.05))


def test_a_link_that_dies_later_gives_what_was_found():
    """Probes that came back count, though the last one did not."""

    class Dying(Wire):
        async def measure(self, size=0):
            if len(self.sizes) == 2:
                await asyncio.Event().wait()
            return await super().measure(size)

    found = asyncio.run(measure_link(Dying(Estimate(1e6, 1e6, None)), seconds=0.05))

    assert (found.up.samples, found.up.highest, found.rtt) == (1, 8e6, 0.0)


def test_a_way_that_nobody_could_time_is_refused():
    """No guess stands in for a rate."""
    with pytest.raises(Unreachable, match="nothing about the way down"):
        summarize([Estimate(1e6, None, 0.1)], 1.0)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_probing_needs_a_time(seconds):
    """Bounded and positive."""
    with pytest.raises(BadDocument, match="seconds"):
        asyncio.run(measure_link(Wire(), seconds=seconds))


@pytest.mark.parametrize(
    ("size", "took", "expected"),
    [
        (256 << 10, 0.01, 512 << 10),
        (4 << 20, 0.01, 4 << 20),
        (1 << 20, 0.6, 1 << 20),
        (1 << 20, 3.0, 512 << 10),
        (256 << 10, 60.0, 256 << 10),
    ],
)
def test_probes_grow_until_they_keep_the_link_busy(size, took, expected):
    """Twice as large while they are over too soon, half as large while they take too long, within bounds."""
    assert next_size(size, took) == expected


async def _through(shape: str, seconds: float):
    """The link of a real connection through a shaped one."""

    async def listening(connection):
        async for _ in connection:
            pass

    server = await listen("ws://127.0.0.1:0", listening)
    try:
        port = int(server.url.rstrip("/").rsplit(":", 1)[1])
        async with ShapedLink("127.0.0.1", port, parse_shape(shape)) as link:
            connection = await connect(f"ws://127.0.0.1:{link.port}")
            try:
                return await measure_link(connection, seconds=seconds)
            finally:
                await connection.close()
    finally:
        await server.close()


def test_a_real_connection_is_measured_each_way():
    """Through a link of 8 Mbit/s up and 40 down with 20 ms: never faster than it is, and told apart."""
    found = asyncio.run(_through("up=8mbit,down=40mbit,rtt=20ms", 2.0))

    assert found.link.up < found.link.down
    assert found.link.up < 10e6
    assert found.link.rtt > 0.01
