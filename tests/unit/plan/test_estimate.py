"""What one plan costs, by hand."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument, IllegalCut
from partita.graph import Link
from partita.plan import Hop, Limits, Overhead, PlacedPart, Plan, Question, estimate
from partita.plan.estimate import excess


@pytest.fixture
def two(line, profiled):
    """Three stages of one second at the edge and a quarter in the cloud; 40 bytes at every cut."""
    chain = line([10, 10, 10, 10])
    return chain, {"edge": profiled(chain, [1.0] * 3, joules=2.0), "cloud": profiled(chain, [0.25] * 3)}


def cut_at_one(**keywords):
    return Plan("toy", "", (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, 3)), (Hop(),), **keywords)


def test_a_training_step_by_hand(two):
    """Edge f+b, cloud f+b, 40 bytes each way at 320 bits a second, one round trip."""
    cost = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 640, 0.2))
    assert cost.latency == pytest.approx(3.0 + 1.5 + 1.0 + 0.5 + 0.2, rel=1e-3)
    assert cost.seconds == cost.latency
    assert (cost.bytes_up, cost.bytes_down, cost.bottleneck) == (40, 40, "edge compute")


def _args(two, plan):
    chain, profiles = two
    return chain, plan, profiles


def test_a_window_costs_a_replay_and_hides_the_rest(two):
    """With K=2 the edge computes its forward again, and a step takes what the edge takes."""
    cost = estimate(*_args(two, cut_at_one(mode="train", window=2)), Link(320, 640, 0.2))
    assert cost.busy["edge compute"] == pytest.approx(4.0, rel=1e-3)
    assert cost.seconds == cost.busy["edge compute"]
    assert not cost.simulated


def test_frozen_stages_are_not_replayed_and_get_no_gradients(two):
    """Two frozen stages: the edge's part of them works forward only, and nothing comes down to it."""
    cost = estimate(*_args(two, cut_at_one(mode="train", window=2)), Link(320, 640), Question(frozen=2))
    assert cost.busy["edge compute"] == pytest.approx(1.0, rel=1e-3)
    assert cost.busy["cloud compute"] == pytest.approx(1.0, rel=1e-3)
    assert (cost.bytes_up, cost.bytes_down) == (40, 0)


def test_a_replay_begins_behind_the_frozen_stages(two):
    """Of the edge's two stages one is frozen: once forward both, then one forward and backward again."""
    plan = Plan("toy", "", (PlacedPart("edge", 0, 2), PlacedPart("cloud", 2, 3)), (Hop(),), 2, mode="train")
    frozen, free = (
        estimate(*_args(two, plan), Link(320, 640), Question(frozen=count)).busy["edge compute"]
        for count in (1, 0)
    )
    assert (frozen, free) == (pytest.approx(2 + 1 + 2, rel=1e-3), pytest.approx(2 + 2 + 4, rel=1e-3))


def test_frozen_weights_have_no_optimizer_and_no_kept_activations(two):
    """They count once, and of their activations only the worst moment does."""
    plan = Plan("toy", "", (PlacedPart("edge", 0, 3),), mode="train")
    args = _args(two, plan)
    frozen, free = (
        estimate(*args, Link(320, 640), Question(frozen=count)).memory["edge"] for count in (9, 0)
    )
    assert (frozen, free) == (600 + 150, 3 * 600 + 40 + 60 + 110)


def test_a_shared_medium_is_one_resource(two):
    """Half duplex: both directions take turns."""
    cost = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 640, 0.0, shared=True))
    assert cost.busy["link"] == pytest.approx(1.5)


def test_overheads_are_where_they_belong(two):
    """Headers on the wire, processor time at both ends, waiting on the way, labels with the features."""
    question = Question(overhead=Overhead(seconds=0.1, cpu=0.01, bytes=10, share=0.5), label_bytes=10)
    plain = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 320))
    cost = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 320), question)
    assert cost.bytes_up == (40 + 10 + 10) * 1.5
    assert cost.busy["cloud compute"] == pytest.approx(plain.busy["cloud compute"] + 0.02, abs=1e-4)
    assert cost.latency == pytest.approx(sum(cost.busy.values()) + 0.2)


def test_energy_is_the_stages_and_the_power_for_the_rest(two):
    """Two joules for a second of forward; the same power for the backward; nothing where there is no meter."""
    cost = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 640))
    assert cost.joules.keys() == {"edge"}
    assert cost.joules["edge"] == pytest.approx(6.0, rel=1e-3)


def test_memory_counts_weights_activations_and_steps_under_way(two):
    """In training weights count with gradients and the optimizer, and each further step keeps its inputs."""
    none = estimate(*_args(two, cut_at_one(mode="train")), Link(320, 640)).memory
    three = estimate(*_args(two, cut_at_one(mode="train", window=3)), Link(320, 640)).memory
    assert none["edge"] == 3 * 100 + 40
    assert three["edge"] == none["edge"] + 3 * 40
    assert three["cloud"] == none["cloud"]


def test_a_row_has_a_link_for_every_hop(line, profiled):
    """Three places: each hop is a resource of its own, shared or not."""
    chain = line([10, 10, 10, 10])
    profiles = {name: profiled(chain, [1.0] * 3) for name in "abc"}
    row = Plan(
        "toy", "", tuple(PlacedPart(n, i, i + 1) for i, n in enumerate("abc")), (Hop(), Hop()), mode="train"
    )
    assert set(estimate(chain, row, profiles, Link(320, 320)).busy) == {
        "a compute",
        "link a-b",
        "b compute",
        "link b-c",
        "c compute",
        "link c-b",
        "link b-a",
    }
    assert "link a-b" in estimate(chain, row, profiles, Link(320, 320, shared=True)).busy


def test_a_plan_for_unknown_places_or_cuts_is_refused(two):
    """Every place needs a profile, every codec a measured cost, every cut must be legal."""
    chain, profiles = two
    with pytest.raises(BadDocument, match="no profile for the place 'moon'"):
        estimate(chain, Plan("toy", "", (PlacedPart("moon", 0, 3),)), profiles, Link(1, 1))
    hop = Plan("toy", "", (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, 3)), (Hop("fp16"),))
    with pytest.raises(BadDocument, match="what the codec 'fp16' costs"):
        estimate(chain, hop, profiles, Link(1, 1))
    with pytest.raises(IllegalCut):
        estimate(chain, Plan("toy", "", (PlacedPart("edge", 0, 4),)), profiles, Link(1, 1))


def test_only_places_with_limits_can_be_over_them():
    """The excess is a ratio; the runtime's share counts."""
    needs = {"edge": {"memory": 90.0}, "cloud": {"memory": 9e9}}
    assert excess(needs, {"edge": Limits(memory=100, runtime_memory=60)}) == {("edge", "memory"): 1.5}


def test_raw_is_free_where_it_was_not_measured(two, profiled):
    """A profile without codecs still plans raw."""
    from dataclasses import replace

    chain, profiles = two
    bare = {name: replace(profile, codecs={}) for name, profile in profiles.items()}
    assert estimate(chain, cut_at_one(), bare, Link(320, 320)).latency == pytest.approx(1 + 0.5 + 1.0)
