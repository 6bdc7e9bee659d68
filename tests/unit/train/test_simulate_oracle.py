"""Who knows the future: means, conditions, the best plan that is kept, and plans at their times."""

import pytest

from partita.graph import Link
from partita.testing.cases import made_case
from partita.train.simulate_moments import Moment
from partita.train.simulate_oracle import best_fixed, best_plan, best_plans, lasting, mean_moment, oracle
from partita.train.simulate_run import Fixed, play
from partita.train.simulate_world import World

FAST, SLOW = Link(200e6, 200e6), Link(2e5, 2e5)
LARGE = (1000, 40_000, 40_000, 20_000, 10)
STEP = (Moment(0.0, FAST), Moment(10.0, SLOW), Moment(70.0, FAST))


def player(case, moments, steps=400):
    return lambda name, policy: play(name, case, World(moments), policy, epochs=1, steps=steps)


def test_moments_last_until_the_next_one():
    assert [seconds for _, seconds in lasting(STEP, 50.0)] == [10.0, 40.0]
    assert [seconds for _, seconds in lasting(STEP, 30.0)] == [10.0, 20.0]


def test_the_mean_counts_rates_by_time_and_slowness_by_work():
    rows = (Moment(0.0, Link(10e6, 30e6, 0.1)), Moment(3.0, Link(2e6, 2e6, 0.02), edge=4.0))
    mean = mean_moment(rows, 4.0)

    assert mean.link.up == pytest.approx((3 * 10e6 + 2e6) / 4)
    assert mean.link.rtt == pytest.approx(0.08)
    # In four seconds as much work is done as in 3.25 at full speed.
    assert mean.edge == pytest.approx(4 / 3.25)
    assert mean.cloud == 1.0


def test_conditions_that_are_alike_are_planned_for_once():
    case = made_case(min_front=1, sizes=LARGE)
    many = [Moment(float(i), Link(100e6 * 1.001**i, 100e6)) for i in range(10)]

    assert best_plans(case, many, 10.0) == (best_plan(case, many[0]),)
    assert len(best_plans(case, STEP, 60.0)) == 2


def test_a_slower_device_is_planned_for():
    """With a slow cloud, the edge alone is best."""
    case = made_case(min_front=1, sizes=LARGE)

    assert best_plan(case, Moment(0.0, FAST, cloud=50.0)).shape == "edge-only"
    assert best_plan(case, Moment(0.0, FAST)).shape != "edge-only"


def test_the_best_fixed_plan_is_the_fastest_of_all():
    case = made_case(min_front=1, sizes=LARGE)
    plans = best_plans(case, STEP, 60.0)
    found = best_fixed(player(case, STEP), plans)

    assert found.seconds == min(player(case, STEP)("x", Fixed(plan)).seconds for plan in plans)


def test_who_knows_the_future_changes_plans_in_time():
    case = made_case(min_front=1, sizes=LARGE)
    played, plans = player(case, STEP, 450), best_plans(case, STEP, 60.0)
    fixed = best_fixed(played, plans)
    found = oracle(played, case, STEP, plans, fixed)

    assert found.seconds < 0.9 * fixed.seconds
    assert [move.new for move in found.moves] == list(plans)


def test_a_move_is_made_before_the_link_dies():
    """120 MB of weights take five seconds then, and an hour after."""
    case = made_case(min_front=1, sizes=LARGE, params=20_000_000)
    played, plans = player(case, STEP), best_plans(case, STEP, 60.0)
    move = oracle(played, case, STEP, plans, best_fixed(played, plans)).moves[0]

    assert 4 < move.at < 5.5
    assert move.at + move.drain + move.seconds < 10.5


def test_a_move_that_does_not_pay_is_not_made():
    """Minutes of weights, even over the fast link."""
    case = made_case(min_front=1, sizes=LARGE, params=2_000_000_000)
    played, plans = player(case, STEP), best_plans(case, STEP, 60.0)
    fixed = best_fixed(played, plans)

    assert oracle(played, case, STEP, plans, fixed).moves == ()


def test_the_oracle_is_never_slower_than_a_plan_that_is_kept():
    """In a trace that changes every moment, what a fluid promises may not come true."""
    case = made_case(min_front=1, sizes=LARGE, params=400_000)
    trace = [Moment(0.3 * i, FAST if i % 2 else SLOW) for i in range(200)]
    played, plans = player(case, trace, 100), best_plans(case, trace, 60.0)
    fixed = best_fixed(played, plans)

    assert oracle(played, case, trace, plans, fixed).seconds <= fixed.seconds
