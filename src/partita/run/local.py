"""A second place on this machine: a real process, a real connection, shaped as slow as one likes.

Rules: the child is a `partita run-parts --listen` like any other; it is ended with its caller, whatever happens;
its port and its token are its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from ..errors import RemotePartFailed, Unreachable
from ..wire import Connection, LinkShape, ShapedLink, connect, create_token
from .remote import Remote

# Importing torch and capturing a large model takes this long on a slow machine with a cold disk.
READY_SECONDS = 300.0
STOP_SECONDS = 5.0


@asynccontextmanager
async def local_place(arguments: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
    """A place in a process of its own, started with these `run-parts` arguments: its URL and its token."""
    with TemporaryDirectory(prefix="partita-") as folder:
        token_file, log = Path(folder) / "token", Path(folder) / "log"
        token = create_token(token_file)
        command = [sys.executable, "-m", "partita", "run-parts", *arguments, "--listen", "127.0.0.1:0"]
        command += ["--token-file", str(token_file), "--until-eof", "--json"]
        with log.open("wb") as complaints:
            # Its standard input ends when this process does, however it does; with --until-eof so does the child.
            child = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=complaints
            )
        try:
            yield await _ready(child, log), token
        finally:
            await _stop(child)


async def _ready(child: asyncio.subprocess.Process, log: Path) -> str:
    """The URL that the child prints when it listens."""
    if child.stdout is None:  # pragma: no cover - it is a pipe
        raise AssertionError(child)
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await child.stdout.readline()
    except TimeoutError:
        raise Unreachable(
            f"the second process did not listen within {READY_SECONDS:g} s",
            fix="try a smaller model, or run it by hand",
        ) from None
    if not line:
        code = await child.wait()
        said = await asyncio.to_thread(log.read_text, errors="replace")
        last = (said.strip().splitlines() or ["no message"])[-1]
        raise RemotePartFailed(
            f"the second process ended with code {code}: {last}",
            fix="run the same model with `partita run-parts --listen` by hand to see why",
        )
    document = json.loads(line)
    if "url" not in document:
        raise RemotePartFailed(f"the second process: {document['problem']}", fix=str(document["fix"]))
    return str(document["url"])


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await child.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                child.kill()
            await child.communicate()


@asynccontextmanager
async def shaped(url: str, shape: LinkShape | None) -> AsyncIterator[str]:
    """The same server behind a link of this shape; the URL to use instead."""
    if shape is None:
        yield url
        return
    address = urlsplit(url)
    async with ShapedLink(address.hostname or "", address.port or 0, shape) as link:
        yield address._replace(netloc=f"127.0.0.1:{link.port}").geturl()


@asynccontextmanager
async def local_remote(
    arguments: Sequence[str], shape: LinkShape | None = None
) -> AsyncIterator[tuple[Remote, Connection]]:
    """A second process behind a shaped link, connected and ready for a driver."""
    async with AsyncExitStack() as stack:
        url, token = await stack.enter_async_context(local_place(arguments))
        near = await stack.enter_async_context(shaped(url, shape))
        connection = await connect(near, token=token)
        yield await stack.enter_async_context(Remote(connection)), connection
