"""The arms of a comparison: plans of one engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from partita.graph import Link
from partita.plan import Question
from partita.train.baselines import arms_asked, arms_of
from partita.train.roles import roles_of
from partita.train.settings import Settings

from .test_planner import build, profile

NAMES = (
    "edge only", "cloud only", "vanilla split", "JointDNN", "paper", "window only", "codecs only", "auto"
)  # fmt: skip
GRID = [Link(m * 1e6, m * 1e6, rtt) for m, rtt in product((2, 10, 50, 200), (0.0, 0.04))]


@pytest.fixture
def chain():
    return build()


@pytest.fixture
def profiles(chain):
    return {"edge": profile(chain, "edge", 8.0), "cloud": profile(chain, "cloud", 1.0)}


def seconds(arms):
    return {arm.name: arm.plan.estimate.seconds for arm in arms}


def test_every_arm_is_there_in_the_order_of_the_table(chain, profiles):
    """Eight ways to train, `auto` last, each a plan that the engine reads."""
    arms = arms_of(chain, profiles, GRID[2], Settings(batch=32))
    assert tuple(arm.name for arm in arms) == NAMES
    for arm in arms:
        roles_of(arm.plan, chain)
        assert arm.plan.mode == "train"


@pytest.mark.parametrize("link", GRID, ids=str)
@pytest.mark.parametrize("private", [False, True])
def test_auto_is_at_least_nearly_the_best_arm_everywhere(chain, profiles, link, private):
    """In every cell, with labels in the cloud or not, at 0.95 of the best arm's speed or above."""
    arms = arms_of(chain, profiles, link, Settings(batch=32, labels_private=private, max_window=5))
    taken = seconds(arms)
    assert min(taken.values()) / taken["auto"] >= 0.95


@pytest.mark.parametrize("link", GRID, ids=str)
def test_auto_beats_the_best_cut_by_half_wherever_steps_can_overlap(chain, profiles, link):
    """Where the stages of JointDNN's step together are twice its slowest one."""
    arms = {arm.name: arm.plan for arm in arms_of(chain, profiles, link, Settings(batch=32))}
    cost = arms["JointDNN"].estimate
    if cost.latency >= 2 * max(cost.busy.values()):
        assert cost.seconds >= 1.5 * arms["auto"].estimate.seconds


def test_what_arms_may_choose(chain, profiles):
    """Windows and codecs as their names say."""
    arms = {arm.name: arm.plan for arm in arms_of(chain, profiles, GRID[3], Settings(batch=32))}
    still = ("edge only", "cloud only", "vanilla split", "JointDNN", "codecs only")
    assert {arms[name].window for name in still} == {0}
    raw = ("cloud only", "vanilla split", "JointDNN", "window only")
    assert {c for name in raw for hop in arms[name].hops for c in (hop.forward, hop.back)} == {"raw"}
    assert arms["paper"].window == 5
    assert {(hop.forward, hop.back) for hop in arms["paper"].hops} == {("int8", "raw")}
    assert arms["vanilla split"].cuts == (3,)


def test_what_the_settings_forbid_is_no_arm(chain, profiles):
    """A private front leaves no cloud alone, one to the end no split; an unmeasured codec no arm that must use it."""
    two, six = (arms_of(chain, profiles, GRID[0], Settings(batch=32, min_front=n)) for n in (2, 6))
    assert {arm.name for arm in two} == set(NAMES) - {"cloud only"}
    assert {arm.name for arm in six} == set(NAMES) - {"cloud only", "vanilla split"}
    bare = {name: replace(p, codecs={}) for name, p in profiles.items()}
    fixed = arms_of(chain, bare, GRID[0], Settings(batch=32, codec_up="int8"))
    assert [arm.name for arm in fixed][-3:] == ["JointDNN", "paper", "window only"]


def test_where_the_cloud_holds_the_inputs_the_paper_compresses_what_comes_down(chain, profiles):
    """Its features are what the cloud's front makes."""
    asked = Question(mode="train", batch=32, inputs_at_cloud=True, codecs=("raw",), min_tail=1)
    arms = {arm.name: arm.plan for arm in arms_asked(chain, profiles, GRID[0], asked)}
    assert [(hop.forward, hop.back) for hop in arms["paper"].hops] == [("int8", "raw")]
    assert arms["paper"].parts[0].place == "cloud"


def test_private_labels_stay_at_the_edge_in_every_arm(chain, profiles):
    """The loss is the edge's, whatever runs in the cloud."""
    for arm in arms_of(chain, profiles, GRID[6], Settings(batch=32, labels_private=True)):
        assert roles_of(arm.plan, chain).loss_at == "edge"


def test_the_middle_cut_is_one_that_training_allows(chain, profiles):
    """Neither through shared weights nor where the caller says no."""
    arms = arms_of(chain, profiles, GRID[0], Settings(batch=32), legal=frozenset({1, 5}))
    assert {arm.plan.cuts for arm in arms if arm.name == "vanilla split"} == {(1,)}
