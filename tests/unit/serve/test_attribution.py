"""Joules: split fairly, kept apart by source, held to a budget."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import Energy, dump, load
from partita.serve.attribution import (
    EnergyLedger,
    Joules,
    label,
    split,
    without_idle,
)

MEASURED = Energy(6.0, "RAPL package-0", measured=True)
MODELLED = Energy(3.0, "model: processor seconds x 6 W", measured=False)


def test_a_batch_is_split_by_what_each_request_costs() -> None:
    """Twice the work, twice the joules; the source goes along."""
    assert split(MEASURED, (1.0, 2.0)) == (
        Energy(2.0, MEASURED.source, measured=True),
        Energy(4.0, MEASURED.source, measured=True),
    )


def test_requests_that_cost_nothing_share_alike() -> None:
    """The joules were used all the same."""
    assert [one.joules for one in split(MODELLED, (0.0, 0.0, 0.0))] == [1.0, 1.0, 1.0]


@given(joules=st.floats(0, 1e6), costs=st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_shares_add_up_to_the_whole(joules: float, costs: list[float]) -> None:
    """Nothing is lost and nothing made."""
    shares = split(Energy(joules, "x", measured=True), costs)

    assert math.fsum(one.joules for one in shares) == pytest.approx(joules, rel=1e-9, abs=1e-12)
    assert all(one.joules >= 0 for one in shares)


def test_a_batch_that_makes_no_sense_is_refused_with_every_fault() -> None:
    """Costs below nothing, energy that is no number."""
    with pytest.raises(BadDocument) as refusal:
        split(Energy(math.nan, "x", measured=True), (1.0, -1.0, math.inf))

    assert len(refusal.value.problems) == 3


def test_an_empty_batch_has_nobody_to_charge() -> None:
    """It is refused rather than lost."""
    with pytest.raises(BadDocument, match="no requests"):
        split(MEASURED, ())


def test_idle_power_is_taken_off_and_shown_apart() -> None:
    """Two seconds at one watt."""
    active, idle = without_idle(MEASURED, 2.0, 1.0)

    assert (active.joules, idle.joules) == (4.0, 2.0)


def test_idle_power_is_never_more_than_was_used() -> None:
    """A modelled idle power can be too high."""
    active, idle = without_idle(MEASURED, 100.0, 1.0)

    assert (active.joules, idle.joules) == (0.0, 6.0)


def test_idle_power_below_nothing_is_refused() -> None:
    """Both arguments at once."""
    with pytest.raises(BadDocument, match=r"seconds: -1.*idle_watts: nan"):
        without_idle(MEASURED, -1.0, math.nan)


def test_each_tenant_pays_for_its_own_work() -> None:
    """And requests are counted when they get their answer."""
    ledger = EnergyLedger().batch(
        MEASURED, [("cam", 1.0), ("mic", 1.0), ("cam", 1.0)], answered=["cam", "new"]
    )

    assert ledger.tenants["cam"] == Joules(measured=4.0, requests=1)
    assert ledger.tenants["mic"] == Joules(measured=2.0)
    assert ledger.tenants["new"] == Joules(requests=1)


def test_measured_and_modelled_joules_are_never_one_number() -> None:
    """Each tenant has both, and the ledger names both sources once."""
    ledger = EnergyLedger().batch(MEASURED, [("cam", 1.0)]).batch(MODELLED, [("cam", 1.0)]).waited(MODELLED)

    assert ledger.tenants["cam"] == Joules(measured=6.0, modelled=3.0)
    assert ledger.sources == (
        "measured by RAPL package-0",
        "modelled: model: processor seconds x 6 W",
    )


def test_waiting_belongs_to_nobody() -> None:
    """Idle power under work and the time in between go to the same account."""
    ledger = EnergyLedger().batch(MEASURED, [("cam", 1.0)], seconds=2.0, idle_watts=1.0).waited(MEASURED)

    assert ledger.tenants["cam"].measured == 4.0
    assert ledger.idle == Joules(measured=8.0)
    assert ledger.total == Joules(measured=12.0)


def test_a_ledger_goes_to_disk_and_back() -> None:
    """A restart forgets nobody's joules."""
    ledger = EnergyLedger().batch(MEASURED, [("cam", 1.0)], answered=["cam"])

    assert load(EnergyLedger, dump(ledger)) == ledger


def test_a_label_says_whether_it_was_measured() -> None:
    """As profiles write it."""
    assert label(MEASURED) == "measured by RAPL package-0"
