"""The WebSocket carrier, both ends of its pipe, and the client's dial with an own sentence for each way it can fail.

Two rules. WebSocket messages are only a way to move bytes; their borders mean nothing. Compression is off (tensors have
their codecs) and so are WebSocket pings (the session has heartbeats that measure).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import urlsplit

from ..errors import BadReference
from .access import Tls
from .channel import Pipe, PipeEnded
from .channel_client import Dial
from .channel_refusal import refusal
from .limits import Limits
from .message import Buffer

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection as WebSocket

__all__ = ["WIRE_PATH", "WebSocketPipe", "carrier_options", "joined", "websocket_dial"]

WIRE_PATH: Final = "/wire"
_OPEN_SECONDS: Final = 10.0
# What the carrier may buffer beyond the kernel; more would stand in front of control.
_WRITE_LIMIT: Final = 64 << 10
# Below this, copying buffers together (10 GB/s) costs less than one more WebSocket message (20 us) at both ends.
_JOIN_BELOW: Final = 192 << 10


def carrier_options(limits: Limits) -> dict[str, Any]:
    """What client and server tell the websockets library alike."""
    return {
        "compression": None,
        "max_size": limits.max_chunk + (64 << 10),
        "max_queue": 4,
        "write_limit": _WRITE_LIMIT,
        "ping_interval": None,
        "close_timeout": 1.0,
    }


def joined(buffers: Sequence[Buffer]) -> list[Buffer]:
    """The same bytes in fewer buffers: neighbours that are small together are copied, large ones stay as they are."""
    out: list[Buffer] = []
    small: list[Buffer] = []
    size = 0
    for buffer in buffers:
        if small and size + len(buffer) > _JOIN_BELOW:
            out.append(b"".join(small))
            small, size = [], 0
        if len(buffer) > _JOIN_BELOW:
            out.append(buffer)
        else:
            small.append(buffer)
            size += len(buffer)
    if small:
        out.append(b"".join(small))
    return out


@final
class WebSocketPipe:
    """A `Pipe` over an open WebSocket of the websockets library."""

    def __init__(self, socket: WebSocket) -> None:
        from websockets.exceptions import ConnectionClosed

        self._socket = socket
        self._pieces: AsyncIterator[bytes] | None = None
        # asyncio's transports raise AttributeError when they are written to after their loop has let go of them.
        self._ended = (ConnectionClosed, OSError, AttributeError)

    async def read(self) -> Buffer:
        """The next piece of a message as the library has it: asking for whole messages would copy it once more."""
        try:
            while True:
                if self._pieces is None:
                    self._pieces = self._socket.recv_streaming(decode=False)
                async for piece in self._pieces:
                    if piece:
                        return piece
                self._pieces = None
        except self._ended as end:
            raise PipeEnded(str(end)) from end

    async def write(self, buffers: Sequence[Buffer]) -> None:
        """Send the bytes in as few messages as copying allows."""
        try:
            for data in joined(buffers):
                await self._socket.send(data)
        except self._ended as end:
            raise PipeEnded(str(end)) from end

    async def close(self) -> None:
        """Close handshake, at most a second of it."""
        with suppress(*self._ended):
            await self._socket.close()


def websocket_dial(
    url: str, *, token: str | None = None, tls: Tls | None = None, limits: Limits | None = None
) -> Dial:
    """How to reach ``ws://`` or ``wss://``; the path is /wire where the URL has none."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise BadReference(
            f"url {url!r} is not ws://HOST:PORT or wss://HOST:PORT", fix="write ws://127.0.0.1:7077"
        )
    target = url if parts.path not in ("", "/") else parts._replace(path=WIRE_PATH).geturl()
    context = (tls or Tls()).client_context() if parts.scheme == "wss" else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    options = carrier_options(limits or Limits())

    async def dial() -> Pipe:
        from websockets.asyncio.client import connect

        try:
            socket = await connect(
                target, ssl=context, additional_headers=headers, open_timeout=_OPEN_SECONDS, **options
            )
        except Exception as error:
            raise refusal(url, error, tls) from error
        return WebSocketPipe(socket)

    return dial
