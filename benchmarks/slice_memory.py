"""What a slice holds: the peak of the worst slice against the whole, each in a fresh process, and what that says of a model.

    python benchmarks/slice_memory.py [--json PATH] [--layers 48] [--width 4096] [--slices 8] [--no-giant] [--no-models]

The giant is a chain of matrix products with 3.2 GB of weights, every byte of them written: holes in a file would map
to one page of zeros and cost nothing. The whole is the model's own file, loaded and run once in a process that holds
the same libraries. Peaks are the kernel's high water of the process; `anonymous` and `file` were seen after the run.
Then models of the onnx package: how much more than their weights slices hold, prepacked and mapped, which is what a
planner must count with. The ratios count; base and peaks depend on the versions of the libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from partita.graph import Chain
from partita.plan import Limits, Platform
from partita.slice import Preparation
from partita.slice.rehearsal import Rehearsal, rehearse
from partita.slice.slicer import cut, equal_nodes, plan_at, prepare
from partita.testing.onnx_models import with_weights, write_giant

FREE = Platform("free", "no limits", Limits())
GOAL = 1 / 6
MODELS = ("resnet50", "vgg19", "densenet121", "squeezenet")
BLOCK = 64 << 20


@dataclass(frozen=True)
class Giant:
    """Bytes. `ratio` is the worst slice against the whole."""

    prepack: bool
    slices: int
    weights: int
    base: int
    whole_peak: int
    worst_peak: int
    worst_anonymous: int
    worst_file: int
    ratio: float
    load_ms: float
    first_ms: float
    warm_ms: float


@dataclass(frozen=True)
class Held:
    """Bytes of one slice. `rest` is what it holds beyond its base, its weights and, prepacked, its largest weight.

    ONNX Runtime packs one weight after the other and lets go of what it was packed from, so that a prepacked slice
    holds its weights once, and one of them twice for a moment.
    """

    model: str
    prepack: bool
    slice: int
    weights: int
    largest: int
    base: int
    peak: int
    anonymous: int
    file: int
    rest: int


def write_real(folder: Path, layers: int, width: int) -> Path:
    """The giant, with numbers everywhere."""
    import numpy as np

    path = write_giant(folder, layers, width)
    generator = np.random.default_rng(0)
    scale = np.float32((2 / width) ** 0.5)
    block = generator.standard_normal(BLOCK // 4, np.float32) * scale
    with (folder / "giant.data").open("r+b") as data:
        left, turn = data.seek(0, 2), 0
        data.seek(0)
        while left > 0:
            # Turned a little further each time: ONNX Runtime would keep equal weights only once.
            left -= data.write(np.roll(block, turn * 1021).data.cast("B")[:left])
            turn += 1
    return path


def whole(path: Path, *, prepack: bool) -> dict[str, int]:
    """The model as it is, loaded and run in this process."""
    import numpy as np

    from partita.engine.onnx_run import OnnxPart, RunSettings
    from partita.slice.worker import memory_now

    part = OnnxPart.load(path, RunSettings(prepack=prepack))
    width = part._arguments[0].shape[1]
    part.forward({"h0": np.ones((1, width), np.float32)})
    return memory_now()


def whole_apart(path: Path, *, prepack: bool) -> dict[str, int]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--whole", str(path), "--prepack", str(int(prepack))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def giant(layers: int, width: int, count: int) -> list[Giant]:
    """The whole and its slices, prepacked and mapped."""
    found = []
    with tempfile.TemporaryDirectory(prefix="partita-bench-") as name:
        folder = Path(name)
        path = write_real(folder, layers, width)
        ready = prepare(path, Preparation())
        for prepack in (True, False):
            cut(
                ready,
                plan_at(ready.chain, equal_nodes(ready.chain, count)),
                folder / "slices",
                prepack=prepack,
            )
            done = rehearse(folder / "slices", None, FREE, runs=3, enforce=False)
            all_of_it = whole_apart(path, prepack=prepack)
            worst = max(done.slices, key=lambda piece: piece.peak)
            found.append(
                Giant(
                    prepack, len(done.slices), 4 * layers * width * width, worst.base, all_of_it["peak"],
                    worst.peak, worst.anonymous, worst.file, worst.peak / all_of_it["peak"],
                    max(p.load for p in done.slices) * 1e3, max(p.first for p in done.slices) * 1e3,
                    (done.warm or 0) * 1e3,
                )
            )  # fmt: skip
            show_giant(found[-1])
    return found


def show_giant(row: Giant) -> None:
    """One line."""
    goal = "met" if row.ratio <= GOAL else "MISSED"
    print(
        f"giant {row.weights / 1e9:.2f} GB in {row.slices}, {'prepacked' if row.prepack else 'mapped':9}: "
        f"whole {row.whole_peak / 1e6:6.0f} MB, worst slice {row.worst_peak / 1e6:5.0f} MB "
        f"({row.worst_anonymous / 1e6:.0f} anonymous, {row.worst_file / 1e6:.0f} file, base {row.base / 1e6:.0f}): "
        f"1/{1 / row.ratio:.1f} (goal 1/6 {goal}); slowest load {row.load_ms:.0f} ms, first call {row.first_ms:.0f} ms, "
        f"all warm {row.warm_ms:.0f} ms",
        flush=True,
    )


def models(names: list[str], count: int) -> list[Held]:
    """What slices of real architectures hold."""
    import onnx
    import onnx.backend.test

    light = Path(onnx.backend.test.__file__).parent / "data" / "light"
    found = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="partita-bench-") as scratch:
            folder = Path(scratch)
            path = folder / f"{name}.onnx"
            path.write_bytes(with_weights(onnx.load(light / f"light_{name}.onnx")).SerializeToString())
            preparation = Preparation(optimize="extended")
            ready = prepare(path, preparation)
            plan = plan_at(ready.chain, equal_nodes(ready.chain, count), preparation=preparation)
            for prepack in (True, False):
                cut(ready, plan, folder / "slices", prepack=prepack)
                done = rehearse(folder / "slices", None, FREE, runs=3, enforce=False)
                found += held(name, done, ready.chain, prepack=prepack)
                show_held(found[-len(done.slices) :])
    return found


def held(name: str, done: Rehearsal, chain: Chain, *, prepack: bool) -> list[Held]:
    """One row for every slice."""
    rows = []
    for piece, planned in zip(done.slices, done.manifest.plan.slices, strict=True):
        stages = chain.stages[planned.start : planned.stop]
        largest = max((chain.params[n] for stage in stages for n in stage.params), default=0)
        rest = piece.peak - piece.base - planned.weights - (largest if prepack else 0)
        rows.append(
            Held(
                name, prepack, piece.index, planned.weights, largest, piece.base, piece.peak,
                piece.anonymous, piece.file, rest,
            )
        )  # fmt: skip
    return rows


def show_held(rows: list[Held]) -> None:
    """The slice with the most weights, which bounds the others."""
    row = max(rows, key=lambda each: each.weights)
    base = statistics.median(each.base for each in rows)
    print(
        f"{row.model:12} {'prepacked' if row.prepack else 'mapped':9}: slice {row.slice} of {len(rows)} with "
        f"{row.weights / 1e6:6.1f} MB of weights peaks at {row.peak / 1e6:6.1f} MB (base {base / 1e6:.1f}, "
        f"anonymous {row.anonymous / 1e6:.1f}, file {row.file / 1e6:.1f}); largest weight {row.largest / 1e6:.1f}; "
        f"rest {min(r.rest for r in rows) / 1e6:.1f} to {max(r.rest for r in rows) / 1e6:.1f} MB over all slices",
        flush=True,
    )


def main() -> None:
    """Parse, measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--giant", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--models", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepack", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.whole:
        print(json.dumps(whole(asked.whole, prepack=bool(asked.prepack))))
        return
    import numpy as np
    import onnxruntime as ort

    document: dict[str, Any] = {
        "what": "peak resident bytes of slices and of the whole, each in a fresh process",
        "goal": GOAL,
        "versions": {
            "onnxruntime": ort.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    if asked.giant:
        document["giant"] = [asdict(row) for row in giant(asked.layers, asked.width, asked.slices)]
    if asked.models:
        document["models"] = [asdict(row) for row in models(list(MODELS), 5)]
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
