"""Functions of a platform, played by processes: what a function may hold and write, and what it is handed.

Rules: what can be known before a process is started is checked before; every bound that breaks becomes the same
kind of error; a function's files lie in its package, or where that is too small in its own temporary folder.
"""

from __future__ import annotations

import os
import shutil
import statistics
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ..plan import Platform
from .document import Exactness
from .event import FolderStore
from .manifest import MANIFEST, Manifest
from .payload import Buffer
from .rehearse_process import Called, OverMemory, OverTime, SliceProcess
from .rehearse_report import RehearsedSlice, broken, grown
from .worker import Setup


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rehearsal was asked for: a memory for every function, stopping or only measuring, threads, exactness."""

    memory: int | None = None
    enforce: bool = True
    threads: int = 0
    exactness: Exactness | None = None


@final
class Functions:
    """Starts the slices of one folder as functions. Everything it makes lies in `scratch`."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        platform: Platform,
        scratch: Path,
        terms: Terms,
    ) -> None:
        self.folder, self.manifest, self.platform, self.scratch = folder, manifest, platform, scratch
        self._terms = terms
        self._count, self._lock = 0, threading.Lock()
        self.store = FolderStore(scratch / "store")

    def memory(self, index: int) -> int | None:
        """What this function may hold; a place without a limit of memory orders none and sets none."""
        limit = self.platform.limits.memory
        plan = self.manifest.plan
        ours = limit is not None and plan.platform == self.platform.name
        ordered = plan.slices[index].function_memory if ours else None
        return self._terms.memory or ordered or limit

    def start(self, index: int) -> SliceProcess:
        """Start one; `ready` waits for it."""
        limits = self.platform.limits
        home = self._home()
        folder = self.folder
        if self.packed(index):
            whole = self.manifest.files[index].bytes + limits.runtime_package
            self.hold("package", index, whole, limits.package)
        else:
            need = self.manifest.files[index].bytes
            self.hold("temporary storage", index, need, limits.tmp)
            folder = self._fetch(index, home)
        bound = self.memory(index) if self._terms.enforce else None
        setup = Setup(
            folder=str(folder),
            index=index,
            store=str(self.scratch / "store"),
            threads=self._terms.threads,
            exactness=self._terms.exactness,
            memory=bound or 0,
            mapped=self.manifest.files[index].bytes,
            file=(limits.tmp or 0) if self._terms.enforce else 0,
        )
        seconds = limits.seconds if self._terms.enforce else None
        return SliceProcess(setup, home, memory=bound, seconds=seconds)

    def ready(self, process: SliceProcess) -> None:
        """Wait until it has loaded its slice."""
        try:
            process.ready()
        except OverMemory as over:
            raise self._over_memory(process, over) from None

    def call(self, process: SliceProcess, event: Sequence[Buffer]) -> Called:
        """One call, its events held against the platform's limits."""
        index, limits = process.index, self.platform.limits
        size = grown(sum(map(len, event)), self.platform)
        self.hold("payload in", index, size, limits.payload_in)
        if index:
            self.hold("event", index, size, self.platform.event)
        try:
            called = process.call(event)
        except OverMemory as over:
            raise self._over_memory(process, over) from None
        except OverTime as over:
            raise broken("time", self.manifest, self.platform, index, over.seconds, over.seconds) from None
        self.hold("payload out", index, grown(len(called.event), self.platform), limits.payload_out)
        self.hold("temporary storage", index, _written(process.home), limits.tmp)
        return called

    def end(self, process: SliceProcess) -> None:
        """Stop it and remove what it wrote."""
        process.close()
        shutil.rmtree(process.home, ignore_errors=True)

    def hold(self, check: str, index: int, need: float, bound: float | None) -> None:
        """Refuse what is more than a limit."""
        if self._terms.enforce and bound is not None and need > bound:
            raise broken(check, self.manifest, self.platform, index, need, bound)

    def packed(self, index: int) -> bool:
        """Whether the slice fits the package, beside the runtime; without a store there is nowhere else for it."""
        limits = self.platform.limits
        return (
            limits.package is None
            or not self.platform.has_store
            or self.manifest.files[index].bytes + limits.runtime_package <= limits.package
        )

    def measured(self, process: SliceProcess, sent: int, calls: Sequence[Called]) -> RehearsedSlice:
        """What one function showed: its first call was cold."""
        index, limits = process.index, self.platform.limits
        own = self.manifest.files[index].bytes if self.packed(index) else 0
        warm = [called.seconds for called in calls[1:]]
        return RehearsedSlice(
            index=index,
            package=limits.runtime_package + own,
            tmp=_written(process.home),
            base=process.base,
            peak=process.resident.peak,
            anonymous=process.resident.anonymous,
            file=process.resident.file,
            payload_in=sent,
            payload_out=len(calls[0].event),
            stored_in=calls[0].read,
            stored_out=calls[0].written,
            cold=process.cold,
            load=process.load,
            first=calls[0].seconds,
            warm=statistics.median(warm) if warm else None,
            slowest=max(called.seconds for called in calls),
            memory=self.memory(index),
        )

    def _home(self) -> Path:
        with self._lock:
            self._count += 1
            home = self.scratch / f"function-{self._count}"
        home.mkdir()
        return home

    def _fetch(self, index: int, home: Path) -> Path:
        """The slice's files in its own temporary folder; linked where the file system can."""
        folder = home / "slice"
        folder.mkdir()
        for name in (MANIFEST, *self.manifest.files[index].names):
            source, target = self.folder / name, folder / name
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
        return folder

    def _over_memory(self, process: SliceProcess, over: OverMemory) -> Exception:
        bound = self.memory(process.index) or 0
        return broken("memory", self.manifest, self.platform, process.index, over.needed, bound)


def _written(home: Path) -> int:
    """Bytes in a function's temporary folder; the manifest, which every package holds, does not count."""
    total = 0
    for path in home.rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.name != MANIFEST:
                total += path.stat().st_size
    return total
