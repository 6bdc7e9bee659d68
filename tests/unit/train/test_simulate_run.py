"""A whole training, played: drains, moves and what they cost."""

import pytest

from partita.graph import Link
from partita.plan import Hop, PlacedPart, Plan
from partita.testing.cases import made_case
from partita.train.simulate_moments import Moment
from partita.train.simulate_run import Change, Fixed, Scripted, play
from partita.train.simulate_world import World

CASE = made_case(params=1_000_000)
LINK = Link(80e6, 40e6, 0.02)
ALONE = Plan("made", "", (PlacedPart("edge", 0, 4),), (), 0, 10, "train")
CUT = Plan("made", "", (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, 4)), (Hop(),), 2, 10, "train")


def world(*moments):
    return World(moments or (Moment(0.0, LINK),))


def run(policy, *, epochs=1, steps=20, there=None):
    return play("made", CASE, there or world(), policy, epochs=epochs, steps=steps)


class Once(Fixed):
    """Another plan after the first step, as soon as it is asked."""

    def __init__(self, first, then):
        super().__init__(first)
        self.then, self.told = then, []

    def seen(self, done):
        return Change(self.then, "because") if not self.told else None

    def moved(self, plan, at):
        self.told.append((plan, at))


def test_the_edge_alone_takes_its_time_for_every_step():
    found = run(Fixed(ALONE))

    assert found.seconds == pytest.approx(20 * 0.3)
    assert found.per_step == pytest.approx(0.3)
    assert (found.moves, found.waited) == ((), 0.0)


def test_a_training_is_as_fast_as_its_pace_but_for_its_ends():
    found = run(Fixed(CUT), steps=400)

    assert found.per_step == pytest.approx(CASE.pace(CUT, LINK), rel=0.02)
    assert found.waited > 0


def test_each_epoch_ends_with_a_drain():
    """Nothing is under way where an epoch ends: more of them take longer."""
    assert run(Fixed(CUT), epochs=10, steps=4).seconds > run(Fixed(CUT), steps=40).seconds
    assert len(run(Fixed(CUT), epochs=10, steps=4).ends) == 40


def test_a_move_costs_its_drain_its_round_trips_and_its_bytes():
    """Three blocks of 1 MB with their momentum come down at 5 MB/s; a round trip before and one after."""
    policy = Once(CUT, ALONE)
    found = run(policy)
    (move,) = found.moves

    assert move.bytes_down == 6_000_000
    assert move.bytes_up == 0
    assert move.seconds == pytest.approx(6 / 5 + 0.04)
    assert move.drain > 0
    assert (move.old, move.new, move.reason, move.step) == (CUT, ALONE, "because", 3)
    assert policy.told == [(ALONE, move.at + move.drain + move.seconds)]
    assert found.plans == ((0, CUT), (3, ALONE))


def test_a_move_waits_until_what_is_under_way_is_finished():
    """All steps are done, each once, and in order of time."""
    found = run(Once(CUT, ALONE), steps=9)

    assert len(found.ends) == 9
    assert list(found.ends) == sorted(found.ends)


def test_nobody_moves_after_the_last_step():
    assert run(Once(ALONE, CUT), steps=1).moves == ()


def test_a_script_changes_plans_at_its_times():
    found = run(Scripted([(0.0, ALONE), (1.0, ALONE), (2.0, CUT), (2.1, CUT)]), steps=30)

    assert [move.new for move in found.moves] == [CUT]
    assert 2.0 <= found.moves[0].at <= 2.3


def test_a_span_without_a_step_is_left_out_of_the_pace():
    """Three steps of 0.3 s leave most of 20 spans empty."""
    assert len(run(Fixed(ALONE), steps=3).pace(20)) == 3


def test_the_pace_over_time_is_a_mean_over_spans():
    """A link that dies in the middle, for a plan that needs it."""
    there = world(Moment(0.0, LINK), Moment(2.0, Link(4e6, 4e6)))
    pace = run(Fixed(CUT), steps=60, there=there).pace(10)

    assert len(pace) <= 10
    assert pace[0][1] < pace[-2][1]
    assert [at for at, _ in pace] == sorted(at for at, _ in pace)
