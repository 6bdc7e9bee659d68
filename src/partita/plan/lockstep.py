"""Training in the fixed order of its engine: what happens when many steps overlap and nobody overtakes.

    turn i of the wheel at home:   begin step i   ·   turn step i - Km, where the loss is here   ·   finish step i - K

Rules: every resource serves its visits in the order in which home asks for them, so that who waits for whom is known
beforehand. The time per step is then that of the slowest loop of waiting, exactly: a loop's seconds over the number
of steps it advances. The busiest resource and alone / (K + 1) are two such loops, and no other is slower unless home
works three times in a step. On a medium that both directions share, who comes first depends on the times; only there
steps are played through.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .placement import Plan
from .schedule import Entry, Visit

SHARED = "link"
# Steps that are played through on a shared medium, before and while the time per step is taken.
_SETTLE, _COUNT = 40, 60


def inner_window(plan: Plan, home: str = "edge") -> int:
    """Km: so many steps are begun between the beginning of a step and its turn at home, where the loss is.

    Where home gives the inputs too, each half of a step gets half of the window.
    """
    places = [part.place for part in plan.parts]
    return _inner(plan.window, front=places[0] == home, tail=len(places) > 1 and places[-1] == home)


def _inner(window: int, *, front: bool, tail: bool) -> int:
    if not tail:
        return 0
    return (window + 1) // 2 if front else window


@dataclass(frozen=True)
class Wheel:
    """One step as visits, and with each by how many steps it lags behind the one that home begins."""

    visits: tuple[Visit, ...]
    lags: tuple[int, ...]
    home: str

    @classmethod
    def of(cls, visits: Sequence[Visit], window: int, home: str) -> Wheel:
        """The wheel of a step that visits `home` (the name of a resource) once, twice or three times."""
        row = list(visits)
        front, tail = row[0].resource == home, row[-1].resource != home
        if not front:
            # Home asks for a step whose front is elsewhere, in a few words on the way that its gradients take.
            row = [Visit(home, 0.0, 0.0, "begin"), replace(row[-2], seconds=0.0, label="begin"), *row]
        works = [i for i, visit in enumerate(row) if visit.resource == home]
        turn = _inner(window, front=front, tail=tail or len(works) == 3)
        lags = [0] * len(row)
        for lag, at in zip(
            [turn, window] if front and len(works) == 3 else [window], works[1:], strict=False
        ):
            lags[at:] = [lag] * (len(row) - at)
        return cls(tuple(row), tuple(lags), home)

    @property
    def shape(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the loops depend on: which visits share a resource, and the lags."""
        names = [visit.resource for visit in self.visits]
        return tuple(names.index(name) for name in names), self.lags


# Who waits for whom: from, to, how many steps later, and whether the delay of the first lies between.
_Arc = tuple[int, int, int, bool]
# Loops: how often each passes every visit's seconds, then every visit's delay; and how many steps each advances.
Loops = tuple[NDArray[np.float64], NDArray[np.float64]]


def _arcs(rooms: tuple[int, ...], lags: tuple[int, ...]) -> list[_Arc]:
    arcs = [(i, i + 1, 0, True) for i in range(len(rooms) - 1)]
    for room in dict.fromkeys(rooms):
        mine = [i for i, other in enumerate(rooms) if other == room]
        arcs += [(i, j, lags[i] - lags[j], False) for i, j in pairwise(mine)]
        arcs.append((mine[-1], mine[0], 1 + lags[mine[-1]] - lags[mine[0]], False))
    return arcs


def _walk(arcs: list[_Arc], start: int, path: list[_Arc]) -> Iterator[list[_Arc]]:
    """Every loop from `start` back to it, over visits that come after it."""
    at = path[-1][1] if path else start
    seen = {arc[0] for arc in path}
    for arc in arcs:
        if arc[0] != at or arc[1] < start:
            continue
        if arc[1] == start:
            yield [*path, arc]
        elif arc[1] not in seen:
            yield from _walk(arcs, start, [*path, arc])


