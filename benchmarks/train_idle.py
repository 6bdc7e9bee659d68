"""What waiting costs: CPU time of edge and cloud while a training waits for a slow link.

    python benchmarks/train_idle.py [--steps 12] [--idle 5] [--quick] [--json PATH]

A vanilla split (K = 0, raw) over 2 Mbit/s and 40 ms: the edge has nothing to do for most of a step. The edge runs in a
process of its own, so that the shaped link, which stands for the network, costs it nothing. While it waits, its CPU
time is what all its threads take, moving bytes included. Beside it runs the same training with an edge that asks again
and again whether the answer is there, as the original research did. Then both sides are left alone: with a visitor that
asks nothing, and the cloud with no visitor at all.
Wanted: at most 5% of a core while waiting, and 1% at rest, where no bytes move.
On two CPU cores it takes about a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import torch
from torch import nn

from partita.run import Reply
from partita.train import Session, Settings, local_cloud, parse_optimizing
from partita.train.edge import EdgeWorker
from partita.wire import parse_shape
from partita.zoo import open_data

LINK, QUICK_LINK = "2mbit/40ms", "50mbit/5ms"
BATCH, WARMUP = 64, 2
WANTED_WAITING, WANTED_AT_REST = 0.05, 0.01
PLAN = f"edge[0:6] -raw/raw-> cloud[6:10] | K=0 batch={BATCH} mode=train"


@dataclass
class Spent:
    """Seconds on the clock and of CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu / self.wall if self.wall else 0.0


def watch(waiting: Spent, *, spins: bool) -> None:
    """Have the edge's waits for answers measured from here on, and done by asking again and again if `spins`."""
    own = EdgeWorker._answer

    def answer(worker: EdgeWorker, flight: Any, ticket: Any, kind: Any) -> Reply:
        wall, cpu = perf_counter(), process_time()
        while spins and not ticket.done():
            pass
        try:
            return own(worker, flight, ticket, kind)
        finally:
            waiting.wall += perf_counter() - wall
            waiting.cpu += process_time() - cpu

    EdgeWorker._answer = answer  # type: ignore[method-assign]


@dataclass(frozen=True)
class Task:
    """What the edge's process is told."""

    url: str
    token: str
    cloud: int
    steps: int
    idle: float
    spins: bool


def network() -> nn.Sequential:
    """Three blocks of convolution, normalisation and ReLU, and a row of answers."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16), (16, 32)):
        blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(512, 10))


def cpu_of(pid: int) -> float:
    """CPU seconds of another process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def edge(task: Task) -> dict[str, Spent]:
    """A training, and then a rest with the line open."""
    torch.set_num_threads(1)
    waiting = Spent()
    watch(waiting, spins=task.spins)
    count = WARMUP + task.steps
    data = open_data(f"made:digits?train={count * BATCH}", split="train").in_memory()
    settings = Settings(epochs=1, batch=BATCH, optimizer=parse_optimizing("sgd:0.05,momentum=0.9"))
    found: dict[str, Spent] = {}
    with Session(
        network(), settings=settings, cloud=task.url, token=task.token, plan=PLAN, threads=1
    ) as session:
        wall = cpu = there = 0.0
        for step in session.train(data):
            if step.step == WARMUP - 1:
                waiting.wall = waiting.cpu = 0.0
                wall, cpu, there = perf_counter(), process_time(), cpu_of(task.cloud)
            if step.step == count - 1:
                found["steps"] = Spent(perf_counter() - wall, process_time() - cpu)
                found["cloud steps"] = Spent(found["steps"].wall, cpu_of(task.cloud) - there)
                found["waiting"] = replace(waiting)
        if task.idle:
            wall, cpu, there = perf_counter(), process_time(), cpu_of(task.cloud)
            sleep(task.idle)
            found["at rest"] = Spent(perf_counter() - wall, process_time() - cpu)
            found["cloud, a visitor at rest"] = Spent(found["at rest"].wall, cpu_of(task.cloud) - there)
    return found


def measure(steps: int, idle: float, link: str) -> dict[str, Any]:
    """Both edges one after the other, and the cloud alone."""
    with (
        local_cloud(link=parse_shape(link)) as cloud,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        task = Task(cloud.url, cloud.token, cloud.pid, steps, idle, spins=False)
        ours = pool.submit(edge, task).result()
        spinning = Task(cloud.url, cloud.token, cloud.pid, max(steps // 3, 1), 0.0, spins=True)
        peer = pool.submit(edge, spinning).result()
        before = cpu_of(cloud.pid)
        sleep(idle)
        alone = Spent(idle, cpu_of(cloud.pid) - before)
    return {
        "steps": steps,
        "link": link,
        "ours": ours,
        "peer": peer,
        "peer_steps": spinning.steps,
        "alone": alone,
    }


def show(found: dict[str, Any]) -> list[str]:
    """The table; gives the claims that do not hold."""
    ours, peer = found["ours"], found["peer"]
    print(f"a vanilla split over {found['link']}, K = 0, {found['steps']} steps\n")
    print("| edge | a step | of it waiting | CPU a step | CPU while waiting |\n|---|---|---|---|---|")
    for name, spent, steps in (("ours", ours, found["steps"]), ("one that spins", peer, found["peer_steps"])):
        whole, waiting = spent["steps"], spent["waiting"]
        print(
            f"| {name} | {whole.wall / steps:.3f} s | {waiting.wall / steps:.3f} s"
            f" | {1e3 * whole.cpu / steps:.1f} ms | {waiting.share:.2%} of a core |"
        )
    print("\n| at rest | CPU |\n|---|---|")
    rest = {
        "edge, its line open": ours["at rest"],
        "cloud, a visitor at rest": ours["cloud, a visitor at rest"],
        "cloud, nobody there": found["alone"],
    }
    for name, spent in rest.items():
        print(f"| {name} | {spent.share:.2%} of a core |")
    work = ours["cloud steps"].cpu / found["steps"]
    print(f"\nthe cloud takes {1e3 * work:.0f} ms of CPU a step, its own work included")
    waits = ours["waiting"].share
    broken = [f"the edge while it waits: {waits:.2%}"] if waits > WANTED_WAITING else []
    broken += [f"{name}: {spent.share:.2%}" for name, spent in rest.items() if spent.share > WANTED_AT_REST]
    wanted = f"at most {WANTED_WAITING:.0%} of a core while waiting, {WANTED_AT_REST:.0%} at rest"
    print(f"{wanted}: {'NOT kept: ' + '; '.join(broken) if broken else 'kept'}")
    return broken


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--idle", type=float, default=5.0, help="seconds of each rest")
    parser.add_argument(
        "--quick", action="store_true", help="two steps over a fast link: only whether it runs"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    steps, idle, link = (2, 0.5, QUICK_LINK) if options.quick else (options.steps, options.idle, LINK)
    found = measure(steps, idle, link)
    show(found)
    if options.quick:
        print("quick: a fast link leaves too little waiting to judge the claim by")
    if options.json:
        told = {
            k: {n: asdict(s) for n, s in v.items()} if isinstance(v, dict) else v for k, v in found.items()
        }
        told["alone"] = asdict(found["alone"])
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**told, "cpus": os.cpu_count()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
