"""What a user should know of a policy before relying on it: bounds that no request can keep, conditions that never hold.

Rules: nothing here is an error, for a policy may wait for a faster device; each note names the field and the figure.
"""

from __future__ import annotations

from .policy import Policy
from .policy_condition import Always
from .policy_words import Facts
from .tables import Calibration, ExitProfile


def policy_notes(
    policy: Policy, profile: ExitProfile, calibration: Calibration | None = None
) -> tuple[str, ...]:
    """Notes on a policy for one network, in the order of its fields."""
    return (
        *_idle_conditions(policy, profile),
        *_unkept(policy, profile),
        *_uncalibrated(policy, calibration),
    )


def _idle_conditions(policy: Policy, profile: ExitProfile) -> list[str]:
    """Conditions that what is fixed (accuracy, energy, computation, the exit itself) makes false whatever happens."""
    decisions, notes = policy.compiled(profile=profile), []
    for k, condition in enumerate(policy.exits[:-1]):
        facts = Facts()
        decisions.describe(k, facts)
        if not isinstance(condition, Always) and decisions.certain(k, facts) is False:
            notes.append(f"exits[{k}] never holds on this network: {condition}")
    return notes


def _unkept(policy: Policy, profile: ExitProfile) -> list[str]:
    notes, bounds = [], policy.bounds
    first = bounds.min_exit or 0
    if bounds.deadline is not None and profile.timed:
        needed = sum(stage.seconds(1, tail=True) for stage in profile.stages[: first + 1])
        if needed > bounds.deadline:
            notes.append(
                f"slo.deadline_ms: {bounds.deadline * 1e3:g} ms are less than exit {first} takes, {needed * 1e3:.3g} ms (p99)"
            )
    joules = profile.exits[first].joules
    if bounds.energy_budget is not None and joules is not None and joules > bounds.energy_budget:
        notes.append(
            f"slo.energy_budget_mj: {bounds.energy_budget * 1e3:g} mJ are less than exit {first} takes, {joules * 1e3:.3g} mJ"
        )
    if bounds.energy_budget is not None and joules is None:
        notes.append("slo.energy_budget_mj cannot be judged: the profile has no energy")
    if bounds.accuracy_floor is not None and any(cost.accuracy is None for cost in profile.exits):
        notes.append("slo.accuracy_floor cannot be judged at every exit: the profile lacks accuracies")
    return notes


def _uncalibrated(policy: Policy, calibration: Calibration | None) -> list[str]:
    if calibration is not None and not calibration.labelled:
        return ["the calibration knows no labels: it holds agreement with the last exit, not accuracy"]
    if policy.max_drop is None:
        return []
    if calibration is None or calibration.max_drop is None:
        return ["calibration.max_drop has no effect: there are no calibrated thresholds"]
    if calibration.max_drop > policy.max_drop:
        return [
            f"calibration.max_drop: {policy.max_drop:g} is asked for, the calibration allows {calibration.max_drop:g}"
        ]
    return []
