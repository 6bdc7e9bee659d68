"""A network with exits, ready to answer: a folder of ONNX files, run stage by stage or several stages as one.

Rules: features stay here and never go to a client; a session is loaded when it is first needed, once, and serves all
threads; nothing spins while it waits, because sessions share the processor; torch is not needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, final

import numpy as np

from ..engine import Array
from ..engine.onnx_exits_run import Runner, chosen_providers, open_runner
from ..engine.onnx_run import RunSettings
from ..engine.onnx_values import numpy_dtype
from ..errors import BadDocument, CorruptArtifact, SessionMisused
from .model_features import Answers, Features, answers, rows_of, stack, take
from .model_manifest import ExitModelManifest, Feature, ModelFile, damaged, read_manifest

# exact: every file runs as it was prepared, so that parts give the bits of the whole. fast: ONNX Runtime optimises each
# file once more for this processor, which changes the last bits.
Speed = Literal["exact", "fast"]
Given = Mapping[str, Array] | Sequence[Array] | Array


@final
class ExitModel:
    """What `open` gives. One object serves any number of threads."""

    def __init__(
        self, folder: Path, manifest: ExitModelManifest, settings: RunSettings, providers: Sequence[str]
    ) -> None:
        self.folder, self.manifest, self.settings = folder, manifest, settings
        self.providers = tuple(providers)
        self._loaded: dict[str, Runner] = {}
        self._lock = threading.Lock()
        self._plans: dict[tuple[int, int], tuple[Runner, ...]] = {}

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        speed: Speed = "fast",
        check: bool = True,
    ) -> ExitModel:
        """A network from its folder.

        `threads` is what one run may use (0: every core); with several workers, 1 is best. `providers` names where it runs, best first (`cuda`, `tensorrt`, `openvino`). `speed` `fast` gives up the last bits: the manifest says how
        much that is (`parity.fast`). `check` compares every file with its digest first.
        """
        if speed not in ("exact", "fast"):
            raise BadDocument(
                "speed", [f"{speed!r} is neither 'exact' nor 'fast'"], fix="give one of the two"
            )
        manifest = read_manifest(folder)
        chosen = chosen_providers(providers)
        if check and (found := damaged(Path(folder), manifest)):
            raise CorruptArtifact(
                f"{folder} is damaged: {'; '.join(found)}",
                fix="copy the folder again, or export the network again",
            )
        settings = RunSettings(threads=threads, level="exact" if speed == "exact" else "all")
        return cls(Path(folder), manifest, settings, chosen)

    def __repr__(self) -> str:
        return f"ExitModel({str(self.folder)!r}, {len(self.exits)} exits, {self.speed})"

    @property
    def exits(self) -> tuple[str, ...]:
        """The names of the exits, shallow to deep."""
        return self.manifest.exits

    @property
    def classes(self) -> int:
        """How many classes an answer chooses from."""
        return self.manifest.classes

    @property
    def digest(self) -> str:
        """What network this is."""
        return self.manifest.digest

    @property
    def speed(self) -> Speed:
        """How it was opened."""
        return "exact" if self.settings.level == "exact" else "fast"

    def has_span(self, first: int, last: int) -> bool:
        """Whether stages first to last were written as one; a stage is its own span."""
        return f"{first}-{last}" in self.manifest.spans

    def start(self, inputs: Given) -> Features:
        """Samples before the first stage: arrays by name, in order, or the only one."""
        specs = self.manifest.inputs
        named = _named(inputs, specs)
        problems = [f"{spec.name}: is missing" for spec in specs if spec.name not in named]
        known = {spec.name for spec in specs}
        problems += [f"{name}: is no input" for name in named if name not in known]
        problems += [p for spec in specs if spec.name in named for p in _misfit(named[spec.name], spec)]
        if problems:
            raise BadDocument("inputs", problems, fix=f"give {_wanted(specs)}")
        rows = self.manifest.batch or rows_of(named, specs)
        return Features(0, rows, {spec.name: named[spec.name] for spec in self.manifest.borders[0]})

    def run_stage(self, k: int, features: Features | Given) -> tuple[Features, Array]:
        """One stage: what is held after it, and the logits of its exit. The first one takes inputs too."""
        return self.run_span(k, k, features)

    def run_span(self, first: int, last: int, features: Features | Given) -> tuple[Features, Array]:
        """Stages first to last, without the exits between where they were written as one: what is held after them,
        and the logits of the last exit."""
        if not isinstance(features, Features):
            features = self.start(features)
        plan = self._plans.get((first, last)) or self._plan(first, last)
        if features.border != first:
            raise SessionMisused(
                f"features that wait for stage {features.border} were given to stage {first}",
                fix="run the stage that they wait for",
            )
        values: Mapping[str, Array] | dict[str, Array] = features.values
        if len(plan) == 1:
            made = dict(zip(plan[0].outputs, plan[0].run(values), strict=True))
        else:
            made = {}
            for part in plan:
                made.update(zip(part.outputs, part.run({**values, **made}), strict=True))
        logits = made[self.manifest.outputs[last]]
        if last + 1 == len(self.exits):
            return Features(last + 1, features.rows, {}), logits
        held = {
            spec.name: made[spec.name] if spec.name in made else values[spec.name]
            for spec in self.manifest.borders[last + 1]
        }
        return Features(last + 1, features.rows, held), logits

    def run_to(self, last: int, inputs: Given) -> Array:
        """The logits of one exit, from the inputs."""
        return self.run_span(0, last, inputs)[1]

    def take(self, features: Features, rows: Sequence[int]) -> Features:
        """Some of the samples, in the order given; views where they follow each other."""
        if self.manifest.batch is not None and list(rows) != list(range(features.rows)):
            raise self._rigid()
        return take(features, rows, self._held(features))

    def stack(self, groups: Sequence[Features]) -> Features:
        """Several groups that wait for the same stage, as one batch."""
        if self.manifest.batch is not None and len(groups) > 1:
            raise self._rigid()
        return stack(groups, self._held(groups[0]) if groups else ())

    @staticmethod
    def answers(logits: Array) -> Answers:
        """Class, confidence, margin and entropy of every sample."""
        return answers(logits)

    def warm(self, batches: Iterable[int] = (1,), *, spans: bool = True) -> None:
        """Load every stage, and every span, and run each once at these batch sizes: the first run is a slow one."""
        for batch in [self.manifest.batch] if self.manifest.batch else batches:
            for (first, last), features in self.made_up(batch).items():
                if spans or first == last:
                    self.run_span(first, last, features)

    def made_up(self, batch: int, seed: int = 0) -> dict[tuple[int, int], Features]:
        """For every span that was written, features that it takes, from made-up inputs."""
        held = self.start(made_inputs(self.manifest, batch, seed))
        waiting = {0: held}
        if self.manifest.stages:
            for stage in range(len(self.exits) - 1):
                waiting[stage + 1] = held = self.run_stage(stage, held)[0]
        ends = [tuple(map(int, key.split("-"))) for key in self.manifest.spans]
        return {(first, last): waiting[first] for first, last in sorted(ends) if first in waiting}

    def _held(self, features: Features) -> tuple[Feature, ...]:
        borders = self.manifest.borders
        return borders[features.border] if features.border < len(borders) else ()

    def _rigid(self) -> SessionMisused:
        return SessionMisused(
            f"{self.manifest.model} takes batches of exactly {self.manifest.batch}, which cannot be regrouped",
            fix="export the network with an open batch dimension",
        )

    def _plan(self, first: int, last: int) -> tuple[Runner, ...]:
        """The sessions of a span, loaded: its own file, or those of its stages."""
        if not 0 <= first <= last < len(self.exits):
            raise SessionMisused(
                f"there are no stages {first} to {last}: the network has {len(self.exits)}",
                fix=f"give 0 <= first <= last <= {len(self.exits) - 1}",
            )
        spans = self.manifest.spans
        keys = (
            [f"{first}-{last}"]
            if self.has_span(first, last)
            else [f"{k}-{k}" for k in range(first, last + 1)]
        )
        absent = [key for key in keys if key not in spans]
        if absent:
            raise SessionMisused(
                f"stages {first} to {last} were not written: the folder has granularity {self.manifest.granularity!r}",
                fix="export with --granularity exit, or run each exit from the input",
            )
        plan = tuple(self._runner(file) for key in keys for file in spans[key])
        self._plans[(first, last)] = plan
        return plan

    def _runner(self, file: ModelFile) -> Runner:
        with self._lock:
            if file.name not in self._loaded:
                self._loaded[file.name] = open_runner(self.folder / file.name, self.settings, self.providers)
            return self._loaded[file.name]


def made_inputs(manifest: ExitModelManifest, batch: int, seed: int = 0) -> dict[str, Array]:
    """Inputs of the right types and sizes: normal numbers, and zeros and ones where they are whole."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for spec in manifest.inputs:
        sizes = [size if isinstance(size, int) else 8 for size in spec.shape]
        if spec.axis is not None:
            sizes[spec.axis] = batch * spec.each
        dtype = numpy_dtype(spec.dtype)
        whole = dtype.kind in "iub"
        value = random.integers(0, 2, sizes) if whole else random.standard_normal(sizes)
        found[spec.name] = value.astype(dtype)
    return found


