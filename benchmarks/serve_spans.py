"""What exits cost: all stages as one against the plain network without exits, and stage by stage with every head.

    python benchmarks/serve_spans.py [--json PATH] [--networks early-cnn,resnet18] [--batches 1,8] [--runs 60] [--threads 1]

The plain network is the same PyTorch modules without early heads, exported to ONNX by itself and run by ONNX Runtime
twice: as it runs any file by default (every optimisation), against which `fast` has to stand; and at the level that
subnetworks are prepared with (extended), against which `exact` stands, whose stages give the bits of the whole. All
ways share one process, one thread count and no spinning, and take turns, every second round backwards; a round of
each network has its own data. What counts is the median over rounds of each way's time divided by the plain one's of
the same round. The goal: all stages as one, at most 5% over.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from partita.engine import largest_difference
from partita.engine.onnx_exits_run import Runner, open_runner
from partita.engine.onnx_run import RunSettings
from partita.engine.torch_onnx import export_onnx
from partita.profile import steady_heap, this_device
from partita.serve.exits import MultiExit
from partita.serve.exits_build import build_exits
from partita.serve.exporting import export
from partita.serve.model import ExitModel, Speed
from partita.serve.profile import Measuring, rounds

GOAL = 1.05
CPU = ("CPUExecutionProvider",)
# name -> what it is built from
NETWORKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "early-cnn": ("early-cnn", (3, 32, 32)),
    "resnet18": ("resnet18", (3, 224, 224)),
    "resnet50": ("resnet50", (3, 224, 224)),
    "efficientnet_b0": ("efficientnet_b0", (3, 224, 224)),
}


@dataclass(frozen=True)
class Row:
    """One way at one batch size: its median in milliseconds, and how many times the plain network's it is."""

    network: str
    batch: int
    way: str
    against: str
    ms: float
    ratio: float
    low: float
    high: float
    runs: int


def plain_parts(model: MultiExit, folder: Path, threads: int) -> dict[str, Runner]:
    """The network without exits, by itself, at the levels it is compared at."""
    path = folder / "plain.onnx"
    export_onnx(model.restore_regular_model().eval(), model.example(2), {}, path)
    return {
        "fast": open_runner(path, RunSettings(threads=threads, level="all"), CPU),
        "exact": open_runner(path, RunSettings(threads=threads, level="extended"), CPU),
    }


def by_stages(model: ExitModel, given: Any) -> Callable[[], object]:
    """Stage after stage, every head with it."""

    def run() -> object:
        held = given
        for k in range(len(model.exits)):
            held, logits = model.run_stage(k, held)
        return logits

    return run


def measure(name: str, batches: list[int], runs: int, threads: int) -> tuple[list[Row], dict[str, Any]]:
    """Every way of one network."""
    builder, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = build_exits(builder, 10, shape=shape).eval()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plain = plain_parts(network, folder, threads)
        manifest = export(network, folder / "model", name=name)
        last = len(manifest.exits) - 1
        for batch in batches:
            x = np.random.default_rng(batch).standard_normal((batch, *shape)).astype(np.float32)
            jobs: dict[tuple[str, str], Callable[[], object]] = {}
            for speed in ("fast", "exact"):
                rows_of_speed: Speed = "fast" if speed == "fast" else "exact"
                model = ExitModel.open(folder / "model", threads=threads, speed=rows_of_speed)
                held = model.start(x)
                part = plain[speed]
                jobs[speed, "plain"] = lambda part=part, x=x: part.run({part.inputs[0]: x})
                jobs[speed, "one span"] = lambda model=model, held=held: model.run_span(0, last, held)
                jobs[speed, "stages"] = by_stages(model, held)
                same = largest_difference({"": part.run({part.inputs[0]: x})[0]}, {"": model.run_to(last, x)})
                assert same < 1e-3, (name, speed, same)
            rows += timed(name, batch, jobs, runs)
    facts = {
        "exits": list(manifest.exits),
        "parity": asdict(manifest.parity),
        "flops": list(manifest.flops),
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "plain_bytes": (sum(p.numel() for p in network.restore_regular_model().parameters())) * 4,
    }
    return rows, facts


def timed(name: str, batch: int, jobs: dict[tuple[str, str], Callable[[], object]], runs: int) -> list[Row]:
    """The rows of one batch size."""
    samples = dict(zip(jobs, rounds(list(jobs.values()), Measuring(runs=runs, seconds=120)), strict=True))
    found = []
    for (speed, way), seconds in samples.items():
        ratios = [a / b for a, b in zip(seconds, samples[speed, "plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        found.append(
            Row(name, batch, way, speed, statistics.median(seconds) * 1e3, middle, low, high, len(seconds))
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--networks", default="early-cnn,resnet18,efficientnet_b0")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    steady_heap()
    torch.set_num_threads(1)
    batches = [int(size) for size in asked.batches.split(",")]
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    print(f"{'network':<16} batch  {'way':<9} {'level':<6} {'ms':>9} {'x plain':>8}  middle half")
    for name in asked.networks.split(","):
        found, facts[name] = measure(name, batches, asked.runs, asked.threads)
        rows += found
        for row in found:
            middle = f"{row.low:.3f} to {row.high:.3f}"
            print(
                f"{row.network:<16} {row.batch:>5}  {row.way:<9} {row.against:<6} {row.ms:>9.3f} {row.ratio:>8.3f}  {middle}"
            )
    worst = max(row.ratio for row in rows if row.way == "one span")
    print(f"all stages as one: at most {worst:.3f} times the plain network (goal {GOAL})")
    if asked.json:
        document = {
            "device": asdict(this_device(threads=asked.threads, engine="onnx")),
            "onnxruntime": ort.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "goal": GOAL,
            "worst_span": worst,
            "networks": facts,
            "rows": [asdict(row) for row in rows],
        }
        asked.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
