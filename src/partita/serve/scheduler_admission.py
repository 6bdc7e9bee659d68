"""Which exits may answer a request: its bounds, read against what the exits are worth and draw.

Rules: an accuracy floor is about the rule and not the single answer: an exit may answer if answers that leave there are
right often enough on held-out data, and so may the deeper ones that are; contradictions are refused in words; the same
bounds are read once.
"""

from __future__ import annotations

from dataclasses import dataclass

from .scheduler_orders import Request
from .tables import Bounds, ExitProfile

# Distinct bounds remembered; requests are free to invent new ones, memory is not.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Reach:
    """The exits between which a request may be answered, and the floor that was asked for (higher if it was given up)."""

    floor: int
    ceiling: int
    wanted: int


class Doors:
    """Reads bounds."""

    def __init__(self, profile: ExitProfile, accuracy: list[float]) -> None:
        self._names = [cost.name for cost in profile.exits]
        self._joules = [cost.joules for cost in profile.exits]
        self._accuracy = accuracy
        self._known: dict[object, Reach | str] = {}

    def reach(self, request: Request) -> Reach | str:
        """The exits that may answer, or why none may."""
        b = request.bounds
        strict = request.infeasible == "reject"
        key = (b.accuracy_floor, b.energy_budget, b.min_exit, b.max_exit, strict)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._read(b, strict)
        return found

    def loosened(self, reach: Reach) -> Reach:
        """The same without floors."""
        return Reach(0, reach.ceiling, reach.wanted)

    def _read(self, bounds: Bounds, strict: bool) -> Reach | str:
        last = len(self._names) - 1
        low = 0 if bounds.min_exit is None else bounds.min_exit
        high = last if bounds.max_exit is None else min(bounds.max_exit, last)
        if not 0 <= low <= last:
            return f"min_exit is {low}, and the exits are 0 to {last}"
        if high < low:
            return f"max_exit {bounds.max_exit} lies before min_exit {low}"
        floor, ceiling = low, high
        if bounds.accuracy_floor is not None:
            span = self._accurate(bounds.accuracy_floor, low, high)
            if isinstance(span, str):
                return span
            floor, ceiling = span
        if bounds.energy_budget is not None:
            affordable = self._affordable(bounds.energy_budget, ceiling)
            if isinstance(affordable, str):
                return affordable
            if affordable < floor:
                name, joules = self._names[floor], self._joules[floor]
                if strict or affordable < 0:
                    return f"exit {name} draws {joules:g} J, and the budget is {bounds.energy_budget:g} J"
                return Reach(min(low, affordable), affordable, floor)
            ceiling = affordable
        return Reach(floor, ceiling, floor)

    def _accurate(self, floor: float, low: int, high: int) -> tuple[int, int] | str:
        """The first run of exits within low to high that are accurate enough."""
        fine = [self._accuracy[k] >= floor for k in range(len(self._accuracy))]
        first = next((k for k in range(low, high + 1) if fine[k]), None)
        if first is None:
            best = max(range(low, high + 1), key=self._accuracy.__getitem__)
            return (
                f"accuracy_floor is {floor:g}, and the best exit allowed, {self._names[best]}, "
                f"is right in {self._accuracy[best]:.4f} of cases"
            )
        return first, next((k - 1 for k in range(first, high + 1) if not fine[k]), high)

    def _affordable(self, budget: float, ceiling: int) -> int | str:
        """The deepest exit within an energy budget; -1 for none."""
        if any(joules is None for joules in self._joules):
            return "energy_budget is set, and the profile has no joules: partita serve profile measures or models them"
        return max((k for k in range(ceiling + 1) if (self._joules[k] or 0.0) <= budget), default=-1)
