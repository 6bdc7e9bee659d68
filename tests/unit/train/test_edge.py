"""The edge's work on the steps of one plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from partita.errors import ProtocolViolation
from partita.train.messages import Features, Slope, Slopes, Step
from partita.train.settings import Optimizing
from partita.wire import Result, decode

from .conftest import SETTINGS, batch_of

HOME, TWO, THREE, PRIVATE = (
    "edge[0:7]",
    "edge[0:4] -raw/raw-> cloud[4:7]",
    "edge[0:2] -raw/raw-> cloud[2:5] -raw/raw-> edge[5:7]",
    "edge[0:4] -raw/raw-> cloud[4:7] -raw/raw-> edge",
)
MakePair = Callable[..., Any]
PLAIN = replace(SETTINGS, optimizer=Optimizing("sgd", 0.1, {"momentum": 0.9}))


def flat_net() -> torch.nn.Module:
    """Nothing random, no buffers: what the loop below says in plain words."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh(),
            torch.nn.Linear(16, 4),
        )  # fmt: skip


def stale(steps: int, window: int, spans: list[tuple[int, int]]) -> tuple[list[float], dict[str, Any]]:
    """Feature replay written out: front, middle and, if there are three spans, a tail at home."""
    net = flat_net()
    parts = [net[start:stop] for start, stop in spans]
    steppers = [torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9) for part in parts]
    inner = (window + 1) // 2 if len(parts) == 3 else 0
    features: dict[int, Any] = {}
    slopes: dict[int, Any] = {}
    losses = []

    def learn(part: int, tensors: list[Any], slope: Any) -> None:
        steppers[part].zero_grad()
        torch.autograd.backward(tensors, slope)
        steppers[part].step()

    def judged(part: int, given: Any, labels: Any) -> Any:
        given = given.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(parts[part](given), labels)
        losses.append(loss.item())
        learn(part, [loss], None)
        return given.grad

    for step in range(steps + window):
        if step < steps:
            inputs, labels = batch_of(step)
            with torch.no_grad():
                front = parts[0](inputs)
            if len(parts) == 2:
                slopes[step] = judged(1, front, labels)
            else:
                with torch.no_grad():
                    features[step] = front, parts[1](front)
        turn = step - inner
        if len(parts) == 3 and 0 <= turn < steps:
            front, middle = features[turn]
            down = judged(2, middle, batch_of(turn)[1])
            given = front.clone().requires_grad_()
            learn(1, [parts[1](given)], [down])
            slopes[turn] = given.grad
        back = step - window
        if 0 <= back < steps:
            learn(0, [parts[0](batch_of(back)[0])], [slopes[back]])
    return losses, net.state_dict()


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("spans", [[(0, 2), (2, 5)], [(0, 1), (1, 4), (4, 5)]])
def test_a_window_is_feature_replay_as_it_is_written(
    window: int, spans: list[tuple[int, int]], make_pair: MakePair
) -> None:
    """Bit for bit: features of old weights, a replay with present ones, updates in this order and no other."""
    sides = make_pair(PLAIN, module=flat_net())
    places = ["edge", "cloud", "edge"]
    text = " -raw/raw-> ".join(f"{place}[{a}:{b}]" for place, (a, b) in zip(places, spans, strict=False))
    sides.install(f"{text} | K={window}")
    losses = sides.train(0, 9)
    wanted, weights = stale(9, window, spans)

    assert losses == wanted
    assert all(torch.equal(value, weights[name]) for name, value in sides.weights().items())


@pytest.mark.parametrize(
    ("plan", "turns", "up", "down"),
    [
        (HOME, True, "", ""),
        ("edge[0:4] -int8/fp16-> cloud[4:7]", False, "int8", "fp16"),
        ("edge[0:2] -int8/fp16-> cloud[2:5] -bf16/raw-> edge[5:7]", True, "int8", "bf16"),
    ],
)
def test_a_plan_says_which_codecs_carry_what(
    plan: str, turns: bool, up: str, down: str, make_pair: MakePair
) -> None:
    sides = make_pair()
    sides.install(plan)
    worker = sides.pair.worker

    assert (worker.turns, worker.codec_up, worker.codec_down) == (turns, up, down)


def test_a_step_tells_what_it_cost(make_pair: MakePair) -> None:
    """Bytes each way are those of the tensors; work is told by kind."""
    sides = make_pair()
    sides.install(THREE)
    worker = sides.pair.worker
    worker.begin(0, sides.batch(0))
    assert worker.under_way == 1
    worker.turn(0)
    done = worker.finish(0)
    feature = 6 * 16 * 4

    assert (done.up, done.down, done.batch, done.staleness) == (2 * feature, 2 * feature, 6, 0)
    assert {"front", "tail", "back"} <= set(done.work)
    assert done.cloud > 0
    assert done.latency >= done.wait


@pytest.mark.parametrize(("plan", "stale"), [(TWO, 2), (PRIVATE, 2), (HOME, 0)])
def test_staleness_is_the_updates_between_two_looks(plan: str, stale: int, make_pair: MakePair) -> None:
    """Once the pipeline is full it is K."""
    sides = make_pair()
    sides.install(f"{plan} | K=2" if plan != HOME else plan)
    worker = sides.pair.worker
    told = []
    for step in range(6):
        worker.begin(step, sides.batch(step))
        if worker.turns:
            worker.turn(step)
        if step >= worker.window:
            told.append(worker.finish(step - worker.window).staleness)

    assert told[-1] == stale


