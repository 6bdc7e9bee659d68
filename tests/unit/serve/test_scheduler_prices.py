"""Price tables: what depth is worth it at which price."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partita.errors import BadDocument
from partita.serve import Calibration, ExitCost, ExitProfile
from partita.serve.scheduler_prices import ENERGY_PRICES, Prices, Worth

UNITS, JOULES = [0.01, 0.02, 0.03], [1.0, 1.0, 1.0]
SHARES = st.floats(0, 1)


def profile(*accuracy: float | None) -> ExitProfile:
    return ExitProfile("net", tuple(ExitCost(f"e{k}", accuracy=a) for k, a in enumerate(accuracy)))


def tables(*accuracy: float, stays: tuple[float, ...] | None = None) -> Prices:
    worth = Worth.of(profile(*accuracy), None)
    if stays:
        worth = Worth(worth.fresh, worth.held, np.array(stays))
    return Prices(worth, UNITS, JOULES, 10)


def drawn(fresh: np.ndarray, held: np.ndarray) -> Prices:
    return Prices(Worth(fresh, held, np.ones(3)), UNITS, JOULES, 10)


WORTHS = st.builds(
    drawn,
    hnp.arrays(np.float64, 3, elements=SHARES),
    hnp.arrays(np.float64, (3, 4, 3), elements=SHARES),
)


def test_price_zero_asks_for_the_most_accurate_exit() -> None:
    prices = tables(0.6, 0.8, 0.9)
    row = prices.row(prices.block(0, 2), -1, 0, over=False)

    assert prices.cap[0, row] == 2
    assert prices.cost[0, row] == pytest.approx(0.06)


def test_the_highest_price_asks_for_the_floor() -> None:
    prices = tables(0.6, 0.8, 0.9)
    row = prices.row(prices.block(1, 2), -1, 0, over=False)

    assert prices.cap[-1, row] == 1


def test_a_dominated_exit_is_never_worth_it() -> None:
    prices = tables(0.6, 0.9, 0.9)
    prices.block(0, 2)

    assert prices.cap.max(initial=0, where=prices.cap < 2) == 1
    assert prices.best(0, 2) == 1


def test_who_is_over_its_share_pays_first() -> None:
    prices = tables(0.6, 0.8, 0.9)
    block = prices.block(0, 2)
    within, over = prices.row(block, -1, 0, over=False), prices.row(block, -1, 0, over=True)

    assert prices.cap[prices.middle, within] == 2
    assert prices.cap[prices.middle, over] == 0
    assert prices.price(prices.middle, over=False) == 0 < prices.price(prices.middle, over=True)
    assert prices.cap[-1, within] == 0


@given(WORTHS, st.integers(0, 2), st.integers(0, 2), st.integers(0, ENERGY_PRICES - 1))
def test_a_higher_price_never_asks_for_more_work(prices: Prices, a: int, b: int, energy: int) -> None:
    prices.block(min(a, b), max(a, b), energy)

    assert (np.diff(prices.cost, axis=0) <= 1e-12).all()


@given(WORTHS, st.integers(0, 2), st.integers(0, 2))
def test_the_last_price_asks_for_no_more_than_the_floor(prices: Prices, a: int, b: int) -> None:
    floor = min(a, b)
    block = prices.block(floor, max(a, b))
    least = prices.cost[-1, block : block + prices.states]

    assert least[0] == pytest.approx(sum(UNITS[: floor + 1]))
    # Who holds an acceptable answer needs nothing more.
    assert not least[1 + floor * prices.bins :].any()


@given(WORTHS, st.integers(0, 2), st.integers(0, 2))
def test_caps_stay_between_floor_and_ceiling(prices: Prices, a: int, b: int) -> None:
    floor, ceiling = min(a, b), max(a, b)
    block = prices.block(floor, ceiling)
    fresh = prices.cap[:, [block, block + prices.states]]

    assert fresh.min() >= floor
    assert fresh.max() <= ceiling


def test_work_beyond_an_exit_counts_only_who_goes_on() -> None:
    prices = tables(0.6, 0.8, 0.9, stays=(0.5, 0.5, 1.0))

    assert prices.seconds[0] == pytest.approx([0.01, 0.01 + 0.5 * 0.02, 0.01 + 0.5 * 0.02 + 0.25 * 0.03])


def test_dear_joules_ask_for_less_even_without_load() -> None:
    prices = tables(0.6, 0.8, 0.9)
    cheap, dear = prices.block(0, 2, 0), prices.block(0, 2, ENERGY_PRICES - 1)

    assert prices.cap[0, cheap] == 2
    assert prices.cap[0, dear] == 0


def test_everybody_passes_an_exit_at_which_nobody_would_leave() -> None:
    prices = tables(0.6, 0.8, 0.9)
    whole, floored = prices.block(0, 2), prices.block(1, 2)

    assert prices.must_pass(0, whole // prices.states, 0) == 2
    assert prices.must_pass(prices.steps - 1, whole // prices.states, 0) == 0
    assert prices.must_pass(prices.steps - 1, floored // prices.states, 0) == 1


def test_new_stage_times_change_the_work_and_not_the_rows() -> None:
    prices = tables(0.6, 0.8, 0.9)
    first, second = prices.block(0, 2), prices.block(1, 2)
    prices.reprice([2 * u for u in UNITS])

    assert (prices.block(0, 2), prices.block(1, 2)) == (first, second)
    assert prices.cost[0, first] == pytest.approx(0.12)


def test_thresholds_bring_the_shares_that_go_on() -> None:
    held = Calibration((), (((0.5, 0.9),), ((0.5, 0.9),)), (0.5, 0.9), (0.9, 0.0), (0.3, 0.0), 100)

    assert Worth.of(profile(0.5, 0.9), held).stays.tolist() == [1.0, 1.0]
    assert Worth.of(profile(0.5, 0.9), held, thresholds=True).stays.tolist() == [0.3, 0.0]


def test_a_calibration_of_another_network_is_refused() -> None:
    held = Calibration((), (((0.5,),),), (0.5,), (0.0,), (0.0,), 100)

    with pytest.raises(BadDocument, match="1 exits where the profile has 2"):
        Worth.of(profile(0.5, 0.9), held)


def test_without_any_accuracy_there_is_nothing_to_price() -> None:
    with pytest.raises(BadDocument, match=r"exits\[1\].accuracy"):
        Worth.of(profile(0.5, None), None)
