"""A whole training, played: steps under a plan, the drain at the end of each epoch, moves to other plans and their cost.

Rules: who decides is a `Policy`, asked after every finished step and told nothing that an edge could not see; a plan
changes only when nothing is under way; what a move costs is played through the same world as the steps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

from ..graph import Link
from ..plan import Plan, Pricing, move_cost
from .simulate_case import Case
from .simulate_flow import Finished, Flow, legs_of
from .simulate_world import World

# Round trips of a move besides its weights: prepare and commit, each answered.
_TRIPS = 4
# Sizes are read off a link of this rate; any would do.
_NOMINAL = Link(1e9, 1e9)


@dataclass(frozen=True, slots=True)
class Change:
    """Another plan from now on, and why."""

    plan: Plan
    reason: str


class Policy(Protocol):
    """Who decides which plan is in force."""

    def first(self) -> Plan:
        """The plan at the start."""
        ...

    def seen(self, done: Finished) -> Change | None:
        """A step is finished; perhaps another plan is better."""
        ...

    def moved(self, plan: Plan, at: float) -> None:
        """The change is made."""
        ...


@dataclass(frozen=True, slots=True)
class Moved:
    """A change of plans: when and why it was decided, and what it cost in seconds and in bytes of state."""

    at: float
    step: int
    old: Plan
    new: Plan
    reason: str
    drain: float
    seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class Played:
    """One training from start to end. `ends` are the seconds at which steps were finished, `plans` who was in force."""

    name: str
    seconds: float
    ends: tuple[float, ...]
    plans: tuple[tuple[int, Plan], ...]
    moves: tuple[Moved, ...] = ()
    waited: float = 0.0

    @property
    def per_step(self) -> float:
        """Seconds per step over the whole training, moves and drains included."""
        return self.seconds / len(self.ends)

    def pace(self, points: int = 60) -> tuple[tuple[float, float], ...]:
        """Seconds per step over time, as so many means over spans of equal length."""
        edges = [self.seconds * (i + 1) / points for i in range(points)]
        counts = [bisect_right(self.ends, edge) for edge in edges]
        span = self.seconds / points
        found, before = [], 0
        for edge, count in zip(edges, counts, strict=True):
            if count > before:
                found.append((edge - span / 2, span / (count - before)))
            before = count
        return tuple(found)


@final
class Fixed:
    """One plan, kept."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def first(self) -> Plan:
        return self._plan

    def seen(self, done: Finished) -> Change | None:  # noqa: ARG002 - a protocol's method
        return None

    def moved(self, plan: Plan, at: float) -> None:
        """Nothing to learn."""


@final
class Scripted:
    """Plans at given seconds, by somebody who knows the future."""

    def __init__(self, rows: Sequence[tuple[float, Plan]]) -> None:
        self._rows = list(rows)
        self._at = 0

    def first(self) -> Plan:
        return self._rows[0][1]

    def seen(self, done: Finished) -> Change | None:
        at = bisect_right([row[0] for row in self._rows], done.ended) - 1
        if at <= self._at:
            return None
        old, self._at = self._rows[self._at][1], at
        new = self._rows[at][1]
        return None if new == old else Change(new, "known beforehand")

    def moved(self, plan: Plan, at: float) -> None:
        """Nothing to learn."""


@dataclass
class _Training:
    """One training while it is played."""

    case: Case
    world: World
    pricing: Pricing
    now: float = 0.0
    waited: float = 0.0
    ends: list[float] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)

    def flow(self, plan: Plan, first: int, last: int, policy: Policy) -> tuple[int, Change | None, float]:
        """Steps from `first` to `last`, or until the policy wants another plan: the next step, that plan, and when."""
        flow = Flow(self.world, legs_of(self.pricing, plan), self.now)
        change: Change | None = None
        decided = 0.0
        turn = first
        while turn <= last + plan.window:
            done = flow.cycle(turn, first, last)
            if done is not None:
                self.ends.append(done.ended)
                self.waited += done.wait
                if change is None and (change := policy.seen(done)) is not None:
                    # Nobody begins another step before the move.
                    last, decided = min(last, turn), done.ended
            turn += 1
        flow.drained()
        self.now = flow.now
        return last + 1, change, decided

    def move(self, old: Plan, change: Change, step: int, decided: float) -> None:
        cost = move_cost(self.case.chain, old, change.plan, _NOMINAL, self.case.question)
        begun = self.now
        self.now += _TRIPS * self.world.trip(begun)
        self.now = self.world.sent(self.now, cost.bytes_up, up=True)
        self.now = self.world.sent(self.now, cost.bytes_down, up=False)
        self.moves.append(
            Moved(
                at=decided,
                step=step,
                old=old,
                new=change.plan,
                reason=change.reason,
                drain=begun - decided,
                seconds=self.now - begun,
                bytes_up=cost.bytes_up,
                bytes_down=cost.bytes_down,
            )
        )


def play(name: str, case: Case, world: World, policy: Policy, *, epochs: int, steps: int) -> Played:
    """A training of so many epochs of so many steps."""
    played = _Training(case, world, case.pricing(_NOMINAL))
    plan, step = policy.first(), 0
    plans = [(0, plan)]
    total = epochs * steps
    while step < total:
        last = (step // steps + 1) * steps - 1
        step, change, decided = played.flow(plan, step, last, policy)
        if change is not None and step < total:
            played.move(plan, change, step, decided)
            plan = change.plan
            plans.append((step, plan))
            policy.moved(plan, played.now)
    return Played(name, played.now, tuple(played.ends), tuple(plans), tuple(played.moves), played.waited)
