"""Tables over spans: what a slice weighs and takes, beside counting it one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.graph import Device, Profile, StageCost, Timing
from partita.plan import Limits, Platform
from partita.slice import costs as module
from partita.slice.costs import Costs, Tensors, legal_positions
from partita.slice.question import SliceQuestion
from partita.slice.searching import search
from partita.testing import random_chain

QUESTION = SliceQuestion(Platform("free", "anything", Limits()), batch=2, dims={"seq": 3})


def measured(chain, **rows):
    draw = random.Random(0)
    stages = tuple(StageCost(s.name, {2: Timing(draw.uniform(0.1, 1))}) for s in chain.stages)
    return Profile("m", chain.digest, Device("d"), stages, StageCost("whole", {}), **rows)


@given(st.integers(0, 5_000), st.sets(st.integers(1, 6)))
def test_positions_and_weights_are_those_of_the_chain(seed, blocked) -> None:
    """Legal positions and distinct weights are what the chain itself says."""
    chain = replace(random_chain(seed, stages=7), blocked=dict.fromkeys(blocked, "no"))
    costs = Costs.of(chain, QUESTION)

    assert costs.positions.tolist() == [cut.position for cut in chain.cuts if cut.legal]
    for i, a in enumerate(costs.positions):
        for j, b in enumerate(costs.positions):
            assert i >= j or costs.weights[i, j] == chain.part_bytes(int(a), int(b))
    assert costs.distinct == chain.part_bytes(0, len(chain))


def test_fewer_positions_give_the_same_figures() -> None:
    """A table over some positions is a part of the table over all."""
    chain = random_chain(3, stages=7)
    costs = Costs.of(chain, QUESTION, measured(chain))
    few = costs.at(np.array([0, 2, 5, 7]))

    assert few.weights[1, 2] == costs.weights[2, 5]
    assert few.compute[1, 3] == costs.compute[2, 7]
    assert few.held[0, 1] == costs.held[0, 2]


@pytest.mark.parametrize("ends", ["neither", "before", "after", "both"])
def test_seconds_are_those_of_the_profile(ends) -> None:
    """Rows that were measured by cut go before sums over stages."""
    chain = random_chain(1, stages=5)
    rows = {
        name: {2: tuple(float(k if name == "before" else 9 - k) for k in range(6))}
        for name in ("before", "after")
        if ends in (name, "both")
    }
    profile = measured(chain, **rows)
    costs = Costs.of(chain, QUESTION, profile)

    for a in range(5):
        for b in range(a + 1, 6):
            assert costs.compute[a, b] == pytest.approx(profile.seconds(a, b, 2))


def test_the_frontier_is_that_of_every_cut() -> None:
    """Bytes at all positions in one sweep."""
    chain = random_chain(5, stages=8)
    tensors = Tensors.of(chain, QUESTION)
    crossing = tensors.frontier(np.ones(len(tensors.size), bool))

    assert crossing.tolist() == [cut.nbytes({"batch": 2, "seq": 3}) for cut in chain.cuts]


def test_very_long_chains_are_cut_where_least_crosses(monkeypatch) -> None:
    """With too many positions the best of every stretch are looked at, both ends kept, and the plan says so."""
    monkeypatch.setattr(module, "MOST", 5)
    chain = random_chain(7, stages=30)
    costs = Costs.of(chain, QUESTION)
    crossing = costs.tensors.frontier(np.ones(len(costs.tensors.size), bool))
    plan = search(chain, replace(QUESTION, slices=2))

    assert len(costs.positions) == 5
    assert (costs.positions[0], costs.positions[-1]) == (0, 30)
    assert crossing[costs.positions].min() == crossing.min()
    assert plan.notes == ("of all places to cut, the 5 where the fewest bytes cross were looked at",)
    assert set(costs.positions) <= set(legal_positions(chain, costs.tensors))


def test_a_batch_named_otherwise_is_bound_too() -> None:
    """The first open dimension of the first input is the batch, whatever the exporter called it."""
    chain = random_chain(2, stages=3)
    renamed = {
        name: replace(spec, shape=tuple("n" if d == "batch" else d for d in spec.shape))
        for name, spec in chain.tensors.items()
    }
    costs, other = (Costs.of(c, QUESTION) for c in (chain, replace(chain, tensors=renamed)))

    assert costs.active.tolist() == other.active.tolist()
