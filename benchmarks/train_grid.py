"""Every way to train across a cut, over links of every kind: seconds per step, seconds to an accuracy, bytes.

    python benchmarks/train_grid.py [--network digits|cifar] [--cells 2/0,50/40] [--arms auto,JointDNN] [--quick]
                                    [--private] [--learn 10/0] [--json FILE]

Two real processes, each pinned to a core, the edge pretended eight times slower, a shaped link between them. Arms of a
cell take turns, block by block; the table gives the median of the blocks and how far apart they are. Before each arm's
measurement stands its prediction, from profiles taken once and the link as asked for. Time to the target is that of real
trainings in the cells of --learn; elsewhere it is the seconds per step times the steps that this K and these codecs
needed without a slow link, and says so. With --private nothing but features leaves the edge, and `cloud only` is out.
Claims: auto at 0.95 of the best arm or better in every cell; 1.5 times JointDNN where JointDNN's own stages take twice
its slowest one or more; every K and codec within half a point of unsplit training; predictions 15% off in the median.
The machine should have nothing else to do: with --take best the fastest block counts, which a busy one disturbs least.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from train_cases import Case, case

from partita.cli.train_compare import pinned
from partita.train import Cell, Contest, LocalCloud, Row, Session, Survey, compare, local_cloud

RATES, TRIPS = (2, 10, 50, 200), (0, 40)
SLOW = 8.0
# Of auto to the best arm; of JointDNN to auto where there is that much to overlap; of accuracy; of predictions.
SHARE, FASTER, OVERLAP, POINTS, ERROR = 0.95, 1.5, 2.0, 0.005, 0.15
UNSPLIT = "edge only"


@dataclass(frozen=True)
class Learned:
    """What training with one K and its codecs came to, over seeds, without a slow link."""

    combination: str
    plan: str
    accuracy: tuple[float, ...]
    steps: tuple[int | None, ...]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="digits", choices=("digits", "cifar"))
    parser.add_argument(
        "--cells", default="", help="Mbit/s by round trip in ms, like 2/0,50/40; all eight if not given"
    )
    parser.add_argument("--arms", default="", help="like auto,JointDNN; all if not given")
    parser.add_argument("--learn", default="", help="cells in which every arm trains to the target")
    parser.add_argument("--private", action="store_true", help="no input leaves the edge")
    parser.add_argument("--quick", action="store_true", help="three cells, few steps, one seed")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds of a block at most")
    parser.add_argument("--seeds", type=int, default=3, help="0 leaves the accuracies out")
    parser.add_argument("--epochs", type=int, default=0, help="of the trainings for accuracy")
    parser.add_argument("--take", default="median", choices=("median", "best"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.quick:
        asked.cells, asked.seeds = asked.cells or "2/0,10/40,50/0", min(asked.seeds, 1)
        asked.steps, asked.budget = min(asked.steps, 18), min(asked.budget, 1.5)
    return asked


def cells_of(text: str) -> list[Cell]:
    if not text:
        return [Cell(float(rate), trip / 1e3) for trip in TRIPS for rate in RATES]
    rows = [word.partition("/") for word in text.split(",")]
    return [Cell(float(rate), float(trip or 0) / 1e3) for rate, _, trip in rows]


# -- the grid ----------------------------------------------------------------------------------------------------------


def seconds(row: Row, take: str) -> float | None:
    return min(row.blocks) if take == "best" and row.blocks else row.step_seconds


def contest_of(found: Case, asked: argparse.Namespace) -> Contest:
    return Contest(
        found.model,
        found.data,
        None,
        replace(found.settings, inputs_private=asked.private),
        slow=SLOW,
        steps=asked.steps,
        warmup=6,
        arms=tuple(filter(None, asked.arms.split(","))),
        blocks=asked.blocks,
        budget=asked.budget,
    )


def tell(rows: list[Row], take: str) -> None:
    """One cell as a table."""
    known = {row.arm: value for row in rows if (value := seconds(row, take)) is not None}
    best = min(known.values(), default=None)
    print(f"\n{rows[0].cell}")
    for row in rows:
        value = known.get(row.arm)
        if value is None or best is None:
            print(f"  {row.arm:14} {row.problem}")
            continue
        moves = f", {row.moves} moves" if row.moves else ""
        print(
            f"  {row.arm:14}{value * 1e3:9.1f} ms  ±{row.spread:4.0%}{best / value:7.2f} of best"
            f"  predicted {(row.predicted or 0.0) * 1e3:8.1f} ms{(row.predicted or 0.0) / value - 1:+6.0%}"
            f"  {row.bytes_up / 1e3:7.1f} kB up {row.bytes_down / 1e3:7.1f} down  sum/slowest {row.overlap:4.2f}"
            f"  {row.plan.split(' | ')[0]} K={row.window}{moves}",
            flush=True,
        )


def ranks(values: list[float]) -> Any:
    return np.argsort(np.argsort(values)).astype(float)


def by_cell(rows: list[Row]) -> list[dict[str, Row]]:
    found: dict[Cell, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.cell, {})[row.arm] = row
    return list(found.values())


def claims(rows: list[Row], take: str) -> dict[str, Any]:
    """What the grid says of each claim, printed and as data."""
    document: dict[str, Any] = {"against_best": {}, "against_jointdnn": {}}
    for cell in by_cell(rows):
        known = {name: value for name, row in cell.items() if (value := seconds(row, take)) is not None}
        auto, joint = known.get("auto"), known.get("JointDNN")
        if auto is None:
            continue
        where = str(next(iter(cell.values())).cell)
        document["against_best"][where] = min(known.values()) / auto
        if joint is not None and cell["JointDNN"].overlap >= OVERLAP:
            document["against_jointdnn"][where] = joint / auto
    shares, factors = document["against_best"], document["against_jointdnn"]
    if shares:
        worst = min(shares, key=shares.__getitem__)
        said = (
            f"\nauto against the best arm, at worst: {shares[worst]:.3f} at {worst} (goal: at least {SHARE})"
        )
        print(said, "" if shares[worst] >= SHARE else "MISSED")
    if factors:
        worst = min(factors, key=factors.__getitem__)
        said = f"auto against JointDNN in {len(factors)} cells where sum/slowest is {OVERLAP:g} or more, at worst:"
        print(said, f"{factors[worst]:.2f} times at {worst} (goal: at least {FASTER})", end=" ")
        print("" if factors[worst] >= FASTER else "MISSED")
    pairs = [(r.predicted, value) for r in rows if r.predicted and (value := seconds(r, take)) is not None]
    if len(pairs) > 2:
        error = median(abs(told / value - 1) for told, value in pairs)
        rank = float(np.corrcoef(ranks([p[0] for p in pairs]), ranks([p[1] for p in pairs]))[0, 1])
        print(
            f"predictions: median absolute error {error:.1%} (goal: at most {ERROR:.0%}), rank correlation {rank:.3f}"
        )
        document |= {"prediction_error": error, "rank_correlation": rank}
    return document


# -- accuracy ----------------------------------------------------------------------------------------------------------


def combination(row: Row) -> str:
    """K and codecs: what decides how well a training learns, of all that a plan says."""
    head = row.plan.split(" | ")[0]
    codecs = [word.strip("->") for word in head.split() if word.startswith("-")]
    return f"K={row.window} {' '.join(codecs)}" if codecs else UNSPLIT


def trained(found: Case, cloud: LocalCloud, plan: str, asked: argparse.Namespace) -> tuple[float, int | None]:
    """Final held-out accuracy, and the steps to the target."""
    settings = replace(
        found.settings, epochs=asked.epochs or found.settings.epochs, inputs_private=asked.private
    )
    with Session(
        found.model,
        settings=settings,
        plan=plan,
        cloud=cloud.url if " cloud[" in plan else None,
        token=cloud.token,
        threads=1,
    ) as session:
        for _ in session.train(found.data, held_out=found.held_out):
            pass
        accuracies = [epoch.held_out_accuracy or 0.0 for epoch in session.epochs]
        counts = np.cumsum([epoch.steps for epoch in session.epochs])
    reached = [
        int(n)
        for n, a in zip(counts, accuracies, strict=True)
        if found.target is not None and a >= found.target
    ]
    return accuracies[-1], reached[0] if reached else None


def learn(rows: list[Row], cloud: LocalCloud, asked: argparse.Namespace) -> list[Learned]:
    """Every K and codecs that an arm used, trained over a link that is not slow."""
    plans = {UNSPLIT: next(row.plan for row in rows if row.arm == UNSPLIT)} if rows else {}
    for row in rows:
        if (
            row.step_seconds is not None and combination(row) != "K=0 raw/raw"
        ):  # which is unsplit, bit for bit
            plans.setdefault(combination(row), row.plan)
    print(f"\nheld-out accuracy of each K and its codecs, {asked.seeds} seeds, over a fast link")
    cloud.reshape(Cell(2000.0).shape)
    found, whole = [], 0.0
    for name, plan in plans.items():
        cases = [each for seed in range(asked.seeds) if (each := case(asked.network, seed)) is not None]
        told = [trained(each, cloud, plan, asked) for each in cases]
        learned = Learned(name, plan, tuple(t[0] for t in told), tuple(t[1] for t in told))
        whole = mean(learned.accuracy) if name == UNSPLIT else whole
        away = mean(learned.accuracy) - whole
        steps = [count for count in learned.steps if count is not None]
        reached = f"  target after {median(steps):g} steps" if steps else ""
        print(
            f"  {name:24} {mean(learned.accuracy):7.2%} {away * 100:+6.2f} points"
            f"{'' if away >= -POINTS else '  MISSED'}{reached}",
            flush=True,
        )
        found.append(learned)
    return found


def to_target(rows: list[Row], learned: list[Learned], take: str) -> None:
    """Seconds to the target, by the seconds per step and the steps."""
    counts = {
        each.combination: median(c for c in each.steps if c is not None)
        for each in learned
        if any(c is not None for c in each.steps)
    }
    counts["K=0 raw/raw"] = counts.get(UNSPLIT, 0.0)
    if not counts.get(UNSPLIT):
        return
    print("\nseconds to the target: seconds per step, measured, times steps without a slow link")
    for cell in by_cell(rows):
        told = [
            f"{name} {value * counts[combination(row)]:.1f}"
            for name, row in cell.items()
            if (value := seconds(row, take)) is not None and counts.get(combination(row))
        ]
        print(f"  {next(iter(cell.values())).cell}: " + ", ".join(told))


def main() -> None:
    asked = options()
    found = case(asked.network)
    if found is None:
        return
    contest, cells = contest_of(found, asked), cells_of(asked.cells)
    with pinned() as core, local_cloud(threads=1, cpu=core, link=Cell(1000.0).shape) as cloud:
        if core is None:
            print("one core only: edge and cloud share it, and no figure here is worth much")
        survey = Survey.of(contest, cloud)
        print(
            f"{found.name}: {len(survey.chain)} stages, batch {found.settings.batch}, the edge {SLOW:g} times slower"
        )
        rows: list[Row] = []
        for cell in cells:
            mine = compare(contest, cloud, [cell], survey=survey)
            tell(mine, asked.take)
            rows += mine
        document = claims(rows, asked.take)
        learned = learn(rows, cloud, asked) if asked.seeds and not asked.arms else []
        if found.target is not None:
            to_target(rows, learned, asked.take)
        real: list[Row] = []
        if asked.learn and found.target is not None:
            target = replace(contest, target=found.target, held_out=found.held_out)
            print(f"\ntrained to {found.target:.0%} in earnest, evaluations not counted")
            for row in compare(target, cloud, cells_of(asked.learn), survey=survey):
                reached = "not reached" if row.to_target is None else f"{row.to_target:.1f} s"
                print(f"  {row.cell}: {row.arm:14} {row.problem or reached}, {row.steps} steps", flush=True)
                real.append(row)
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        document |= {"rows": [asdict(row) for row in rows], "learned": [asdict(each) for each in learned]}
        asked.json.write_text(
            json.dumps(document | {"trained": [asdict(row) for row in real]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
