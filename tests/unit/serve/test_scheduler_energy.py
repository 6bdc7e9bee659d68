"""The bucket of joules and its price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.serve.scheduler_energy import Bucket


def test_plenty_costs_nothing() -> None:
    assert Bucket(1.0, 10.0).pressure(0.0) == 0.0


def test_a_dry_bucket_asks_the_full_price() -> None:
    bucket = Bucket(1.0, 10.0)
    bucket.spend(10.0, 0.0)

    assert bucket.pressure(0.0) == 1.0


def test_scarcity_that_lasts_raises_the_price() -> None:
    bucket = Bucket(1.0, 10.0)
    bucket.spend(6.0, 0.0)
    first = bucket.pressure(0.0)
    for second in range(1, 4):
        bucket.spend(1.0, float(second))

    assert bucket.pressure(3.0) > first > 0


def test_the_wait_ends_when_the_joules_are_there() -> None:
    bucket = Bucket(2.0, 10.0)
    bucket.spend(23.0, 0.0)

    assert bucket.wait(1.0, 0.0) == pytest.approx(2.0)
    assert bucket.wait(1.0, 2.0) == pytest.approx(0.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), max_size=20))
def test_no_more_is_saved_than_the_window_holds(steps: list[tuple[float, float]]) -> None:
    bucket, now = Bucket(2.0, 10.0), 0.0
    for gap, joules in steps:
        now += gap
        bucket.spend(joules, now)

        assert bucket.level <= bucket.full
        assert 0.0 <= bucket.pressure(now) <= 1.0
