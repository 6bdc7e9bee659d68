"""Slices give the numbers of the whole: ten models in full size, in every number of slices from 2 to 13, bit for bit.

    python benchmarks/slice_exact.py [--json PATH] [--models resnet50,gpt2] [--slices 2..13]

The whole is the model's own file, run by ONNX Runtime at the level that the slices were prepared with (EXTENDED).
Every plan is the planner's own: for no platform in particular, the fewest bytes between slices among those whose
heaviest slice is at most a tenth heavier than the best possible. The slices are cut into files, opened from their
folder, and run one after the other; every bit of every output is compared, signs of zero included. Beside it, at five
slices, what `fast` costs: the same files, each optimised once more for itself. VGG-19 is also planned for AWS Lambda,
where its first fully connected layer (411 MB) has to be divided. Needs 4 GB of memory and 2 GB of disk.

Seconds with two cores: squeezenet and shufflenet 1, inception_v1 and inception_v2 2, densenet121 4, resnet50 5,
vgg19 20, t5 11, bert 12, gpt2 23, and up to half a minute to export one of the last three. `optimised` is what the
weights are after the preparation: where a tied table is also needed transposed, as in GPT-2 and T5, ONNX Runtime
keeps both, so that slices at both ends carry one each, and `duplicated` does not count that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime as ort
from peers.slice_models import MODELS, write_model

from partita.engine import Values, largest_difference
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.errors import MissingExtra
from partita.plan import pick
from partita.slice import Exactness, Prepared, SliceQuestion, capture, cut, open_slices, plan

FAST_AT = 5
DIVIDED = {"vgg19": "aws-lambda"}
SEEDS = (0, 1)


@dataclass(frozen=True)
class Row:
    """One way to slice a model: how far it is from the whole, its bytes, and the seconds to plan and to cut."""

    slices: int
    platform: str
    equal: bool
    difference: float
    largest: int
    payload: int
    duplicated: int
    divided: int
    plan_s: float
    cut_s: float


@dataclass(frozen=True)
class Result:
    """One model in every number of slices. `distinct` is how many different numbers it answers with."""

    model: str
    bytes: int
    optimised: int
    stages: int
    distinct: int
    prepare_s: float
    seconds: float
    fast_absolute: float
    fast_relative: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Whole:
    """Inputs, and what the model whole gives for them."""

    inputs: tuple[Values, ...]
    outputs: tuple[Values, ...]

    @classmethod
    def of(cls, path: Path, ready: Prepared) -> Whole:
        """The user's own file at the level of the preparation."""
        inputs = tuple(ready.model.example(1, seed) for seed in SEEDS)
        part = OnnxPart.load(path, RunSettings(level="extended"))
        return cls(inputs, tuple(part.forward(values) for values in inputs))

    def compared(self, folder: Path, exactness: Exactness = "exact") -> tuple[bool, float, float]:
        """Whether the slices of a folder give every bit, and the largest difference, absolute and relative."""
        equal, absolute, relative = True, 0.0, 0.0
        with open_slices(folder, exactness=exactness, check=False) as slices:
            for given, wanted in zip(self.inputs, self.outputs, strict=True):
                found = slices.run(given).outputs
                for name in wanted:
                    equal &= found[name].tobytes() == wanted[name].tobytes()
                    gap = largest_difference({name: found[name]}, {name: wanted[name]})
                    absolute = max(absolute, gap)
                    relative = max(relative, gap / float(np.abs(wanted[name]).max()))
        return equal, absolute, relative


def sliced(taken: Prepared, question: SliceQuestion, whole: Whole, folder: Path) -> Row:
    """Plan, cut, run and compare."""
    start = perf_counter()
    ready, found = plan(taken, question)
    planned = perf_counter()
    cut(ready.model, found, folder)
    done = perf_counter()
    equal, absolute, _ = whole.compared(folder)
    totals = found.totals
    assert totals is not None
    return Row(
        len(found.slices), question.platform.name, equal, absolute, totals.largest, totals.payload, totals.duplicated,
        sum(found.preparation.divide.values()), planned - start, done - planned,
    )  # fmt: skip


