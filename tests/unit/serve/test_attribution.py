"""Joules: split fairly, kept apart by source, held to a budget."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import Energy, dump, load
from partita.serve.attribution import (
    Bucket,
    EnergyLedger,
    EnergyPrice,
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


def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    """Up to the burst and no further."""
    bucket = Bucket(rate=2.0, burst=10.0).spend(8.0, now=0.0)

    assert bucket.fullness(0.0) == pytest.approx(0.2)
    assert bucket.fullness(2.0) == pytest.approx(0.6)
    assert bucket.fullness(60.0) == 1.0


def test_a_bucket_can_be_in_debt_and_says_how_long() -> None:
    """Joules are known after they were used."""
    bucket = Bucket(rate=2.0, burst=10.0).spend(14.0, now=1.0)

    assert bucket.level == -4.0
    assert not bucket.affords(0.0, 1.0)
    assert bucket.wait(2.0, 1.0) == 3.0
    assert bucket.affords(2.0, 4.0)


def test_what_a_bucket_never_holds_is_never_there() -> None:
    """And what is there needs no wait."""
    assert Bucket(1.0, 10.0).wait(11.0, 0.0) == math.inf
    assert Bucket(1.0, 10.0).wait(10.0, 0.0) == 0.0


def test_a_clock_that_goes_back_fills_nothing() -> None:
    """Nor takes anything away."""
    bucket = Bucket(1.0, 10.0).spend(5.0, now=3.0)

    assert bucket.refilled(1.0) == bucket


@given(steps=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=40))
def test_what_is_spent_only_when_there_stays_within_the_budget(steps: list[tuple[float, float]]) -> None:
    """At most the burst and what the time brought."""
    bucket, now, used = Bucket(rate=1.0, burst=2.0), 0.0, 0.0
    for joules, passed in steps:
        now += passed
        if bucket.affords(joules, now):
            bucket = bucket.spend(joules, now)
            used += joules

    assert used <= 2.0 + now + 1e-9


def test_a_budget_that_is_none_is_refused() -> None:
    """Every field at once."""
    with pytest.raises(BadDocument) as refusal:
        Bucket(rate=0.0, burst=math.inf, level=math.inf)

    assert len(refusal.value.problems) == 2
    with pytest.raises(BadDocument, match="above burst"):
        Bucket(rate=1.0, burst=1.0, level=2.0)


def test_spending_less_than_nothing_is_refused() -> None:
    """It would fill the bucket."""
    with pytest.raises(BadDocument, match="joules: -1"):
        Bucket(1.0, 1.0).spend(-1.0, 0.0)


def test_energy_is_free_while_the_bucket_is_full_enough() -> None:
    """And stays free."""
    price = EnergyPrice(highest=10.0).after(0.9, 0.0).after(0.9, 100.0)

    assert price.price == 0.0


def test_the_price_rises_as_the_bucket_empties_and_with_time() -> None:
    """In proportion at once, and further while it lasts."""
    first = EnergyPrice(highest=10.0, gain=1.0, seconds=5.0).after(0.3, 0.0)
    later = first.after(0.3, 5.0)

    assert first.price == pytest.approx(2.0)
    assert later.price == pytest.approx(4.0)


def test_a_long_dearth_is_soon_forgotten() -> None:
    """The price stops at its highest, and its memory too."""
    price = EnergyPrice(highest=10.0).after(-5.0, 0.0).after(-5.0, 10_000.0)
    relieved = price.after(1.0, 10_010.0)

    assert price.price == 10.0
    assert relieved.price == 0.0


def test_a_clock_that_goes_back_does_not_change_the_memory() -> None:
    """Time stands still instead."""
    price = EnergyPrice(highest=10.0).after(0.3, 5.0)

    assert price.after(0.3, 1.0) == price


@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0])
def test_the_price_holds_a_load_to_its_budget(seconds: float) -> None:
    """100 requests a second that would take 5 W at their best get 2.5 W: within 5% over the last minute, never in debt."""
    exits = [(0.6, 0.01), (0.86, 0.02), (0.9, 0.04), (0.905, 0.05)]
    draw = random.Random(0)
    bucket, price = Bucket(rate=2.5, burst=10.0), EnergyPrice(highest=90.0, seconds=seconds)
    now, used, lowest = 0.0, 0.0, 1.0
    for i in range(12_000):
        now += draw.expovariate(100)
        price = price.after(bucket.fullness(now), now)
        joules = max(exits, key=lambda one: one[0] - price.price * one[1])[1]
        bucket = bucket.spend(joules, now)
        lowest = min(lowest, bucket.fullness(now))
        used += joules if i >= 6000 else 0.0

    assert used / 60 == pytest.approx(2.5, rel=0.05)
    assert lowest > 0.3


def test_a_price_that_makes_no_sense_is_refused() -> None:
    """Every field at once."""
    with pytest.raises(BadDocument) as refusal:
        EnergyPrice(highest=0.0, gain=-1.0, seconds=math.inf, target=2.0)

    assert len(refusal.value.problems) == 4
