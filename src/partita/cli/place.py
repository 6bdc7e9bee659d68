"""The other end of `run-parts`: a place that listens and serves the parts of one model."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ..engine import Captured
from ..errors import BadDocument
from ..run import PlaceServer
from ..wire import check_bind
from .access import AccessOptions
from .model import ModelOptions
from .render import Screen


@dataclass(frozen=True)
class Service:
    """A place, as it was asked for."""

    model: str
    options: ModelOptions
    access: AccessOptions
    listen: str
    slow: float = 1.0
    until_eof: bool = False


async def serve(screen: Screen, service: Service) -> int:
    """Be the place until interrupted."""
    model, options, access, listen = service.model, service.options, service.access, service.listen
    host, port = address_of(listen)
    token, tls = access.token(), access.tls()
    check_bind(host, token=token, tls=tls, port=port, command=f"partita run-parts {model}")
    first: list[Captured] = [options.capture(model)]
    chain = first[0].chain

    def offer() -> Captured:
        # The first visitor takes the model that was captured to see that it can be; each later one gets its own.
        return first.pop() if first else options.capture(model)

    scheme = "wss" if tls is not None else "ws"
    offers = {chain.name: offer}
    async with PlaceServer(f"{scheme}://{listen}", offers, token=token, tls=tls, slow=service.slow) as server:
        screen.say(f"serving parts of {model} at {server.url} (Ctrl-C ends it)")
        screen.result({"url": server.url, "model": chain.name, "digest": chain.digest})
        sys.stdout.flush()
        await until_stopped(until_eof=service.until_eof)
    return 0


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of `--listen`."""
    address = urlsplit(f"//{listen}")
    port = _port(address)
    if not address.hostname or port is None:
        raise BadDocument(
            "--listen", [f"{listen!r} is not HOST:PORT"], fix="write it like --listen 127.0.0.1:7700"
        )
    return address.hostname, port


def _port(address: SplitResult) -> int | None:
    try:
        return address.port
    except ValueError:  # not a number, or above 65535
        return None


async def until_stopped(*, until_eof: bool) -> None:
    """Wait for an interrupt, a termination, or the end of standard input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    if until_eof:
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        ended = asyncio.ensure_future(reader.read())
        ended.add_done_callback(lambda _: stop.set())
        await stop.wait()
        ended.cancel()
        transport.close()
    else:
        await stop.wait()
