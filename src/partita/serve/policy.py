"""A policy: what requests may take, when an answer leaves, what to do when it cannot be done.

Rules: its version is a digest of what it says, so equal policies have equal versions however they were written; what
does not fit the network is reported at once, for the policy and for each of its rules; pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from ..errors import BadDocument
from .policy_condition import (
    NEVER,
    Condition,
    plain,
    response_bound,
    without_response_bound,
)
from .policy_decide import Decisions
from .tables import Bounds, ExitProfile

FORMAT = 1
MODES = ("firm", "soft")
OBJECTIVES = ("accuracy", "energy", "latency")
INFEASIBLE = ("degrade", "reject", "best_effort")
CLOCKS = ("arrival", "exec")
# Each combination of rules that hold is compiled once; more than this is a program, not a policy.
MOST_RULES = 32

POLICY_FIX = "correct the fields named; docs/policies.md describes each"
# Field of Bounds, name in a document, factor from the document's unit to ours.
BOUND_FIELDS = (
    ("deadline", "deadline_ms", 1e3),
    ("accuracy_floor", "accuracy_floor", 1.0),
    ("energy_budget", "energy_budget_mj", 1e3),
    ("min_exit", "min_exit", None),
    ("max_exit", "max_exit", None),
)


@dataclass(frozen=True, slots=True)
class TenantShare:
    """Whose requests these are: its weight against other tenants, and the joules per second it may take."""

    name: str
    weight: float = 1.0
    joules_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """While `when` holds, the settings in `then` replace those of the policy; a None there takes a bound away."""

    when: Condition
    then: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Policy:
    """When answers leave (`exits`: one condition per exit, or none at all), within which bounds, and to what end.

    `mode` firm never starts a stage that would probably (99 of 100) end after the deadline, soft one that would end after
    it more often than not. `max_drop` switches calibrated thresholds on. `on_infeasible` says what happens to a request
    whose bounds contradict what is possible: a lesser answer in time, a refusal, or the full answer late.
    """

    exits: tuple[Condition, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    mode: Literal["firm", "soft"] = "firm"
    objective: Literal["accuracy", "energy", "latency"] = "accuracy"
    max_drop: float | None = None
    confidence: float = 0.95
    on_infeasible: Literal["degrade", "reject", "best_effort"] = "degrade"
    tenant: TenantShare | None = None
    rules: tuple[Rule, ...] = ()
    clock: Literal["arrival", "exec"] = "arrival"
    name: str = field(default="", compare=False)

    @cached_property
    def version(self) -> str:
        """Twelve digits of the SHA-256 of what it says."""
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def document(self) -> dict[str, Any]:
        """As JSON in the object form; it parses back to a policy of the same version."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)} | {
            f.name: getattr(self.bounds, f.name) for f in fields(Bounds)
        }
        changed = {name: value for name, value in settings.items() if value != _DEFAULTS.get(name)}
        written = {"version": FORMAT, **_settings_document(changed)}
        if self.tenant:
            written["tenant"] = {
                f.name: value
                for f in fields(TenantShare)
                if (value := getattr(self.tenant, f.name)) is not None
            }
        if self.rules:
            written["rules"] = [
                {"if": plain(rule.when), "then": _settings_document(dict(rule.then))} for rule in self.rules
            ]
        if self.clock != "arrival":
            written["clock"] = self.clock
        return written

    def applied(self, rule: Rule) -> Policy:
        """This policy while a rule holds."""
        then = dict(rule.then)
        bounds = {name: then.pop(name) for name, *_ in BOUND_FIELDS if name in then}
        return replace(self, bounds=replace(self.bounds, **bounds), **then)

    def compiled(self, exits: int | None = None, profile: ExitProfile | None = None) -> Decisions:
        """Closures for a network with so many exits; conditions for another number of exits are refused."""
        count = exits or (len(profile.exits) if profile else len(self.exits))
        problems = misfits(self, count or None, profile)
        if not count:
            problems = ["exits: how many the network has is not known"]
        if problems:
            raise BadDocument(policy_called(self.name), problems, fix=POLICY_FIX)
        return Decisions(self, count, profile)


