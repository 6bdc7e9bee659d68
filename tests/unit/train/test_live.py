"""The planner in a live training: what it is told, when it asks the line, and when it asks for a move."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import ConnectionLost, SessionMisused
from partita.graph import CodecCost, Device, Link, Profile, StageCost, Timing
from partita.plan import Plan, parse_plan
from partita.train.edge import Done
from partita.train.holding import Holding
from partita.train.live import Live, Surroundings, facts_of, survey
from partita.train.loading import Batch
from partita.train.part import Outcome
from partita.wire import LinkEstimate

from .conftest import SETTINGS, batch_of, small_net

# Bytes per second, as lines tell it.
FAST, SLOW = LinkEstimate(25e6, 25e6, 0.001), LinkEstimate(100.0, 100.0, 0.5)


class Probed:
    """A line whose link is whatever the test says; probes are answered when it says so."""

    def __init__(self, link: LinkEstimate, *, prompt: bool = True) -> None:
        self.told, self.prompt, self.probes = link, prompt, list[Future[LinkEstimate]]()

    def probe(self, size: int = 0) -> Future[LinkEstimate]:
        self.probes.append(Future())
        if self.prompt:
            self.probes[-1].set_result(self.told)
        return self.probes[-1]

    def link(self) -> LinkEstimate:
        return self.told


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return capture_torch(small_net(), (batch_of(0)[0],), name="net", mode="train")


def batch(model: TorchModel) -> Batch:
    inputs, labels = batch_of(0)
    return Batch({model.chain.inputs[0]: inputs.numpy()}, {"label": labels.numpy()}, None, 6)


def profile(model: TorchModel, name: str, seconds: float) -> Profile:
    rows = tuple(
        StageCost(stage.name, {6: Timing(seconds)}, {6: Timing(2 * seconds)}) for stage in model.chain.stages
    )
    cost = CodecCost(1e-9, 1e-9)
    return Profile(
        "net", model.chain.digest, Device(name), rows, StageCost("whole", {}), {"fp16": cost, "int8": cost}
    )


def surroundings(model: TorchModel, link: LinkEstimate = FAST) -> Surroundings:
    """An edge ten times slower than its cloud."""
    settings = replace(SETTINGS, batch=6)
    facts = facts_of(model, Holding(model, settings), settings, batch(model))
    profiles = {"edge": profile(model, "edge", 0.01), "cloud": profile(model, "cloud", 0.001)}
    return Surroundings(profiles, facts, link)


def live_at(model: TorchModel, link: LinkEstimate = FAST, plan: Plan | None = None) -> Live:
    return Live.begun(model, replace(SETTINGS, batch=6), surroundings(model, link), 0.0, plan)


def done(edge: float = 0.07, cloud: float = 0.0) -> Done:
    return Done(0, 6, Outcome(0.5, 3, 6, {}), 0.1, edge, 0, 10, 10, cloud, 0.0, {"tail": edge})


def home(model: TorchModel) -> Plan:
    plan = parse_plan("edge[0:7]", model="net", digest=model.chain.digest)
    return replace(plan, mode="train", batch=6)


def test_the_planner_is_told_what_it_must_know(model: TorchModel) -> None:
    """Sizes from the batch, what never changes, where it may be cut."""
    facts = surroundings(model).facts

    assert (facts["batch"], facts["label_bytes"], facts["frozen"]) == (6, 48, 0)
    assert facts["legal"] == frozenset(model.legal_cuts("train"))
    assert "0.weight" not in facts["constant"]
    assert set(facts["dims"].values()) <= {6}


def test_before_the_first_plan_the_link_is_measured_and_the_first_probe_does_not_count() -> None:
    """It opens the windows of the connection."""
    line = Probed(FAST, prompt=False)
    values = iter([1.0, 20.0, 30.0, 40.0])

    def probe(size: int) -> Future[LinkEstimate]:
        found: Future[LinkEstimate] = Future()
        found.set_result(LinkEstimate(next(values), None, 0.1))
        return found

    line.probe = probe  # type: ignore[method-assign,assignment]

    assert survey(line) == LinkEstimate(30.0, None, 0.1)  # type: ignore[arg-type]


def test_the_first_plan_is_the_best_for_the_link_and_says_why(model: TorchModel) -> None:
    """Over a fast link the cloud helps; over one of a hundred bytes a second it cannot."""
    fast, slow = live_at(model), live_at(model, SLOW)

    assert "cloud" in fast.first.places
    assert slow.first.places == ("edge",)
    assert fast.why()
    assert fast.predicted(fast.first, 0.0) < slow.predicted(slow.first, 0.0)


def test_where_the_plan_is_given_there_is_no_ranking(model: TorchModel) -> None:
    live = live_at(model, plan=home(model))

    assert (live.ranking, live.why()) == (None, "")
    with pytest.raises(SessionMisused):
        _ = live.first


def test_a_link_that_gets_better_brings_a_proposal_and_it_is_taken_once(model: TorchModel) -> None:
    """Nothing large travels under the plan in force: probes tell."""
    live, line, plan = live_at(model, SLOW, home(model)), Probed(FAST), home(model)
    now = 0.0
    while live.proposal is None and now < 120:
        now += 0.25
        live.seen(done(), plan, line, now)  # type: ignore[arg-type]
    proposal = live.taken()

    assert line.probes
    assert live.probes == len(line.probes)
    assert proposal is not None
    assert "cloud" in proposal.plan.places
    assert "best plan" in live.said
    assert live.taken() is None


def test_while_a_proposal_waits_nobody_plans_on(model: TorchModel) -> None:
    live, plan = live_at(model, plan=home(model)), home(model)
    live.proposal = object()  # type: ignore[assignment]
    context = live.context
    live.seen(done(), plan, Probed(FAST), 9.0)  # type: ignore[arg-type]

    assert live.context == context


def test_a_throttled_edge_is_noticed_without_a_line(model: TorchModel) -> None:
    """Its work takes four times what the profile says."""
    live, plan = live_at(model, plan=home(model)), home(model)
    for now in range(1, 40):
        live.seen(done(4 * 0.21), plan, None, float(now))

    assert live.context.factor("edge", 39.0) == pytest.approx(4.0, rel=0.1)
    assert live.proposal is None


def test_a_probe_that_fails_says_that_the_line_is_lost(model: TorchModel) -> None:
    """Nothing is planned until it was met again."""
    live, line, plan = live_at(model, FAST, home(model)), Probed(FAST, prompt=False), home(model)
    for now in (100.0, 101.0, 500.0):
        live.seen(done(), plan, line, now)  # type: ignore[arg-type]
        live.taken()
        if not line.probes[0].done():
            line.probes[0].set_exception(ConnectionLost("gone", fix="wait"))
    assert isinstance(live.lost, ConnectionLost)
    assert len(line.probes) == 1
    live.met()
    live.seen(done(), plan, line, 900.0)  # type: ignore[arg-type]

    assert live.lost is None
    assert len(line.probes) == 2


def test_where_a_probe_stays_away_no_plan_is_made_on_what_was_known_before(model: TorchModel) -> None:
    """A plan that needs no link is not left for one over a link that may be gone."""
    live, line, plan = live_at(model, FAST, home(model)), Probed(FAST, prompt=False), home(model)
    for now in np.arange(100.0, 200.0, 1.0):
        live.seen(done(), plan, line, float(now))  # type: ignore[arg-type]
        assert now < 103 or live.proposal is None
        live.proposal = None

    assert len(line.probes) == 1


def test_a_plan_that_could_not_be_taken_up_is_not_asked_for_at_once(model: TorchModel) -> None:
    live, plan = live_at(model, plan=home(model)), home(model)
    live.proposal = object()  # type: ignore[assignment]
    live.stayed(plan, 10.0)
    live.looked(plan, Probed(FAST), 10.1)  # type: ignore[arg-type]

    assert live.proposal is None


def test_after_a_move_the_old_plan_is_no_measure(model: TorchModel) -> None:
    live = live_at(model, plan=home(model))
    live.seen(done(), home(model), None, 1.0)
    assert live.context.steps is not None
    live.moved(home(model), 2.0)

    assert (live.proposal, live.context.steps) == (None, None)


def test_windows_that_are_not_allowed_any_more_are_not_proposed(model: TorchModel) -> None:
    live = live_at(model)
    live.restrict(2, 0)
    plans = live._planner.first(Link(2e8, 2e8, 0.01)).alternatives

    assert {alternative.plan.window for alternative in plans} == {0}


def test_frozen_weights_are_told_as_what_never_changes() -> None:
    net: Any = small_net()
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    model = capture_torch(net, (torch.randn(6, 8),), name="net", mode="train")

    assert "0.weight" in surroundings(model).facts["constant"]
