"""What the scheduler is compared with: rules that decide without a price, in the same simulation.

Rules: each gets the same stage times, batches and regrouping as the scheduler, and no overhead; each has settings, and a
comparison takes the best of them for the load at hand; nothing here is meant for serving.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from .scheduler_costs import Costs
from .scheduler_orders import Admitted, Answer, Batch, Entry, Rejected, Request
from .tables import ExitProfile


@dataclass(frozen=True, slots=True)
class Rule:
    """When a request leaves, and in which order requests run.

    `whole` runs the network to its end in one go. `thresholds` are confidences. `patience` is the time since arrival
    after which the next exit is taken: in seconds, or as a share of the request's own deadline where `relative`.
    `margin` refuses and drops what would be late by this stretch of the stage times; without it only requests whose
    deadline has passed are dropped, and none with `drop` off.
    """

    name: str
    order: Literal["fifo", "edf"] = "fifo"
    whole: bool = False
    thresholds: tuple[float, ...] | None = None
    patience: float | None = None
    relative: bool = False
    margin: float | None = None
    drop: bool = True
    max_batch: int = 32


def full_model() -> list[Rule]:
    """The whole network for everybody, in the order of arrival."""
    return [Rule("full model, FIFO", whole=True, drop=False)]


def full_model_with_admission() -> list[Rule]:
    """The whole network, earliest deadline first, refusing what would be late: 15 settings."""
    return [
        Rule(f"full model, EDF, margin {margin}, batch {size}", "edf", True, margin=margin, max_batch=size)
        for margin in (1.0, 1.05, 1.1, 1.25, 1.5)
        for size in (1, 8, 32)
    ]


def confidence_only(thresholds: dict[str, tuple[float, ...]]) -> list[Rule]:
    """Calibrated thresholds and nothing else, in either order."""
    return [
        Rule(f"confidence {name}, {order}", order, thresholds=levels)
        for name, levels in thresholds.items()
        for order in ("fifo", "edf")
    ]


def response_time(deadlines: Sequence[float]) -> list[Rule]:
    """The original's condition with the time in the queue counted: 7 thresholds on the time since arrival."""
    longest = max(deadlines)
    return [
        Rule(f"response time > {share:g} of the longest deadline", patience=share * longest)
        for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
    ]


def response_time_or_confidence(thresholds: tuple[float, ...]) -> list[Rule]:
    """The same, per request, or confident, earliest deadline first: 10 settings."""
    return [
        Rule(
            f"response time > {share:g} of its deadline{' or confident' if levels else ''}",
            "edf",
            thresholds=levels,
            patience=share,
            relative=True,
        )
        for share in (0.05, 0.15, 0.3, 0.5, 0.7)
        for levels in (None, thresholds)
    ]


class Ruled:
    """A server that follows a rule."""

    def __init__(self, profile: ExitProfile, rule: Rule, *, workers: int = 1) -> None:
        self._rule, self._profile = rule, profile
        self._costs = Costs(profile, rule.max_batch)
        self._last = len(profile.exits) - 1
        self._workers = workers
        self._waiting: list[tuple[float, int, Entry]] = []
        self._ready: list[Answer] = []
        self._free = 0.0
        self._count = 0

    @property
    def due(self) -> float:
        """A rule looks at the clock only when something else happens."""
        return inf

    def submit(self, request: Request, now: float) -> Admitted | Rejected:
        """Take it, unless the rule refuses what would be late."""
        deadline = request.bounds.deadline
        self._count += 1
        due = inf if deadline is None else now + deadline
        entry = Entry(request, self._count, now, due, 0, 0, self._last, thresholds=False)
        place = (due if self._rule.order == "edf" else now, self._count, entry)
        if self._rule.margin is not None and not self._fits(place, now, self._rule.margin):
            return Rejected("the whole network does not fit before a deadline", 0.0)
        insort(self._waiting, place)
        return Admitted(0, self._last)

    def next(self, now: float, worker: int = 0) -> Batch | None:
        """The first in order, and whoever waits for the same stage."""
        self._drop(now)
        if not self._waiting:
            return None
        first = self._waiting[0][2].stage
        last = self._last if self._rule.whole else first
        same = [place for place in self._waiting if place[2].stage == first]
        size = min(len(same), self._costs.enough[self._span(first, last)], self._rule.max_batch)
        if self._rule.margin is not None:
            slack = same[0][2].due - now
            while size > 1 and self._rule.margin * self._seconds(first, last, size) > slack:
                size -= 1
        for place in same[:size]:
            self._waiting.remove(place)
        seconds = self._seconds(first, last, size)
        self._free = now + seconds
        return Batch(first, last, worker, now, seconds, tuple(entry for _, _, entry in same[:size]))

    def done(self, batch: Batch, confidences: Sequence[float], now: float) -> list[Answer]:
        """Leave where the rule says so; the others wait for the next stage."""
        for entry, confidence in zip(batch.members, confidences, strict=True):
            entry.ran += now - batch.began
            entry.exit, entry.stage, entry.confidence = batch.last, batch.last + 1, confidence
            if self._leaves(entry, now):
                self._end(entry, now)
            else:
                key = entry.due if self._rule.order == "edf" else entry.arrived
                insort(self._waiting, (key, entry.number, entry))
        return self.expire(now)

    def expire(self, now: float) -> list[Answer]:  # noqa: ARG002 - the scheduler's own needs the time
        """What ended since the last call."""
        ready, self._ready = self._ready, []
        return ready

    def _leaves(self, entry: Entry, now: float) -> bool:
        rule, k = self._rule, entry.exit
        if k == self._last:
            return True
        if rule.thresholds and (entry.confidence or 0.0) >= rule.thresholds[k]:
            return True
        if rule.patience is None:
            return False
        longest = rule.patience * (entry.due - entry.arrived) if rule.relative else rule.patience
        return now - entry.arrived > longest

    def _drop(self, now: float) -> None:
        """End what is too late: an answer in hand is given even then."""
        if not self._rule.drop:
            return
        need = self._rule.margin * self._seconds(0, self._last, 1) if self._rule.margin is not None else 0.0
        for place in [p for p in self._waiting if p[2].due < now + need]:
            self._waiting.remove(place)
            self._end(place[2], now)

    def _end(self, entry: Entry, now: float) -> None:
        held = entry.exit >= 0
        self._ready.append(
            Answer(
                entry.request,
                "answered" if held else "expired",
                self._rule.name,
                now,
                exit=entry.exit if held else None,
                confidence=entry.confidence,
                in_time=held and now <= entry.due,
                waited=now - entry.arrived - entry.ran,
                ran=entry.ran,
                joules=self._profile.exits[entry.exit].joules if held else 0.0,
            )
        )

    def _fits(self, place: tuple[float, int, Entry], now: float, margin: float) -> bool:
        """Whether everybody would still be in time, one whole network after the other."""
        size = self._costs.enough[self._span(0, self._last)]
        each = margin * self._seconds(0, self._last, size) / size / self._workers
        at = max(now, self._free)
        for _, _, entry in sorted([*self._waiting, place]):
            at += each
            if at > entry.due:
                return False
        return True

    def _span(self, first: int, last: int) -> tuple[int, int]:
        """A span that was measured: the stages one by one cost what the first of them tells of batches."""
        return (first, last) if (first, last) in self._costs.spans else (first, first)

    def _seconds(self, first: int, last: int, size: int) -> float:
        if (first, last) in self._costs.spans:
            return self._costs.seconds(first, last, size)
        return sum(self._costs.seconds(k, k, size) for k in range(first, last + 1))
