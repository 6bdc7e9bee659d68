"""One slice in a process of its own, as a function would hold it: events in, events out.

Rules: frames on the pipes that the process was started with, everything printed goes to stderr; when the pipe ends
the process ends, whatever it is doing; what it says about memory it read from its own kernel, after the work.
"""

from __future__ import annotations

import json
import os
import queue
import re
import resource
import struct
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..engine.onnx_run import onnx_providers
from ..errors import PartitaError
from .document import Exactness
from .event import Event, FolderStore, ValueStore
from .payload import MOST_BYTES, Buffer
from .stage import Stage

# A frame: its kind in one letter, its length, its bytes.
FRAME: Final = struct.Struct("<cQ")
EVENT, READY, REPORT, ANSWER, FAILED = b"E", b"R", b"T", b"A", b"F"
_NO_MEMORY: Final = re.compile(
    r"bad.?alloc|MemoryError|(?:cannot|failed to|unable to|could not) allocate|out of memory|"
    r"can't start new thread|Resource temporarily unavailable",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Setup:
    """What the process is told. `memory` and `file` are hard stops in bytes, 0 where there is none.

    `mapped` is the size of the slice's files, which come on top of the memory: they are mapped, not always touched.
    """

    folder: str
    index: int
    store: str
    threads: int = 0
    exactness: Exactness | None = None
    memory: int = 0
    mapped: int = 0
    file: int = 0

    def dump(self) -> str:
        """As one argument of a command line."""
        return json.dumps(self.__dict__)


def memory_now() -> dict[str, int]:
    """Resident bytes of this process: now, of it anonymous and of files, and at the worst moment since it began."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = most if sys.platform == "darwin" else most * 1024
        return {"now": peak, "anonymous": 0, "file": 0, "peak": peak, "reserved": 0}
    said = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    names = {
        "now": "VmRSS",
        "anonymous": "RssAnon",
        "file": "RssFile",
        "peak": "VmHWM",
        "reserved": "VmData",
    }
    return {name: int(said.get(field, 0)) * 1024 for name, field in names.items()}


def ran_out(text: str) -> bool:
    """Whether these words say that no more memory was given."""
    return bool(_NO_MEMORY.search(text))


class CountingStore:
    """A store that says how many bytes went through it."""

    def __init__(self, store: ValueStore) -> None:
        self._store = store
        self.read = self.written = 0

    def get(self, key: str) -> Buffer:
        """The bytes under a key."""
        data = self._store.get(key)
        self.read += len(data)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes under a key."""
        self._store.put(key, data)
        self.written += len(data)


def main(arguments: list[str]) -> int:
    """Load one slice, then answer events until the pipe ends."""
    setup = Setup(**json.loads(arguments[0]))
    out = os.dup(1)
    os.dup2(2, 1)
    events: queue.Queue[bytearray] = queue.Queue()
    threading.Thread(target=_listen, args=(events,), name="pipe", daemon=True).start()
    onnx_providers()  # loads ONNX Runtime, which is part of what a function holds before any weight
    base = memory_now()
    try:
        _stop_at(setup, base)
        start = time.perf_counter()
        stage = Stage(
            setup.folder, setup.index, threads=setup.threads, exactness=setup.exactness, check=False
        )
        stage.load()
        ready = {"base": base["now"], "load": time.perf_counter() - start, "memory": memory_now()}
        _send(out, READY, [json.dumps(ready).encode()])
        while True:
            _answer(out, stage, events.get(), FolderStore(Path(setup.store)))
    except PartitaError as error:
        return _fail(out, error.code, error.problem, error.fix)
    except MemoryError:
        return _fail(out, "memory", "MemoryError", "")


def _answer(out: int, stage: Stage, data: bytearray, store: ValueStore) -> None:
    start = time.perf_counter()
    counted = CountingStore(store)
    event = Event.unpack(memoryview(data).toreadonly())
    gone = stage.call(event, counted).pieces()
    took = time.perf_counter() - start
    report = {"seconds": took, "read": counted.read, "written": counted.written, "memory": memory_now()}
    _send(out, REPORT, [json.dumps(report).encode()])
    _send(out, ANSWER, gone)


def _stop_at(setup: Setup, base: dict[str, int]) -> None:
    """Ask the kernel for hard stops, behind the parent's watch.

    The data limit counts address space, not pages: what was reserved and never touched, the stacks of threads and
    the mapped weights come on top, so that it stops only what would break the limit for certain.
    """
    if setup.memory and base["reserved"]:
        stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
        stacks = (setup.threads or os.cpu_count() or 1) * (stack if 0 < stack < 1 << 30 else 8 << 20)
        unused = max(0, base["reserved"] - base["anonymous"])
        bound = setup.memory + unused + stacks + setup.mapped
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    if setup.file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (setup.file, setup.file))


def _listen(events: queue.Queue[bytearray]) -> None:
    """Take events off the pipe; leave at once when its other end is gone."""
    while True:
        kind, length = FRAME.unpack(_exactly(FRAME.size))
        if kind != EVENT or length > MOST_BYTES:
            os._exit(2)
        events.put(_exactly(length))


def _exactly(count: int) -> bytearray:
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = os.readv(0, [view[at:]])
        if not got:
            os._exit(0)
        at += got
    return data


def _send(out: int, kind: bytes, pieces: Iterable[Buffer]) -> None:
    views = [memoryview(piece).cast("B") for piece in pieces]
    for view in (memoryview(FRAME.pack(kind, sum(map(len, views)))), *views):
        at = 0
        while at < len(view):
            at += os.write(out, view[at:])


def _fail(out: int, code: str, problem: str, fix: str) -> int:
    said: dict[str, Any] = {"code": code, "problem": problem, "fix": fix, "memory": memory_now()}
    _send(out, FAILED, [json.dumps(said).encode()])
    return 1
