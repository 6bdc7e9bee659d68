"""Timed repetitions, in rounds over all jobs, so that a noisy moment does not fall on one job alone.

Rules: at least a few rounds always; then until there are enough and they agree, or the time given is spent;
the clock is an argument. The median and the distance between the quartiles are what is kept.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt

from ..errors import BadDocument
from ..graph import Timing

Job = Callable[[], object]
Clock = Callable[[], float]

# With fewer, a median says nothing; it is taken even where the budget is spent.
LEAST_RUNS = 3
# The whole is settled when its quartile distance over the root of the rounds is this small a share of its median.
_SETTLED = 0.02
# A machine that never settles is left after this many times the runs asked for.
_PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Effort:
    """How much measuring: at least `runs` rounds and `seconds` for each batch size and kind of work, after
    `warmup` rounds that do not count; `budget` bounds the seconds of everything together, up to the least of
    three rounds. `spans` is how many parts are timed one by one at most. `quantile` is the repetition that stands for
    all: the median, or 0 for the fastest, which is what a machine can do that has something else to do as well."""

    runs: int = 8
    seconds: float = 0.5
    warmup: int = 1
    budget: float = 40.0
    spans: int = 256
    clock: Clock = time.perf_counter
    quantile: float = 0.5

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is less than {least}"
            for name, value, least in (
                ("runs", self.runs, 1),
                ("seconds", self.seconds, 0),
                ("warmup", self.warmup, 0),
                ("budget", self.budget, 0),
                ("spans", self.spans, 1),
                ("quantile", self.quantile, 0),
            )
            if not value >= least
        ]
        problems += [f"quantile: {self.quantile!r} is more than 1"] if self.quantile > 1 else []
        if problems:
            raise BadDocument("effort", problems, fix="give larger numbers, or none for the defaults")


def timing(samples: Sequence[float], quantile: float = 0.5) -> Timing:
    """The median, or another quantile, and the distance between the quartiles."""
    if len(samples) < 2:
        return Timing(samples[0], 0.0, len(samples))
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    if quantile != 0.5:
        middle = sorted(samples)[round(quantile * (len(samples) - 1))]
    return Timing(middle, high - low, len(samples))


def settled(samples: Sequence[float]) -> bool:
    """Whether more repetitions would hardly move the median."""
    found = timing(samples)
    return found.spread <= _SETTLED * sqrt(found.runs) * found.median


@contextmanager
def _quiet() -> Iterator[None]:
    """No garbage collection in the middle of a repetition."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def run_rounds(
    jobs: Sequence[Job], effort: Effort, until: float, done: Callable[[float], None] = lambda _: None
) -> list[list[float]]:
    """Seconds of each job, one per round. The first job is the one that has to settle.

    `until` is the moment on the clock at which the time given is spent; `done` hears the share done so far.
    """
    samples: list[list[float]] = [[] for _ in jobs]
    with _quiet():
        for _ in range(effort.warmup):
            for job in jobs:
                job()
        begun = effort.clock()
        while True:
            for job, row in zip(jobs, samples, strict=True):
                start = effort.clock()
                job()
                row.append(effort.clock() - start)
            now = effort.clock()
            share = _share(samples[0], effort, now - begun, begun, until)
            done(share)
            if share >= 1.0:
                return samples


def _share(samples: Sequence[float], effort: Effort, spent: float, begun: float, until: float) -> float:
    """How much of the measuring is done, from 0 to 1."""
    runs = len(samples)
    by_time = spent / (until - begun) if until > begun else 1.0
    if runs < min(LEAST_RUNS, effort.runs):
        return min(0.99, runs / effort.runs)
    if by_time >= 1.0:
        return 1.0
    share = min(runs / effort.runs, spent / effort.seconds if effort.seconds else 1.0)
    if share >= 1.0 and not settled(samples):
        share = runs / (_PATIENCE * effort.runs)
    return min(1.0, share) if share >= 1.0 else max(share, by_time)
