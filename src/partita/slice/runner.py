"""All slices of a folder in one process: the same numbers as the functions give, without bytes in between.

Rules: sessions are made once and kept, and their threads do not spin; nothing is copied from slice to slice;
any number of threads may run at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ..engine import Array, Values
from ..engine.onnx_run import OnnxPart
from ..errors import SessionMisused
from .document import Exactness
from .event import check_run, new_run
from .inputs import check_inputs
from .manifest import Manifest, read_manifest
from .payload import total_bytes
from .stage import load_slice, remarks, run_settings


@dataclass(frozen=True)
class Outcome:
    """What one run gave, and what it took: for every slice its seconds, and the bytes that it read and made."""

    run: str
    outputs: Values
    seconds: tuple[float, ...]
    bytes_in: tuple[int, ...]
    bytes_out: tuple[int, ...]
    notes: tuple[str, ...] = ()


def open_slices(
    folder: str | Path, *, threads: int = 0, exactness: Exactness | None = None, check: bool = True
) -> Slices:
    """The slices of a folder, their digests compared; a slice is loaded when it is first run."""
    folder = Path(folder)
    return Slices(folder, read_manifest(folder, check=check), threads=threads, exactness=exactness)


@final
class Slices:
    """A cut model, ready to run in this process."""

    def __init__(
        self, folder: Path, manifest: Manifest, *, threads: int = 0, exactness: Exactness | None = None
    ) -> None:
        self.manifest = manifest
        self.notes = remarks(manifest)
        self._folder = folder
        self._settings = run_settings(manifest, threads=threads, exactness=exactness)
        self._parts: list[OnnxPart | None] = [None] * len(manifest.files)
        self._locks = [threading.Lock() for _ in manifest.files]
        # After slice k, these are not needed any more.
        self._over = [
            frozenset({*manifest.needed(index), *file.outputs}.difference(manifest.needed(index + 1)))
            for index, file in enumerate(manifest.files)
        ]
        self._closed = False

    def __len__(self) -> int:
        return len(self._parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> None:
        """Load every slice now rather than at the first run."""
        for index in range(len(self)):
            self._part(index)

    def run(self, values: Mapping[str, Array], *, run_id: str = "") -> Outcome:
        """One request through all slices."""
        run = check_run(run_id or new_run())
        check_inputs(self.manifest, values)
        held: Values = dict(values)
        seconds, came, went = [], [], []
        for index, file in enumerate(self.manifest.files):
            part = self._part(index)
            given = {name: held[name] for name in file.inputs}
            start = time.perf_counter()
            made = part.forward(given)
            seconds.append(time.perf_counter() - start)
            came.append(total_bytes(given.values()))
            went.append(total_bytes(made.values()))
            held.update(made)
            for name in self._over[index]:
                held.pop(name, None)
        outputs = {name: held[name] for name in self.manifest.outputs}
        return Outcome(run, outputs, tuple(seconds), tuple(came), tuple(went), self.notes)

    def close(self) -> None:
        """Let go of all sessions. Runs under way end first by themselves."""
        self._closed = True
        self._parts = [None] * len(self._parts)

    def _part(self, index: int) -> OnnxPart:
        # Read once: another thread may close or load in between.
        part = self._parts[index]
        if part is not None:
            return part
        with self._locks[index]:
            if self._closed:
                raise SessionMisused("these slices are closed", fix="open them again: open_slices(folder)")
            part = self._parts[index]
            if part is None:
                part = self._parts[index] = load_slice(self.manifest, self._folder, index, self._settings)
            return part
