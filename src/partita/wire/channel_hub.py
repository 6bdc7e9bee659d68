"""The server end of every carrier: greets pipes, finds or makes their session, and runs one handler per session.

Three rules. A pipe says Hello within a moment, in one small frame, or is let go. One session's errors end that session
and nothing else. Sessions and the bytes they hold are bounded for the whole server, not only for each client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from ..errors import PartitaError, ProtocolViolation, SessionMisused
from .channel import Connection, Pipe, PipeEnded
from .channel_peer import Peer
from .frame import VERSION, Frame, FrameKind, FrameReader
from .message import SESSION, Close, Hello
from .outbox import CONTROL
from .session import Session
from .session_event import Settings

__all__ = ["Handler", "Hub", "HubLimits"]

_LOG: Final = logging.getLogger("partita.wire")

Handler = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HubLimits:
    """What one server carries."""

    max_sessions: int = 64
    # Held for all sessions together: arriving, unread, and sent but unacknowledged.
    max_bytes: int = 4 << 30
    greeting_seconds: float = 10.0


@final
class Hub:
    """All sessions of one server."""

    def __init__(
        self, handler: Handler, settings: Settings | None = None, limits: HubLimits | None = None
    ) -> None:
        self._handler = handler
        self._settings = settings or Settings()
        self._limits = limits or HubLimits()
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def sessions(self) -> int:
        """How many sessions live here, connected or waiting to be resumed."""
        return len(self._peers)

    @property
    def held(self) -> int:
        """Bytes held for all of them."""
        return sum(peer.session.held for peer in self._peers.values())

    async def serve(self, pipe: Pipe) -> None:
        """Run a pipe until it ends. Never raises for what the other side does."""
        try:
            async with asyncio.timeout(self._limits.greeting_seconds):
                greeting = await self._greeting(pipe)
            peer = await self._peer(greeting[0])
        except (PipeEnded, TimeoutError):
            await pipe.close()
            return
        except PartitaError as error:
            _LOG.info("a connection was refused: %s", error.problem)
            await _refuse(pipe, error.code, error.problem)
            return
        except _Refused as refusal:
            await _refuse(pipe, refusal.code, refusal.reason)
            return
        await peer.serve(pipe, greeting)

    async def close(self) -> None:
        """End every session and wait for the handlers."""
        self._closing = True
        stopped = SessionMisused("server: it was stopped", fix="start it again")
        for peer in tuple(self._peers.values()):
            peer.end(stopped, "server-stopped", "the server was stopped")
        await asyncio.sleep(0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _greeting(self, pipe: Pipe) -> tuple[Hello, FrameReader, Sequence[Frame]]:
        reader = FrameReader(self._settings.limits)
        frames: list[Frame] = []
        while not frames:
            frames = reader.feed(await pipe.read())
            if not frames and reader.pending > _GREETING_BYTES:
                raise _out_of_order()
        first = frames.pop(0)
        if first.kind is not FrameKind.SESSION or first.size > _GREETING_BYTES:
            raise _out_of_order()
        hello, _ = SESSION.decode(b"".join(first.payload))
        if not isinstance(hello, Hello):
            raise _out_of_order()
        if hello.version != VERSION:
            raise ProtocolViolation(
                f"Hello.version: {hello.version}, this side speaks {VERSION}",
                fix="update the older of the two sides",
            )
        return hello, reader, frames

    async def _peer(self, hello: Hello) -> Peer:
        if self._closing:
            raise _Refused("server-stopped", "the server is stopping")
        peer = self._peers.get(hello.session)
        if peer is not None:
            await peer.drop_pipe()
            return peer
        if hello.resume:
            raise _Refused("unknown-session", f"session {hello.session[:8]} is not known here")
        if len(self._peers) >= self._limits.max_sessions:
            raise _Refused("busy", f"{len(self._peers)} sessions are open here, which is the limit")
        if self.held > self._limits.max_bytes:
            raise _Refused("busy", f"{self.held} bytes are held here, at most {self._limits.max_bytes} are")
        return self._begin(hello.session)

    def _begin(self, session_id: str) -> Peer:
        loop = asyncio.get_running_loop()
        peer = self._peers[session_id] = Peer(Session(session_id, self._settings, now=loop.time()))
        task = loop.create_task(self._handle(peer), name=f"partita handler {session_id[:8]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return peer

    async def _handle(self, peer: Peer) -> None:
        try:
            await peer.opened.wait()
            await self._handler(peer)
            await peer.close()
        except PartitaError as error:
            if peer.error is None:
                _LOG.warning("session %s ended: %s", peer.session_id[:8], error.problem)
            await peer.close(error.code, error.problem)
        except Exception:
            _LOG.exception("session %s: its handler failed", peer.session_id[:8])
            await peer.close("internal", "the handler failed; the server's log says why")
        finally:
            self._peers.pop(peer.session_id, None)


class _Refused(Exception):
    """A connection that is turned away with a code of the protocol."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


# A Hello with credit for 8 channels takes 0.2 KB.
_GREETING_BYTES: Final = 4096


def _out_of_order() -> ProtocolViolation:
    return ProtocolViolation(
        "the first frame is not a Hello", fix="say Hello first; see the wire format page"
    )


async def _refuse(pipe: Pipe, code: str, reason: str) -> None:
    header = SESSION.encode(Close(code[:256], reason[:2048]))
    frame = Frame(FrameKind.SESSION, CONTROL, 0, True, len(header), 0, (header,), len(header))
    try:
        async with asyncio.timeout(1.0):
            await pipe.write(frame.encode())
    except (PipeEnded, TimeoutError):
        pass
    await pipe.close()