def upgrade(policy: Policy) -> Policy:
    """The firm reading of an original file: `response_time > X` at every exit becomes a deadline of X.

    The original left after X had passed; under a deadline the answer leaves before. Other conditions stay. The last exit
    needs no bound, for it always answers. A policy without such a bound comes back as it is.
    """
    bounds = [response_bound(condition) for condition in policy.exits]
    if len(bounds) > 1 and policy.exits[-1] == NEVER:
        bounds.pop()
    known = {bound for bound in bounds if bound is not None}
    if not known or None in bounds:
        return policy
    if len(known) > 1:
        listed = [f"exits[{k}]: response_time > {bound:g} s" for k, bound in enumerate(bounds) if bound]
        raise BadDocument(
            policy_called(policy.name),
            listed,
            fix="a deadline is one for all exits: give each exit the same bound",
        )
    deadline = min(bound for bound in (*known, policy.bounds.deadline) if bound is not None)
    left = tuple(without_response_bound(condition) for condition in policy.exits)
    exits = () if all(condition == NEVER for condition in left) else left
    return replace(policy, exits=exits, bounds=replace(policy.bounds, deadline=deadline), mode="firm")


def policy_called(name: str) -> str:
    """How errors call it."""
    return f"policy {name!r}" if name else "policy"


_DEFAULTS = {f.name: getattr(Policy(), f.name) for f in fields(Policy)}


def _settings_document(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by their names in Policy and Bounds, as a document has them."""
    written: dict[str, Any] = {}
    if "exits" in settings:
        written["exits"] = [plain(condition) for condition in settings["exits"]]
    slo = {
        # Twelve digits: a time in milliseconds comes back from seconds as it was written.
        key: value if factor is None or value is None else float(f"{value * factor:.12g}")
        for name, key, factor in BOUND_FIELDS
        if name in settings
        for value in (settings[name],)
    }
    slo |= {"mode": settings["mode"]} if "mode" in settings else {}
    calibration = {name: settings[name] for name in ("max_drop", "confidence") if name in settings}
    written |= {"slo": slo} if slo else {}
    written |= {"calibration": calibration} if calibration else {}
    return written | {name: settings[name] for name in ("objective", "on_infeasible") if name in settings}


def misfits(policy: Policy, exits: int | None, profile: ExitProfile | None) -> list[str]:
    """What does not fit together, or not the network: of the policy, and of the policy under each of its rules."""
    count = exits or (len(profile.exits) if profile else None)
    problems = []
    if exits and profile and len(profile.exits) != exits:
        problems.append(f"exits: the network has {exits}, its profile {len(profile.exits)}")
    problems += _unfit(policy, count, profile)
    for i, rule in enumerate(policy.rules):
        found = _unfit(policy.applied(rule), count or len(policy.exits) or None, profile)
        # What is wrong without the rule is told once.
        told = {problem.partition(":")[0] for problem in problems}
        own = [problem for problem in found if problem.partition(":")[0] not in told]
        problems += [f"rules[{i}].then.{problem}" for problem in own]
    return problems


def _unfit(policy: Policy, count: int | None, profile: ExitProfile | None) -> list[str]:
    problems = []
    if policy.exits and count and len(policy.exits) != count:
        problems.append(f"exits: {len(policy.exits)} conditions for a network with {count} exits")
    last = count or len(policy.exits) or None
    bounds = policy.bounds
    for name in ("min_exit", "max_exit"):
        index = getattr(bounds, name)
        if index is not None and last and index >= last:
            problems.append(f"slo.{name}: exit {index} is not there, the last is {last - 1}")
    if bounds.min_exit is not None and bounds.max_exit is not None and bounds.min_exit > bounds.max_exit:
        problems.append(f"slo.min_exit: {bounds.min_exit} is above max_exit, {bounds.max_exit}")
    return problems + _too_high(bounds, profile)


def _too_high(bounds: Bounds, profile: ExitProfile | None) -> list[str]:
    """An accuracy floor above the best exit that may answer."""
    floor = bounds.accuracy_floor
    if profile is None or floor is None:
        return []
    top = len(profile.exits) if bounds.max_exit is None else bounds.max_exit + 1
    known = [cost.accuracy for cost in profile.exits[:top] if cost.accuracy is not None]
    if not known or floor <= max(known):
        return []
    which = "the best exit" if top >= len(profile.exits) else f"the best exit up to max_exit {top - 1}"
    return [f"slo.accuracy_floor: {floor:g} is above {which}, which has {max(known):g}"]
