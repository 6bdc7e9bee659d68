"""Predicted against measured: seconds per step of random plans, two real processes, a shaped link.

    python benchmarks/plan_prediction.py [--plans 30] [--steps 12] [--json FILE]

Each plan has random cuts (one or two), codecs, window and link. The prediction comes from a profile of this machine
and the planner's simulator; the measurement from `run-parts`' own driver. Goals: median absolute error at most 15%,
rank correlation at least 0.9.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from partita.engine import Captured
from partita.graph import Link, Profile
from partita.plan import Hop, Overhead, PlacedPart, Plan, Question, estimate
from partita.profile import Effort, measure, measure_codecs, steady_heap, with_threads
from partita.run import Driver, Remote, local_place, run_steps, shaped
from partita.wire import LinkShape, connect
from partita.zoo import resolve

CODECS = ("raw", "fp16", "int8", "int4")
RATES = (5e6, 10e6, 20e6, 50e6, 100e6, 200e6)
TRIPS = (0.0, 0.01, 0.04)


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
        return abs(self.predicted - self.measured) / self.measured


def random_plan(model: Captured, batch: int, draw: random.Random) -> Plan:
    """One or two legal cuts, a codec for each hop, a window."""
    chain = model.chain
    legal = [cut.position for cut in chain.cuts[1:-1] if cut.legal]
    cuts = sorted(draw.sample(legal, draw.choice((1, 2))))
    ends = [0, *cuts, len(chain)]
    parts = tuple(
        PlacedPart(("edge", "cloud", "edge")[i], ends[i], ends[i + 1]) for i in range(len(ends) - 1)
    )
    hops = tuple(Hop(draw.choice(CODECS), "raw") for _ in parts[1:])
    return Plan(chain.name, chain.digest, parts, hops, draw.randrange(4), batch)


async def trials(model: Captured, profile: Profile, arguments: argparse.Namespace) -> list[Trial]:
    """Run every plan over its own link, in one pair of processes."""
    draw = random.Random(arguments.seed)
    profiles = {
        place: replace(profile, device=replace(profile.device, name=place)) for place in ("edge", "cloud")
    }
    values = model.example(arguments.batch)
    found = []
    async with local_place([arguments.model, "--batch", str(arguments.batch), "--threads", "1"]) as (
        url,
        token,
    ):
        for index in range(arguments.plans):
            plan = random_plan(model, arguments.batch, draw)
            rate, trip = draw.choice(RATES), draw.choice(TRIPS)
            link = Link(rate, rate, trip)
            question = Question(
                batch=arguments.batch, overhead=Overhead(seconds=arguments.overhead, share=0.005)
            )
            predicted = estimate(model.chain, plan, profiles, link, question)
            async with shaped(url, LinkShape(link.up, link.down, link.rtt)) as near:
                async with Remote(await connect(near, token=token)) as remote:
                    async with Driver(model, plan, {"cloud": remote}) as driver:
                        report = await run_steps(driver, values, steps=arguments.steps, window=plan.window)
            trial = Trial(str(plan), str(link), predicted.seconds, report.step_seconds)
            found.append(trial)
            print(
                f"{index + 1:3d}  {trial.predicted * 1e3:8.1f} ms predicted  {trial.measured * 1e3:8.1f} ms measured  "
                f"{trial.error:6.1%}  {link}  {plan}"
            )
    return found


def ranks(values: list[float]) -> np.ndarray:
    """Places in order; these are real numbers, so there are no ties."""
    return np.argsort(np.argsort(values)).astype(float)


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="zoo:resnet-small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--plans", type=int, default=30)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--overhead", type=float, default=0.0005, help="seconds a message takes besides its bytes"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    steady_heap()
    model = with_threads(resolve(arguments.model, batch=arguments.batch), 1)
    profile = measure(model, batches=(arguments.batch,), effort=Effort(budget=20.0))
    profile = replace(profile, codecs=measure_codecs(CODECS))
    found = asyncio.run(trials(model, profile, arguments))
    error = statistics.median(trial.error for trial in found)
    rank = float(np.corrcoef(ranks([t.predicted for t in found]), ranks([t.measured for t in found]))[0, 1])
    print(
        f"median absolute error {error:.1%} (goal: at most 15%), rank correlation {rank:.3f} (goal: at least 0.9)"
    )
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"median_error": error, "rank_correlation": rank, "trials": [vars(t) for t in found]}
        arguments.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
