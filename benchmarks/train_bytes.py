"""Bytes against accuracy: one training across a cut under every codec and memory, both ways.

    python benchmarks/train_bytes.py [--seeds 3] [--epochs 6] [--samples 4000] [--quick] [--json PATH]

A small network with batch norm learns made-up digits through the real session, cut behind its second block, K = 2 in fixed
order; the cloud answers in the same process, because time is not the question here. Each arm runs with each seed: weights,
order of samples and made-up draws are the same in all arms, so differences are taken seed by seed. Bytes are everything
that a step sends, labels and sample ids included. Beside it stands what each codec loses of the features and of the
gradients at that cut, with the quantizer of the original research as a peer.
Wanted: at least 8 times fewer bytes, both ways together, at no more than half a point of accuracy.
On two CPU cores that do nothing else it takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter

import numpy as np
import torch
from torch import nn

from partita.train import Feedback, Session, Settings, parse_optimizing
from partita.train.line import DirectLine
from partita.train.room import House, Room
from partita.wire import decode, parse_codec
from partita.zoo import DataSet, open_data

WINDOW, BATCH = 2, 64
# Flattening is one stage with the layer behind it.
CUT, STAGES = 6, 10
WANTED_FEWER, WANTED_POINTS = 8.0, 0.5
ORIGINAL = "original int8"


@dataclass(frozen=True)
class Arm:
    """Codec and memory of each way."""

    up: str = "raw"
    up_memory: Feedback = "none"
    down: str = "raw"
    down_memory: Feedback = "none"

    def __str__(self) -> str:
        words = [
            codec if memory == "none" else f"{codec} {memory}"
            for codec, memory in ((self.up, self.up_memory), (self.down, self.down_memory))
        ]
        return " | ".join(words)


RAW = Arm()
ONE_WAY = (
    *(Arm(codec) for codec in ("fp16", "int8", "int4", "int4/channel")),
    *(Arm("topk:0.1", memory) for memory in ("none", "residual", "delta", "taylor")),
)
BOTH_WAYS = (
    Arm("int8", down="int8"),
    Arm("int4/channel", down="int8"),
    Arm("int4", down="int4"),
    Arm("topk:0.1", "delta", "topk:0.1", "delta"),
    Arm("topk:0.1", "delta", "int8+lossless"),
    Arm("int4+lossless", down="int8+lossless"),
)
QUICK = (Arm("int8", down="int8"), Arm("int4+lossless", down="int8+lossless"))


@dataclass(frozen=True)
class Job:
    """One training."""

    arm: Arm
    seed: int
    epochs: int
    samples: int


@dataclass(frozen=True)
class Result:
    """What it came to: accuracy on the test digits in percent, bytes a step."""

    arm: Arm
    seed: int
    accuracy: float
    up: float
    down: float


def network(seed: int) -> nn.Sequential:
    """Three blocks of convolution, normalisation and ReLU, and a row of answers."""
    torch.manual_seed(seed)
    widths = (1, 8, 16, 32)
    blocks: list[nn.Module] = []
    for before, after in pairwise(widths):
        blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(512, 10))


def digits(samples: int, split: str) -> DataSet:
    """Digits that nobody drew."""
    return open_data(f"made:digits?train={samples}", split=split).in_memory()


def train(job: Job) -> Result:
    """One arm with one seed, through the session."""
    torch.set_num_threads(1)
    arm = job.arm
    settings = Settings(
        epochs=job.epochs, batch=BATCH, seed=job.seed, schedule="cosine", guard=False,
        optimizer=parse_optimizing("sgd:0.05,momentum=0.9"),
        feedback=arm.up_memory, feedback_down=arm.down_memory,
    )  # fmt: skip
    module = network(job.seed)
    # Brackets, because the names of some codecs have a stroke too.
    plan = f"edge[0:{CUT}] -({arm.up})/({arm.down})-> cloud[{CUT}:{STAGES}] | K={WINDOW} batch={BATCH} mode=train"
    up: list[int] = []
    down: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        session = Session(
            module, settings=settings, cloud=lambda: DirectLine(Room(house)), plan=plan, threads=1
        )
        with session:
            for step in session.train(digits(job.samples, "train")):
                up.append(step.bytes_up)
                down.append(step.bytes_down)
            judged = session.evaluate(digits(job.samples, "test"))
    return Result(arm, job.seed, 100 * judged.right / judged.count, mean(up), mean(down))


def original_quantizer(x: np.ndarray) -> np.ndarray:
    """The formula of the original project, there and back: 256 steps over a range cut at 128, a truncated zero point."""
    low, high = float(x.min()), float(x.max())
    scale = np.float32((min(high, 128.0) - max(low, -128.0)) / 256.0)
    zero = int(low)
    q = np.clip(np.rint(x / scale) + zero, -128, 127)
    return ((q - zero) * scale).astype(np.float32)


def losses_of_codecs(samples: int) -> list[dict[str, float | str]]:
    """What codecs lose of real features and gradients at the cut, after a little training."""
    torch.set_num_threads(1)
    module = network(0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    features = slopes = np.zeros(0, np.float32)
    for inputs, labels in digits(samples, "train").batches(BATCH):
        hidden = module[:CUT](torch.from_numpy(inputs))
        hidden.retain_grad()
        loss = nn.functional.cross_entropy(module[CUT:](hidden), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hidden.grad is not None:
            features, slopes = hidden.detach().numpy(), hidden.grad.numpy()
    rows: list[dict[str, float | str]] = []
    for name in ("fp16", "int8", "int8/channel", "int4", "int4/channel", "topk:0.1", ORIGINAL):
        found = []
        for x in (features, slopes):
            back = original_quantizer(x) if name == ORIGINAL else decode(parse_codec(name).encode(x))
            found.append(float(np.linalg.norm(x - back) / np.linalg.norm(x)))
        rows.append({"codec": name, "features": found[0], "gradients": found[1]})
    return rows


def rows_of(results: list[Result]) -> list[dict[str, object]]:
    """One row an arm; differences to raw are taken seed by seed."""
    raw = {result.seed: result for result in results if result.arm == RAW}
    rows: list[dict[str, object]] = []
    for arm in dict.fromkeys(result.arm for result in results):
        mine = [result for result in results if result.arm == arm]
        points = [result.accuracy - raw[result.seed].accuracy for result in mine]
        up, down = mean(r.up for r in mine), mean(r.down for r in mine)
        up_raw, down_raw = mean(r.up for r in raw.values()), mean(r.down for r in raw.values())
        rows.append(
            {
                "arm": str(arm),
                **asdict(arm),
                "bytes_up": up,
                "bytes_down": down,
                "fewer_up": up_raw / up,
                "fewer_down": down_raw / down,
                "fewer": (up_raw + down_raw) / (up + down),
                "accuracy": mean(r.accuracy for r in mine),
                "accuracies": [r.accuracy for r in mine],
                "points": mean(points),
                "points_error": stdev(points) / sqrt(len(points)) if len(points) > 1 else None,
            }
        )
    return rows


def show(rows: list[dict[str, object]], errors: list[dict[str, float | str]]) -> None:
    """Both tables, and whether the claim holds."""
    print(f"| {'up | down':36} | fewer up | down | both | accuracy | to raw, points |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        error = f" ± {row['points_error']:.2f}" if row["points_error"] is not None else ""
        name = str(row["arm"]).replace("|", "\\|")
        print(
            f"| {name:36} | {row['fewer_up']:.1f} | {row['fewer_down']:.1f} | {row['fewer']:.1f}"
            f" | {row['accuracy']:.2f}% | {row['points']:+.2f}{error} |"
        )
    print("\n| codec alone | lost of features | lost of gradients |\n|---|---|---|")
    for each in errors:
        print(f"| {each['codec']} | {each['features']:.2%} | {each['gradients']:.2%} |")
    wanted = f"{WANTED_FEWER:g} times fewer bytes at no more than {WANTED_POINTS:g} points"
    reached = [
        f"{row['arm']} ({row['fewer']:.1f} times, {row['points']:+.2f})"
        for row in rows
        if float(str(row["fewer"])) >= WANTED_FEWER and float(str(row["points"])) >= -WANTED_POINTS
    ]
    print(f"\n{wanted}: {'reached by ' + '; '.join(reached) if reached else 'NOT reached'}")


def main() -> None:
    """Every arm with every seed, two at a time."""
    options = _options()
    arms = (RAW, *QUICK) if options.quick else (RAW, *ONE_WAY, *BOTH_WAYS)
    seeds, epochs, samples = (
        (1, 1, 640) if options.quick else (options.seeds, options.epochs, options.samples)
    )
    jobs = [Job(arm, seed, epochs, samples) for arm in arms for seed in range(seeds)]
    print(f"{len(jobs)} trainings of {epochs} epochs on {samples} made-up digits", flush=True)
    begun = perf_counter()
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        results = list(pool.map(train, jobs))
    rows, errors = rows_of(results), losses_of_codecs(samples)
    show(rows, errors)
    seconds = perf_counter() - begun
    print(
        f"took {seconds:.0f} s"
        + ("; quick: too little training to judge the claim by" if options.quick else "")
    )
    if options.json:
        settings = {"window": WINDOW, "batch": BATCH, "seeds": seeds, "epochs": epochs, "samples": samples}
        document = {
            **settings,
            "torch": torch.__version__,
            "seconds": seconds,
            "rows": rows,
            "errors": errors,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    parser.add_argument(
        "--quick", action="store_true", help="a few steps of a few arms: only whether it runs"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
