"""A run folder: what a training leaves behind, and the network read back from it.

    spec.json   weights.safetensors   training_trace.csv   validation_results.csv   truth.npz   checkpoint/

Rules: every file is written beside and moved into place; `spec.json` says `finished` only when all the others are there;
a network is rebuilt from what the folder says, and refused where weights and words do not agree.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.torch_state import StateBook, load_file, save_file
from ..errors import BadDocument, NotFound
from ..graph import dump, load
from .exits import MultiExit, summed
from .exits_build import build_exits
from .train_spec import Run, TrainSpec
from .train_truth import Truth

SPEC, WEIGHTS, TRACE, RESULTS, TRUTH = (
    "spec.json",
    "weights.safetensors",
    "training_trace.csv",
    "validation_results.csv",
    "truth.npz",
)


def build_for(
    spec: TrainSpec, classes: int, shape: Sequence[int], vocabulary: int = 0, *, seed: int | None = None
) -> MultiExit:
    """The network that a specification names, for samples of a shape."""
    arguments: dict[str, Any] = dict(spec.arguments)
    if vocabulary and spec.model == "bert":
        arguments.setdefault("vocabulary", vocabulary)
    return build_exits(
        spec.model,
        classes,
        shape=shape,
        exits=spec.exits,
        cuts=spec.cuts,
        arguments=arguments,
        frozen=spec.frozen,
        seed=spec.seed if seed is None else seed,
    )


def read_run(folder: Path | str) -> Run:
    """What a run folder says of itself."""
    path = Path(folder) / SPEC
    if not path.is_file():
        raise NotFound(f"{folder} is no run folder: it has no {SPEC}", fix="train one: partita serve train")
    return load(Run, path.read_text(), name=str(path))


def load_run(folder: Path | str, *, model: MultiExit | None = None) -> MultiExit:
    """The network of a finished run, in eval mode. Where exits answer with sums, it sums.

    `model` is needed only for a run whose network was given as an object, and gets its weights.
    """
    run = read_run(folder)
    path = Path(folder) / WEIGHTS
    if not run.finished or not path.is_file():
        raise NotFound(
            f"the training in {folder} is not finished", fix="run the same training again: it goes on"
        )
    if model is None and not run.spec.model:
        raise NotFound(
            f"the network of {folder} was given as an object, and its name says nothing",
            fix="give the same network: load_run(folder, model=...)",
        )
    made = model or build_for(run.spec, len(run.classes), run.shape, run.vocabulary)
    if made.names != run.exits:
        raise BadDocument(
            f"run {folder}",
            [f"exits: {', '.join(run.exits)} were trained, and the network has {', '.join(made.names)}"],
            fix="give the network that was trained",
        )
    StateBook.of(made).load(load_file(path), f"weights {path}")
    made.eval()
    return summed(made) if run.spec.eval_fn == "residual" else made


def write_run(folder: Path, run: Run) -> None:
    """Write spec.json."""
    write_text(folder / SPEC, dump(run) + "\n")


def write_results(
    folder: Path, run: Run, model: MultiExit, truth: Truth, trace: Iterable[Mapping[str, float]]
) -> None:
    """Write everything of a finished run; spec.json comes last."""
    save_file(
        folder / WEIGHTS,
        {n: t.cpu() for n, t in StateBook.of(model).persistent().items()},
        {"model": run.spec.model},
    )
    truth.write(folder / TRUTH)
    rows = [
        {
            "exit": k,
            "name": name,
            "accuracy": run.accuracy[k],
            "accuracy_low": run.accuracy_low[k],
            "accuracy_high": run.accuracy_high[k],
            "loss": run.loss[k],
            "flops": run.flops[k],
            "share_of_cost": run.flops[k] / run.flops[-1],
            "samples": run.samples,
        }
        for k, name in enumerate(run.exits)
    ]
    write_table(folder / RESULTS, rows)
    write_table(folder / TRACE, list(trace))
    write_run(folder, run)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same columns, as CSV."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """In one step: a reader sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
