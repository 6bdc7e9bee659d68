"""Clocks whose rates change: work and bytes that begin at some second, and when they are done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.graph import Link
from partita.train.simulate_moments import Moment
from partita.train.simulate_world import Progress, World

RATES = st.lists(st.floats(0.1, 10), min_size=1, max_size=6)


def world(**options):
    """8 Mbit/s for a second, then 1; the edge four times slower after two seconds."""
    rows = [
        Moment(0.0, Link(8e6, 80e6, 0.04)),
        Moment(1.0, Link(1e6, 10e6, 0.02)),
        Moment(2.0, Link(1e6, 10e6), edge=4.0, cloud=2.0),
    ]
    return World(rows, **options)


def test_a_transfer_slows_down_in_its_middle():
    assert world().sent(0.5, 1_000_000, up=True) == pytest.approx(1 + 4)


def test_each_direction_has_its_own_rate():
    assert world().sent(0.0, 1_000_000, up=False) == pytest.approx(0.1)


def test_work_slows_down_with_its_place():
    assert world().worked("edge", 1.0, 2.0) == pytest.approx(2 + 4)
    assert world().worked("cloud", 1.0, 2.0) == pytest.approx(2 + 2)


def test_nothing_takes_no_time():
    assert world().sent(0.7, 0, up=True) == 0.7
    assert world().worked("edge", 0.7, 0.0) == 0.7


def test_the_round_trip_is_that_of_the_moment():
    assert world().trip(0.5) == 0.02
    assert world().trip(1.5) == 0.01
    assert world().at(-1.0).link.up == 8e6


def test_noise_has_a_mean_of_one_and_comes_from_the_seed():
    noisy = world(noise=0.3, seed=7)
    drawn = [noisy.worked("edge", 0.0, 1e-6) for _ in range(2000)]
    again = world(noise=0.3, seed=7)

    assert sum(drawn) / len(drawn) == pytest.approx(1e-6, rel=0.05)
    assert drawn[:5] == [again.worked("edge", 0.0, 1e-6) for _ in range(5)]
    assert len(set(drawn)) > 1000


@given(RATES, st.floats(0, 20), st.floats(0.01, 50), st.floats(0.01, 50))
def test_doing_two_pieces_of_work_in_a_row_is_doing_both(rates, start, first, second):
    """Whatever the rates, and wherever the moments lie."""
    clock = Progress([2.0 * i for i in range(len(rates))], rates)

    assert clock.after(clock.after(start, first), second) == pytest.approx(clock.after(start, first + second))


@given(RATES, st.floats(0, 20), st.floats(0.01, 50))
def test_work_ends_within_the_bounds_of_the_rates(rates, start, amount):
    taken = Progress([2.0 * i for i in range(len(rates))], rates).after(start, amount) - start

    assert amount / max(rates) <= taken * 1.000001
    assert taken <= amount / min(rates) * 1.000001
