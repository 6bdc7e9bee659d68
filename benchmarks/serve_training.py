"""A network designed for early exits, trained: what each exit is worth and what it costs.

    python benchmarks/serve_training.py [--data ../shared/data] [--out FOLDER] [--epochs 40] [--json PATH]

Trains `early-cnn` on the CIFAR-10 subset (1,000 training and 200 test images a class), where it is found below --data;
else on made-up shapes, and says so. All exits learn together, the early ones also from the last. The test images choose
nothing: the weights are those of the last step. The table gives the accuracy of each exit on the test images, with its
interval (Wilson, 95 of 100), and its cost in FLOPs (2 x MAC) from the image to the exit without the heads before it.
Wanted: an exit with at least 90% of the accuracy of the last at no more than 35% of its cost.
On two CPU cores the 40 epochs take about a quarter of an hour (--epochs 20 half of it, for a few points of accuracy).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

from partita.serve.train_spec import Progress, Run, TrainSpec
from partita.serve.training import train
from partita.zoo import DataSet, open_data

WANTED_SHARE, WANTED_COST = 0.90, 0.35
SUBSET = "cifar10-subset.zip"


def main() -> None:
    """Train, and print the table."""
    options = _options()
    data, held_out, said = _data(Path(options.data))
    print(
        f"{said}; {options.epochs} epochs, which take minutes (about 20 s each on two CPU cores)", flush=True
    )
    spec = TrainSpec(
        "early-cnn",
        dataset=data.layout,
        weights=(0.5, 1.0, 0.5, 1.0),
        distill=0.3,
        temperature=2.0,
        optimizer="sgd",
        learning_rate=options.rate,
        batch_size=128,
        epochs=options.epochs,
        one_cycle=True,
        weight_decay=5e-4,
        label_smoothing=0.05,
        augment="crop,flip",
        seed=options.seed,
    )
    folder = Path(options.out or tempfile.mkdtemp(prefix="serve-run-"))
    begun = perf_counter()
    result = train(spec, data, held_out, folder=folder, progress=_print, threads=options.threads)
    print(f"trained in {perf_counter() - begun:.0f} s on {result.run.device}; the run is in {folder}")
    _table(result.run)
    if options.json:
        rows = {
            name: getattr(result.run, name)
            for name in ("exits", "accuracy", "accuracy_low", "accuracy_high", "flops")
        }
        Path(options.json).write_text(
            json.dumps({"data": said, "seconds": result.run.seconds, **rows}, indent=1) + "\n"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data", help="the folder that holds the CIFAR-10 subset")
    parser.add_argument("--out", default="", help="the run folder; training there goes on where it stopped")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", default="")
    return parser.parse_args()


def _data(folder: Path) -> tuple[DataSet, DataSet, str]:
    """Training and test samples, and what they are."""
    place = folder / SUBSET
    if place.exists():
        whole = open_data(str(place), split="train+val"), open_data(str(place), split="test")
        said = f"CIFAR-10 subset: {len(whole[0])} training and {len(whole[1])} test images"
        return whole[0].in_memory(), whole[1].in_memory(), said
    made = open_data("made:shapes", split="train"), open_data("made:shapes", split="test")
    return (
        *made,
        f"{place} is not there: MADE-UP shapes, {len(made[0])} to train on and {len(made[1])} to test",
    )


def _print(now: Progress) -> None:
    if now.accuracy:
        row = " ".join(f"{share:.3f}" for share in now.accuracy)
        print(
            f"epoch {now.epoch:3}/{now.epochs}  loss {now.loss:.3f}  exits {row}  {now.seconds:.0f} s",
            flush=True,
        )


def _table(run: Run) -> None:
    print(f"\n{'exit':12} {'accuracy':>8} {'95 of 100':>15} {'of the last':>11} {'MFLOPs':>8} {'cost':>6}")
    for k, name in enumerate(run.exits):
        share, cost = run.accuracy[k] / run.accuracy[-1], run.flops[k] / run.flops[-1]
        ends = f"{run.accuracy_low[k]:.3f} to {run.accuracy_high[k]:.3f}"
        print(
            f"{name:12} {run.accuracy[k]:8.3f} {ends:>15} {share:11.1%} {run.flops[k] / 1e6:8.2f} {cost:6.1%}"
        )
    useful = [
        run.exits[k]
        for k in range(len(run.exits))
        if run.accuracy[k] >= WANTED_SHARE * run.accuracy[-1] and run.flops[k] <= WANTED_COST * run.flops[-1]
    ]
    wanted = f"{WANTED_SHARE:.0%} of the final accuracy at no more than {WANTED_COST:.0%} of the cost"
    print(f"\n{wanted}: {'reached by ' + ', '.join(useful) if useful else 'NOT reached'}")


if __name__ == "__main__":
    main()
