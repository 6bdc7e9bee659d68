"""Predicted against measured: seconds per training step of random plans, two real processes, a shaped link.

    python benchmarks/train_prediction.py [--network digits|cifar] [--plans 30] [--steps 12] [--json FILE]

Each plan has random cuts (one, or two with the labels at the edge), codecs both ways, a window and a link; the edge is
pretended eight times slower. The prediction comes from profiles that are taken as any session takes them; the measurement
from a session under that plan. Goals: median absolute error at most 15%, rank correlation at least 0.9.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from train_cases import Case, case

from partita.cli.train_compare import pinned
from partita.plan import Hop, PlacedPart, Plan
from partita.train import Cell, Contest, LocalCloud, Session, Survey, local_cloud

CODECS = ("raw", "fp16", "int8")
RATES, TRIPS = (5, 10, 20, 50, 100, 200), (0.0, 0.01, 0.04)
SLOW = 8.0


@dataclass(frozen=True)
class Trial:
    """One random plan and its link, with both numbers."""

    plan: str
    link: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Relative to what was measured."""
        return self.predicted / self.measured - 1


def random_plan(survey: Survey, draw: random.Random) -> Plan:
    """One or two legal cuts, a codec for each way of each hop, a window."""
    chain, legal = survey.chain, sorted(survey.facts["legal"] or ())
    inner = [
        at
        for at in legal
        if 0 < at < len(chain) and not set(chain.cuts[at].shared) - survey.facts["constant"]
    ]
    cuts = sorted(draw.sample(inner, draw.choice((1, 1, 2))))
    ends = [0, *cuts, len(chain)]
    parts = tuple(PlacedPart(("edge", "cloud")[i % 2], ends[i], ends[i + 1]) for i in range(len(ends) - 1))
    hops = tuple(Hop(draw.choice(CODECS), draw.choice(CODECS)) for _ in parts[1:])
    return Plan(chain.name, chain.digest, parts, hops, draw.randrange(5), survey.settings.batch, "train")


def measured(found: Case, cloud: LocalCloud, plan: Plan, steps: int) -> float:
    """Seconds per step: the mean over those that follow when the pipeline is full."""
    lead = plan.window + 3
    with Session(
        found.model,
        settings=found.settings,
        cloud=cloud.url,
        token=cloud.token,
        plan=plan,
        slow=SLOW,
        threads=1,
    ) as session:
        reports = session.train(found.data)
        rows = [report.seconds for report, _ in zip(reports, range(lead + steps), strict=False)]
        reports.close()  # type: ignore[attr-defined]
    return statistics.mean(rows[lead:])


def ranks(values: list[float]) -> Any:
    return np.argsort(np.argsort(values)).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="digits", choices=("digits", "cifar"))
    parser.add_argument("--plans", type=int, default=30)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument(
        "--longest", type=float, default=1.5, help="plans that take longer a step are drawn again"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = case(asked.network)
    if found is None:
        return
    draw, trials = random.Random(asked.seed), list[Trial]()
    contest = Contest(found.model, found.data, None, found.settings, slow=SLOW)
    with pinned() as core, local_cloud(threads=1, cpu=core, link=Cell(1000.0).shape) as cloud:
        survey = Survey.of(contest, cloud)
        while len(trials) < asked.plans:
            plan, cell = random_plan(survey, draw), Cell(draw.choice(RATES), draw.choice(TRIPS))
            predicted = survey.estimate(plan, cell.link).seconds
            if predicted > asked.longest:
                continue
            cloud.reshape(cell.shape)
            taken = measured(found, cloud, replace(plan, estimate=None), asked.steps)
            trials.append(trial := Trial(str(plan), str(cell), predicted, taken))
            print(
                f"{len(trials):3}  {predicted * 1e3:8.1f} ms predicted  {taken * 1e3:8.1f} ms measured  {trial.error:+6.1%}"
                f"  {cell}  {plan}",
                flush=True,
            )
    error = statistics.median(abs(trial.error) for trial in trials)
    pairs = [ranks([getattr(trial, name) for trial in trials]) for name in ("predicted", "measured")]
    rank = float(np.corrcoef(*pairs)[0, 1])
    print(
        f"median absolute error {error:.1%} (goal: at most 15%), rank correlation {rank:.3f} (goal: at least 0.9)"
    )
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "median_error": error,
            "rank_correlation": rank,
            "trials": [vars(trial) for trial in trials],
        }
        asked.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
