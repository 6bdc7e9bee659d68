"""Checkpoints in one folder: the state of one side of a training at some steps, each in one file.

    with Checkpoints(folder) as checkpoints:
        checkpoints.save(120, document, values)
        document, values = checkpoints.load(checkpoints.steps()[-1])

A file appears under its name by one rename, after its bytes are on the disk: killed at any moment, this leaves whole
checkpoints only.

Rules: a folder is used by one process at a time, which holds a lock until it closes it or ends; nothing is believed that
does not match its digest; old checkpoints leave after a newer one is safe. Weights may be private: a folder made
here opens to its owner only.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final
from weakref import WeakSet

from ..engine import Array, Values
from ..errors import BadDocument, CorruptArtifact, NotFound, StoreUnavailable
from ..store import write_whole
from .checkpoints_file import Document, looks_whole, pack, unpack

__all__ = ["Checkpoints"]

_NAME: Final = re.compile(r"step-(\d{12,18})\.safetensors")


@final
class Checkpoints:
    """The checkpoints of one side of one training; the newest `keep` of them stay."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        if keep < 1:
            raise BadDocument("checkpoints", [f"keep: {keep} is below 1"], fix="keep 1 or more, usually 3")
        self.folder = folder
        self.keep = keep
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            fix = "choose a folder that you may write to"
            raise StoreUnavailable(
                f"the checkpoint folder {folder} cannot be used: {error}", fix=fix
            ) from error
        _OPEN.add(self)
        try:
            self._take_lock()
            # Left by a process that was killed while it wrote.
            self._remove(folder.glob(".partial-*"))
        except BaseException:
            self.close()
            raise

    def save(self, step: int, document: Mapping[str, Any], values: Mapping[str, Array]) -> Path:
        """Write the checkpoint of a step, in place of one of the same step; then let the oldest go."""
        self._check_open()
        path = write_whole(self._path(step), iter([pack(step, document, values)]))
        older = [found for found in self.steps() if found != step]
        kept = {step, *older[max(0, len(older) - self.keep + 1) :]}
        self._remove(path for found, path in self._files().items() if found not in kept)
        return path

    def steps(self) -> tuple[int, ...]:
        """The steps of all checkpoints whose files have their full length, ascending."""
        return tuple(sorted(step for step, path in self._files().items() if looks_whole(path)))

    def load(self, step: int) -> tuple[Document, Values]:
        """Document and values of a step as they were saved; bytes that changed since are refused."""
        path = self._path(step)
        try:
            return unpack(step, path.read_bytes())
        except FileNotFoundError:
            have = ", ".join(map(str, self.steps())) or "none"
            problem = f"there is no checkpoint of step {step} in {self.folder}"
            raise NotFound(problem, fix=f"choose one of those that are there: {have}") from None
        except OSError as error:
            fix = "check that you may read it and that the disk is sound"
            raise StoreUnavailable(f"{path} cannot be read: {error}", fix=fix) from error
        except ValueError as problem:
            others = [found for found in self.steps() if found < step]
            fix = f"remove the file; training can go on from step {others[-1]}" if others else "begin anew"
            raise CorruptArtifact(f"the checkpoint {path} cannot be used: {problem}", fix=fix) from problem

    def discard_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: training went back, and goes on from here otherwise."""
        self._check_open()
        self._remove(path for found, path in self._files().items() if found > step)

    def close(self) -> None:
        """Let another process use the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace") or "another one"
            who = "this process" if holder == str(os.getpid()) else f"process {holder}"
            raise StoreUnavailable(
                f"the checkpoints in {self.folder} are in use by {who}",
                fix="let it end, or give this training a folder of its own",
            ) from None
        except OSError as error:
            fix = "choose a folder on a file system that has locks"
            raise StoreUnavailable(f"{self.folder} cannot be locked: {error}", fix=fix) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _check_open(self) -> None:
        if self._lock < 0:
            raise StoreUnavailable(f"the checkpoints in {self.folder} were closed", fix="open them again")

    def _files(self) -> dict[int, Path]:
        try:
            found = {_NAME.fullmatch(path.name): path for path in self.folder.iterdir()}
        except OSError as error:
            fix = "check that the folder is still there, and that you may read it"
            raise StoreUnavailable(f"{self.folder} cannot be read: {error}", fix=fix) from error
        return {int(match[1]): path for match, path in found.items() if match}

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:012d}.safetensors"

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                fix = "check that you may write to the folder"
                raise StoreUnavailable(f"{path} cannot be removed: {error}", fix=fix) from error


_OPEN: Final[WeakSet[Checkpoints]] = WeakSet()


def _let_go() -> None:
    """In a forked child, as loaders of data start them: it may outlive its parent, whose lock this is."""
    for checkpoints in tuple(_OPEN):
        checkpoints.close()


os.register_at_fork(after_in_child=_let_go)
