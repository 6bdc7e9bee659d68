"""Every network of the original project on every device: our plans beside the figures of the paper's formula.

    python benchmarks/train_simulation.py [FOLDER] [--steps 2000] [--json FILE]

FOLDER holds the original's CSV tables; without it nothing is done, and the output says so. First the paper's own question
(its formula: codecs cost no time, gradients always travel, rates in MiB/s), then ours (codecs cost what the tables say),
then one training of so many steps over a made-up Wi-Fi trace: the live planner as a share of who knows the future.
Claims: the formula's published figures come out to three digits; no arm is more than 6% faster than `auto`; the live
planner is at 90% of the oracle or more in the median.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from partita.graph import Link
from partita.train import Length, made_moments, original_cases, replay, sweep_links

HERE = Path(__file__).parents[2] / "shared/originals/split-training/profile"
MIB = 8 * 2**20
RATES = (1, 5, 10, 40)
# MB/s -> edge only, sequential best cut, K = 5, K = 5 with its int8, int8 both ways: the formula on the tables.
FIGURES = {
    ("MobileNetV3 large on CIFAR-10, TX2", 10): (0.459, 0.406, 0.145, 0.145, 0.065),
    ("VGG-19 on CIFAR-10, TX2", 10): (0.441, 0.441, 0.200, 0.200, 0.192),
    ("ResNet-50 on CIFAR-10, TX2", 5): (1.239, 1.239, 1.239, 1.239, 0.400),
    ("ResNet-50 on CIFAR-10, TX2", 10): (1.239, 1.239, 0.800, 0.800, 0.200),
    ("ResNet-50 on CIFAR-10, TX2", 40): (1.239, 0.556, 0.200, 0.200, 0.115),
    ("BiLSTM on IMDB, TX2", 10): (0.313, 0.313, 0.313, 0.313, 0.078),
    ("ResNet-50 on CIFAR-10, Pi", 1): (48.5, 16.7, 8.0, 8.0, 2.0),
    ("chair generator, cloud first, TX2", 5): (0.504, 0.495, 0.400, 0.400, 0.382),
}
ARMS = ("edge only", "JointDNN", "window only", "paper", "auto")


def tables(folder: Path, *, formula: bool) -> list[dict[str, Any]]:
    """Seconds per step of every arm, for every case and rate."""
    links = [Link(rate * MIB, rate * MIB) for rate in RATES]
    rows = []
    for case in original_cases(folder, formula=formula):
        found = sweep_links(case, links)
        for rate, link in zip(RATES, links, strict=True):
            seconds = {point.arm: point.seconds for point in found.points if point.link == link}
            rows.append({"case": case.name, "rate": rate, "formula": formula, "seconds": seconds})
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'':54} MB/s" + "".join(f"{arm:>13}" for arm in ARMS) + "   figures of the formula")
    for row in rows:
        figures = FIGURES.get((row["case"], row["rate"]), ()) if row["formula"] else ()
        told = " ".join(f"{figure:g}" for figure in figures)
        cells = "".join(f"{row['seconds'][arm]:13.3f}" for arm in ARMS)
        print(f"{row['case']:54} {row['rate']:4}{cells}   {told}")


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The figures that did not come out."""
    found = []
    for row in rows:
        for arm, figure in zip(ARMS, FIGURES.get((row["case"], row["rate"]), ()), strict=False):
            if abs(row["seconds"][arm] - figure) > max(5e-4, 5e-3 * figure):
                found.append(f"{row['case']} at {row['rate']}: {arm} {row['seconds'][arm]:.4f}, not {figure}")
    return found


def traces(folder: Path, steps: int) -> list[dict[str, Any]]:
    """One training over a made-up trace, by everybody."""
    rows = []
    for case in original_cases(folder):
        told = replay(case, made_moments("made:wifi"), Length(1, steps))
        seconds = {run.name: run.seconds for run in told.runs}
        rows.append({"case": case.name, "seconds": seconds, "moves": len(told.live.moves)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not (asked.folder / "featuresize.csv").is_file():
        print(f"skipped: {asked.folder} does not hold the original project's tables")
        return
    formula, ours = tables(asked.folder, formula=True), tables(asked.folder, formula=False)
    show("the paper's question: its formula's terms", formula)
    show("ours: codecs cost what the tables say, a window must save a twentieth", ours)
    wrong = missed(formula)
    print("\nfigures of the formula:", "all come out" if not wrong else "; ".join(wrong))
    worst = max(row["seconds"]["auto"] / min(row["seconds"].values()) for row in ours)
    print(f"auto against the best arm, at worst: {worst:.3f} times")
    runs = traces(asked.folder, asked.steps)
    shares = [row["seconds"]["oracle"] / row["seconds"]["auto, live"] for row in runs]
    print(
        f"\n{asked.steps} steps over made:wifi{'':28}oracle      live  best kept     paper  JointDNN  moves"
    )
    for row, share in zip(runs, shares, strict=True):
        s = row["seconds"]
        cells = "".join(f"{s['oracle'] / s[who]:10.0%}" for who in ("best fixed plan", "paper", "JointDNN"))
        print(f"{row['case']:54}{s['oracle']:8.0f} s{share:8.0%}{cells}{row['moves']:6}")
    print(f"live, share of the oracle: median {median(shares):.3f}, least {min(shares):.3f}")
    if asked.json:
        document = {"formula": formula, "ours": ours, "traces": runs, "missed": wrong, "worst": worst}
        asked.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
