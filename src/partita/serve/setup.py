"""From a policy to a scheduler and to requests with bounds: the one place where the language meets the decisions.

Rules: what a request asks for itself goes before what the policy says; the same translation serves the simulator and
the server; pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .arrivals import Arrival
from .policy import Policy
from .scheduler import Scheduler
from .scheduler_orders import Settings, Tenant
from .tables import Calibration, ExitProfile


def scheduler_for(
    profile: ExitProfile,
    policy: Policy,
    calibration: Calibration | None = None,
    *,
    tenants: Iterable[Tenant] = (),
    settings: Settings | None = None,
) -> Scheduler:
    """A scheduler under a policy. Calibrated thresholds are used where the policy asks for a drop or to save energy."""
    own = policy.tenant
    shares = list(tenants)
    if own is not None and all(tenant.name != own.name for tenant in shares):
        shares.append(Tenant(own.name, own.weight, own.joules_per_s))
    early = policy.max_drop is not None or policy.objective == "energy"
    asked = settings or Settings()
    return Scheduler(
        profile, calibration, tenants=shares, settings=replace(asked, thresholds=asked.thresholds or early)
    )


def bounded(arrivals: Iterable[Arrival], policy: Policy, profile: ExitProfile) -> tuple[Arrival, ...]:
    """Arrivals with the policy's bounds where they have none of their own."""
    decisions = policy.compiled(profile=profile)
    return tuple(replace(arrival, bounds=decisions.bounds(arrival.bounds)) for arrival in arrivals)
