"""Who is over its share."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.serve.scheduler_orders import Tenant
from partita.serve.scheduler_tenants import Tenants


def tenants(*declared: Tenant) -> Tenants:
    return Tenants(declared, workers=1, memory=0.3, window=10.0)


def press(group: Tenants, demand: dict[str, float], seconds: float = 3.0) -> None:
    """Each tenant asks every 10 ms for so many seconds of work per second."""
    for tick in range(int(seconds * 100)):
        for name, rate in demand.items():
            group.asks(group.find(name), 0.01 * rate, 0.01 * tick)


def over(group: Tenants) -> set[str]:
    return {account.name for account in group.accounts if account.over}


def test_a_tenant_above_its_share_is_over() -> None:
    group = tenants(Tenant("a"), Tenant("b"))
    press(group, {"a": 0.3, "b": 2.0})

    assert over(group) == {"b"}


def test_weights_are_shares() -> None:
    group = tenants(Tenant("a", weight=3.0), Tenant("b", weight=1.0))
    press(group, {"a": 0.7, "b": 0.7})

    assert over(group) == {"b"}


def test_a_tenant_just_over_does_not_pay_with_one_far_over() -> None:
    group = tenants(Tenant("a"), Tenant("b"))
    press(group, {"a": 0.6, "b": 3.0})

    assert over(group) == {"b"}


def test_nobody_is_over_while_all_keep_their_shares() -> None:
    group = tenants(Tenant("a"), Tenant("b"))
    press(group, {"a": 0.3, "b": 0.3})

    assert over(group) == set()


def test_a_tenant_alone_takes_nobodys_share_and_pays_for_itself() -> None:
    group = tenants(Tenant("a"), Tenant("b"))
    press(group, {"a": 0.1})

    assert over(group) == {"a"}


def test_demand_fades_and_changes_are_told() -> None:
    group = tenants(Tenant("a"), Tenant("b"))
    press(group, {"a": 0.3, "b": 2.0})
    changed = group.asks(group.find("a"), 0.001, 9.0)

    assert {account.name for account in changed} == {"a", "b"}
    assert over(group) == {"a"}
    assert group.excess(group.find("b")) < 1e-6


def test_names_that_nobody_declared_share_an_account_when_they_are_many() -> None:
    group = tenants(Tenant("known"))
    for i in range(3000):
        group.find(f"guest {i}")

    assert len(group.accounts) < 1100
    assert group.find("guest 2999") is group.find("guest 2998")
    assert group.find("guest 1") is not group.find("guest 2")


def test_tenants_that_make_no_sense_are_refused_together() -> None:
    with pytest.raises(BadDocument) as raised:
        tenants(Tenant("a", weight=0.0), Tenant("b", joules_per_second=-1.0), Tenant("b"))

    assert len(raised.value.problems) == 3
