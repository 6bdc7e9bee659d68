"""Serving without a network: the same scheduler, with time, stage seconds and answers taken from tables.

Rules: what serves is anything with `submit`, `next`, `done` and `expire`, so that the scheduler and the rules it is
compared with meet the same requests, the same stage times and the same answers; a sample's confidence and correctness
come from held-out data, never from a formula; the same seed gives the same report.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import BadDocument
from .arrivals import Arrival
from .scheduler_orders import Admitted, Answer, Batch, Infeasible, Rejected, Request
from .simulate_report import Outcome, Report, report
from .tables import ExitProfile

# The noise of a stage where the profile's p99 says nothing: one-sided, because nothing makes a stage faster.
NOISE = 0.05
# Noise wider than this would stretch every other run by a fifth and more, which no machine does: it is stalls.
WIDEST = 0.25
# The share of runs that stall: what 99 of 100 stay below.
_STALLS = 0.01
# The 99th percentile of a half-normal in units of its scale.
_P99 = 2.5758


class Serving(Protocol):
    """What can be simulated."""

    def submit(self, request: Request, now: float) -> Admitted | Rejected:
        """Take a request or refuse it."""
        ...

    def next(self, now: float, worker: int = 0) -> Batch | None:
        """Work for a free worker."""
        ...

    def done(self, batch: Batch, confidences: Sequence[float], now: float) -> list[Answer]:
        """A batch came back."""
        ...

    def expire(self, now: float) -> list[Answer]:
        """What time settles."""
        ...

    @property
    def due(self) -> float:
        """When `expire` has something to do next."""
        ...


@dataclass(frozen=True)
class Truth:
    """What each exit says of each held-out sample: how sure it is, and whether it is right. Both `[samples, exits]`."""

    confidence: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        problems = (
            [] if self.confidence.ndim == 2 and len(self.confidence) else ["confidence: not samples by exits"]
        )
        if self.confidence.shape != self.correct.shape:
            problems.append(
                f"correct: shape {self.correct.shape}, and confidence has {self.confidence.shape}"
            )
        if problems:
            raise BadDocument("truth table", problems, fix="write it again: partita serve calibrate")

    def __len__(self) -> int:
        return len(self.confidence)


def simulate(
    serving: Serving,
    arrivals: Sequence[Arrival],
    profile: ExitProfile,
    truth: Truth,
    *,
    workers: int = 1,
    infeasible: Infeasible = "degrade",
    seed: int = 0,
) -> Report:
    """Let the arrivals be served, to the last answer."""
    if truth.confidence.shape[1] != len(profile.exits):
        raise BadDocument(
            "truth table",
            [f"{truth.confidence.shape[1]} exits, and the profile has {len(profile.exits)}"],
            fix="take the truth table and the profile of one model",
        )
    run = _Run(serving, arrivals, truth, stage_times(profile, seed), workers, infeasible, seed)
    return report(run.outcomes(), len(profile.exits))


def stage_times(profile: ExitProfile, seed: int = 0) -> Callable[[Batch], float]:
    """Seconds of a batch: the profile's median with half-normal noise, so wide that its p99 is the profile's.

    A p99 far above the median is no wide noise but a stall: one run in a hundred takes that long, the others do not.
    """
    random = np.random.default_rng([seed, 1])
    noise: dict[tuple[int, int, int], tuple[float, float, float]] = {}

    def seconds(batch: Batch) -> float:
        key = (batch.first, batch.last, len(batch.members))
        if key not in noise:
            noise[key] = _median_and_noise(profile, *key)
        median, width, stall = noise[key]
        usual = median * (1 + width * abs(float(random.standard_normal())))
        return max(usual, stall) if stall and random.random() < _STALLS else usual

    return seconds


def _median_and_noise(profile: ExitProfile, first: int, last: int, size: int) -> tuple[float, float, float]:
    """The median, the width of the noise, and how long a stall is; 0 without stalls."""
    span = profile.span(first, last)
    times = [span] if span else [profile.stages[k] for k in range(first, last + 1)]
    median = sum(t.seconds(size) for t in times)
    tail = sum(t.seconds(size, tail=True) for t in times)
    width = (tail / median - 1) / _P99 if tail > median else NOISE
    return (median, width, 0.0) if width <= WIDEST else (median, NOISE, tail)


class _Run:
    """One simulation: a heap of events, each the end of a batch, an arrival or a moment at which answers are due."""

    def __init__(
        self,
        serving: Serving,
        arrivals: Sequence[Arrival],
        truth: Truth,
        seconds: Callable[[Batch], float],
        workers: int,
        infeasible: Infeasible,
        seed: int,
    ) -> None:
        self._serving, self._arrivals, self._truth, self._seconds = serving, arrivals, truth, seconds
        self._infeasible = infeasible
        drawn = np.random.default_rng([seed, 2]).integers(0, len(truth), len(arrivals))
        self._samples = [
            int(at) if a.sample is None else a.sample % len(truth)
            for a, at in zip(arrivals, drawn, strict=True)
        ]
        self._idle = list(range(workers))
        self._running: list[tuple[float, int, Batch]] = []
        self._batches = 0
        self._outcomes: list[Outcome] = []

    def outcomes(self) -> list[Outcome]:
        """Run until nothing is left."""
        coming = 0
        while True:
            arrives = self._arrivals[coming].time if coming < len(self._arrivals) else inf
            ends = self._running[0][0] if self._running else inf
            # Work first: a batch that ends when a request arrives has ended.
            now = min(ends, arrives, self._serving.due)
            if now == inf:
                return self._outcomes
            if ends == now:
                self._end(now)
            elif arrives == now:
                self._arrive(coming, now)
                coming += 1
            else:
                # An instant later, so that what is due at a time is past it.
                now = float(np.nextafter(now, inf))
                self._note(self._serving.expire(now))
            self._feed(now)

    def _arrive(self, number: int, now: float) -> None:
        arrival = self._arrivals[number]
        request = Request(number, arrival.bounds, arrival.tenant, self._infeasible)
        met = self._serving.submit(request, now)
        if isinstance(met, Rejected):
            self._outcomes.append(Outcome(arrival, "rejected", now))
        self._note(self._serving.expire(now))

    def _end(self, now: float) -> None:
        _, _, batch = heapq.heappop(self._running)
        self._idle.append(batch.worker)
        rows = [self._samples[_number(entry.request)] for entry in batch.members]
        self._note(self._serving.done(batch, self._truth.confidence[rows, batch.last].tolist(), now))

    def _feed(self, now: float) -> None:
        for worker in sorted(self._idle):
            batch = self._serving.next(now, worker)
            self._note(self._serving.expire(now))
            if batch is not None:
                self._idle.remove(worker)
                self._batches += 1
                heapq.heappush(self._running, (now + self._seconds(batch), self._batches, batch))

    def _note(self, answers: list[Answer]) -> None:
        for answer in answers:
            number = _number(answer.request)
            right = answer.exit is not None and bool(self._truth.correct[self._samples[number], answer.exit])
            self._outcomes.append(Outcome(self._arrivals[number], answer.outcome, answer.at, answer, right))


def _number(request: Request) -> int:
    """The key that `_arrive` gave."""
    assert isinstance(request.key, int)  # noqa: S101 - the simulation made the key itself
    return request.key
