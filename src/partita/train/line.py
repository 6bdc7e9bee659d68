"""The edge's line to the cloud, as one thread sees it: requests out, answers when they are waited for.

Rules: an event loop in a thread of its own moves the bytes, so that sending never waits for computing; requests leave
in the order in which they were posted and are answered in that order; waiting sleeps, it does not spin.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any, Protocol, TypeVar, final

from ..errors import PartitaError, RemotePartFailed
from ..run import Remote, Reply
from ..wire import (
    Connection,
    Encoded,
    Failed,
    LinkEstimate,
    Message,
    Result,
    Settings,
    Stats,
    Tls,
    connect,
)
from .messages import TRAINING, Begun, Features, Measured, Prepared, Saved, Slopes, Taken, Verdict

_T = TypeVar("_T")
Ticket = Future[Reply]
ANSWERS: tuple[type[Message], ...] = (
    Result, Begun, Measured, Prepared, Taken, Features, Slopes, Verdict, Saved
)  # fmt: skip
UNKNOWN = LinkEstimate(None, None, None)
# For so long a broken connection may come back and nothing is lost; then the training goes back to its checkpoint.
RESUME_SECONDS = 60.0


class Line(Protocol):
    """What a session needs of the other side."""

    def number(self) -> int:
        """A request number that was not used before."""
        ...

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        """Send a request; its answer, or the error it failed with, comes with the ticket."""
        ...

    def withdraw(self, message: Message, ticket: Ticket) -> bool:
        """Take a request back of which nothing has left yet; False where that is too late."""
        ...

    def probe(self, size: int = 256 << 10) -> Future[LinkEstimate]:
        """Measure the link with so many bytes each way."""
        ...

    def link(self) -> LinkEstimate:
        """What the traffic so far says of the link."""
        ...

    def stats(self) -> Stats:
        """Bytes so far."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


def ask(line: Line, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Reply:
    """Send a request and wait for its answer."""
    return line.post(message, tensors).result()


@final
class WireLine:
    """A line over the network."""

    def __init__(self, url: str, *, token: str | None = None, tls: Tls | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="partita-line", daemon=True)
        self._thread.start()
        self._connection: Connection | None = None
        self._remote: Remote | None = None
        try:
            self._do(self._open(url, token, tls)).result()
        except BaseException:
            self._stop()
            raise

    async def _open(self, url: str, token: str | None, tls: Tls | None) -> None:
        settings = Settings(vocabulary=TRAINING, resume_timeout=RESUME_SECONDS)
        self._connection = await connect(url, token=token, tls=tls, settings=settings)
        self._remote = await Remote(self._connection, answers=ANSWERS).__aenter__()

    def _do(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def remote(self) -> Remote:
        if self._remote is None:  # pragma: no cover - __init__ sets it or raises
            raise AssertionError(self)
        return self._remote

    @property
    def connection(self) -> Connection:
        if self._connection is None:  # pragma: no cover - __init__ sets it or raises
            raise AssertionError(self)
        return self._connection

    def number(self) -> int:
        return self.remote.number()

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        return self._do(self.remote.ask(message, tensors))

    def withdraw(self, message: Message, ticket: Ticket) -> bool:
        async def try_it() -> bool:
            return self.connection.withdraw(message)

        withdrawn = self._do(try_it()).result()
        if withdrawn:
            ticket.cancel()
        return withdrawn

    def probe(self, size: int = 256 << 10) -> Future[LinkEstimate]:
        return self._do(self.connection.measure(size))

    def link(self) -> LinkEstimate:
        return self.connection.link()

    def stats(self) -> Stats:
        return self.connection.stats

    def close(self) -> None:
        if self._remote is not None:
            with suppress(TimeoutError, PartitaError):  # the other side may be gone already
                self._do(self._remote.__aexit__()).result(timeout=10.0)
        self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10.0)
        if not self._loop.is_running():
            self._loop.close()


class Answers(Protocol):
    """The other side within this process: `Room` is one."""

    def answer(
        self, message: Message, tensors: Mapping[str, Encoded]
    ) -> tuple[Message, Mapping[str, Encoded]]: ...


@final
class DirectLine:
    """A line to a room in the same process: each request is answered before `post` returns."""

    def __init__(self, room: Answers) -> None:
        self._room, self._numbers = room, count(1)

    def number(self) -> int:
        return next(self._numbers)

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        ticket: Ticket = Future()
        answer, values = self._room.answer(message, dict(tensors or {}))
        if isinstance(answer, Failed):
            ticket.set_exception(RemotePartFailed(answer.problem, fix=answer.fix))
        else:
            ticket.set_result(Reply(answer, values))
        return ticket

    def withdraw(self, message: Message, ticket: Ticket) -> bool:  # noqa: ARG002  # it was answered at once
        return False

    def probe(self, size: int = 256 << 10) -> Future[LinkEstimate]:  # noqa: ARG002  # there is no link
        done: Future[LinkEstimate] = Future()
        done.set_result(UNKNOWN)
        return done

    def link(self) -> LinkEstimate:
        return UNKNOWN

    def stats(self) -> Stats:
        return Stats()

    def close(self) -> None:
        return None
