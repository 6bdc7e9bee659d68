"""Is the promise of `partita serve calibrate` kept? Many calibrations from fresh draws, each held against the truth.

    python benchmarks/serve_calibration.py [--truth FILE.npz] [--splits 100] [--samples 4000] [--json FILE]

FILE.npz is a truth file of held-out samples of a trained network: `logits` (samples x exits x classes) and `labels`, or
`confidence` and `correct`. What each exit costs comes from a profile.json beside it, or from `costs` in it (from the
input to each exit), or all stages count alike. Without FILE.npz a made-up network with four exits stands in: exits
that share most of their noise, the first overconfident, the third too modest.

A violation is a calibration whose true loss (the last exit right, the answer given wrong) is above what was asked.
"truth" draws the calibration samples from the pool with replacement, so that the pool is the population and its loss is
known without error. "split" parts the pool in two without replacement: the loss of the other half has noise of its own,
and passes the bound at times when the true loss does not. Goal: violations of the truth in at most 5% of draws, up to
the chance of counting them in so few.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from partita.graph import load
from partita.serve import ExitProfile
from partita.serve.calibrate_binomial import binomial_cdf
from partita.serve.calibrate_evidence import Evidence, evidence_of_logits, evidence_of_truth
from partita.serve.calibrate_thresholds import exits_taken
from partita.serve.calibrating import examine

DROPS = (0.002, 0.005, 0.01, 0.02, 0.05)
DOUBT = 0.05
MADE_UP_COSTS = (0.08, 0.31, 0.61, 1.0)


@dataclass(frozen=True)
class Row:
    """One bound, over all draws: shares, but counts for `violations` and `off` (no thresholds could be proven)."""

    max_drop: float
    kind: str
    path: str
    draws: int
    violations: int
    drop_violations: int
    allowed: int
    off: int
    loss: float
    drop: float
    saved: float

    @property
    def kept(self) -> bool:
        """Whether so many violations fit the promise."""
        return self.violations <= self.allowed


def made_up(samples: int, seed: int, classes: int = 10) -> tuple[Evidence, tuple[float, ...]]:
    """A network that grows better with depth and is not equally honest at each exit."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, samples)
    hardness = 1.2 * draw.gamma(2.0, 0.5, samples)
    shared = draw.normal(size=(samples, classes))
    logits = []
    for skill, sharpness in ((2.2, 2.0), (3.6, 1.4), (4.6, 0.9), (4.7, 2.6)):
        margin = np.sqrt(0.75) * shared + np.sqrt(0.25) * draw.normal(size=(samples, classes))
        margin[np.arange(samples), labels] += skill - hardness
        logits.append((sharpness * margin).astype(np.float32))
    return evidence_of_logits(logits, labels), MADE_UP_COSTS


def read(path: Path) -> tuple[Evidence, tuple[float, ...]]:
    """Held-out logits of a trained network."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    evidence = evidence_of_truth(arrays)
    beside = path.with_name("profile.json")
    if beside.is_file():
        profile = load(ExitProfile, beside.read_text(encoding="utf-8"))
        costs = np.cumsum([stage.seconds(1) for stage in profile.stages]) / sum(
            stage.seconds(1) for stage in profile.stages
        )
    else:
        costs = arrays.get("costs", np.arange(1.0, evidence.exits + 1))
    return evidence, tuple(map(float, costs))


def measure(
    pool: Evidence, costs: tuple[float, ...], max_drop: float, kind: str, arguments: argparse.Namespace
) -> Row:
    """Calibrate many times and count how often the promise is broken."""
    draw = np.random.default_rng(arguments.seed + 1)
    losses, drops, saved, off = [], [], [], 0
    spent = np.asarray(costs) / costs[-1]
    for _ in range(arguments.splits):
        if kind == "truth":
            chosen, rest = draw.integers(0, pool.samples, arguments.samples), np.arange(pool.samples)
        else:
            order = draw.permutation(pool.samples)
            chosen, rest = order[: arguments.samples], order[arguments.samples :]
        found = examine(
            pool.part(chosen), max_drop=max_drop, confidence=1 - DOUBT, costs=costs, path=arguments.path
        )
        off += not found.path
        test = pool.part(rest)
        taken = exits_taken(test.confidence, found.calibration.thresholds)
        answered = test.worth[taken, np.arange(test.samples)]
        losses.append(float(test.lost(taken).mean()))
        drops.append(float((test.worth[-1] - answered).mean()))
        saved.append(float(1 - spent[taken].mean()))
    allowed = next(c for c in range(arguments.splits + 1) if binomial_cdf(c, arguments.splits, DOUBT) >= 0.95)
    return Row(
        max_drop=max_drop,
        kind=kind,
        path=arguments.path,
        draws=arguments.splits,
        violations=sum(loss > max_drop for loss in losses),
        drop_violations=sum(drop > max_drop for drop in drops),
        allowed=allowed,
        off=off,
        loss=float(np.mean(losses)),
        drop=float(np.mean(drops)),
        saved=float(np.mean(saved)),
    )


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, help="npz with logits, labels and costs of a trained network")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--samples", type=int, help="calibration samples; 4000, or half the file")
    parser.add_argument("--pool", type=int, default=50_000, help="samples of the made-up network")
    parser.add_argument("--path", choices=("learned", "common"), default="learned")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.truth:
        (pool, costs), source = read(arguments.truth), f"held-out samples of {arguments.truth.parent.name}"
    else:
        (pool, costs), source = made_up(arguments.pool, arguments.seed), "made-up network, seeded"
    arguments.samples = arguments.samples or (pool.samples // 2 if arguments.truth else 4000)
    accuracies = " ".join(f"{one:.3f}" for one in pool.worth.mean(axis=1))
    print(
        f"{source}: {pool.samples} samples, accuracy by exit {accuracies}, cost by exit {tuple(round(c, 3) for c in costs)}"
    )
    print(
        f"{arguments.splits} calibrations on {arguments.samples} samples, confidence {1 - DOUBT:g}, {arguments.path} path"
    )
    print("  at most  against  violations (allowed)  by drop   off    loss    drop   cost saved")
    rows, begun = [], time.perf_counter()
    # Where all samples calibrate none are left to be split off.
    for kind in ("truth", "split") if arguments.samples < pool.samples else ("truth",):
        for max_drop in DROPS:
            row = measure(pool, costs, max_drop, kind, arguments)
            rows.append(row)
            print(
                f"  {max_drop:7.2%}  {kind:7}  {row.violations:10d} ({row.allowed})  {row.drop_violations:12d}  {row.off:5d}  "
                f"{row.loss:6.2%}  {row.drop:6.2%}  {row.saved:10.1%}"
            )
    kept = all(row.kept for row in rows if row.kind == "truth")
    print(f"the promise is {'kept' if kept else 'BROKEN'} ({time.perf_counter() - begun:.0f} s)")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"source": source, "samples": arguments.samples, "doubt": DOUBT, "kept": kept}
        arguments.json.write_text(json.dumps({**document, "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
