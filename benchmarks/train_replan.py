"""Live re-planning over steps of the context: how soon a training is as fast as the best plan for where it is now.

    python benchmarks/train_replan.py [--json PATH] [--seconds 20] [--repeat 1] [--scene NAME ...]

Two processes, each pinned to a core, and a link that is shaped on purpose; the edge is slowed 8 times, and 4 times more
where it throttles. First every candidate plan is run in every context (the edge alone, what the planner would choose
there, and its next two); then one live training goes through the contexts, which change while steps are under way.
Wanted: from 5 s after a change on, at least 0.90 of the steps per second of the best of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import torch
from torch import nn

from partita.graph import Chain, Link, Profile
from partita.plan import PlacedPart, Plan
from partita.train.child import LocalCloud, local_cloud
from partita.train.live import facts_of
from partita.train.planner import Facts, Planner
from partita.train.session import Session
from partita.train.settings import Optimizing, Settings
from partita.wire import LinkShape
from partita.zoo import open_data

SLOW, RTT, SAMPLES = 8.0, 0.004, 4000
SETTLED, GATE = 5.0, 0.90


@dataclass(frozen=True)
class Where:
    """A context: the link both ways in Mbit/s, and how many times slower than usual the edge is."""

    mbit: float
    throttled: float = 1.0

    @property
    def shape(self) -> LinkShape:
        return LinkShape(up=self.mbit * 1e6, down=self.mbit * 1e6, rtt=RTT)

    @property
    def link(self) -> Link:
        return Link(self.mbit * 1e6, self.mbit * 1e6, RTT)

    def __str__(self) -> str:
        return f"{self.mbit:g} Mbit/s" + (f", edge x{self.throttled:g}" if self.throttled > 1 else "")


@dataclass(frozen=True)
class Scene:
    """A course through contexts."""

    name: str
    codec: str
    through: tuple[Where, ...]
    batch: int = 32


SCENES = (
    Scene("network", "auto", (Where(200), Where(5), Where(200))),
    Scene("network, raw", "raw", (Where(200), Where(5), Where(200))),
    # 32 times slower, a millisecond of the interpreter is 32: with larger batches there are fewer of them.
    Scene("throttled", "auto", (Where(5), Where(5, 4), Where(5)), batch=64),
    Scene("from the edge alone", "auto", (Where(1), Where(100))),
)


@dataclass(frozen=True)
class Phase:
    """What a live training did after one change."""

    where: str
    best: str
    best_rate: float
    rate: float
    share: float
    moved_after: float | None
    settled_after: float | None
    moves: tuple[str, ...]
    plan: str


def net() -> nn.Module:
    """Five convolutions with batch norm."""

    def block(i: int, o: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    body = [*block(3, 16, 2), *block(16, 32, 2), *block(32, 32), *block(32, 64), *block(64, 64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 8))


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    """Figures to tell apart, in memory."""
    found = open_data("made:shapes", limit=SAMPLES)
    pairs = [found[i] for i in range(len(found))]
    images = torch.stack([torch.as_tensor(image).float() for image, _ in pairs])
    return images / images.abs().max(), torch.tensor([int(label) for _, label in pairs])


def settings_of(codec: str, batch: int) -> Settings:
    sgd = Optimizing("sgd", 0.01, {"momentum": 0.9})
    return Settings(
        epochs=1000, batch=batch, codec_up=codec, codec_down=codec, guard=False, optimizer=sgd, max_window=4
    )


class Bench:
    """The cloud, the data, and profiles that were measured once."""

    def __init__(self, cloud: LocalCloud, batch: int) -> None:
        self.cloud, self.batch, self.data = cloud, batch, samples()
        # The pretended device is as fast in every run: what a piece of work takes at least is known to all of them.
        self.least: dict[object, float] = {}
        cloud.reshape(Where(200).shape)
        with self.session(settings_of("auto", batch), None, None) as session:
            next(iter(session.train(self.data)))
            self.profiles: dict[str, Profile] = dict(session._course.live.profiles)  # type: ignore[union-attr]
            self.chain: Chain = session.model.chain
            pair = session._course.pair  # type: ignore[union-attr]
            batches: Any = session._course._batches  # type: ignore[union-attr]
            self.facts: Facts = facts_of(session.model, pair.setup.holding, session.settings, batches.first())
            self.settings = session.settings

    def session(
        self, settings: Settings, plan: Plan | None, profiles: Any, throttled: float = 1.0
    ) -> Session:
        torch.manual_seed(0)
        session = Session(
            net(), settings=settings, cloud=self.cloud.url, token=self.cloud.token, plan=plan,
            profiles=profiles, slow=SLOW * throttled, threads=1, patience=10.0,
        )  # fmt: skip
        session.pace._least = self.least
        return session

    def candidates(self, codec: str, where: Where) -> list[Plan]:
        """The edge alone, and what the planner thinks best here: three plans with different parts or codecs."""
        profiles = dict(self.profiles)
        if where.throttled > 1:
            profiles["edge"] = profiles["edge"].slowed(where.throttled)
        settings = replace(self.settings, codec_up=codec, codec_down=codec)
        ranking = Planner(self.chain, profiles, settings, **self.facts).first(where.link, top=12)
        plans = [each.plan for each in ranking.alternatives if each.plan.hops][:3]
        alone = (PlacedPart("edge", 0, len(self.chain)),)
        return [Plan(self.chain.name, self.chain.digest, alone, batch=self.batch, mode="train"), *plans]

    def static(self, codec: str, where: Where, plan: Plan, seconds: float) -> float:
        """Steps per second of one plan that stays."""
        self.cloud.reshape(where.shape)
        with self.session(
            settings_of(codec, self.batch), replace(plan, estimate=None), None, where.throttled
        ) as session:
            marks = []
            for _ in session.train(self.data):
                marks.append(time.monotonic())
                if marks[-1] - marks[0] > seconds and len(marks) > 8:
                    break
        marks = marks[6:] if len(marks) > 12 else marks[1:]
        return (len(marks) - 1) / (marks[-1] - marks[0])


@dataclass
class Seen:
    """A live training as it went: when each step was done, under which plan; moves with what they carried."""

    steps: list[tuple[float, str]]
    moves: list[tuple[float, str, str]]
    changes: list[float]
    planner: float = 0.0
    probes: int = 0
    probe_bytes: int = 0


def live(bench: Bench, scene: Scene, seconds: float) -> Seen:
    """One training through all contexts."""
    bench.cloud.reshape(scene.through[0].shape)
    seen = Seen([], [], [])
    with bench.session(
        settings_of(scene.codec, bench.batch), None, bench.profiles, scene.through[0].throttled
    ) as session:

        def change() -> None:
            seen.changes.append(time.monotonic())
            for where in scene.through[1:]:
                time.sleep(seconds)
                bench.cloud.reshape(where.shape)
                session.pace.factor = SLOW * where.throttled
                seen.changes.append(time.monotonic())

        clock = Thread(target=change, daemon=True)
        known = 0
        for report in session.train(bench.data):
            now = time.monotonic()
            if not seen.steps:
                clock.start()
            seen.steps.append((now, report.plan))
            for event in session.events[known:]:
                known += 1
                if event.what in ("moved", "lost", "back", "abandoned"):
                    seen.moves.append((now, event.what, event.said))
            if len(seen.changes) == len(scene.through) and now > seen.changes[-1] + seconds:
                break
        seen.planner = session._course.live.spent  # type: ignore[union-attr]
        seen.probes = session._course.live.probes  # type: ignore[union-attr]
        seen.probe_bytes = session._course.live.probed_bytes  # type: ignore[union-attr]
    return seen


def done_by(steps: list[tuple[float, str]], at: float) -> float:
    """How many steps were done by then, and what share of the next."""
    before = [index for index, (when, _) in enumerate(steps) if when <= at]
    if not before or before[-1] + 1 >= len(steps):
        return float(len(before))
    last = before[-1]
    return last + 1 + (at - steps[last][0]) / (steps[last + 1][0] - steps[last][0])


def settled_after(steps: list[tuple[float, str]], since: float, until: float, wanted: float) -> float | None:
    """The first moment from which on the rest of the phase was as fast as wanted."""
    for tenth in range(int((until - since - 3) * 10)):
        at = since + tenth / 10
        if (done_by(steps, until) - done_by(steps, at)) / (until - at) >= wanted:
            return tenth / 10
    return None


def phases(scene: Scene, seen: Seen, best: dict[Where, tuple[str, float]], seconds: float) -> Iterator[Phase]:
    """What happened after each change, beside the best static plan."""
    for where, began in zip(scene.through, seen.changes, strict=True):
        name, rate = best[where]
        until = began + seconds
        moves = [(at, said) for at, what, said in seen.moves if began <= at < until and what == "moved"]
        found = (done_by(seen.steps, until) - done_by(seen.steps, began + SETTLED)) / (seconds - SETTLED)
        here = [plan for at, plan in seen.steps if began <= at < until]
        yield Phase(
            where=str(where), best=name, best_rate=rate, rate=found, share=found / rate,
            moved_after=moves[0][0] - began if moves else None,
            settled_after=settled_after(seen.steps, began, until, GATE * rate),
            moves=tuple(said for _, said in moves), plan=here[-1] if here else "",
        )  # fmt: skip


def run_scene(bench: Bench, scene: Scene, asked: argparse.Namespace) -> dict[str, Any]:
    best: dict[Where, tuple[str, float]] = {}
    statics = []
    for where in dict.fromkeys(scene.through):
        plans = bench.candidates(scene.codec, where)
        rates = [
            max(bench.static(scene.codec, where, plan, asked.static) for _ in range(asked.repeat + 1))
            for plan in plans
        ]
        best[where] = max(zip(map(str, plans), rates, strict=True), key=lambda each: each[1])
        statics += [
            {"where": str(where), "plan": str(p), "rate": r} for p, r in zip(plans, rates, strict=True)
        ]
        for plan, rate in zip(plans, rates, strict=True):
            print(f"    {where!s:24} {rate:7.2f} steps/s  {plan}", flush=True)
    runs: list[dict[str, Any]] = []
    for _ in range(asked.repeat):
        seen = live(bench, scene, asked.seconds)
        rows = list(phases(scene, seen, best, asked.seconds))
        took = seen.steps[-1][0] - seen.steps[0][0]
        print(
            f"  {scene.name}: planner {seen.planner / took:.2%} of the time, {seen.probes} probes of {seen.probe_bytes >> 10} KB in all"
        )
        for row in rows:
            moved = (
                "stayed"
                if row.moved_after is None
                else f"moved {len(row.moves)}x, first after {row.moved_after:.1f} s"
            )
            settled = "never" if row.settled_after is None else f"{row.settled_after:.1f} s"
            print(
                f"    {row.where:24} {row.rate:7.2f} of {row.best_rate:7.2f} = {row.share:.2f}  at 90% after {settled}  {moved}  {row.plan}",
                flush=True,
            )
        runs.append(
            {
                "planner_share": seen.planner / took,
                "probes": seen.probes,
                "probe_bytes": seen.probe_bytes,
                "phases": [asdict(row) for row in rows],
                "events": [(round(at - seen.changes[0], 2), what, said) for at, what, said in seen.moves],
            }
        )
    shares = [median(run["phases"][at]["share"] for run in runs) for at in range(len(scene.through))]
    return {"scene": scene.name, "codec": scene.codec, "static": statics, "runs": runs, "share": shares}


def main() -> None:
    """Every scene."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--static", type=float, default=4.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--scene", action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    with local_cloud(cpu=1, link=Where(200).shape) as cloud:
        scenes = [scene for scene in SCENES if not asked.scene or scene.name in asked.scene]
        benches = {batch: Bench(cloud, batch) for batch in {scene.batch for scene in scenes}}
        found = [run_scene(benches[scene.batch], scene, asked) for scene in scenes]
    least = min(share for scene in found for share in scene["share"][1:])
    print(
        f"from {SETTLED:g} s after a change on, at least {least:.2f} of the best static plan (wanted {GATE})"
    )
    if asked.json:
        asked.json.parent.mkdir(exist_ok=True)
        machine = platform.processor() or platform.machine()
        asked.json.write_text(
            json.dumps({"machine": machine, "least": least, "scenes": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
