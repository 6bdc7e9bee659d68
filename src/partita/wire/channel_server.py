"""One port for tensors and plain HTTP: WebSocket at /wire, GET /healthz, and whatever else is plugged in.

Two rules. Access is checked before the WebSocket opens. A connection's faults end that connection; the server goes on.
"""

from __future__ import annotations

import errno
import http
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, final
from urllib.parse import urlsplit

from ..errors import LocalError, PortTaken, Unreachable
from .access import Tls, check_bind, token_matches
from .channel_hub import Handler, Hub, HubLimits
from .channel_ws import WIRE_PATH, WebSocketPipe, carrier_options
from .session_event import Settings

if TYPE_CHECKING:
    from websockets.asyncio.server import Server as WebSocketServer
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

__all__ = ["HttpAnswer", "HttpHandler", "WebSocketListener", "listen_websocket"]

_LOG: Final = logging.getLogger("partita.wire")
# websockets logs every failed handshake as an error with its traceback; ours says it in one line where it matters.
_QUIET: Final = logging.getLogger("partita.wire.websockets")
_QUIET.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a plain HTTP request gets."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


# (path with query, headers) -> an answer, or None for 404. Only GET reaches it: bodies belong to a REST server.
HttpHandler = Callable[[str, Mapping[str, str]], HttpAnswer | None]


@final
class WebSocketListener:
    """A server that is running; close it to stop it and its sessions."""

    def __init__(self, server: WebSocketServer, hub: Hub, *, secure: bool) -> None:
        self._server = server
        self.hub = hub
        self.host, self.port = next(iter(server.sockets)).getsockname()[:2]
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'wss' if secure else 'ws'}://{name}:{self.port}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening, end every session, wait for the handlers."""
        self._server.close(close_connections=False)
        await self.hub.close()
        self._server.close()
        await self._server.wait_closed()


async def listen_websocket(
    address: tuple[str, int],
    handler: Handler,
    *,
    token: str | None = None,
    tls: Tls | None = None,
    http_handler: HttpHandler | None = None,
    settings: Settings | None = None,
    limits: HubLimits | None = None,
) -> WebSocketListener:
    """Serve on (host, port), port 0 being any free one; ``handler`` runs once per session."""
    from websockets.asyncio.server import serve

    host, port = address
    check_bind(host, token=token, tls=tls, port=port)
    settings = settings or Settings()
    hub = Hub(handler, settings, limits)
    gate = _Gate(token, http_handler)

    async def accept(socket: ServerConnection) -> None:
        await hub.serve(WebSocketPipe(socket))

    try:
        server = await serve(
            accept,
            host,
            port,
            process_request=gate.answer,
            ssl=tls.server_context() if tls else None,
            logger=_QUIET,
            server_header=None,
            **carrier_options(settings.limits),
        )
    except OSError as error:
        raise _cannot_bind(host, port, error) from error
    return WebSocketListener(server, hub, secure=tls is not None)


@final
@dataclass(frozen=True, slots=True)
class _Gate:
    """Decides for each HTTP request: a plain answer, a refusal, or (None) the way to the WebSocket."""

    token: str | None
    http_handler: HttpHandler | None

    def answer(self, socket: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == "/healthz":
            return _response(HttpAnswer(b"ok\n"))
        if self.token is not None and not self._knows(request):
            _LOG.info("%s: refused, the token is missing or wrong", socket.remote_address)
            refused = HttpAnswer(
                b"the token is missing or wrong\n", status=401, headers={"WWW-Authenticate": "Bearer"}
            )
            return _response(refused)
        if path == WIRE_PATH:
            return None
        answer = self.http_handler(request.path, request.headers) if self.http_handler else None
        return _response(answer or HttpAnswer(b"nothing here; the wire is at /wire\n", status=404))

    def _knows(self, request: Request) -> bool:
        # get_all: a repeated header is an attack or a mistake, and neither is let in.
        given = request.headers.get_all("Authorization")
        return len(given) == 1 and token_matches(given[0], self.token or "")


def _response(answer: HttpAnswer) -> Response:
    from websockets.datastructures import Headers
    from websockets.http11 import Response as Http11Response

    fields: dict[str, Any] = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        **answer.headers,
    }
    return Http11Response(answer.status, http.HTTPStatus(answer.status).phrase, Headers(fields), answer.body)


def _cannot_bind(host: str, port: int, error: OSError) -> LocalError | Unreachable:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} on {host} is in use", fix="stop what listens there, or choose another port"
        )
    return PortTaken(
        f"host {host}, port {port}: {error.strerror or error}",
        fix="choose an address of this machine, and a port above 1023",
    )
