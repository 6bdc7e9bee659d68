"""The wire as a bare ASGI application: mount it at /wire of any ASGI app, and tensors share that app's port.

Two rules. No framework is imported: an ASGI server calls us, we call it back. The server must not compress or ping
(uvicorn: ``ws="websockets-sansio", ws_per_message_deflate=False, ws_ping_interval=None``) and must take messages of
``max_chunk`` (uvicorn: ``ws_max_size=WireApp.MAX_MESSAGE``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, final

from .access import token_matches
from .channel import PipeEnded
from .channel_hub import Handler, Hub, HubLimits
from .channel_ws import joined
from .limits import Limits
from .message import Buffer
from .session_event import Settings

__all__ = ["WireApp"]

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

# The close code of RFC 6455 for "policy": before accept, ASGI servers answer HTTP 403 to it.
_POLICY: Final = 1008


@final
class WireApp:
    """An ASGI application that answers WebSocket connections with sessions, and nothing else."""

    MAX_MESSAGE: ClassVar[int] = Limits().max_chunk + (64 << 10)

    def __init__(
        self,
        handler: Handler,
        *,
        token: str | None = None,
        settings: Settings | None = None,
        limits: HubLimits | None = None,
    ) -> None:
        self.hub = Hub(handler, settings, limits)
        self._token = token

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "websocket":
            if scope["type"] == "http":
                await _answer_http(send)
            return
        await receive()
        if self._token is not None and not _knows(scope["headers"], self._token):
            await send(
                {"type": "websocket.close", "code": _POLICY, "reason": "the token is missing or wrong"}
            )
            return
        await send({"type": "websocket.accept"})
        await self.hub.serve(_AsgiPipe(receive, send))

    async def close(self) -> None:
        """End every session; call it when the app around it shuts down."""
        await self.hub.close()


@final
class _AsgiPipe:
    """A `Pipe` over an accepted ASGI WebSocket."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._over = False

    async def read(self) -> Buffer:
        while not self._over:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                self._over = True
            elif data := event.get("bytes") or (event.get("text") or "").encode():
                return bytes(data)
        raise PipeEnded("the ASGI server says that the client has gone")

    async def write(self, buffers: Sequence[Buffer]) -> None:
        if self._over:
            raise PipeEnded("the WebSocket is closed")
        try:
            for data in joined(buffers):
                await self._send(
                    {"type": "websocket.send", "bytes": data if isinstance(data, bytes) else bytes(data)}
                )
        except Exception as error:
            # ASGI servers differ in what they raise for a client that has gone; to a pipe they all mean its end.
            self._over = True
            raise PipeEnded(str(error)) from error

    async def close(self) -> None:
        if not self._over:
            self._over = True
            with suppress(Exception):
                await self._send({"type": "websocket.close", "code": 1000})


def _knows(headers: Iterable[tuple[bytes, bytes]], token: str) -> bool:
    given = [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]
    return len(given) == 1 and token_matches(given[0], token)


async def _answer_http(send: Send) -> None:
    body = b"this path speaks WebSocket\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": 426, "headers": [*headers, (b"upgrade", b"websocket")]}
    )
    await send({"type": "http.response.body", "body": body})