def measure(name: str, path: Path, numbers: range, folder: Path) -> Result:
    """One model, in all numbers of slices."""
    begun = perf_counter()
    start = perf_counter()
    taken = capture(path, optimize="extended")
    prepared = perf_counter() - start
    whole = Whole.of(path, taken)
    slices, place = folder / "slices", pick("process")
    fast = (True, 0.0, 0.0)
    rows = []
    for number in numbers:
        rows.append(sliced(taken, SliceQuestion(place, slices=number), whole, slices))
        show(name, rows[-1])
        if number == FAST_AT:
            fast = whole.compared(slices, "fast")
            print(f"{name:13} fast: differs by {fast[1]:.2g}, {fast[2]:.2g} of the largest", flush=True)
    if name in DIVIDED:
        rows.append(sliced(taken, SliceQuestion(pick(DIVIDED[name])), whole, slices))
        show(name, rows[-1])
    distinct = min(int(np.unique(value).size) for value in whole.outputs[0].values())
    return Result(
        name, path.stat().st_size, sum(taken.chain.params.values()), len(taken.chain), distinct, prepared, perf_counter() - begun, fast[1], fast[2], tuple(rows)
    )  # fmt: skip


def show(name: str, row: Row) -> None:
    """One line of the table."""
    what = "equal" if row.equal else f"DIFFERS BY {row.difference:.3g}"
    note = f"  {row.platform}, {row.divided} pieces" if row.divided else ""
    print(
        f"{name:13}{row.slices:4}  {what:8}{row.largest / 1e6:9.2f} MB{row.payload / 1e6:9.3f} MB"
        f"{row.duplicated / 1e6:9.3f} MB{row.plan_s:8.2f}s{row.cut_s:7.2f}s{note}",
        flush=True,
    )


def document(results: list[Result], left_out: dict[str, str]) -> dict[str, Any]:
    """What is saved."""
    rows = [row for result in results for row in result.rows]
    return {
        "what": "slices against the whole file at ONNX Runtime's extended level, every bit of every output",
        "runs": len(rows),
        "equal": sum(row.equal for row in rows),
        "inputs_each": len(SEEDS),
        "cores": os.cpu_count(),
        "results": [asdict(result) for result in results],
        "left_out": left_out,
        "versions": {
            "onnxruntime": ort.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def main() -> None:
    """Parse, measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--models", default=",".join(MODELS), help="names, with commas between them; all take three minutes"
    )
    parser.add_argument("--slices", default="2..13")
    asked = parser.parse_args()
    first, _, last = asked.slices.partition("..")
    results, left_out = [], dict[str, str]()
    print(
        f"{'model':13}   N  {'bits':8}{'largest':>12}{'payload':>12}{'duplicated':>12}{'plan':>8}{'cut':>9}"
    )
    for name in asked.models.split(","):
        with tempfile.TemporaryDirectory(prefix="partita-bench-") as home:
            folder = Path(home)
            try:
                path = write_model(name, folder)
            except (ImportError, MissingExtra) as error:
                left_out[name] = str(error).splitlines()[0]
                print(f"{name:13} is left out: {left_out[name]}", flush=True)
                continue
            result = measure(name, path, range(int(first), int(last or first) + 1), folder)
        results.append(result)
        print(
            f"{name:13} {result.bytes / 1e6:.1f} MB, optimised {result.optimised / 1e6:.1f} MB, {result.stages} stages: {result.seconds:.0f}s",
            flush=True,
        )
    found = document(results, left_out)
    print(f"{found['equal']} of {found['runs']} equal bit for bit")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    if found["equal"] != found["runs"]:
        raise SystemExit("slices differ from the whole")


if __name__ == "__main__":
    main()
