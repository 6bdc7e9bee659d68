"""The proof of an export: subnetworks against the one file they were cut from.

Rules: the oracle is ONNX Runtime on that file at the same level, nothing of ours; parts that differ in one bit are
not written; every other difference is stated, and refused where it is no rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..engine import Array, Values, largest_difference
from ..engine.onnx_exits_part import OneFile
from ..engine.onnx_model import OnnxModel
from ..engine.onnx_run import Level, RunSettings
from ..errors import CannotCapture, PartFailed
from ..profile import this_device
from .model import ExitModel
from .model_features import Features
from .model_manifest import ExitModelManifest, Parity

_CPU = ("CPUExecutionProvider",)
# One sample, and more than one: kernels differ.
_BATCHES = (1, 3)
# Between batch sizes and optimisers the last bits change; a mistake changes the first ones.
_ROUNDING = 5e-3


@dataclass(frozen=True)
class Oracle:
    """The file before it was cut, the level it was prepared with, and what PyTorch says about `inputs`."""

    path: Path
    optimize: str
    model: OnnxModel
    inputs: Values | None = None
    logits: tuple[Array, ...] | None = None

    def run(self, values: Mapping[str, Array], threads: int) -> Values:
        """What the whole gives."""
        levels: dict[str, Level] = {"none": "exact", "basic": "basic", "extended": "extended"}
        return OneFile(self.path, RunSettings(threads=threads, level=levels[self.optimize])).run(values)


def proved(manifest: ExitModelManifest, folder: Path, oracle: Oracle) -> ExitModelManifest:
    """The manifest with its proof; refuses parts that do not give the numbers of the whole."""
    settings = RunSettings(threads=1)
    batches = _BATCHES if manifest.batch is None else (manifest.batch,)
    given = [oracle.model.example(batch, seed=0) for batch in batches]
    wholes = [_whole(manifest, oracle.run(values, 1)) for values in given]
    trials = [({s.name: v[s.name] for s in manifest.inputs}, w) for v, w in zip(given, wholes, strict=True)]
    exact = ExitModel(folder, manifest, settings, _CPU)
    chain = max(_worst(_chained(exact, values), whole) for values, whole in trials)
    spans = max(_spanned(exact, values, whole) for values, whole in trials)
    if chain or spans:
        raise PartFailed(
            f"{manifest.model}: the subnetworks differ from the whole by {max(chain, spans):.3g}",
            fix="export with optimize none, and report this with the model",
        )
    regrouped = None
    if manifest.batch is None and manifest.stages:
        regrouped = _regrouped(exact, *trials[-1])
        _check_rounding(wholes[-1], regrouped, "regrouped")
    by_torch = _by_torch(exact, oracle)
    del exact  # its sessions hold the weights several times over
    quick = ExitModel(folder, manifest, replace(settings, level="all"), _CPU)
    fast = max(_spanned(quick, values, whole) for values, whole in trials)
    _check_rounding(wholes[-1], fast, "fast")
    runtime = this_device(engine="onnx").runtime
    return replace(manifest, parity=Parity(batches, chain, spans, regrouped, fast, by_torch, runtime))


def _whole(manifest: ExitModelManifest, values: Values) -> list[Array]:
    return [values[name] for name in manifest.outputs]


def _worst(found: Mapping[int, Array], whole: list[Array]) -> float:
    return max((largest_difference({"": found[k]}, {"": whole[k]}) for k in found), default=0.0)


def _chained(model: ExitModel, given: Values) -> dict[int, Array]:
    """The logits of every exit, stage after stage."""
    if not model.manifest.stages:
        return {k: model.run_to(k, given) for k in range(len(model.exits))}
    held, found = model.start(given), {}
    for k in range(len(model.exits)):
        held, found[k] = model.run_stage(k, held)
    return found


def _spanned(model: ExitModel, given: Values, whole: list[Array]) -> float:
    """The largest difference of all spans, each from the features that stages before it made, and of what follows
    from the features that it gives."""
    count, worst = len(model.exits), 0.0
    waiting: dict[int, Features] = {0: model.start(given)}
    for first in range(count):
        if first not in waiting:
            break
        for last in range(first, count):
            if not model.has_span(first, last):
                continue
            held, logits = model.run_span(first, last, waiting[first])
            worst = max(worst, largest_difference({"": logits}, {"": whole[last]}))
            if last + 1 < count and model.manifest.stages:
                if first < last:
                    worst = max(worst, _worst({last + 1: model.run_stage(last + 1, held)[1]}, whole))
                else:
                    waiting[last + 1] = held
    return worst


def _regrouped(model: ExitModel, given: Values, whole: list[Array]) -> float:
    """Every row alone through every stage; and the last and the first in this order, in new company at every border."""
    held, worst = model.start(given), 0.0
    rows = list(range(held.rows))
    for k in range(len(model.exits)):
        apart = [model.take(held, [place]) for place in range(len(rows))]
        for row, one in zip(rows, apart, strict=True):
            worst = max(worst, largest_difference({"": model.run_stage(k, one)[1]}, {"": whole[k][[row]]}))
        # The first stage sees the whole batch, the others two rows of it.
        held, logits = model.run_stage(k, held)
        worst = max(worst, largest_difference({"": logits}, {"": whole[k][rows]}))
        if k + 1 < len(model.exits):
            order = [len(rows) - 1, 0]
            held = model.stack([model.take(held, [place]) for place in order])
            rows = [rows[place] for place in order]
    return worst


def _check_rounding(whole: list[Array], difference: float, what: str) -> None:
    reach = max((float(np.abs(value).max(initial=0.0)) for value in whole), default=0.0)
    if not difference <= _ROUNDING * max(1.0, reach):
        said: dict[str, Callable[[], str]] = {
            "fast": lambda: "optimised file by file the network gives other answers",
            "regrouped": lambda: "the answer to a sample depends on the others in its batch",
        }
        raise CannotCapture(
            f"{said[what]()} (a difference of {difference:.3g} where the largest logit is {reach:.3g})",
            fix="look for operators that mix samples, or for numbers that overflow",
        )


def _by_torch(model: ExitModel, oracle: Oracle) -> float | None:
    """The largest difference to PyTorch."""
    if oracle.inputs is None or oracle.logits is None:
        return None
    given = {spec.name: oracle.inputs[spec.name] for spec in model.manifest.inputs}
    return _worst(_chained(model, given), list(oracle.logits))
