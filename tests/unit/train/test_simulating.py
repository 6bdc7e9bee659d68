"""Sweeps and replays: all arms on all links, and one training over a trace by everybody."""

from itertools import pairwise

import pytest

from partita.graph import Link
from partita.testing.cases import made_case
from partita.train import Length, Moment, parse_links, replay, sweep_links

FAST, SLOW = Link(200e6, 200e6, 0.01), Link(4e5, 4e5, 0.01)
CASE = made_case(min_front=1, sizes=(1000, 40_000, 40_000, 20_000, 10))
STEP = (Moment(0.0, FAST), Moment(30.0, SLOW), Moment(330.0, FAST))


@pytest.fixture(scope="module")
def told():
    return replay(CASE, STEP, Length(2, 1000))


def test_a_sweep_has_every_arm_on_every_link():
    links = parse_links("1..10")
    found = sweep_links(CASE, links)

    assert [point.link for point in found.of("auto")] == list(links)
    assert len(found.points) == len(links) * len(found.arms)
    assert found.missing.keys() == {"cloud only"}


def test_a_faster_link_never_makes_auto_slower():
    """But for the 5% that a window must save, and the 1% that a codec must."""
    seconds = [point.seconds for point in sweep_links(CASE, parse_links("1..1000")).of("auto")]

    assert all(after <= before * 1.06 for before, after in pairwise(seconds))


def test_a_point_names_what_is_busy_longest():
    found = sweep_links(CASE, parse_links("1"))

    assert {point.bottleneck for point in found.of("edge only")} == {"edge compute"}


def test_a_replay_has_the_live_planner_first_and_the_oracle_last(told):
    names = [run.name for run in told.runs]

    assert names[0] == told.live.name == "auto, live"
    assert names[-2:] == ["best fixed plan", told.oracle.name] == ["best fixed plan", "oracle"]
    assert {"edge only", "JointDNN", "paper", "auto"} <= set(names)
    assert told.missing.keys() == {"cloud only"}


def test_everybody_does_all_steps(told):
    assert {len(run.ends) for run in told.runs} == {2000}


def test_the_oracle_is_fastest_and_planning_anew_is_close(told):
    seconds = {run.name: run.seconds for run in told.runs}

    assert seconds["oracle"] == min(seconds.values())
    assert seconds["best fixed plan"] == min(told.runs[i].seconds for i in range(1, len(told.runs) - 1))
    assert told.live.seconds < 0.95 * seconds["best fixed plan"]
    assert told.live.seconds < 1.25 * seconds["oracle"]


def test_the_same_seed_gives_the_same_replay():
    one, again, other = (replay(CASE, STEP, Length(1, 60), noise=0.3, seed=seed) for seed in (1, 1, 2))

    assert one.runs == again.runs
    assert one.live.seconds != other.live.seconds


def test_progress_tells_who_is_training():
    names = []
    replay(CASE, STEP, Length(1, 5), progress=lambda done, total, label: names.append(label))

    assert names[0] == "auto, live"
    assert "oracle" in names
