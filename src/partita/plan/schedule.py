"""One step of a plan as visits to resources, and what happens when many steps overlap.

Rules: a resource serves one visit at a time; of those that wait, the one furthest along in its step goes first, so
gradients overtake new samples; a step starts only while no more than K others are under way. The closed form
max(busiest, alone / (K + 1)) is exact where every resource is visited once and a lower bound elsewhere; the
simulation is exact for these rules.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay at a resource. `delay` passes after it and occupies nothing: the way over the link."""

    resource: str
    seconds: float
    delay: float = 0.0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One visit of one step, with its times."""

    step: int
    resource: str
    label: str
    start: float
    stop: float


def busy(visits: Sequence[Visit]) -> dict[str, float]:
    """Seconds per step that each resource is occupied, in the order of the first visits."""
    total: dict[str, float] = {}
    for visit in visits:
        total[visit.resource] = total.get(visit.resource, 0.0) + visit.seconds
    return total


def alone(visits: Sequence[Visit]) -> float:
    """Seconds of one step with nothing else under way."""
    return sum(visit.seconds + visit.delay for visit in visits)


def bound(visits: Sequence[Visit], window: int) -> float:
    """Seconds per step that no schedule can beat, once the window is full."""
    return max(*busy(visits).values(), alone(visits) / (window + 1))


def saturating(visits: Sequence[Visit], *, jitter: bool = False) -> int:
    """The smallest window with which the busiest resource never waits; one more where times vary."""
    busiest = max(busy(visits).values())
    if busiest <= 0:
        return 0
    # Rounded first: 3.0000000001 resources' worth of work asks for no fourth step.
    window = max(ceil(round(alone(visits) / busiest, 9)) - 1, 0)
    return window + 1 if jitter and window else window


@dataclass(slots=True)
class _Room:
    """A resource while it is simulated: whether it serves somebody, and who waits, by (minus visit, step)."""

    taken: bool = False
    waiting: list[tuple[int, int]] = field(default_factory=list)


class _Simulation:
    """Events in order of time: a step arrives at a visit, or leaves it."""

    def __init__(self, visits: Sequence[Visit], window: int, steps: int) -> None:
        self._visits, self._steps = visits, steps
        self._rooms = {visit.resource: _Room() for visit in visits}
        self._events: list[tuple[float, int, int, int, bool]] = []
        self._order = self._started = 0
        self.entries: list[Entry] = []
        for _ in range(min(window + 1, steps)):
            self._admit(0.0)

    def _push(self, time: float, index: int, step: int, leaves: bool) -> None:
        self._order += 1  # equal times are served first come, first served
        heapq.heappush(self._events, (time, self._order, index, step, leaves))

    def _admit(self, time: float) -> None:
        if self._started < self._steps:
            self._push(time, 0, self._started, False)
            self._started += 1

    def _leave(self, now: float, index: int, step: int) -> None:
        visit = self._visits[index]
        self._rooms[visit.resource].taken = False
        if index + 1 < len(self._visits):
            self._push(now + visit.delay, index + 1, step, False)
        else:
            self._admit(now + visit.delay)

    def _serve(self, now: float, touched: Iterable[str]) -> None:
        for name in touched:
            room = self._rooms[name]
            if room.waiting and not room.taken:
                index, step = heapq.heappop(room.waiting)
                visit = self._visits[-index]
                room.taken = True
                stop = now + visit.seconds
                self.entries.append(Entry(step, visit.resource, visit.label, now, stop))
                self._push(stop, -index, step, True)

    def run(self) -> tuple[Entry, ...]:
        while self._events:
            now = self._events[0][0]
            # Everybody who arrives at this very moment joins the queue before anybody is served.
            touched: dict[str, None] = {}
            while self._events and self._events[0][0] <= now:
                _, _, index, step, leaves = heapq.heappop(self._events)
                touched[self._visits[index].resource] = None
                if leaves:
                    self._leave(now, index, step)
                else:
                    heapq.heappush(self._rooms[self._visits[index].resource].waiting, (-index, step))
            self._serve(now, touched)
        return tuple(self.entries)


def simulate(visits: Sequence[Visit], window: int, steps: int) -> tuple[Entry, ...]:
    """The timeline of so many steps."""
    return _Simulation(visits, window, steps).run()


def exact(visits: Sequence[Visit], window: int) -> bool:
    """Whether the closed form is what happens: no resource serves one step twice, or steps do not overlap."""
    used = [visit.resource for visit in visits if visit.seconds > 0]
    return window == 0 or len(used) == len(set(used))


def steady(visits: Sequence[Visit], window: int) -> float:
    """Seconds per step once the window is full: simulated where the closed form is a bound only."""
    if exact(visits, window):
        return bound(visits, window)
    # The pattern repeats after K + 1 steps; the first two rounds fill the pipeline, and the last one drains it.
    steps = window + 1
    ends = [0.0] * (5 * steps)
    for entry in simulate(visits, window, len(ends)):
        ends[entry.step] = max(ends[entry.step], entry.stop)
    ends.sort()
    return max((ends[4 * steps - 1] - ends[2 * steps - 1]) / (2 * steps), bound(visits, window))


def print_schedule(entries: Sequence[Entry], *, width: int = 72) -> str:
    """The timeline as text: a row for each resource, the step's last digit where it is busy, a dot where it waits."""
    if not entries:
        return ""
    span = max(entry.stop for entry in entries) or 1.0
    rows = {entry.resource: ["."] * width for entry in entries}
    for entry in entries:
        first = min(int(entry.start / span * width), width - 1)
        last = max(int(entry.stop / span * width), first + (entry.stop > entry.start))
        rows[entry.resource][first:last] = str(entry.step % 10) * (last - first)
    margin = max(map(len, rows))
    lines = [f"{name:<{margin}}  {''.join(row[:width])}" for name, row in rows.items()]
    return "\n".join([*lines, f"{'':<{margin}}  0{f'{span:.3g}s':>{width - 1}}"]) + "\n"
