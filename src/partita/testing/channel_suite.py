# ruff: noqa: S101  # a test suite asserts
"""The contract of every carrier, as tests: subclass `ChannelSuite`, say how to serve and dial, and run pytest.

    class TestMine(ChannelSuite):
        @asynccontextmanager
        async def carrier(self, handler, settings):
            server = await listen("mem://mine", handler, settings=settings)
            yield lambda: connect(server.url, settings=settings)
            await server.close()

One rule: a test speaks only through `Connection`, so that it holds for any carrier, in this house or outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConnectionLost, SessionMisused
from ..wire import (
    Backward,
    Connection,
    Drop,
    Forward,
    Handler,
    Limits,
    Message,
    Result,
    Settings,
    decode,
    parse_codec,
)

__all__ = ["ChannelSuite", "echo"]

Dialler = Callable[[], Awaitable[Connection]]

_PATIENCE = 20.0


async def echo(connection: Connection) -> None:
    """A handler that answers each message with its tensors."""
    async for message, tensors in connection:
        await connection.send(Result(getattr(message, "request", 0)), tensors)


def _array(size: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


class ChannelSuite:
    """What a carrier must do; its tests run their own event loops and need no plug-in of pytest."""

    def carrier(self, handler: Handler, settings: Settings) -> AbstractAsyncContextManager[Dialler]:
        """Serve ``handler`` and give a function that connects to it."""
        raise NotImplementedError  # abstract: a carrier's suite says how to serve it

    def run(
        self,
        test: Callable[[Connection], Awaitable[None]],
        handler: Handler = echo,
        settings: Settings | None = None,
    ) -> None:
        """Run a test against one connection."""

        async def main() -> None:
            async with asyncio.timeout(_PATIENCE), self.carrier(handler, settings or Settings()) as dial:
                connection = await dial()
                try:
                    await test(connection)
                finally:
                    await connection.close()

        asyncio.run(main())

    def test_tensors_arrive_as_they_were(self) -> None:
        """A tensor of any size and type comes back bit for bit."""
        sent = {"x": _array(300_000), "empty": np.zeros((0, 3), np.int64), "one": np.array(7, np.uint8)}

        async def test(connection: Connection) -> None:
            await connection.send(Forward(1, "p"), sent)
            message, tensors = await connection.receive()

            assert message == Result(1)
            assert {name: decode(each).shape for name, each in tensors.items()} == {
                k: v.shape for k, v in sent.items()
            }
            assert all(np.array_equal(decode(tensors[name]), sent[name]) for name in sent)

        self.run(test)

    def test_encoded_tensors_travel_encoded(self) -> None:
        """A tensor that was encoded arrives with its codec and its smaller size."""
        encoded = parse_codec("int8").encode(_array(10_000))

        async def test(connection: Connection) -> None:
            await connection.send(Forward(1, "p"), {"x": encoded})
            _, tensors = await connection.receive()

            assert tensors["x"].head == encoded.head
            assert connection.stats.sent_payload == encoded.nbytes < 11_000

        self.run(test)

    def test_messages_keep_their_order(self) -> None:
        """Messages of one channel arrive once each and in order."""

        async def test(connection: Connection) -> None:
            for number in range(50):
                await connection.send(Forward(number, "p"), {"x": _array(1000, number)})
            numbers = [(await connection.receive())[0] for _ in range(50)]

            assert numbers == [Result(number) for number in range(50)]

        self.run(test)

    def test_control_overtakes_tensors(self) -> None:
        """A message without tensors arrives before the tensors that were sent first."""
        arrived: list[Message] = []

        async def note(connection: Connection) -> None:
            async for message, _ in connection:
                arrived.append(message)
                await connection.send(Result(len(arrived)))

        async def test(connection: Connection) -> None:
            await connection.send(Forward(1, "p"), {"x": _array(4 << 20)})
            await connection.send(Drop(2, "p"))
            await connection.receive()
            await connection.receive()

            assert arrived == [Drop(2, "p"), Forward(1, "p")]

        self.run(test, note)

    def test_large_messages_pass_small_windows(self) -> None:
        """A message much larger than any window, in both directions at once, does not lock up."""

        async def test(connection: Connection) -> None:
            await connection.send(Forward(1, "p"), {"x": _array(5 << 20)})
            await connection.send(Backward(2, "p"), {"x": _array(5 << 20)}, channel=2)
            sizes = {(await connection.receive())[1]["x"].nbytes for _ in range(2)}

            assert sizes == {20 << 20}

        self.run(test)

    def test_a_reader_that_rests_stops_the_sender(self) -> None:
        """What nobody reads is bounded on both sides: sending waits, and goes on when reading does."""
        limits = Limits(max_held=1 << 20, max_retained=1 << 20)
        go = asyncio.Event()

        async def rest(connection: Connection) -> None:
            await go.wait()
            await echo(connection)

        async def test(connection: Connection) -> None:
            async def send_all() -> None:
                for number in range(60):
                    await connection.send(Forward(number, "p"), {"x": _array(1 << 18)})

            sending = asyncio.create_task(send_all())
            done, _ = await asyncio.wait([sending], timeout=0.3)
            assert not done
            assert connection.stats.sent_wire < 30 << 20
            go.set()
            for _ in range(60):
                await connection.receive()
            await sending

        self.run(test, rest, Settings(limits=limits))

    def test_iteration_ends_when_the_other_side_is_done(self) -> None:
        """A session that the other side closed in good order ends the loop; receive says it in words."""

        async def answer_once(connection: Connection) -> None:
            await connection.receive()
            await connection.send(Result(1))

        async def test(connection: Connection) -> None:
            await connection.send(Drop(1, "p"))
            messages = [message async for message, _ in connection]

            assert messages == [Result(1)]
            with _raises(ConnectionLost, "done"):
                await connection.receive()

        self.run(test, answer_once)

    def test_a_handler_that_fails_ends_only_its_session(self) -> None:
        """The client of a failed handler learns of it, without details; another client is served."""

        async def fail(connection: Connection) -> None:
            message, _ = await connection.receive()
            if message == Drop(13, "p"):
                await connection.close("internal", "the handler failed")
                return
            await connection.send(Result(1))
            await echo(connection)

        async def main() -> None:
            async with asyncio.timeout(_PATIENCE), self.carrier(fail, Settings()) as dial:
                bad, good = await dial(), await dial()
                await bad.send(Drop(13, "p"))
                with _raises(ConnectionLost, "internal"):
                    await bad.receive()
                await good.send(Drop(1, "p"))

                assert (await good.receive())[0] == Result(1)
                await bad.close()
                await good.close()

        asyncio.run(main())

    def test_the_link_is_measured(self) -> None:
        """A probe gives a rate in each direction and a round trip."""

        async def test(connection: Connection) -> None:
            link = await connection.measure(256 << 10)
            await asyncio.sleep(0.05)
            link = connection.link()

            assert link.rtt is not None
            assert link.down is not None
            assert link.rtt > 0
            assert link.down > 0

        self.run(test)

    def test_a_closed_connection_says_so(self) -> None:
        """After close, sending and receiving are this side's mistake."""

        async def test(connection: Connection) -> None:
            await connection.close()
            with _raises(SessionMisused, "closed"):
                await connection.send(Drop(1, "p"))

        self.run(test)


class _raises:  # noqa: N801  # reads like pytest.raises, which a public suite must not need
    def __init__(self, kind: type[Exception], text: str) -> None:
        self._kind, self._text = kind, text

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            raise AssertionError(f"expected {self._kind.__name__}")
        return isinstance(error, self._kind) and self._text in str(error)
