"""A training cloud in a process of its own on this machine: for tests, comparisons and demonstrations.

    with local_cloud(link=parse_shape("10mbit/40ms")) as cloud:
        Session(net, cloud=cloud.url, token=cloud.token)

Rules: it is a `partita train cloud` like any other, with a token of its own; it ends with its caller, whatever
happens; behind a link, its address stays the same however often it is killed and started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import Final, final
from urllib.parse import urlsplit

from ..errors import RemotePartFailed, SessionMisused, Unreachable
from ..wire import LinkShape, ShapedLink, create_token

# Importing torch and capturing a large model takes this long on a slow machine with a cold disk.
READY_SECONDS: Final = 300.0
STOP_SECONDS: Final = 5.0


@dataclass(frozen=True)
class _Wanted:
    """A cloud, as it was asked for."""

    token_file: Path
    log: Path
    state: Path
    threads: int
    slow: float
    cpu: int | None
    model: str | None

    def command(self, port: int) -> list[str]:
        words = [sys.executable, "-m", "partita", "train", "cloud", "--listen", f"127.0.0.1:{port}"]
        words += ["--token-file", str(self.token_file), "--state", str(self.state), "--until-eof", "--json"]
        words += ["--threads", str(self.threads), "--slow", str(self.slow)]
        return words + (["--model", self.model] if self.model is not None else [])


@final
class LocalCloud:
    """A cloud in a second process, and the link to it."""

    def __init__(self, wanted: _Wanted, token: str) -> None:
        self._wanted, self.token = wanted, token
        self._child: subprocess.Popen[bytes] | None = None
        self._own = ""
        self.link: LocalLink | None = None

    @property
    def url(self) -> str:
        """Where to connect to: the link if there is one."""
        if self.link is None:
            return self._own
        return urlsplit(self._own)._replace(netloc=f"127.0.0.1:{self.link.port}").geturl()

    @property
    def port(self) -> int:
        """The port of the process itself; 0 before it first listened."""
        return urlsplit(self._own).port or 0 if self._own else 0

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise SessionMisused("the second process was not started", fix="call start")
        return self._child

    def start(self) -> None:
        """Start the process: at the same port and with the same checkpoints as before."""
        if self.alive:
            return
        wanted = self._wanted
        with wanted.log.open("ab") as complaints:
            # Its standard input ends when this process does, however it does; with --until-eof so does the child.
            self._child = subprocess.Popen(
                wanted.command(self.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            )
        try:
            if wanted.cpu is not None and hasattr(os, "sched_setaffinity"):
                # Before it has a second thread: what it starts later inherits this.
                os.sched_setaffinity(self._child.pid, {wanted.cpu})
            self._own = _ready(self._child, wanted.log)
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """End the process without a word, as a power cut does."""
        child = self._running
        child.kill()
        _closed(child)

    def restart(self) -> None:
        """Kill it, if it still runs, and start it again."""
        if self.alive:
            self.kill()
        self.start()

    def stop(self) -> None:
        """End the process in good order, or else by force."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
        if child.poll() is None:
            child.kill()
        _closed(child)

    def reshape(self, shape: LinkShape) -> None:
        """Change the link while it is in use."""
        if self.link is None:
            raise SessionMisused("there is no link to change", fix="start the cloud with link=")
        self.link.reshape(shape)


@final
class LocalLink:
    """A slow link on purpose, in a thread of its own."""

    def __init__(self, host: str, port: int, shape: LinkShape) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="partita-link", daemon=True)
        self._thread.start()
        self._link = ShapedLink(host, port, shape)
        try:
            asyncio.run_coroutine_threadsafe(self._link.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        self.port = self._link.port

    @property
    def bytes(self) -> tuple[int, int]:
        """What passed up and down so far, whatever carried it."""
        return self._link.bytes_up, self._link.bytes_down

    def reshape(self, shape: LinkShape) -> None:
        """Change its manners while it is in use."""
        self._call(lambda: self._link.set(shape))

    def cut(self) -> None:
        """Break all connections and let none through until `restore`."""
        self._call(self._link.cut)

    def restore(self) -> None:
        """Let connections through again."""
        self._call(self._link.restore)

    def close(self) -> None:
        """End it."""
        asyncio.run_coroutine_threadsafe(self._link.__aexit__(None, None, None), self._loop).result()
        self._end()

    def _call(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def local_cloud(
    *,
    threads: int = 1,
    slow: float = 1.0,
    state: Path | None = None,
    cpu: int | None = None,
    link: LinkShape | None = None,
    model: str | None = None,
) -> Iterator[LocalCloud]:
    """A training cloud in a second process, pinned to a core and behind a link if asked; ended with the block.

    `slow` pretends a slower device; `state` keeps its checkpoints; `model` is one that edges need not send.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="partita-")))
        token_file = folder / "token"
        token = create_token(token_file)
        wanted = _Wanted(token_file, folder / "log", state or folder / "state", threads, slow, cpu, model)
        cloud = LocalCloud(wanted, token)
        stack.callback(cloud.stop)
        cloud.start()
        if link is not None:
            cloud.link = LocalLink("127.0.0.1", cloud.port, link)
            stack.callback(cloud.link.close)
        yield cloud


def _ready(child: subprocess.Popen[bytes], log: Path) -> str:
    """The URL that the child prints when it listens."""
    if child.stdout is None:  # pragma: no cover - it is a pipe
        raise AssertionError(child)
    if not select([child.stdout], [], [], READY_SECONDS)[0]:
        raise Unreachable(
            f"the second process did not listen within {READY_SECONDS:g} s",
            fix="run `partita train cloud` by hand",
        )
    line = child.stdout.readline()
    if not line:
        said = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise RemotePartFailed(
            f"the second process ended with code {child.wait()}: {said}",
            fix="run `partita train cloud` by hand to see why",
        )
    document = json.loads(line)
    if "url" not in document:
        raise RemotePartFailed(f"the second process: {document['problem']}", fix=str(document["fix"]))
    return str(document["url"])


def _closed(child: subprocess.Popen[bytes]) -> None:
    """Wait for a child that ends, and close its pipes."""
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
