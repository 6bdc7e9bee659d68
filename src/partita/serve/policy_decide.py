"""A policy compiled for one network: closures that say whether an answer leaves, and the bounds of each request.

Rules: pure; what a request asks for goes before what its tenant asks for, and that before the policy of the model; the
last exit always answers; each combination of rules that hold is compiled once.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from ..errors import BadDocument
from .policy_condition import NEVER, Condition, Test, compiled, response_bound
from .policy_json import finite
from .policy_words import Facts
from .tables import Bounds, ExitProfile

if TYPE_CHECKING:  # a policy compiles itself, so it imports this module
    from .policy import Policy

NOTHING = Bounds()


class Decisions:
    """What a policy decides for a network with `exits` exits. `fired` are the rules under which it stands."""

    def __init__(
        self,
        policy: Policy,
        exits: int,
        profile: ExitProfile | None,
        base: Decisions | None = None,
        fired: tuple[int, ...] = (),
    ) -> None:
        self.policy, self.exits, self.profile, self.fired = policy, exits, profile, fired
        # What answers report is the policy that was given, whichever of its rules hold.
        self.version: str = base.version if base else policy.version
        self.conditions: tuple[Condition, ...] = policy.exits or (NEVER,) * exits
        self._tests: tuple[Test, ...] = tuple(compiled(condition) for condition in self.conditions)
        self._last = exits - 1
        rules = () if base else policy.rules
        self._rules = tuple((1 << i, compiled(rule.when)) for i, rule in enumerate(rules))
        self._variants: dict[int, Decisions] = {}
        self._limits = tuple(self._limit(k) for k in range(exits))
        self._worth = tuple(cost.accuracy for cost in profile.exits) if profile else ()

    def should_exit(self, k: int, facts: Facts) -> bool:
        """Whether the answer of exit k leaves. A condition that hangs on something unknown does not hold."""
        return k >= self._last or self._tests[k](facts) is True

    def certain(self, k: int, facts: Facts) -> bool | None:
        """What the condition of exit k says: true, false, or None while something it looks at is not known."""
        return self._tests[k](facts)

    def limit(self, k: int) -> float | None:
        """The response time that the conditions want an answer of exit k to keep."""
        return self._limits[k]

    def due(self, k: int) -> float | None:
        """Seconds within which an answer of exit k keeps both the conditions and the deadline of the policy."""
        known = [bound for bound in (self._limits[k], self.policy.bounds.deadline) if bound is not None]
        return min(known, default=None)

    def _limit(self, k: int) -> float | None:
        """Of exit k itself, or of the exit before, where a request would have left once it was passed."""
        own = response_bound(self.conditions[k])
        return own if own is not None or k == 0 else response_bound(self.conditions[k - 1])

    def under(self, facts: Facts) -> Decisions:
        """The same under the rules that hold now; the later rule wins."""
        mask = 0
        for bit, test in self._rules:
            if test(facts) is True:
                mask |= bit
        if not mask:
            return self
        found = self._variants.get(mask)
        if found is None:
            found = self._variants[mask] = self._variant(mask)
        return found

    def _variant(self, mask: int) -> Decisions:
        policy = self.policy
        fired = tuple(i for i in range(len(self._rules)) if mask >> i & 1)
        for i in fired:
            policy = policy.applied(self.policy.rules[i])
        return Decisions(policy, self.exits, self.profile, base=self, fired=fired)

    def bounds(self, request: Bounds = NOTHING, tenant: Bounds | None = None) -> Bounds:
        """What holds for one request. What it asks for must make sense for this network."""
        problems = self._misasked(request)
        if problems:
            raise BadDocument("bounds", problems, fix="correct the bounds of the request, or leave them out")
        inherited = self.policy.bounds if tenant is None else _over(tenant, self.policy.bounds)
        return _over(request, inherited)

    def depths(self, bounds: Bounds) -> tuple[int, int]:
        """The first exit whose answer is good enough, and the deepest one worth running to.

        Who asks for accuracy gets the deepest that is allowed, and not one that is no more accurate than an earlier; only
        who writes conditions for every exit is taken by the word. Who asks for little energy or time gets the first that keeps
        the accuracy floor, or else the calibrated drop; where nothing says how good an answer must be, the first of all.
        """
        deepest = self._last if bounds.max_exit is None else min(bounds.max_exit, self._last)
        first = min(self._first(bounds.min_exit or 0, bounds.accuracy_floor), deepest)
        if self.policy.objective == "accuracy":
            return first, deepest if self.policy.exits else self._best(first, deepest)
        known = [worth for worth in self._worth if worth is not None]
        floor = bounds.accuracy_floor
        if floor is None and self.policy.max_drop is not None and known:
            floor = max(known) - self.policy.max_drop
        return first, min(self._first(first, floor), deepest)

    def _best(self, first: int, deepest: int) -> int:
        """The most accurate exit of these, the earliest of equals; the deepest where one of them is unknown."""
        worth = [accuracy for accuracy in self._worth[first : deepest + 1] if accuracy is not None]
        return first + worth.index(max(worth)) if worth and len(worth) == deepest + 1 - first else deepest

    def _first(self, first: int, floor: float | None) -> int:
        if floor is None or not self._worth or None in self._worth[first:]:
            return first
        able = (k for k in range(first, self.exits) if (self._worth[k] or 0.0) >= floor)
        return next(able, self._last)

    def describe(self, k: int, facts: Facts) -> None:
        """What the profile knows of exit k, written into the facts: accuracy, millijoules, GFLOPs."""
        facts.exit = k
        if self.profile is None:
            return
        cost = self.profile.exits[k]
        facts.accuracy = cost.accuracy
        facts.energy = None if cost.joules is None else cost.joules * 1e3
        facts.computation = None if cost.flops is None else cost.flops / 1e9
        ahead = self.profile.exits[min(k + 1, self._last)].joules
        facts.predicted_energy = None if ahead is None else ahead * 1e3

    def _misasked(self, request: Bounds) -> list[str]:
        if request == NOTHING:
            return []
        problems = [
            f"{name}: {value!r} is not above zero"
            for name in ("deadline", "energy_budget")
            if (value := getattr(request, name)) is not None and not (finite(value) and value > 0)
        ]
        for name in ("min_exit", "max_exit"):
            value = getattr(request, name)
            if value is not None and not 0 <= value < self.exits:
                problems.append(f"{name}: exit {value!r} is not there, exits are 0 to {self._last}")
        low, high, floor = request.min_exit, request.max_exit, request.accuracy_floor
        if low is not None and high is not None and low > high:
            problems.append(f"min_exit: {low} is above max_exit, {high}")
        best = max((worth for worth in self._worth if worth is not None), default=1.0)
        if floor is not None and not 0 <= floor <= best:
            known = f"the best exit has {best:g}" if self._worth else "a share lies between 0 and 1"
            problems.append(f"accuracy_floor: {floor!r} cannot be kept, {known}")
        return problems


def _over(first: Bounds, second: Bounds) -> Bounds:
    """Bounds of which the first goes before; where the exits of the two contradict, those of the second give way."""
    if first == NOTHING:
        return second
    merged = {
        f.name: own if (own := getattr(first, f.name)) is not None else getattr(second, f.name)
        for f in fields(Bounds)
    }
    low, high = merged["min_exit"], merged["max_exit"]
    if low is not None and high is not None and low > high:
        merged["min_exit" if first.max_exit is not None else "max_exit"] = (
            high if first.max_exit is not None else low
        )
    return Bounds(**merged)
