"""What waiting costs: CPU time of edge and cloud while a training waits for a slow link.

    python benchmarks/train_idle.py [--steps 12] [--idle 5] [--quick] [--json PATH]

A vanilla split (K = 0, raw) over 2 Mbit/s and 40 ms: the edge has nothing to do for most of a step. The edge runs in a
process of its own, so that the shaped link, which stands for the network, costs it nothing. While it waits, its CPU
time is what all its threads take, moving bytes included. Beside it runs the same training with an edge that asks again
and again whether the answer is there, as the original research did. Then both sides are left alone: with a visitor that
asks nothing, and the cloud with no visitor at all.
Wanted: at most 2% of a core while waiting, on either side.
On two CPU cores it takes about a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import torch
from torch import nn

from partita.run import Reply
from partita.train import Session, Settings, local_cloud, parse_optimizing
from partita.train.line import Line, Ticket, WireLine
from partita.wire import Encoded, LinkEstimate, Message, Stats, parse_shape
from partita.zoo import open_data

LINK, QUICK_LINK = "2mbit/40ms", "50mbit/5ms"
BATCH, WARMUP, WANTED = 64, 2, 0.02
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


class Answer(Future[Reply]):
    """An answer on its way: waiting for it is measured, and done by asking again and again if `spins`."""

    def __init__(self, ticket: Ticket, waiting: Spent, *, spins: bool) -> None:
        super().__init__()
        self._ticket, self._waiting, self._spins = ticket, waiting, spins

    def done(self) -> bool:
        """Whether it is there."""
        return self._ticket.done()

    def result(self, timeout: float | None = None) -> Reply:
        """The answer, waited for."""
        wall, cpu = perf_counter(), process_time()
        while self._spins and not self._ticket.done():
            pass
        try:
            return self._ticket.result(timeout)
        finally:
            self._waiting.wall += perf_counter() - wall
            self._waiting.cpu += process_time() - cpu


class WatchedLine:
    """A line that knows what waiting for its answers took."""

    def __init__(self, line: Line, *, spins: bool) -> None:
        self._line, self._spins = line, spins
        self.waiting = Spent()

    def number(self) -> int:
        """That of the line below, as the rest is."""
        return self._line.number()

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        """Send a request."""
        return Answer(self._line.post(message, tensors), self.waiting, spins=self._spins)

    def probe(self, size: int = 256 << 10) -> Future[LinkEstimate]:
        """Measure the link."""
        return self._line.probe(size)

    def link(self) -> LinkEstimate:
        """What traffic said of it."""
        return self._line.link()

    def stats(self) -> Stats:
        """Bytes so far."""
        return self._line.stats()

    def close(self) -> None:
        """Hang up."""
        self._line.close()


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
    lines: list[WatchedLine] = []

    def dial() -> WatchedLine:
        lines.append(WatchedLine(WireLine(task.url, token=task.token), spins=task.spins))
        return lines[-1]

    count = WARMUP + task.steps
    data = open_data(f"made:digits?train={count * BATCH}", split="train").in_memory()
    settings = Settings(epochs=1, batch=BATCH, optimizer=parse_optimizing("sgd:0.05,momentum=0.9"))
    found: dict[str, Spent] = {}
    with Session(network(), settings=settings, cloud=dial, plan=PLAN, threads=1) as session:
        wall = cpu = there = 0.0
        for step in session.train(data):
            if step.step == WARMUP - 1:
                lines[0].waiting = Spent()
                wall, cpu, there = perf_counter(), process_time(), cpu_of(task.cloud)
            if step.step == count - 1:
                found["steps"] = Spent(perf_counter() - wall, process_time() - cpu)
                found["cloud steps"] = Spent(found["steps"].wall, cpu_of(task.cloud) - there)
                found["waiting"] = replace(lines[0].waiting)
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
    shares = {"the edge while it waits": ours["waiting"], **rest}
    broken = [f"{name}: {spent.share:.2%}" for name, spent in shares.items() if spent.share > WANTED]
    print(
        f"at most {WANTED:.0%} of a core: {'NOT kept: ' + '; '.join(broken) if broken else 'kept everywhere'}"
    )
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
    if options.json:
        told = {
            k: {n: asdict(s) for n, s in v.items()} if isinstance(v, dict) else v for k, v in found.items()
        }
        told["alone"] = asdict(found["alone"])
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**told, "cpus": os.cpu_count()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
