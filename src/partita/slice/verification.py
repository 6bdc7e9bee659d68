"""Evidence that slices give the numbers of the model whole, on inputs given or made from a seed.

Rules: the whole is the user's own file, run by ONNX Runtime at the level that the slices were prepared with; exact
slices must be equal bit for bit; fast ones may differ, and by how much is measured and held against a tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..engine import Array, Values, largest_difference
from ..engine.onnx_example import batch_symbol
from ..engine.onnx_run import OnnxPart, RunSettings
from ..errors import BadDocument, PlanMismatch
from .inputs import check_inputs
from .manifest import Manifest, read_manifest
from .runner import open_slices
from .slicer import prepare

# Relative to the largest value of an output: what float32 kernels may differ by when they are fused differently.
FAST_TOLERANCE = 1e-3
SMALLEST = 5e-324


@dataclass(frozen=True)
class Verification:
    """The largest difference of every output, absolute and relative to the output's largest value, over all inputs."""

    model: str
    slices: int
    exactness: str
    level: str
    runs: int
    absolute: Mapping[str, float]
    relative: Mapping[str, float]
    tolerance: float

    @property
    def equal(self) -> bool:
        """Whether every output is the same bit for bit."""
        return not any(self.absolute.values())

    @property
    def passed(self) -> bool:
        """Whether the slices keep their promise."""
        return self.equal or (self.exactness == "fast" and max(self.relative.values()) <= self.tolerance)


def verify(
    path: str | Path,
    folder: str | Path,
    values: Mapping[str, Array] | None = None,
    *,
    seeds: int = 3,
    batch: int | None = None,
    tolerance: float = FAST_TOLERANCE,
    threads: int = 0,
) -> Verification:
    """Run the model whole and in slices on the same inputs, and compare every output."""
    path, folder = Path(path), Path(folder)
    manifest = read_manifest(folder)
    plan = manifest.plan
    if values is not None:
        check_inputs(manifest, values)
    model = prepare(path, plan.preparation, batch=plan.batch, dims=plan.dims, example=values)
    if model.chain.digest != plan.digest:
        raise PlanMismatch(
            f"the slices in {folder} were cut from {plan.model!r} ({plan.digest[:19]}), "
            f"not from {path} ({model.chain.digest[:19]})",
            fix=f"cut this model: partita slice cut {path} -o {folder}",
        )
    # A model that fixes its batch has its own.
    size = plan.batch if batch is None and batch_symbol(model.chain) is not None else batch
    given = [dict(values)] if values is not None else [model.example(size, seed) for seed in range(seeds)]
    level = plan.preparation.optimize
    settings = RunSettings(
        threads=threads, level="exact" if level == "none" else level, prepack=manifest.prepack
    )
    whole = _whole(path, settings, manifest)
    absolute, relative = dict.fromkeys(manifest.outputs, 0.0), dict.fromkeys(manifest.outputs, 0.0)
    with open_slices(folder, threads=threads, check=False) as slices:
        for inputs in given:
            expected = whole.forward(inputs)
            found = slices.run(inputs).outputs
            for name in manifest.outputs:
                gap = _gap(found[name], expected[name])
                absolute[name] = max(absolute[name], gap)
                relative[name] = max(relative[name], gap / (_reach(expected, name) or 1.0))
    return Verification(
        plan.model, len(plan.slices), manifest.exactness, level, len(given),
        MappingProxyType(absolute), MappingProxyType(relative), tolerance,
    )  # fmt: skip


def _gap(found: Any, expected: Any) -> float:
    """The largest difference; text is equal or not, and a sequence as far as its members are."""
    if expected is None:
        return 0.0 if found is None else float("inf")
    if isinstance(expected, (list, tuple)):
        if type(found) is not type(expected) or len(found) != len(expected):
            return float("inf")
        return max(map(_gap, found, expected), default=0.0)
    if found.dtype.kind == expected.dtype.kind == "O":
        same = found.shape == expected.shape and bool((found == expected).all())
        return 0.0 if same else float("inf")
    gap = largest_difference({"": found}, {"": expected})
    # Zeros of two signs, or two kinds of NaN: no difference as numbers, but not the same bits.
    return gap or (0.0 if found.tobytes() == expected.tobytes() else SMALLEST)


def _whole(path: Path, settings: RunSettings, manifest: Manifest) -> OnnxPart:
    part = OnnxPart.load(path, settings)
    missing = [name for name in manifest.outputs if name not in part.outputs]
    if missing:
        raise BadDocument(
            "slices", [f"outputs: {path} does not give {name!r}" for name in missing], fix="cut again"
        )
    return part


def _reach(values: Values, name: str) -> float:
    import numpy as np

    value: Any = values[name]
    if not isinstance(value, np.ndarray) or value.size == 0 or value.dtype.kind not in "fiu":
        return 1.0
    wide = np.abs(value.astype(np.float64))
    return float(np.nanmax(np.where(np.isfinite(wide), wide, 0.0)))