def test_calm_divides_the_rate_of_what_is_stale(make_pair: MakePair) -> None:
    """By K + 1, at the cloud as well; the part that owns the loss is not stale."""
    sides = make_pair(replace(SETTINGS, calm=True))
    sides.install(f"{PRIVATE} | K=3")
    sides.train(0, 2)
    said = sides.tampering.exchanges

    assert {each.message.rate for each in said if isinstance(each.message, Slope)} == {0.1 / 4}
    assert {each.message.rate for each in said if isinstance(each.message, Step)} == {0.1}


@pytest.mark.parametrize("feedback", ["none", "delta"])
def test_ids_travel_only_where_somebody_needs_them(feedback: str, make_pair: MakePair) -> None:
    sides = make_pair(replace(SETTINGS, feedback=feedback))
    sides.install("edge[0:4] -int8/int8-> cloud[4:7]")
    sides.train(0, 2)

    assert all(("ids" in each.tensors) == (feedback == "delta") for each in sides.tampering.said(Step))


def test_the_state_of_random_numbers_travels_only_where_both_draw(make_pair: MakePair) -> None:
    """One dropout at the edge, none behind: nobody waits for the numbers of the first."""
    sides = make_pair()
    sides.install("edge[0:4] -raw/raw-> cloud[4:7]")
    sides.train(0, 1)

    assert all("rng" not in each.tensors for each in sides.tampering.said(Step))


def test_with_the_inputs_at_the_cloud_only_ids_go_up(make_pair: MakePair, unsplit: Any) -> None:
    """And labels never; its front learns without anybody here waiting."""
    inputs = np.concatenate([batch_of(step)[0].numpy() for step in range(4)])
    sides = make_pair(data=lambda ids: {"input": inputs[ids]})
    sides.install("cloud[0:4] -raw/raw-> edge[4:7] | K=0")
    losses = sides.train(0, 4)

    assert losses == unsplit(4)[0]
    assert {name for each in sides.tampering.said(Step) for name in each.tensors} == {"ids"}


def test_what_is_under_way_is_dropped_when_it_is_to_be_forgotten(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.install(f"{PRIVATE} | K=3")
    worker = sides.pair.worker
    for step in range(3):
        worker.begin(step, sides.batch(step))
    worker.turn(0)
    worker.forget()

    assert (worker.under_way, worker.front.kept) == (0, 0)


def test_an_answer_of_another_kind_or_without_its_tensors_is_a_violation(make_pair: MakePair) -> None:
    """What the cloud says is looked at before it is used."""
    for kind, tensors in ((Result, {}), (Features, {}), (Slopes, {})):
        sides = make_pair()
        sides.install(PRIVATE)
        real = sides.rooms[-1].answer
        sides.rooms[-1].answer = lambda message, given, kind=kind, tensors=tensors, real=real: (
            (kind(message.request, *([message.step] if kind is not Result else [])), tensors)
            if isinstance(message, Step)
            else real(message, given)
        )
        with pytest.raises(ProtocolViolation) as refusal:
            sides.train(0, 1)
        assert refusal.value.fix
        sides.pair.worker.forget()


def test_a_late_answer_is_waited_for_and_somebody_looks_around_meanwhile(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.tampering.late = lambda: 0.12
    sides.pair.hang_up()
    sides.pair.connect()
    looks: list[int] = []
    sides.pair.setup = replace(sides.pair.setup, meanwhile=lambda: looks.append(1))
    sides.install(TWO)
    sides.tampering.late = lambda: 0.0 if looks else 0.12
    sides.train(0, 1)

    assert looks


def test_eager_work_sleeps_until_something_is_there(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.tampering.late = lambda: 0.01
    sides.pair.hang_up()
    sides.pair.connect()
    sides.install(f"{PRIVATE} | K=1")
    worker = sides.pair.worker
    worker.begin(0, sides.batch(0))
    assert not worker.ready(0, turned=False)
    worker.wait()
    assert worker.ready(0, turned=False)
    worker.turn(0)
    worker.wait()
    assert worker.ready(0, turned=True)
    assert worker.finish(0).wait > 0


def test_steps_that_have_not_left_are_taken_back(make_pair: MakePair) -> None:
    """The latest first, as far as the line allows; their batches come back in order."""
    sides = make_pair()
    sides.install(f"{PRIVATE} | K=3")
    worker, line = sides.pair.worker, sides.pair.line
    batches = [sides.batch(step) for step in range(4)]
    for step, batch in enumerate(batches):
        worker.begin(step, batch)
    still = iter([True, True, False])
    line.withdraw = lambda message, ticket: next(still)

    assert worker.withdraw() == batches[2:]
    assert (worker.newest, worker.under_way) == (1, 2)


def test_features_travel_as_the_front_made_them(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.install(f"{TWO} | K=1")
    worker = sides.pair.worker
    worker.begin(0, sides.batch(0))
    sent = sides.tampering.said(Step)[0].tensors
    name = worker.front.outputs[0]

    assert set(sent) == {name, "label/label"}
    assert decode(sent[name]).shape == (6, 16)
