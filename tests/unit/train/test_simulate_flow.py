"""One plan's steps, played: the order of the engine, against the loops of `plan.lockstep` and against sums by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.graph import Link
from partita.plan import Hop, PlacedPart, Plan
from partita.testing.cases import made_case
from partita.train.simulate_flow import Flow, legs_of
from partita.train.simulate_moments import Moment
from partita.train.simulate_world import World

CASE = made_case()
FAST = Link(1e9, 1e9)


def plan(*parts, window=0, hop=None):
    hops = (hop or Hop(),) * (len(parts) - 1)
    return Plan("made", "", tuple(PlacedPart(*part) for part in parts), hops, window, 10, "train")


SHAPES = {
    "edge-only": plan(("edge", 0, 4)),
    "cloud-only": plan(("edge", 0, 0), ("cloud", 0, 4)),
    "one cut": plan(("edge", 0, 1), ("cloud", 1, 4)),
    "two cuts": plan(("edge", 0, 1), ("cloud", 1, 3), ("edge", 3, 4)),
    "loss alone": plan(("edge", 0, 2), ("cloud", 2, 4), ("edge", 4, 4)),
    "no front": plan(("edge", 0, 0), ("cloud", 0, 3), ("edge", 3, 4)),
    "cloud first": plan(("cloud", 0, 2), ("edge", 2, 4)),
}


def windowed(shape, window):
    made = SHAPES[shape]
    return Plan("made", "", made.parts, made.hops, window, 10, "train")


def pace(made, link, steps=240):
    """Seconds per step of the second half of so many."""
    flow = Flow(World([Moment(0.0, link)]), legs_of(CASE.pricing(FAST), made), 0.0)
    last = 2 * steps + made.window
    ends = [done.ended for turn in range(last + 1) if (done := flow.cycle(turn, 0, last)) is not None]
    return (ends[2 * steps - 1] - ends[steps - 1]) / steps


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "no front"])
@settings(max_examples=40)
@given(
    window=st.integers(0, 5),
    up=st.floats(1e6, 1e9),
    down=st.floats(1e6, 1e9),
    rtt=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_steps_flow_as_fast_as_the_slowest_loop_of_waiting(shape, window, up, down, rtt):
    """Two independent answers to one question: steps played through a world, and the planner's loops."""
    made, link = windowed(shape, window if shape != "edge-only" else 0), Link(up, down, rtt)

    assert pace(made, link) == pytest.approx(CASE.pace(made, link), rel=2e-3)


def test_a_front_without_stages_waits_for_no_gradients():
    """The engine reads the cloud's last answer when it comes, and begins the next step before."""
    link = Link(8e6, 8e6, 0.1)
    made = windowed("no front", 0)

    assert pace(made, link) < CASE.pace(made, link)


def test_a_drain_waits_for_the_cloud_all_the_same():
    """Cloud first: its way back takes 0.016 s after 20 ms on the line."""
    flow = Flow(
        World([Moment(0.0, Link(1e9, 1e9, 0.04))]), legs_of(CASE.pricing(FAST), SHAPES["cloud first"]), 0.0
    )
    done = flow.cycle(0, 0, 0)
    flow.drained()

    assert flow.now - done.ended == pytest.approx(0.02 + 0.016 + 0.02, rel=0.05)
    assert not flow._under


def test_one_step_alone_is_the_sum_of_its_ways():
    """Edge 0.01 ahead and 0.02 back, cloud 0.018 ahead and 0.036 back, 160,000 bytes each way, twice 20 ms."""
    link = Link(8e6, 16e6, 0.04)
    legs = legs_of(CASE.pricing(FAST), SHAPES["one cut"])
    done = Flow(World([Moment(0.0, link)]), legs, 5.0).cycle(0, 0, 0)

    assert done.ended == pytest.approx(5 + 0.01 + 0.16 + 0.02 + 0.054 + 0.08 + 0.02 + 0.02)
    assert done.edge == pytest.approx(0.03)
    assert done.cloud == pytest.approx(0.054)
    assert done.wait == pytest.approx(0.16 + 0.02 + 0.054 + 0.08 + 0.02)
    assert (done.up, done.down) == (pytest.approx(1e6), pytest.approx(2e6))


def test_the_meter_reports_while_a_long_message_runs():
    """The link dies while the second step's features travel; when the first step ends, that is known already."""
    there = World([Moment(0.0, Link(8e6, 80e6)), Moment(0.25, Link(6e6, 80e6))])
    flow = Flow(there, legs_of(CASE.pricing(FAST), windowed("one cut", 1)), 0.0)
    flow.cycle(0, 0, 9)

    assert flow.cycle(1, 0, 9).up == pytest.approx(6e6 / 8)


def test_nothing_is_known_of_a_line_that_carried_little():
    legs = legs_of(made_case(sizes=(10, 10, 10, 10, 10)).pricing(FAST), SHAPES["one cut"])
    done = Flow(World([Moment(0.0, FAST)]), legs, 0.0).cycle(0, 0, 0)

    assert (done.up, done.down) == (None, None)


def test_a_window_pays_the_replay():
    legs = {k: legs_of(CASE.pricing(FAST), windowed("one cut", k)) for k in (0, 1)}

    assert legs[1].finish - legs[0].finish == pytest.approx(0.01)


def test_steps_are_finished_in_order_and_all_of_them():
    flow = Flow(World([Moment(0.0, FAST)]), legs_of(CASE.pricing(FAST), windowed("two cuts", 3)), 0.0)
    done = [flow.cycle(turn, 0, 9) for turn in range(13)]

    assert [found.step for found in done if found] == list(range(10))
    assert [found is None for found in done] == [True] * 3 + [False] * 10


def test_both_directions_of_a_shared_medium_take_turns():
    """The line is all that counts here: 160,000 bytes up and as many down at 8 Mbit/s."""
    apart, shared = Link(8e6, 8e6), Link(8e6, 8e6, shared=True)
    made = windowed("one cut", 4)

    assert pace(made, apart) == pytest.approx(0.16)
    assert pace(made, shared) == pytest.approx(0.32, rel=0.02)


def test_the_edge_alone_waits_for_nobody():
    legs = legs_of(CASE.pricing(FAST), SHAPES["edge-only"])

    assert (legs.away, legs.up, legs.waits, legs.inner) == ((), (), False, 0)
    assert pace(SHAPES["edge-only"], Link(1.0, 1.0, 9.0)) == pytest.approx(0.3)
