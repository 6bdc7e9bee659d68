import asyncio

import numpy as np
import pytest

from partita.errors import AccessDenied, ConnectionLost, PartitaError, Unreachable
from partita.testing.channel_suite import echo
from partita.testing.faults import Faults, faulty_dial
from partita.wire import (
    Drop,
    Forward,
    Hub,
    Result,
    Settings,
    connect,
    decode,
    listen,
    memory_pipes,
    open_connection,
)

QUICK = Settings(resume_timeout=0.3)


class Ground:
    """A hub and the way to it, in one loop."""

    def __init__(self, handler=echo, settings=None):
        self.hub = Hub(handler, settings)
        self.ends, self.tasks = [], []
        self.refusal = None

    async def dial(self):
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = memory_pipes()
        self.ends.append(ours)
        self.tasks.append(asyncio.create_task(self.hub.serve(theirs)))
        return ours

    async def close(self):
        await self.hub.close()
        await asyncio.gather(*self.tasks)


FAULTS = {
    "cuts": Faults(cut=0.1),
    "cut early and often": Faults(cut_after=30_000),
    "corruption": Faults(corrupt=0.1),
    "delays": Faults(delay=0.2),
    "all of them": Faults(cut=0.03, corrupt=0.03, delay=0.05),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("seed", [1, 2])
def test_faults_are_not_felt(run, faults, seed):
    """Through cuts, corruption and delays every message arrives once, whole and in order."""

    async def main():
        ground = Ground()
        for attempt in range(20):
            try:
                connection = await open_connection(
                    faulty_dial(ground.dial, faults, seed=100 * seed + attempt)
                )
                break
            except PartitaError:
                continue
        for number in range(30):
            await connection.send(Forward(number, "p"), {"x": np.full(2000, number, np.float32)})
        for number in range(30):
            message, tensors = await connection.receive()

            assert message == Result(number)
            assert (decode(tensors["x"]) == number).all()
        await connection.close()
        await ground.close()

    run(main)


def test_repeated_bytes_are_dropped_or_refused(run):
    """A link that says things twice costs at most the session: no message is delivered twice."""

    async def main():
        ground = Ground()
        try:
            connection = await open_connection(faulty_dial(ground.dial, Faults(repeat=0.2), seed=3))
            for number in range(20):
                await connection.send(Drop(number, "p"))
            numbers = [(await connection.receive())[0].request for _ in range(20)]
        except ConnectionLost as error:
            assert "protocol-violation" in str(error) or "greeting" in str(error)
        else:
            assert numbers == list(range(20))
            await connection.close()
        await ground.close()

    run(main)


def test_a_link_that_stays_down_is_given_up(run):
    """After the resume timeout the connection says what was wrong the last time."""

    async def main():
        ground = Ground(settings=QUICK)
        connection = await open_connection(ground.dial, QUICK)
        ground.refusal = Unreachable("nobody listens", fix="start it")
        await ground.ends[-1].close()
        with pytest.raises(ConnectionLost, match="could not be resumed: nobody listens"):
            await connection.receive()
        await connection.close()
        await ground.close()

    run(main)


def test_a_refusal_is_final(run):
    """A token that is wrong now is not tried again."""

    async def main():
        ground = Ground()
        connection = await open_connection(ground.dial)
        ground.refusal = AccessDenied("the token is wrong", fix="give the right one")
        await ground.ends[-1].close()
        with pytest.raises(AccessDenied):
            await connection.receive()
        await connection.close()
        await ground.close()

    run(main)


def test_a_restarted_server_does_not_resume(run):
    """A server that has forgotten the session says so, and the client does not pretend."""

    async def main():
        ground = Ground()
        connection = await open_connection(ground.dial)
        old, ground.hub = ground.hub, Hub(echo)
        await ground.ends[-1].close()
        with pytest.raises(ConnectionLost, match="unknown-session"):
            await connection.receive()
        await connection.close()
        await old.close()
        await ground.close()

    run(main)


def test_a_server_that_ends_before_the_greeting(run):
    """It is told apart from a link that breaks."""

    async def main():
        async def dial():
            ours, theirs = memory_pipes()
            await theirs.close()
            return ours

        with pytest.raises(ConnectionLost, match="before its greeting"):
            await open_connection(dial)

    run(main)


def test_the_server_forgets_who_does_not_return(run):
    """A session whose client is gone ends after the resume timeout."""

    async def main():
        ground = Ground(settings=QUICK)
        connection = await open_connection(ground.dial)
        ground.refusal = AccessDenied("no", fix="no")
        await ground.ends[-1].close()
        assert ground.hub.sessions == 1
        while ground.hub.sessions:  # noqa: ASYNC110  # the hub counts, it does not announce
            await asyncio.sleep(0.02)
        await connection.close()
        await ground.close()

    run(main)


def test_a_second_pipe_replaces_the_first(run):
    """A client that returns before the server has noticed the loss is taken at its word."""

    async def main():
        ground = Ground()
        connection = await open_connection(ground.dial)
        half = ground.ends[-1]
        half._ended = True
        half._changed.set()
        await connection.send(Drop(5, "p"))

        assert (await connection.receive())[0] == Result(5)
        assert connection.stats.resumed == 1
        await connection.close()
        await ground.close()

    run(main)


def test_memory_urls_need_a_listener(run):
    """mem:// without one says so; a name is taken once."""

    async def main():
        with pytest.raises(Unreachable, match="nobody listens there in this process"):
            await connect("mem://nowhere")
        server = await listen("mem://somewhere", echo)
        with pytest.raises(PartitaError, match="is in use"):
            await listen("mem://somewhere", echo)
        await server.close()

    run(main)


def test_probes_that_never_return_fail_with_the_connection(run):
    """Measuring does not hang when the link dies."""

    async def main():
        ground = Ground()
        connection = await open_connection(ground.dial)
        ground.refusal = AccessDenied("no", fix="no")
        measuring = asyncio.create_task(connection.measure(4 << 20))
        await asyncio.sleep(0)
        await ground.ends[-1].close()
        with pytest.raises(AccessDenied):
            await measuring
        await connection.close()
        await ground.close()

    run(main)
