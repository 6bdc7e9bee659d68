"""The async shell around a session: it reads, writes, and keeps time. The same on both sides and for every pipe.

Two rules. Only the writer writes, one chunk at a time, so that control waits for at most one chunk of tensors.
Whatever ends a pipe leads to one of two things: the session is closed, with a reason; or it is detached and may resume.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Self, final

from ..errors import ConnectionLost, PartitaError, ProtocolViolation, SessionMisused
from .channel import Delivery, Pipe, PipeEnded, Stats, Tensors, encoded_tensors
from .codec_head import Encoded, TensorHead
from .frame import Frame, FrameReader
from .message import Buffer, Hello, Message, Probe
from .meter import LinkEstimate
from .session import Session
from .session_event import Closed, Corrupted, Event, Opened, Received, Stale
from .session_state import SessionState

__all__ = ["Peer"]

# `send` waits while more than this is queued: two messages of 4 MB overlap, a gigabyte does not pile up.
_HIGH_WATER: Final = 8 << 20
# Frames below this are written together: a pong, an ack and a credit cost one system call.
_GATHER: Final = 2048
_CLOSE_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 1.0


@final
class Peer:
    """A `Connection` over whatever pipes it is given, one after the other."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.opened = asyncio.Event()
        self.finished = asyncio.Event()
        self.error: PartitaError | None = None
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Received] = deque()
        self._stats = Stats()
        self._counts = dict.fromkeys(Stats.__slots__, 0)
        self._writable, self._changed = asyncio.Event(), asyncio.Event()
        self._probes: dict[int, asyncio.Future[None]] = {}
        self._probe_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pipe: Pipe | None = None
        self._writing = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()
        self._supplier: asyncio.Task[None] | None = None

    # -- the contract -------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The name of the session."""
        return self.session.id

    @property
    def stats(self) -> Stats:
        """What has passed so far."""
        return replace(self._stats, **self._counts)

    def link(self) -> LinkEstimate:
        """What the traffic has shown of the link."""
        return self.session.link()

    async def send(
        self, message: Message, tensors: Tensors | None = None, *, channel: int | None = None
    ) -> None:
        """Queue a message and wait while too much is queued."""
        self._check()
        encoded = encoded_tensors(tensors)
        used = self.session.send(message, encoded, channel=channel)
        self._counts["messages_sent"] += 1
        self._counts["sent_payload"] += sum(tensor.nbytes for tensor in encoded.values())
        await self._write_now()
        while self.session.queued(used) > _HIGH_WATER:
            await self._change()
            self._check()

    def waiting(self) -> list[Message]:
        """The messages of which nothing has left yet."""
        return self.session.waiting()

    def withdraw(self, message: Message) -> bool:
        """Take a message back, if nothing of it has left."""
        withdrawn = self.session.withdraw(message)
        if withdrawn:
            self._notify()
        return withdrawn

    async def receive(self) -> Delivery:
        """The next message; after the last one, why there are no more."""
        while not self._inbox:
            self._check()
            await self._change()
        received = self._inbox.popleft()
        self.session.release(received.size)
        self._writable.set()
        return received.message, received.tensors

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while True:
            try:
                delivery = await self.receive()
            except ConnectionLost:
                if self.error is None or self.error.problem != _DONE:
                    raise
                return
            yield delivery

    async def measure(self, size: int = 256 << 10) -> LinkEstimate:
        """Probe the link in both directions; returns when the answer is here."""
        self._check()
        self._probe_number += 1
        number, answered = self._probe_number, self._loop.create_future()
        self._probes[number] = answered
        body = memoryview(bytes(size))
        self.session.ping()
        self.session.send(
            Probe(number, size), {"probe": Encoded(TensorHead("raw", "uint8", (size,)), (body,))}
        )
        self._writable.set()
        try:
            await answered
        finally:
            self._probes.pop(number, None)
        return self.link()

    async def close(self, code: str = "done", reason: str = "") -> None:
        """Finish what is queued, close the session, and wait until the pipe is gone."""
        if self.session.state is SessionState.OPEN:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    while not self.session.idle and self.session.state is SessionState.OPEN:
                        await self._change()
        self.end(SessionMisused("connection: it was closed here", fix="open a new connection"), code, reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._free.wait()
        if self._supplier is not None and self._supplier is not asyncio.current_task():
            self._supplier.cancel()
            await asyncio.gather(self._supplier, return_exceptions=True)

    def keep(self, task: asyncio.Task[None]) -> None:
        """The task that supplies pipes lives as long as this connection."""
        self._supplier = task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # -- for client and hub -------------------------------------------------------------------------------------------

    def end(self, error: PartitaError, code: str = "done", reason: str = "") -> None:
        """Close the session for this reason; the first reason stays."""
        if self.session.state is not SessionState.CLOSED:
            self.session.close(code, reason)
        self._finish(error)

    async def drop_pipe(self) -> None:
        """Let go of the pipe in use, if any, so that another can be served."""
        if self._pipe is not None:
            await self._pipe.close()
        await self._free.wait()

    async def serve(
        self, pipe: Pipe, greeting: tuple[Hello, FrameReader, Sequence[Frame]] | None = None
    ) -> None:
        """Run the session over this pipe until it ends; a server passes the greeting it has read."""
        self._pipe = pipe
        self._free.clear()
        writer = self._loop.create_task(self._write(pipe), name=f"partita writer {self.session.id[:8]}")
        try:
            self._handle(self._greet(greeting))
            await self._read(pipe)
        except PipeEnded:
            pass
        except ProtocolViolation as error:
            self.end(error, error.code, error.problem)
        except ConnectionLost as error:
            self.end(error, "lost", error.problem)
        finally:
            await self._leave(pipe, writer)

    def _greet(self, greeting: tuple[Hello, FrameReader, Sequence[Frame]] | None) -> list[Event]:
        now = self._loop.time()
        if greeting is None:
            self.session.connected(now)
            return []
        hello, reader, frames = greeting
        resumed = self.opened.is_set()
        self.session.accepted(hello, reader, now)
        return [Opened(resumed), *self.session.receive_frames(frames, now)]

    async def _leave(self, pipe: Pipe, writer: asyncio.Task[None]) -> None:
        if self.session.state is SessionState.CLOSED:
            # The writer's last frame says why; a pipe that is stuck does not get more than a moment for it.
            await asyncio.wait([writer], timeout=_LAST_WORDS_SECONDS)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await pipe.close()
        self.session.disconnected(self._loop.time())
        self._pipe = None
        self._free.set()
        self._arm()
        self._notify()

    # -- reading and writing ------------------------------------------------------------------------------------------

    async def _read(self, pipe: Pipe) -> None:
        while self.session.state is not SessionState.CLOSED:
            data = await pipe.read()
            self._counts["received_wire"] += len(data)
            self._handle(self.session.receive_data(data, self._loop.time()))

    async def _write(self, pipe: Pipe) -> None:
        try:
            while True:
                async with self._writing:
                    wrote = await self._write_chunk(pipe)
                if wrote:
                    continue
                if self.session.state is SessionState.CLOSED:
                    break
                self._writable.clear()
                self._arm()
                await self._writable.wait()
            await pipe.close()
        except PipeEnded:
            await pipe.close()

    async def _write_chunk(self, pipe: Pipe) -> bool:
        chunk = self._next_chunk()
        if not chunk:
            return False
        self._counts["sent_wire"] += sum(map(len, chunk))
        await pipe.write(chunk)
        self._notify()
        return True

    async def _write_now(self) -> None:
        """Write from the caller's own task while the writer rests: two turns of the loop less, of 0.05 ms each."""
        pipe = self._pipe
        if pipe is None or self._writing.locked() or self._writable.is_set():
            self._writable.set()
            return
        try:
            async with self._writing:
                await self._write_chunk(pipe)
        except PipeEnded:
            pass  # the reader learns of it too, and the session resumes
        except BaseException:
            # Cancelled, perhaps with a chunk half written: this pipe can not be trusted, another will say it again.
            self._closing = self._loop.create_task(pipe.close())
            raise
        finally:
            self._writable.set()

    def _next_chunk(self) -> list[Buffer]:
        now = self._loop.time()
        chunk: list[Buffer] = []
        size = 0
        while size < _GATHER and (more := self.session.next_chunk(now)):
            chunk += more
            size += sum(map(len, more))
        return chunk

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Received):
                self._deliver(event)
            elif isinstance(event, Opened):
                self._counts["resumed"] += event.resumed
                self.opened.set()
            elif isinstance(event, Closed):
                self._finish(_closed_error(event))
            elif isinstance(event, Stale | Corrupted):
                raise PipeEnded(str(event))
        self._writable.set()
        self._notify()

    def _deliver(self, event: Received) -> None:
        if isinstance(event.message, Probe):
            answered = self._probes.get(event.message.request)
            if answered is not None and not answered.done():
                answered.set_result(None)
            return
        self._counts["messages_received"] += 1
        self._counts["received_payload"] += sum(tensor.nbytes for tensor in event.tensors.values())
        self._inbox.append(event)

    # -- time and waiting ---------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.session.next_timeout()
        if self.session.state is SessionState.DETACHED and self._supplier is not None:
            due = None  # a client's redialling has its own deadline, and a better reason to give
        if self._timer is not None:
            if due is not None and self._timer.when() <= due and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._handle(self.session.tick(self._loop.time()))
        except PipeEnded:
            if self._pipe is not None:
                self._closing = self._loop.create_task(self._pipe.close())
        self._arm()

    def _finish(self, error: PartitaError) -> None:
        self.error = self.error or error
        self.finished.set()
        self._arm()
        for answered in self._probes.values():
            if not answered.done():
                answered.set_exception(self.error)
        self._writable.set()
        self._notify()

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _notify(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


_DONE: Final = "the other side closed the session: done"


def _closed_error(event: Closed) -> PartitaError:
    if event.code == "not-resumed":
        return ConnectionLost(
            f"the connection broke and was not resumed: {event.reason}",
            fix="check the network, or raise Settings.resume_timeout; then start again from the last checkpoint",
        )
    if event.code == "taken-over":
        # Not lost: who dials again would take it back, and the two would go on like that.
        return SessionMisused(
            f"the other side let this session go: {event.reason}",
            fix="end one of the two, and start the other again",
        )
    if event.code == "done":
        return ConnectionLost(_DONE, fix="open a new connection to go on")
    fixes = {
        "unknown-session": "the server was restarted or forgot the session; start again from the last checkpoint",
        "busy": "wait, or raise the server's limits on sessions and bytes",
    }
    fix = fixes.get(event.code, "read the reason; the server's log says more")
    return ConnectionLost(f"the other side closed the session ({event.code}): {event.reason}", fix=fix)
