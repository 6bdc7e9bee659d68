"""The client end of a connection: dials, and dials again when the pipe is lost, until the session can not be resumed.

Two rules. The first dial fails at once and says why; later ones are repeated with growing pauses. A refusal (a wrong
token, a certificate) is final at any time: repeating it would not help and would look like an attack.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, final

from ..errors import ConnectionLost, PartitaError, Unreachable
from .channel import Connection, Pipe
from .channel_peer import Peer
from .session import Session
from .session_event import Settings
from .session_state import SessionState

__all__ = ["Dial", "open_connection"]

Dial = Callable[[], Awaitable[Pipe]]

# 50 ms, doubled up to 5 s, each times 0.5 to 1.5: a server that returns is not met by all its clients at once.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_LOG: Final = logging.getLogger("partita.wire")
_RANDOM: Final = secrets.SystemRandom()


async def open_connection(dial: Dial, settings: Settings | None = None) -> Connection:
    """A connection over the pipes that ``dial`` brings; returns when the other side has welcomed the session."""
    pipe = await dial()
    loop = asyncio.get_running_loop()
    peer = Peer(Session(secrets.token_hex(16), settings, now=loop.time()))
    redialer = _Redialer(peer, dial)
    task = loop.create_task(redialer.run(pipe), name=f"partita client {peer.session_id[:8]}")
    peer.keep(task)
    try:
        await redialer.welcomed()
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return peer


@final
class _Redialer:
    """Keeps one peer supplied with pipes."""

    def __init__(self, peer: Peer, dial: Dial) -> None:
        self._peer = peer
        self._dial = dial

    async def welcomed(self) -> None:
        """Wait for the first Welcome, or for the error that came instead."""
        opened = asyncio.ensure_future(self._peer.opened.wait())
        finished = asyncio.ensure_future(self._peer.finished.wait())
        try:
            await asyncio.wait([opened, finished], return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            finished.cancel()
        if self._peer.error is not None and not self._peer.opened.is_set():
            raise self._peer.error

    async def run(self, pipe: Pipe) -> None:
        """Serve pipe after pipe."""
        session, loop = self._peer.session, asyncio.get_running_loop()
        progress, since = -1, loop.time()
        next_pipe: Pipe | None = pipe
        while next_pipe is not None:
            await self._peer.serve(next_pipe)
            if session.state is SessionState.CLOSED:
                return
            if not self._peer.opened.is_set():
                self._peer.end(_not_greeted())
                return
            if session.acked != progress:
                progress, since = session.acked, loop.time()
            next_pipe = await self._again(since + session.settings.resume_timeout)

    async def _again(self, deadline: float) -> Pipe | None:
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        left = deadline - loop.time()
        _LOG.warning("the connection was lost; trying to resume it for %.0f s", max(left, 0.0))
        last: PartitaError | None = None
        while loop.time() < deadline and self._peer.error is None:
            try:
                return await self._dial()
            except Unreachable as error:
                last = error
            except PartitaError as error:
                self._peer.end(error)
                return None
            await asyncio.sleep(min(pause * _RANDOM.uniform(0.5, 1.5), max(0.0, deadline - loop.time())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._peer.end(_gave_up(last))
        return None


def _not_greeted() -> ConnectionLost:
    return ConnectionLost(
        "the other side ended the connection before its greeting",
        fix="check that a Partita server of this version answers at this address and path; its log says more",
    )


def _gave_up(last: PartitaError | None) -> ConnectionLost:
    why = last.problem if last else "every new connection broke again before anything could pass"
    return ConnectionLost(
        f"the connection broke and could not be resumed: {why}",
        fix="check the network and the server, then start again from the last checkpoint",
    )
