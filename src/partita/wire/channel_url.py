"""Carriers by URL: ``ws://HOST:PORT``, ``wss://HOST:PORT`` and, inside one event loop, ``mem://NAME``.

One rule: what is not said is safe: no port is public, no certificate unverified.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, Self, final
from urllib.parse import urlsplit

from ..errors import BadReference, PortTaken, Unreachable
from .access import Tls
from .channel import Connection, Pipe
from .channel_client import open_connection
from .channel_hub import Handler, Hub, HubLimits
from .channel_memory import memory_pipes
from .channel_server import HttpHandler, listen_websocket
from .channel_ws import websocket_dial
from .session_event import Settings

__all__ = ["Listener", "connect", "listen"]


class Listener(Protocol):
    """A server that runs until it is closed."""

    @property
    def url(self) -> str:
        """Where to connect to."""
        ...

    @property
    def hub(self) -> Hub:
        """Its sessions."""
        ...

    async def close(self) -> None:
        """Stop it and end its sessions."""
        ...

    async def __aenter__(self) -> Self:
        """``async with`` closes the server at its end."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        ...


async def connect(
    url: str, *, token: str | None = None, tls: Tls | None = None, settings: Settings | None = None
) -> Connection:
    """A connection to the server at this URL."""
    if url.startswith("mem://"):
        return await open_connection(_memory_dial(url).dial, settings)
    settings = settings or Settings()
    return await open_connection(websocket_dial(url, token=token, tls=tls, limits=settings.limits), settings)


async def listen(
    url: str,
    handler: Handler,
    *,
    token: str | None = None,
    tls: Tls | None = None,
    http_handler: HttpHandler | None = None,
    settings: Settings | None = None,
    limits: HubLimits | None = None,
) -> Listener:
    """A server at this URL; port 0 is any free one. ``handler`` runs once per session, in its own task."""
    if url.startswith("mem://"):
        return _MemoryListener(url, Hub(handler, settings, limits))
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.port is None:
        raise BadReference(
            f"url {url!r} is not ws://HOST:PORT, wss://HOST:PORT or mem://NAME",
            fix="write ws://127.0.0.1:7077",
        )
    if (parts.scheme == "wss") != (tls is not None):
        raise BadReference(
            f"url {url!r}: {'wss:// needs a certificate' if tls is None else 'a certificate needs wss://'}",
            fix="use ws:// without TLS files and wss:// with them",
        )
    return await listen_websocket(
        (parts.hostname, parts.port),
        handler,
        token=token,
        tls=tls,
        http_handler=http_handler,
        settings=settings,
        limits=limits,
    )


@final
class _MemoryListener:
    """A server inside this process."""

    def __init__(self, url: str, hub: Hub) -> None:
        if url in _LISTENING:
            raise PortTaken(f"{url} is in use", fix="choose another name")
        self.url, self.hub = url, hub
        self._pipes: set[asyncio.Task[None]] = set()
        _LISTENING[url] = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def dial(self) -> Pipe:
        """A pipe to the hub."""
        if _LISTENING.get(self.url) is not self:
            raise Unreachable(f"{self.url}: nobody listens there any more", fix="start the server again")
        ours, theirs = memory_pipes()
        task = asyncio.get_running_loop().create_task(self.hub.serve(theirs), name=f"partita {self.url}")
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        return ours

    async def close(self) -> None:
        """Stop it and end its sessions."""
        _LISTENING.pop(self.url, None)
        await self.hub.close()
        await asyncio.gather(*self._pipes, return_exceptions=True)


_LISTENING: Final[dict[str, _MemoryListener]] = {}


def _memory_dial(url: str) -> _MemoryListener:
    try:
        return _LISTENING[url]
    except KeyError:
        raise Unreachable(
            f"{url}: nobody listens there in this process", fix="start the listener first"
        ) from None
