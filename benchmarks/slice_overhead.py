"""What slicing costs where nothing is sent: five slices against the whole, in one process, on the same optimised file.

    python benchmarks/slice_overhead.py [--json PATH] [--runs 30] [--slices 5] [--models resnet50,densenet121]

Whole and slices come from one preparation (ONNX Runtime's EXTENDED optimisation), run exactly as they were cut, with
the same threads, and take turns. What counts is the ratio of the medians. Beside it, the same files in sessions as
ONNX Runtime opens them by default: their idle threads spin, and several sessions in one process starve each other,
the whole too. Measured like that, slicing looks costly, and everything is slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime as ort

from partita.engine import largest_difference
from partita.slice import Preparation
from partita.slice.inputs import made_inputs
from partita.slice.runner import Slices, open_slices
from partita.slice.slicer import cut, equal_nodes, plan_at, prepare
from partita.testing.onnx_models import with_weights

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
MODELS = ("resnet50", "densenet121", "vgg19", "inception_v1", "shufflenet", "squeezenet")
GOAL = 1.05
# Below this, the fixed cost of a call to a session is no longer small beside the work.
LARGE_MS = 19.0
PREPARATION = Preparation(optimize="extended")


@dataclass(frozen=True)
class Result:
    """Milliseconds, medians; `ratio` is sliced against whole, quiet threads; the rest is the trap.

    `fastest_ratio` compares the fastest runs: what other processes on the machine disturb least.
    """

    model: str
    slices: int
    difference: float
    whole_ms: float
    sliced_ms: float
    ratio: float
    fastest_ratio: float
    spinning_whole_ms: float
    spinning_sliced_ms: float
    spinning_ratio: float
    trap: float
    """How many times longer the slices take with spinning threads than without."""


def alternate(ways: tuple[Callable[[], Any], Callable[[], Any]], runs: int) -> tuple[float, float, float]:
    """The median milliseconds of two ways that take turns, and the ratio of their fastest runs."""
    taken: tuple[list[float], list[float]] = ([], [])
    for way in ways:
        way()
    for run in range(runs):
        for index in (0, 1) if run % 2 else (1, 0):
            start = time.perf_counter()
            ways[index]()
            taken[index].append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken[0]), statistics.median(taken[1]), min(taken[1]) / min(taken[0])


def spinning(slices: Slices, folder: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The same files in sessions with ONNX Runtime's defaults for threads."""
    sessions = []
    for file in slices.manifest.files:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        sessions.append(
            ort.InferenceSession(str(folder / file.path), options, providers=["CPUExecutionProvider"])
        )

    def run(values: dict[str, Any]) -> dict[str, Any]:
        held = dict(values)
        for session in sessions:
            names = [output.name for output in session.get_outputs()]
            given = {argument.name: held[argument.name] for argument in session.get_inputs()}
            held.update(zip(names, session.run(names, given), strict=True))
        return held

    return run


def measure(name: str, count: int, runs: int, folder: Path) -> Result:
    """One model, whole and in `count` slices."""
    path = folder / f"{name}.onnx"
    path.write_bytes(with_weights(onnx.load(LIGHT / f"light_{name}.onnx")).SerializeToString())
    ready = prepare(path, PREPARATION)
    places = {1: (), count: equal_nodes(ready.chain, count)}
    for number, cuts in places.items():
        cut(ready, plan_at(ready.chain, cuts, preparation=PREPARATION), folder / str(number))
    with open_slices(folder / "1") as whole, open_slices(folder / str(count)) as sliced:
        values = made_inputs(whole.manifest)
        gap = largest_difference(whole.run(values).outputs, sliced.run(values).outputs)
        quiet = alternate((lambda: whole.run(values), lambda: sliced.run(values)), runs)
        loud_ways = spinning(whole, folder / "1"), spinning(sliced, folder / str(count))
        loud = alternate((lambda: loud_ways[0](values), lambda: loud_ways[1](values)), runs)
    whole_ms, sliced_ms, fastest = quiet
    return Result(
        name, count, gap, whole_ms, sliced_ms, sliced_ms / whole_ms, fastest,
        loud[0], loud[1], loud[1] / loud[0], loud[1] / sliced_ms,
    )  # fmt: skip


def main() -> None:
    """Parse, measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--models", default=",".join(MODELS))
    asked = parser.parse_args()
    results = []
    print(
        f"{'model':14}{'whole':>9}{'sliced':>9}{'ratio':>8}{'fastest':>9}{'goal':>7}   spinning: whole, sliced, ratio; trap"
    )
    for name in asked.models.split(","):
        with tempfile.TemporaryDirectory(prefix="partita-bench-") as folder:
            result = measure(name, asked.slices, asked.runs, Path(folder))
        results.append(result)
        goal = "" if result.whole_ms < LARGE_MS else "met" if result.ratio <= GOAL else "MISSED"
        print(
            f"{name:14}{result.whole_ms:7.2f}ms{result.sliced_ms:7.2f}ms{result.ratio:8.3f}{result.fastest_ratio:9.3f}{goal:>7}   "
            f"{result.spinning_whole_ms:.1f} ms, {result.spinning_sliced_ms:.1f} ms, "
            f"{result.spinning_ratio:.2f}; {result.trap:.1f}x"
            + ("" if not result.difference else "  NOT EQUAL"),
            flush=True,
        )
    if asked.json:
        versions = {
            "onnxruntime": ort.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        document = {
            "what": "five slices against the whole, one process, same optimised file, medians of alternating runs",
            "goal": GOAL,
            "for_models_from_ms": LARGE_MS,
            "runs": asked.runs,
            "cores": os.cpu_count(),
            "results": [asdict(result) for result in results],
            "versions": versions,
        }
        asked.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
