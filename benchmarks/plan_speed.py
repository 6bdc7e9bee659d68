"""The search against plain enumeration of the same plans, side by side in one run; and whether both name one winner.

Claim: 200 stages with 8 codecs each way are planned in under 50 ms. Plain enumeration is the cost model of
`partita.plan.estimate` called for every plan; it is run on a sample of the plans, timed per plan, and on a chain small
enough to be enumerated whole, where the winners must be the same.

    python benchmarks/plan_speed.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from partita.graph import (
    Chain,
    CodecCost,
    Device,
    DType,
    Link,
    Profile,
    Stage,
    StageCost,
    TensorSpec,
    Timing,
)
from partita.plan import Hop, PlacedPart, Plan, Pricing, Question, search

CODECS = ("raw", "fp16", "bf16", "int8", "int4", "int2", "topk:0.1", "lossless")
LINK = Link(20e6, 40e6, 0.02)


def made_up(stages: int, seed: int = 0) -> Chain:
    """A chain whose tensors shrink along it, a third of its stages with a skip connection."""
    draw = random.Random(seed)
    names, tensors, rows, params = ["x"], {}, [], {}
    tensors["x"] = TensorSpec("x", DType.FLOAT32, ("batch", 3, 64, 64))
    for i in range(stages):
        inputs = [names[-1], *([names[-3]] if i > 3 and draw.random() < 0.33 else [])]
        shape = ("batch", draw.choice([8, 16, 32]), max(256 // (i + 4), 1), 16)
        tensors[f"h{i}"] = TensorSpec(f"h{i}", DType.FLOAT32, shape)
        params[f"w{i}"] = draw.randint(1_000, 200_000)
        rows.append(Stage(f"s{i}", tuple(inputs), (f"h{i}",), (f"w{i}",)))
        names.append(f"h{i}")
    return Chain("made-up", "none", tuple(rows), tensors, ("x",), (names[-1],), params)


def profile(chain: Chain, name: str, speed: float, seed: int) -> Profile:
    """Seconds drawn around a millisecond, times `speed`."""
    draw = random.Random(seed)
    stages = []
    for stage in chain.stages:
        seconds = draw.uniform(0.5e-3, 2e-3) * speed
        stages.append(
            StageCost(stage.name, {1: Timing(seconds)}, {1: Timing(2 * seconds)}, peak_bytes={1: 100_000})
        )
    codecs = {codec: CodecCost(1e-9 * speed, 1e-9 * speed) for codec in CODECS[1:]}
    return Profile(chain.name, chain.digest, Device(name), tuple(stages), StageCost("whole", {}), codecs)


def all_plans(chain: Chain, question: Question):
    """Every plan of an inference over edge and cloud, one by one."""
    count = len(chain)
    yield Plan(chain.name, chain.digest, (PlacedPart("edge", 0, count),), batch=question.batch)
    for a, b in product(range(count + 1), repeat=2):
        if a < b:
            parts = (PlacedPart("edge", 0, a), PlacedPart("cloud", a, b), PlacedPart("edge", b, count))
            for up, down, window in product(question.codecs, question.codecs, range(question.max_window + 1)):
                yield Plan(chain.name, chain.digest, parts, (Hop(up), Hop(down)), window, question.batch)


def by_hand(chain: Chain, profiles, question: Question, most: int | None = None):
    """The best seconds per step and its plan by enumeration; with `most`, over a spread sample of the plans."""
    pricing = Pricing.of(chain, profiles, LINK, question)
    plans = list(all_plans(chain, question))
    total = len(plans)
    if most is not None:
        plans = random.Random(0).sample(plans, most)
    began = perf_counter()
    best = min(((pricing.estimate(plan, simulated=False).seconds, i) for i, plan in enumerate(plans)))
    return best[0], plans[best[1]], (perf_counter() - began) / len(plans), total


def timed(call, runs: int) -> tuple[float, float]:
    """Median wall and processor seconds; the machine is shared, so both are told."""
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = perf_counter(), process_time()
        call()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return median(walls), median(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stages", type=int, default=200)
    parser.add_argument("--runs", type=int, default=15)
    asked = parser.parse_args()
    result: dict[str, object] = {"machine": platform.processor() or platform.machine(), "codecs": len(CODECS)}

    small = made_up(12)
    places = {"edge": profile(small, "edge", 5, 1), "cloud": profile(small, "cloud", 0.3, 2)}
    question = Question(codecs=CODECS, rescore=0)
    seconds, plan, _, total = by_hand(small, places, question)
    found = search(small, places, LINK, question)
    same = abs(found.alternatives[0].score / seconds - 1) < 1e-6
    result["small"] = {"plans": total, "same_score": same, "search": str(found.best), "by_hand": str(plan)}
    print(f"12 stages, all {total:,} plans by hand: same winner's time: {same}")
    assert same

    chain = made_up(asked.stages)
    places = {"edge": profile(chain, "edge", 5, 1), "cloud": profile(chain, "cloud", 0.1, 2)}
    for mode, objective in product(("infer", "train"), ("throughput", "latency", "memory")):
        question = Question(mode=mode, objective=objective, codecs=CODECS)
        call = lambda question=question: search(chain, places, LINK, question)  # noqa: E731
        call()
        wall, cpu = timed(call, asked.runs)
        result[f"{mode}-{objective}"] = {"wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3}
        print(
            f"{asked.stages} stages, {mode:5} {objective:10}: {wall * 1e3:6.1f} ms wall, {cpu * 1e3:6.1f} ms processor"
        )

    question = Question(codecs=CODECS, rescore=0)
    _, _, each, total = by_hand(chain, places, question, most=2_000)
    wall, _ = timed(lambda: search(chain, places, LINK, question), asked.runs)
    result["ratio"] = {
        "plans": total,
        "by_hand_s": each * total,
        "search_s": wall,
        "ratio": each * total / wall,
    }
    print(
        f"{total:,} plans by hand: {each * total:,.0f} s ({each * 1e6:.0f} us each, sample of 2,000); "
        f"search: {wall * 1e3:.1f} ms; ratio {each * total / wall:,.0f}"
    )
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