@lru_cache(maxsize=512)
def loops(rooms: tuple[int, ...], lags: tuple[int, ...]) -> Loops:
    """All loops of waiting, without those that another one is always as slow as."""
    arcs, count = _arcs(rooms, lags), len(rooms)
    found: dict[tuple[int, ...], int] = {}
    for start in range(count):
        for loop in _walk(arcs, start, []):
            row = [0] * (2 * count)
            for since, _, _, far in loop:
                row[since] += 1
                row[count + since] += far
            steps = sum(arc[2] for arc in loop)
            found[tuple(row)] = min(steps, found.get(tuple(row), steps))
    kept = [row for row in found if not any(_within(found, row, other) for other in found)]
    return np.array(kept, dtype=float), np.array([found[row] for row in kept], dtype=float)


def _within(found: dict[tuple[int, ...], int], row: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether another loop is at least as slow whatever the times are."""
    return (
        row != other and found[other] <= found[row] and all(a <= b for a, b in zip(row, other, strict=True))
    )


def lockstep(wheel: Wheel) -> float:
    """Seconds per step once it flows."""
    if any(visit.resource == SHARED for visit in wheel.visits):
        return _played(wheel)
    passes, steps = loops(*wheel.shape)
    times = [visit.seconds for visit in wheel.visits] + [visit.delay for visit in wheel.visits]
    return float((passes @ times / steps).max())


def _played(wheel: Wheel) -> float:
    last = _SETTLE + _COUNT
    ends = [0.0] * (last + max(wheel.lags) + 1)
    for entry in timeline(wheel, len(ends)):
        ends[entry.step] = max(ends[entry.step], entry.stop)
    return (ends[last] - ends[_SETTLE]) / _COUNT


class _Play:
    """Events in order of time: home goes by its wheel, all others serve whoever came first."""

    def __init__(self, wheel: Wheel, steps: int) -> None:
        self._wheel, self._steps = wheel, steps
        self._taken = {visit.resource: False for visit in wheel.visits}
        self._waiting: dict[str, list[tuple[int, int]]] = {name: [] for name in self._taken}
        self._wanted = self._works()
        self._next = next(self._wanted)
        self._here = {(0, step) for step in range(steps)}
        self._events: list[tuple[float, int, int, int, bool]] = []
        self._count = 0
        self.entries: list[Entry] = []

    def _works(self) -> Iterator[tuple[int, int]]:
        """What home does, in order: the visit and the step."""
        wheel = self._wheel
        for turn in range(self._steps + max(wheel.lags)):
            for index, (visit, lag) in enumerate(zip(wheel.visits, wheel.lags, strict=True)):
                if visit.resource == wheel.home and 0 <= turn - lag < self._steps:
                    yield index, turn - lag
        yield -1, -1

    def _push(self, time: float, index: int, step: int, leaves: bool) -> None:
        self._count += 1  # equal times in the order in which they came about
        heapq.heappush(self._events, (time, self._count, index, step, leaves))

    def _arrive(self, index: int, step: int) -> None:
        name = self._wheel.visits[index].resource
        if name == self._wheel.home:
            self._here.add((index, step))
        else:
            self._waiting[name].append((index, step))

    def _leave(self, now: float, index: int, step: int) -> None:
        visit = self._wheel.visits[index]
        self._taken[visit.resource] = False
        if index + 1 < len(self._wheel.visits):
            self._push(now + visit.delay, index + 1, step, False)

    def _begin(self, now: float, index: int, step: int) -> None:
        visit = self._wheel.visits[index]
        self._taken[visit.resource] = True
        self.entries.append(Entry(step, visit.resource, visit.label, now, now + visit.seconds))
        self._push(now + visit.seconds, index, step, True)

    def _serve(self, now: float) -> None:
        if not self._taken[self._wheel.home] and self._next in self._here:
            at, self._next = self._next, next(self._wanted)
            self._begin(now, *at)
        for name, queue in self._waiting.items():
            if queue and not self._taken[name]:
                self._begin(now, *queue.pop(0))

    def run(self) -> tuple[Entry, ...]:
        self._serve(0.0)
        while self._events:
            now = self._events[0][0]
            # Everybody who arrives at this very moment joins the queue before anybody is served.
            while self._events and self._events[0][0] <= now:
                _, _, index, step, leaves = heapq.heappop(self._events)
                if leaves:
                    self._leave(now, index, step)
                else:
                    self._arrive(index, step)
            self._serve(now)
        return tuple(self.entries)


def timeline(wheel: Wheel, steps: int) -> tuple[Entry, ...]:
    """The timeline of so many steps, from the beginning of the first until all are finished."""
    return _Play(wheel, steps).run()
