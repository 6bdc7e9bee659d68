"""Forecasts of stage times."""

from __future__ import annotations

import pytest

from partita.serve import ExitCost, ExitProfile, StageTime
from partita.serve.policy_forecast import StageForecast

UNTIMED = ExitProfile("m", (ExitCost("a"), ExitCost("b")))
TIMED = ExitProfile("m", (ExitCost("a"),), (StageTime({1: 0.010, 4: 0.020}, {1: 0.012, 4: 0.025}),))


def test_a_profile_with_times_is_believed_from_the_start() -> None:
    forecast = StageForecast(TIMED)

    assert forecast.seconds(0, 1) == 0.012
    assert forecast.seconds(0, 4, tail=False) == 0.020


def test_nothing_known_is_no_time() -> None:
    assert StageForecast(UNTIMED).seconds(0, 1) == 0.0


def test_steady_times_are_learned() -> None:
    forecast = StageForecast(UNTIMED)
    for _ in range(100):
        forecast.saw(1, 1, 0.01)

    assert forecast.seconds(1, 1) == pytest.approx(0.01, rel=1e-3)


def test_a_firm_forecast_leaves_room_for_what_varies() -> None:
    forecast = StageForecast(UNTIMED)
    for i in range(100):
        forecast.saw(0, 1, 0.01 + 0.004 * (i % 2))

    assert forecast.seconds(0, 1) > 0.014
    assert 0.01 < forecast.seconds(0, 1, tail=False) < 0.014


def test_a_device_that_became_slower_than_its_profile_is_noticed_and_a_faster_one_not_trusted() -> None:
    slower, faster = StageForecast(TIMED), StageForecast(TIMED)
    for _ in range(50):
        slower.saw(0, 1, 0.03)
        faster.saw(0, 1, 0.001)

    assert slower.seconds(0, 1) == pytest.approx(0.03, rel=1e-2)
    assert faster.seconds(0, 1) == 0.012
    assert faster.seconds(0, 1, tail=False) == pytest.approx(0.001, rel=0.05)


def test_larger_batches_are_counted_in_proportion_and_smaller_ones_as_no_faster() -> None:
    forecast = StageForecast(UNTIMED)
    forecast.saw(0, 2, 0.01)

    assert forecast.seconds(0, 4, tail=False) == pytest.approx(0.02)
    assert forecast.seconds(0, 1, tail=False) == pytest.approx(0.01)


def test_a_stage_that_looked_slow_once_is_trusted_again_after_a_while() -> None:
    forecast = StageForecast(UNTIMED)
    forecast.saw(0, 1, 0.01)
    forecast.saw(0, 1, 1.0)
    before = forecast.seconds(0, 1)
    for _ in range(2000):
        forecast.skipped(0, 1)

    assert before > 0.5
    assert forecast.seconds(0, 1) == pytest.approx(0.01, rel=0.05)


def test_skipping_what_was_never_seen_changes_nothing() -> None:
    forecast = StageForecast(TIMED)
    forecast.skipped(0, 1)

    assert forecast.seconds(0, 1) == 0.012