def _named(inputs: Given, specs: Sequence[Feature]) -> dict[str, Array]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    rows = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(rows) != len(specs):
        raise BadDocument(
            "inputs", [f"there are {len(rows)}, not {len(specs)}"], fix=f"give {_wanted(specs)}"
        )
    return {spec.name: row for spec, row in zip(specs, rows, strict=True)}


def _wanted(specs: Sequence[Feature]) -> str:
    return ", ".join(f"{s.name}: {s.dtype}[{', '.join(map(str, s.shape))}]" for s in specs)


def _misfit(value: object, spec: Feature) -> list[str]:
    """What is wrong with one input; sizes that are open fit anything but nothing at all."""
    if not isinstance(value, np.ndarray):
        return [f"{spec.name}: must be a numpy array, not {type(value).__name__}"]
    found = []
    if value.dtype != numpy_dtype(spec.dtype):
        found.append(f"{spec.name}: must be {spec.dtype}, not {value.dtype}")
    pairs = zip(spec.shape, value.shape, strict=False)
    if value.ndim != len(spec.shape) or any(isinstance(d, int) and d != size for d, size in pairs):
        found.append(f"{spec.name}: must have the shape {list(spec.shape)}, not {list(value.shape)}")
    elif 0 in value.shape:
        found.append(f"{spec.name}: is empty")
    return found
