"""From a policy to a scheduler, and to requests with bounds."""

from typing import Any

import pytest

from partita.serve.arrivals import Arrival
from partita.serve.policy import Policy
from partita.serve.policy_read import parse_policy
from partita.serve.scheduler import Scheduler
from partita.serve.scheduler_orders import Settings, Tenant
from partita.serve.setup import bounded, scheduler_for
from partita.serve.tables import Bounds, Calibration, ExitCost, ExitProfile, StageTime

PROFILE = ExitProfile(
    "three",
    tuple(ExitCost(f"exit {k}", accuracy=a, joules=a) for k, a in enumerate((0.6, 0.8, 0.9))),
    tuple(StageTime({1: s}, {1: s}) for s in (0.001, 0.002, 0.004)),
)
CALIBRATION = Calibration(
    edges=(),
    worth=(((0.6, 0.8, 0.9),),) * 3,
    accuracy=(0.6, 0.8, 0.9),
    thresholds=(0.5, 0.5, 0.0),
    stays=(0.5, 0.5, 0.0),
    samples=1000,
)


def policy(**fields: Any) -> Policy:
    return parse_policy({"version": 1, **fields}, profile=PROFILE)


def weights(made: Scheduler) -> dict[str, float]:
    """Of the tenants that were declared."""
    return {account.name: account.weight for account in made.tenants.accounts if account.declared}


def test_the_policys_tenant_joins_those_that_were_given() -> None:
    made = scheduler_for(PROFILE, policy(tenant={"name": "a", "weight": 3}), tenants=[Tenant("b", 1.0)])

    assert weights(made) == {"a": 3.0, "b": 1.0}


def test_a_tenant_given_by_name_goes_before_the_policys() -> None:
    made = scheduler_for(PROFILE, policy(tenant={"name": "a", "weight": 3}), tenants=[Tenant("a", 1.0)])

    assert weights(made) == {"a": 1.0}


def test_a_policy_without_a_tenant_adds_none() -> None:
    assert weights(scheduler_for(PROFILE, policy())) == {}


@pytest.mark.parametrize(
    ("fields", "asked", "used"),
    [
        ({}, None, False),
        ({}, Settings(thresholds=True), True),
        ({"calibration": {"max_drop": 0.01}}, None, True),
        ({"objective": "energy"}, None, True),
    ],
)
def test_thresholds_are_used_where_early_answers_were_asked_for(
    fields: dict[str, Any], asked: Settings | None, used: bool
) -> None:
    """Never on their own account: a threshold costs accuracy."""
    made = scheduler_for(PROFILE, policy(**fields), CALIBRATION, settings=asked)

    assert made.settings.thresholds is used


def test_other_settings_stay_as_they_were_given() -> None:
    assert scheduler_for(PROFILE, policy(), settings=Settings(workers=3)).settings.workers == 3


def test_bounds_of_the_policy_are_those_of_requests_without_their_own() -> None:
    plain, own = Arrival(0.0), Arrival(1.0, bounds=Bounds(deadline=0.01))
    found = bounded([plain, own], policy(slo={"deadline_ms": 40}), PROFILE)

    assert [arrival.bounds.deadline for arrival in found] == [0.04, 0.01]
    assert [arrival.time for arrival in found] == [0.0, 1.0]
