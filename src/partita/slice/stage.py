"""One slice as a function: an event comes in, an event goes out. What a serverless handler calls.

Rules: the session is made once and kept between calls; nothing but numpy and ONNX Runtime is loaded; an event for
another cut or another slice is refused before anything runs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from ..engine import Array, Values
from ..engine.onnx_run import Level, OnnxPart, RunSettings
from ..errors import BadDocument, PartFailed
from .document import Exactness
from .event import Event, ValueStore, check_event, cut_digest, handed, needs_store, stored_value
from .manifest import Manifest, check_slice, read_manifest

_LEVELS: Final[Mapping[Exactness, Level]] = {"exact": "exact", "fast": "all"}


def run_settings(manifest: Manifest, *, threads: int = 0, exactness: Exactness | None = None) -> RunSettings:
    """How slices of this cut are run: prepacked or not as they were cut, because that belongs to the numbers."""
    return RunSettings(
        threads=threads, level=_LEVELS[exactness or manifest.exactness], prepack=manifest.prepack
    )


def load_slice(manifest: Manifest, folder: Path, index: int, settings: RunSettings) -> OnnxPart:
    """One slice, ready to run."""
    try:
        return OnnxPart.load(folder / manifest.files[index].path, settings)
    except PartFailed as error:
        raise PartFailed(
            f"slice {index}: {error.problem}" + "".join(f" ({note})" for note in remarks(manifest)),
            fix="cut again with this version of onnxruntime: partita slice cut MODEL.onnx -o FOLDER",
        ) from error


def remarks(manifest: Manifest) -> tuple[str, ...]:
    """What a reader of the results should know."""
    from importlib.metadata import version  # 2 MB that a function needs for nothing else

    here = version("onnxruntime")
    if manifest.runtime == here:
        return ()
    return (f"prepared with onnxruntime {manifest.runtime}, run with {here}: the last bits may differ",)


@final
class Stage:
    """Slice `index` of a folder, which needs to hold no other slice."""

    def __init__(
        self,
        folder: str | Path,
        index: int,
        *,
        threads: int = 0,
        exactness: Exactness | None = None,
        check: bool = True,
    ) -> None:
        self._folder, self.index = Path(folder), index
        self.manifest = read_manifest(self._folder, check=False)
        count = len(self.manifest.files)
        if not 0 <= index < count:
            raise BadDocument(
                "slice", [f"{index} is not one of 0 to {count - 1}"], fix="give the number of a slice"
            )
        if check:
            check_slice(self.manifest, self._folder, index)
        self.digest = cut_digest(self.manifest)
        self._settings = run_settings(self.manifest, threads=threads, exactness=exactness)
        self._part: OnnxPart | None = None
        self._lock = threading.Lock()

    def load(self) -> OnnxPart:
        """Make the session, unless it is there."""
        with self._lock:
            if self._part is None:
                self._part = load_slice(self.manifest, self._folder, self.index, self._settings)
            return self._part

    def call(self, event: Event, store: ValueStore | None = None) -> Event:
        """Run the slice on an event: what later slices need goes on, inside the next event or through the store."""
        check_event(event, self.digest, self.index)
        part = self.load()
        values: Values = dict(event.values)
        given = self._given(event, store, values)
        made = part.forward(given)
        # What was fetched rests in the store already, for later slices too.
        return handed(self.manifest, self.index + 1, values | made, event.stored, store, event)

    def call_bytes(self, data: bytes | bytearray | memoryview, store: ValueStore | None = None) -> bytes:
        """The same from bytes to bytes."""
        return self.call(Event.unpack(data), store).pack()

    def _given(self, event: Event, store: ValueStore | None, values: Values) -> dict[str, Array]:
        names = self.manifest.files[self.index].inputs
        missing = [f"{n!r} did not come" for n in names if n not in values and n not in event.stored]
        if missing:
            raise BadDocument(f"event for slice {self.index}", missing, fix="send what the slice before gave")
        return {
            name: values[name] if name in values else stored_value(needs_store(store), event.run, name)
            for name in names
        }
