"""The steps of one plan, played through a world: the fixed order of the edge, a line each way, the cloud.

Rules: the order is that of the engine, so that who waits for whom is the same: begin step i, turn step i - inner where
the loss is here, finish step i - window; the cloud answers in the order of arrival; each direction carries one message
at a time, and a shared medium one in either direction.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Final, final

from ..plan import Plan, Pricing, Visit, inner_window
from .roles import CLOUD, EDGE
from .simulate_world import World


@dataclass(frozen=True, slots=True)
class Legs:
    """One step of a plan: seconds of the edge's three works and of the cloud's turns, bytes up and down of each turn.

    `turns` says that the loss is at the edge, `waits` that the last work needs the cloud's answer. `delay` is what a
    message costs besides its bytes and the round trip.
    """

    begin: float
    turn: float
    finish: float
    away: tuple[float, ...]
    up: tuple[float, ...]
    down: tuple[float, ...]
    delay: float
    window: int
    inner: int
    turns: bool
    waits: bool


def legs_of(pricing: Pricing, plan: Plan) -> Legs:
    """What one step of a plan is made of; the link of the pricing gives sizes only, and is not a shared one."""
    visits = pricing.visits(plan)
    home, link = next(iter(pricing.places)), pricing.link
    edge = [visit.seconds for visit in visits if visit.resource == f"{home} compute"]
    away = tuple(v.seconds for v in visits if v.resource.endswith(" compute") and v.resource[:-8] != home)
    front_away = visits[0].resource != f"{home} compute"
    up = [visit.seconds * link.up / 8 for visit in visits if visit.resource == "uplink"]
    down = [visit.seconds * link.down / 8 for visit in visits if visit.resource == "downlink"]
    if front_away:
        # The edge asks with the numbers of the samples, and nothing comes back for its slopes.
        up, down, edge = [0.0, *up], [*down, 0.0], [0.0, *edge, 0.0]
    turns = front_away or not away or len(edge) == 3
    if not away:
        edge = [0.0, *edge, 0.0]
    elif not turns:
        edge = [edge[0], 0.0, edge[1]]
    return Legs(
        begin=edge[0],
        turn=edge[1],
        finish=edge[2],
        away=away,
        up=tuple(up),
        down=tuple(down),
        delay=_delay(visits),
        window=plan.window,
        inner=inner_window(plan, home),
        turns=turns,
        # A front without stages, beside a loss at the edge, has nothing to do with its gradients.
        waits=bool(away) and not (turns and (front_away or plan.parts[0].empty)),
    )


def _delay(visits: list[Visit]) -> float:
    return max((visit.delay for visit in visits), default=0.0)


@dataclass(frozen=True, slots=True)
class Finished:
    """One step, done. `wait` are the edge's idle seconds in it; rates are those last seen on the line by then, bytes
    per second, None where nothing large has travelled."""

    step: int
    began: float
    ended: float
    edge: float
    cloud: float
    wait: float
    up: float | None
    down: float | None


@dataclass(slots=True)
class _Under:
    """A step under way: when its answer is here, if that is known, and what was seen of it so far."""

    began: float
    here: float | None = None
    edge: float = 0.0
    cloud: float = 0.0
    wait: float = 0.0


# A shorter message tells nothing of a rate: the session's own bound.
_MEASURABLE: Final = 64 << 10
# Where a message is: on its way up, at the cloud, on its way down.
_UP, _AWAY, _DOWN = range(3)


@final
class Flow:
    """One plan at work from `now` on."""

    def __init__(self, world: World, legs: Legs, now: float) -> None:
        self.legs, self.now = legs, now
        self._world = world
        self._free: dict[str, float] = {}
        self._under: dict[int, _Under] = {}
        # Messages by when they are ready for what comes next; nothing that is posted later is ready earlier.
        self._posted: list[tuple[float, int, int, int, int]] = []
        self._count = 0
        self._latest = now
        # The last two messages of each direction: start, end and bytes. A later one may not have begun yet.
        self._seen: dict[int, deque[tuple[float, float, float]]] = {
            where: deque(maxlen=2) for where in (_UP, _DOWN)
        }

    def cycle(self, step: int, first: int, last: int) -> Finished | None:
        """One turn of the wheel at `step`, of a run from `first` to `last`; the step that it finished."""
        legs = self.legs
        if step <= last:
            self._begin(step)
        if legs.turns and first <= step - legs.inner <= last:
            self._turn(step - legs.inner)
        if first <= step - legs.window <= last:
            return self._finish(step - legs.window)
        return None

    def drained(self) -> None:
        """Wait for what the cloud still does after the last step was finished here."""
        while self._posted:
            self._pass()
        self.now = max(self.now, self._latest)

    def _begin(self, step: int) -> None:
        under = self._under[step] = _Under(self.now)
        self._work(under, self.legs.begin)
        if self.legs.away:
            self._post(self.now, _UP, step, 0)

    def _turn(self, step: int) -> None:
        under = self._under[step]
        self._await(under)
        self._work(under, self.legs.turn)
        if len(self.legs.away) > 1:
            under.here = None
            self._post(self.now, _UP, step, 1)

    def _finish(self, step: int) -> Finished:
        under = self._under[step]
        if self.legs.waits:
            self._await(under)
        if self.legs.waits or not self.legs.away:
            del self._under[step]
        self._work(under, self.legs.finish)
        while self._posted and self._posted[0][0] <= self.now:
            self._pass()
        up, down = self._rate(_UP), self._rate(_DOWN)
        return Finished(step, under.began, self.now, under.edge, under.cloud, under.wait, up, down)

    def _rate(self, where: int) -> float | None:
        """What the receiver's meter says now: it reports while a long message runs."""
        for start, end, size in reversed(self._seen[where]):
            until = min(end, self.now)
            then, here = self._world.at(start), self._world.at(until)
            rate = (here.link.up if where == _UP else here.link.down) / 8
            if then is here and end <= self.now:
                rate = size / (end - start)
            if (until - start) * rate >= _MEASURABLE * (1 - 1e-9):
                return rate
        return None

    def _work(self, under: _Under, seconds: float) -> None:
        end = self._world.worked(EDGE, self.now, seconds)
        under.edge += end - self.now
        self.now = end

    def _await(self, under: _Under) -> None:
        while under.here is None and self.legs.away:
            self._pass()
        here = self.now if under.here is None else under.here
        under.wait += max(here - self.now, 0.0)
        self.now = max(self.now, here)

    def _post(self, ready: float, where: int, step: int, turn: int) -> None:
        self._count += 1
        heapq.heappush(self._posted, (ready, self._count, where, step, turn))

    def _pass(self) -> None:
        """The message that is ready first takes its next leg: first come, first served."""
        ready, _, where, step, turn = heapq.heappop(self._posted)
        under, legs, world = self._under[step], self.legs, self._world
        if where == _AWAY:
            start = max(ready, self._free.get(CLOUD, ready))
            end = self._free[CLOUD] = world.worked(CLOUD, start, legs.away[turn])
            under.cloud += end - start
            self._post(end, _DOWN, step, turn)
            return
        size = legs.up[turn] if where == _UP else legs.down[turn]
        line = "link" if world.at(ready).link.shared else ("up", "", "down")[where]
        start = max(ready, self._free.get(line, ready))
        end = self._free[line] = world.sent(start, size, up=where == _UP)
        if size:
            self._seen[where].append((start, end, size))
        there = end + world.trip(end) + legs.delay
        if where == _UP:
            self._post(there, _AWAY, step, turn)
        else:
            under.here = self._latest = there
            if turn and not legs.waits:
                # The edge was done with this step when it sent its slopes.
                del self._under[step]
