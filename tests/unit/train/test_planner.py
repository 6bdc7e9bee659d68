"""The planner of a training in changing circumstances, without a clock and without a network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.graph import (
    Chain,
    CodecCost,
    Device,
    DType,
    Link,
    Profile,
    Stage,
    StageCost,
    TensorSpec,
    Timing,
)
from partita.plan import Hop, Hysteresis, Limits, Overhead, PlacedPart, Plan, Pricing
from partita.train.context import Context
from partita.train.planner import Planner, copies, explain_start, question_of
from partita.train.settings import Optimizing, Settings
from partita.wire import LinkEstimate

FAST, SLOW = Link(200e6, 200e6, 0.001), Link(5e6, 5e6, 0.001)
# Shapes of one sample behind each stage, and seconds of a batch of 32 forward in the cloud.
SHAPES = ((16, 32, 32), (32, 16, 16), (32, 16, 16), (64, 8, 8), (64, 8, 8), (10,))
SECONDS = (0.006, 0.006, 0.005, 0.004, 0.003, 0.0005)


def build():
    names = ["x", *(f"h{i}" for i in range(len(SHAPES)))]
    shapes = ((3, 32, 32), *SHAPES)
    tensors = {
        n: TensorSpec(n, DType.FLOAT32, ("batch", *shape)) for n, shape in zip(names, shapes, strict=True)
    }
    stages = tuple(Stage(f"s{i}", (names[i],), (names[i + 1],), (f"w{i}",)) for i in range(len(SHAPES)))
    params = {f"w{i}": 40_000 for i in range(len(SHAPES))}
    return Chain("net", "test", stages, tensors, ("x",), (names[-1],), params)


def profile(chain, name, factor):
    rows = tuple(
        StageCost(stage.name, {32: Timing(s * factor)}, {32: Timing(2 * s * factor)})
        for stage, s in zip(chain.stages, SECONDS, strict=True)
    )
    cost = CodecCost(1e-9 * factor, 1e-9 * factor)
    codecs = {"fp16": cost, "int8": cost}
    return Profile("net", chain.digest, Device(name), rows, StageCost("whole", {}), codecs)


@pytest.fixture
def chain():
    return build()


@pytest.fixture
def profiles(chain):
    return {"edge": profile(chain, "edge", 2.0), "cloud": profile(chain, "cloud", 1.0)}


@pytest.fixture
def planner(chain, profiles):
    return Planner(chain, profiles, Settings(), label_bytes=256)


class Training:
    """Steps as long as they would take, and a planner that is told what an edge can see."""

    def __init__(self, planner, chain, profiles, link):
        self.planner, self.chain, self.profiles, self.now = planner, chain, profiles, 0.0
        self.context = Context(start=link)
        self.plan = planner.first(link).best
        planner.begun(self.plan, 0.0)
        self.moves = []

    def run(self, seconds, link, *, edge=1.0, cloud=1.0):
        until = self.now + seconds
        slow = {"edge": self.profiles["edge"].slowed(edge), "cloud": self.profiles["cloud"].slowed(cloud)}
        while self.now < until:
            pricing = Pricing.of(self.chain, slow, link, self.planner.question())
            cost = pricing.estimate(self.plan)
            self.now += cost.seconds
            own = self.planner.predicted(self.plan)
            for place in ("edge", "cloud"):
                taken = cost.busy.get(f"{place} compute", 0.0)
                self.context = self.context.with_work(place, taken, own[place], self.now)
            probed = self.context.needs_probe(self.now, hurry=self.planner.hurried)
            if probed or self.plan.hops:
                drift = 1 + self.now * 1e-9  # never twice the same number
                told = LinkEstimate(link.up / 8 * drift, link.down / 8 * drift, link.rtt)
                self.context = self.context.with_link(told, self.now, probed=probed)
            proposal = self.planner.consider(self.now, self.plan, self.context)
            if proposal is not None:
                self.moves.append((self.now, proposal))
                self.now += proposal.move.seconds
                self.plan = proposal.plan
                self.planner.begun(self.plan, self.now)
                self.context = self.context.under_another_plan()
        return self.moves


@pytest.fixture
def training(planner, chain, profiles):
    return Training(planner, chain, profiles, FAST)


def test_a_calm_training_keeps_its_plan(training):
    """Nothing changes: nothing moves, and nothing is searched for again."""
    first = training.plan
    assert training.run(20, FAST) == []
    assert training.plan == first
    assert "still the best" in training.planner.said


def test_a_link_that_becomes_slow_is_answered_within_five_seconds(training):
    """From 200 to 5 Mbit/s: another plan, at least nine tenths as fast as the best one for what is now."""
    training.run(10, FAST)
    changed = training.now
    ((at, _),) = training.run(15, SLOW)
    assert at - changed < 5
    best = training.planner.first(SLOW).best
    pricing = training.planner.pricing(training.context, training.now)
    assert pricing.estimate(training.plan).seconds <= pricing.estimate(best).seconds / 0.9


def test_training_comes_back_from_the_edge_alone(training):
    """While the edge works alone the link is probed; once it is fast again, the cloud takes part again."""
    training.run(5, FAST)
    training.run(25, Link(2e6, 2e6, 0.001))
    assert training.plan.shape == "edge-only"
    changed, before = training.now, len(training.moves)
    training.run(8, FAST)
    assert training.moves[before][0] - changed < 5
    assert training.plan.shape != "edge-only"


def test_a_throttled_edge_hands_work_to_the_cloud(training):
    """An edge four times slower is seen in its own seconds, and has less to do within five of them."""
    training.run(10, SLOW)
    before, changed, moves = training.plan, training.now, len(training.moves)
    training.run(10, SLOW, edge=4.0)
    assert training.moves[moves][0] - changed < 5

    def edge(plan):
        return training.planner.predicted(plan)["edge"]

    assert edge(training.plan) < edge(before)


def test_one_slow_step_moves_nothing(training):
    """A hiccup of the edge among calm steps is no change of circumstances."""
    training.run(6, FAST)
    training.context = training.context.with_work("edge", 40.0, 1.0, training.now + 0.1)
    assert training.run(6, FAST) == []


def test_a_proposal_says_why(training):
    """The sentence holds the link, both times, what is saved and what it costs."""
    training.run(5, FAST)
    (_, proposal), *_ = training.run(10, SLOW)
    assert proposal.new < 0.9 * proposal.now
    for words in ("over 5", "is the best plan", "a step now", "would save", "confirmed 3 times"):
        assert words in proposal.reason


def test_a_move_that_does_not_pay_is_not_made(chain, profiles):
    """Weights so heavy that they would travel for longer than plans last stay; codecs and window may change."""
    heavy = replace(chain, params=dict.fromkeys(chain.params, 4_000_000_000))
    places = {n: replace(p, digest=heavy.digest) for n, p in profiles.items()}
    training = Training(Planner(heavy, places, Settings()), heavy, places, FAST)
    first = training.plan.parts
    training.run(10, FAST)
    moves = training.run(30, FAST, edge=6.0)
    assert all(proposal.plan.parts == first for _, proposal in moves)


def test_another_window_or_codec_costs_a_drain_only(chain, profiles):
    """Where no weight changes place, the move takes as long as the steps under way."""
    weights = replace(chain, params=dict.fromkeys(chain.params, 4_000_000_000))
    places = {name: replace(p, digest=weights.digest) for name, p in profiles.items()}
    planner = Planner(weights, places, Settings())
    parts = (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, len(chain)))
    plan = Plan("net", weights.digest, parts, (Hop(),), 0, 32, "train")
    planner.begun(plan, 0.0)
    heavy = Context(start=Link(50e6, 50e6, 0.02))
    found = [planner.consider(i * 0.1, plan, heavy) for i in range(40)]
    proposal = next(each for each in found if each)
    assert (proposal.plan.parts, proposal.plan.window > 0) == (parts, True)
    assert (proposal.move.bytes_up, proposal.move.bytes_down) == (0, 0)
    assert proposal.move.seconds > 0


def test_what_does_not_change_is_not_searched_again(planner, monkeypatch):
    """Between two changes of the circumstances there is one search."""
    searches = []
    monkeypatch.setattr("partita.train.planner.search", lambda *a, **k: searches.append(1) or real(*a, **k))
    from partita.plan import search as real

    plan = planner.first(FAST).best
    planner.begun(plan, 0.0)
    del searches[:]
    context = Context(start=FAST)
    for second in range(10):
        planner.consider(float(second), plan, context)
    assert len(searches) == 1
    planner.consider(11.0, plan, Context(start=Link(150e6, 200e6, 0.001)))
    assert len(searches) == 2


def test_looks_too_close_together_are_one(planner):
    """Ten looks within a moment confirm nothing."""
    plan = planner.first(FAST).best
    planner.begun(plan, 0.0)
    poor = Context(start=SLOW)
    # A look every hundredth of a second, for a second and a half: there are two estimates in that.
    assert [planner.consider(i * 0.01, plan, poor) for i in range(150)] == [None] * 150
    assert planner.hurried


def test_a_plan_unknown_so_far_is_taken_as_just_begun(planner):
    """Whoever starts with a plan of their own gets proposals after a while, and not at once."""
    plan = planner.first(FAST).best
    poor = Context(start=SLOW)
    assert planner.consider(0.0, plan, poor) is None
    assert any(planner.consider(1.0 + i * 0.6, plan, poor) for i in range(6))


def test_nothing_that_fits_is_said_and_not_raised(chain, profiles):
    """Limits that no plan meets any more leave the training as it is."""
    limits = {"edge": Limits(seconds=1e-9), "cloud": Limits(seconds=1e-9)}
    planner = Planner(chain, profiles, Settings(), limits=limits)
    alone = Plan("net", chain.digest, (PlacedPart("edge", 0, len(chain)),), batch=32, mode="train")
    planner.begun(alone, 0.0)
    assert planner.consider(9.0, alone, Context()) is None
    assert "no plan fits" in planner.said


def test_windows_follow_the_epoch_and_what_a_divergence_allows(chain, profiles):
    """K by epoch is asked of the search, bounded by the cap; a change makes the next look a search."""
    planner = Planner(chain, profiles, Settings(window="0,3@2"))
    asked = [planner.question().window]
    planner.restrict(2)
    planner.restrict(2)
    asked.append(planner.question().window)
    planner.restrict(2, cap=1)
    asked.append(planner.question().window)
    assert asked == [0, 3, 1]
    free = Planner(chain, profiles, Settings(max_window=4))
    free.restrict(3, cap=2)
    assert (free.question().window, free.question().max_window) == (None, 2)
    assert free.first(FAST).best.window <= 2


def test_settings_and_facts_become_a_question():
    """Everything a training says of itself that a plan depends on."""
    settings = Settings(
        batch=8,
        codec_up="int4",
        labels_private=True,
        min_front=2,
        max_error=0.1,
        optimizer=Optimizing("adam"),
    )
    question = question_of(
        settings,
        frozen=3,
        batch=16,
        label_bytes=64,
        dims={"batch": 9, "seq": 5},
        legal=frozenset({1}),
        constant=frozenset({"mask"}),
        overhead=Overhead(cpu=1.0),
    )
    assert (question.mode, question.batch, question.dims) == ("train", 16, {"seq": 5})
    assert (question.codecs_up, question.codecs_down) == (("int4",), None)
    assert question.options["int4"].error > 0
    assert (question.labels_private, question.min_front, question.frozen) == (True, 2, 3)
    assert (question.legal, question.constant) == (frozenset({1}), frozenset({"mask"}))
    assert (question.optimizer_copies, question.overhead.cpu) == (2, 1.0)
    assert question_of(settings).batch == 8


@pytest.mark.parametrize(
    ("optimizer", "kept"),
    [
        (Optimizing("sgd"), 0),
        (Optimizing("sgd", options={"momentum": 0.9}), 1),
        (Optimizing("adamw"), 2),
        (Optimizing("rmsprop"), 1),
        (Optimizing("somethingnew"), 2),
    ],
)
def test_what_an_optimizer_keeps(optimizer, kept):
    """Copies of the weights that move with them."""
    assert copies(Settings(optimizer=optimizer)) == kept


def test_a_start_explains_itself(planner):
    """A table of alternatives, and sentences."""
    text = explain_start(planner.first(FAST))
    assert text.startswith("rank")
    assert "wins: the least time per step" in text


def test_predictions_are_of_a_place_as_fast_as_its_profile(planner, chain):
    """Seconds of own work by place, codecs and replay included; a place without work has none."""
    alone = Plan("net", chain.digest, (PlacedPart("edge", 0, len(chain)),), batch=32, mode="train")
    assert planner.predicted(alone) == {"edge": pytest.approx(6 * sum(SECONDS)), "cloud": 0.0}
    parts = (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, len(chain)))
    split = Plan("net", chain.digest, parts, (Hop("int8", "int8"),), 2, 32, "train")
    assert planner.predicted(split)["edge"] > 4 * 2 * SECONDS[0]
    assert planner.predicted(split) is planner.predicted(split)


def test_a_rule_of_ones_own(chain, profiles):
    """Whoever wants to move at the first sign can."""
    planner = Planner(chain, profiles, Settings(), rule=Hysteresis(confirm=1))
    plan = planner.first(FAST).best
    planner.begun(plan, 0.0)
    assert planner.consider(2.0, plan, Context(start=SLOW)) is not None
