"""The live planner in a simulated training: it sees what an edge sees, and acts as in a real one."""

from partita.graph import Link
from partita.testing.cases import made_case
from partita.train.simulate_live import Live
from partita.train.simulate_moments import Moment, parse_slowdowns, slowed
from partita.train.simulate_oracle import best_plan
from partita.train.simulate_run import play
from partita.train.simulate_world import World

FAST, SLOW = Link(200e6, 200e6, 0.01), Link(1e6, 1e6, 0.01)
CASE = made_case(min_front=1, sizes=(1000, 40_000, 40_000, 20_000, 10))


def run(*moments, steps=600):
    world = World(moments)
    live = Live(CASE, world)
    return live, play("live", CASE, world, live, epochs=1, steps=steps)


def test_it_begins_with_the_best_plan_for_the_link_at_the_start():
    assert run(Moment(0.0, FAST), steps=1)[1].plans[0][1] == best_plan(CASE, Moment(0.0, FAST))


def test_where_nothing_changes_it_stays():
    assert run(Moment(0.0, FAST))[1].moves == ()


def test_a_link_that_dies_sends_it_home_and_a_probe_brings_it_back():
    """Steps of the edge alone tell nothing of the link: what is seen of it after 30 s is a probe's."""
    live, found = run(Moment(0.0, FAST), Moment(10.0, SLOW), Moment(40.0, FAST))

    assert [move.new.shape for move in found.moves] == ["edge-only", best_plan(CASE, Moment(0.0, FAST)).shape]
    assert 10 < found.moves[0].at < 18
    assert 40 < found.moves[1].at < 48
    assert live.probes > 0


def test_a_cloud_that_slows_down_is_left():
    """The link is as before; what its work takes tells it."""
    moments = slowed([Moment(0.0, FAST)], parse_slowdowns(["cloud=60@5s"]))

    assert run(*moments)[1].moves[-1].new.shape == "edge-only"


def test_a_move_says_what_it_promises():
    _, found = run(Moment(0.0, FAST), Moment(10.0, SLOW))

    assert "s a step become" in found.moves[0].reason
    assert "Mbit/s" in found.moves[0].reason


def test_the_future_is_not_looked_at():
    """Two traces that part after five seconds: until then everything is the same."""
    one, other = (run(Moment(0.0, FAST), Moment(5.0, link), steps=300)[1] for link in (FAST, SLOW))

    assert [end for end in one.ends if end < 5] == [end for end in other.ends if end < 5]
