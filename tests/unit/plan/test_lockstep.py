"""Training steps in the fixed order of the engine: who waits for whom, and how long a step takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.graph import Link
from partita.plan import (
    Hop,
    PlacedPart,
    Plan,
    Pricing,
    Question,
    Visit,
    Wheel,
    inner_window,
    lockstep,
    steady,
    timeline,
)
from partita.plan.schedule import alone, bound

HOME = "edge compute"
SHAPES = {
    "edge": "e",
    "edge|cloud": "eucde",
    "edge|cloud|edge": "eucdeucde",
    "cloud|edge": "cdeuc",
}
NAMES = {"e": HOME, "u": "uplink", "c": "cloud compute", "d": "downlink"}
TIMES = st.sampled_from([0.1, 0.5, 1.0, 2.0])


def row(letters, times, delay=0.0, shared=False):
    names = NAMES | ({"u": "link", "d": "link"} if shared else {})
    return [Visit(names[x], t, delay if x in "ud" else 0.0) for x, t in zip(letters, times, strict=True)]


@st.composite
def rows(draw, shapes=tuple(SHAPES), shared=False):
    letters = SHAPES[draw(st.sampled_from(shapes))]
    times = draw(st.lists(TIMES, min_size=len(letters), max_size=len(letters)))
    return row(letters, times, draw(st.sampled_from([0.0, 0.3])), shared)


def played(wheel, since=60, count=60):
    ends = {}
    for entry in timeline(wheel, since + count + 10):
        ends[entry.step] = max(ends.get(entry.step, 0.0), entry.stop)
    return (ends[since + count] - ends[since]) / count


def place(*spans):
    parts = tuple(PlacedPart(*span) for span in spans)
    return Plan("toy", "", parts, (Hop(),) * (len(parts) - 1), 3, mode="train")


@settings(max_examples=60, deadline=None)
@given(rows(), st.integers(0, 4))
def test_the_slowest_loop_is_what_is_played(visits, window):
    """The time per step that the loops say is the one at which steps go by in the timeline."""
    wheel = Wheel.of(visits, window, HOME)
    assert played(wheel) == pytest.approx(lockstep(wheel), rel=0.03)


@given(rows(), st.integers(0, 4))
def test_no_order_beats_the_closed_form(visits, window):
    """The bound of the search holds for the fixed order too."""
    assert lockstep(Wheel.of(visits, window, HOME)) >= bound(visits, window) * (1 - 1e-9)


@given(rows(("edge|cloud", "cloud|edge", "edge")), st.integers(0, 4))
def test_with_one_way_to_the_loss_the_closed_form_is_exact(visits, window):
    """Nobody waits for more than the busiest resource or its own step, and nothing is slower than overtaking."""
    taken = lockstep(Wheel.of(visits, window, HOME))
    closed = max(bound(visits, 0 if len(visits) == 1 else window), 0.0)
    assert taken == pytest.approx(closed)
    assert taken <= steady(visits, window) * (1 + 1e-9)


@given(rows(), st.just(0))
def test_without_a_window_steps_follow_each_other(visits, window):
    """K = 0 is one step alone, again and again."""
    assert lockstep(Wheel.of(visits, window, HOME)) == pytest.approx(alone(visits))


@settings(max_examples=40, deadline=None)
@given(rows(), st.integers(0, 4))
def test_a_larger_window_is_never_slower_where_the_loss_is_away(visits, window):
    """More room to wait in costs no time, except that each half of a step gets half of an odd window."""
    taken = [lockstep(Wheel.of(visits, k, HOME)) for k in (window, window + 2)]
    assert taken[1] <= taken[0] * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(rows(shared=True), st.integers(0, 3))
def test_a_shared_medium_is_played_through(visits, window):
    """Both directions take turns: never faster than the medium alone, never slower than one step after the other."""
    taken = lockstep(Wheel.of(visits, window, HOME))
    assert bound(visits, window) * (1 - 0.03) <= taken <= alone(visits) * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(rows(), st.integers(0, 3))
def test_home_works_in_its_fixed_order_and_nobody_serves_two_at_once(visits, window):
    """Every step makes all its visits, one at a time at each resource, at home in the order of the wheel."""
    wheel, steps = Wheel.of(visits, window, HOME), 6
    entries = timeline(wheel, steps)
    assert len(entries) == steps * len(wheel.visits)
    for name in {visit.resource for visit in visits}:
        mine = sorted((e.start, e.stop) for e in entries if e.resource == name)
        assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(mine))
    home = [entry.step for entry in entries if entry.resource == HOME]
    lags = [lag for visit, lag in zip(wheel.visits, wheel.lags, strict=True) if visit.resource == HOME]
    turns = range(steps + max(lags))
    assert home == [turn - lag for turn in turns for lag in lags if 0 <= turn - lag < steps]


def test_the_known_example_takes_what_the_bound_says():
    """Where gradients overtake new batches, K = 1 takes 1.53 times the bound here; in the fixed order, the bound."""
    visits = row("eucde", [0.33, 0.5, 0.3, 0.5, 0.67])
    assert lockstep(Wheel.of(visits, 1, HOME)) == pytest.approx(1.15)
    assert steady(visits, 1) > 1.4


def test_each_half_of_a_step_gets_half_of_the_window():
    """With the loss at home behind the cloud's part, K = 1 leaves the way back alone, and K = 2 does not."""
    visits = row("eucdeucde", [0.1] * 9)
    taken = [lockstep(Wheel.of(visits, k, HOME)) for k in range(4)]
    assert taken == pytest.approx([0.9, 0.6, 0.3, 0.3])


@pytest.mark.parametrize(
    ("plan", "inner"),
    [
        (place(("edge", 0, 3)), 0),
        (place(("edge", 0, 1), ("cloud", 1, 3)), 0),
        (place(("edge", 0, 1), ("cloud", 1, 2), ("edge", 2, 3)), 2),
        (place(("edge", 0, 0), ("cloud", 0, 3), ("edge", 3, 3)), 2),
        (place(("cloud", 0, 2), ("edge", 2, 3)), 3),
    ],
)
def test_the_turn_of_a_step_comes_when_its_shape_says(plan, inner):
    """Km by the shape of the plan, with K = 3."""
    assert inner_window(plan) == inner


@pytest.mark.parametrize(
    ("spans", "lags"),
    [
        ([("edge", 0, 1), ("cloud", 1, 3)], (0, 0, 0, 0, 3)),
        ([("edge", 0, 1), ("cloud", 1, 2), ("edge", 2, 3)], (0, 0, 0, 0, 2, 2, 2, 2, 3)),
        ([("cloud", 0, 1), ("edge", 1, 3)], (0, 0, 0, 0, 3, 3, 3)),
        ([("edge", 0, 3)], (0,)),
        ([("cloud", 0, 1), ("edge", 1, 2), ("cloud", 2, 3)], None),
        ([("cloud", 0, 3)], None),
        ([("edge", 0, 1), ("cloud", 1, 2), ("fog", 2, 3)], None),
    ],
)
def test_a_plan_is_priced_by_the_wheel_of_its_shape(line, profiled, spans, lags):
    """What no training does has no wheel."""
    chain = line([10, 10, 10, 10])
    profiles = {name: profiled(chain, [1.0] * 3) for name in ("edge", "cloud", "fog")}
    plan = place(*spans)
    pricing = Pricing.of(chain, profiles, Link(320, 320), Question(mode="train"))
    wheel = pricing.wheel(plan)
    assert (wheel and wheel.lags) == lags
    if wheel is not None:
        assert pricing.estimate(plan).seconds == pytest.approx(lockstep(wheel))
