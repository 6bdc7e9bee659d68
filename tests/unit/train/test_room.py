from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from partita.train.messages import (
    Abandon,
    Commit,
    Examine,
    Give,
    Prepare,
    Save,
    Slope,
    Step,
    Take,
    Verdict,
)
from partita.train.settings import Optimizing, Settings
from partita.wire import encode

TWO, THREE, ALL = "edge[0:4] -raw/raw-> cloud[4:7]", "edge[0:2] -raw/raw-> cloud[2:5] -raw/raw-> edge[5:7]", (
    "edge -raw/raw-> cloud[0:7]"
)  # fmt: skip
SETTINGS = Settings(optimizer=Optimizing("sgd", 0.1, {"momentum": 0.9}), seed=3)
HOME = "edge[0:7]"
PLANS = [
    "edge[0:1] -raw/raw-> cloud[1:7]",
    TWO,
    THREE,
    ALL,
    "edge -raw/raw-> cloud[0:7] -raw/raw-> edge",
    "edge[0:7] -raw/raw-> cloud",
    "edge[0:4] -raw/raw-> cloud[4:7] -raw/raw-> edge",
]
MakeEdge = Callable[..., Any]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("plan", PLANS)
def test_with_no_window_a_split_training_equals_an_unsplit_one(
    plan: str, make_edge: MakeEdge, unsplit: Any
) -> None:
    """Dropout and normalisation included, bit for bit: losses and weights."""
    edge = make_edge()
    edge.change(f"{plan} | mode=train")
    losses = [edge.step(step) for step in range(5)]

    assert (losses, True) == (unsplit(5)[0], same(edge.gather(), unsplit(5)[1]))


def test_moving_back_and_forth_changes_no_bit(make_edge: MakeEdge, unsplit: Any) -> None:
    """Weights, buffers and the optimizer's momentum go along, to the cloud, between cuts and home again."""
    edge = make_edge()
    losses = []
    for step, plan in enumerate([TWO, THREE, HOME, ALL, TWO, "edge[0:6] -raw/raw-> cloud[6:7]"]):
        edge.change(f"{plan} | mode=train")
        losses.append(edge.step(step))

    assert (losses, True) == (unsplit(6)[0], same(edge.gather(), unsplit(6)[1]))


def test_two_visitors_never_meet(make_edge: MakeEdge, unsplit: Any) -> None:
    """Their steps alternate, and both end as if each had been alone."""
    one, two = make_edge(), make_edge(run="f" * 32)
    for edge in (one, two):
        edge.change(f"{TWO} | mode=train")
    for step in range(3):
        one.step(step)
    for step in range(4):
        two.step(step)

    assert same(one.gather(), unsplit(3)[1])
    assert same(two.gather(), unsplit(4)[1])


def test_a_new_room_goes_on_from_a_checkpoint(make_edge: MakeEdge, make_room: Any, unsplit: Any) -> None:
    """The old room is gone without a word; weights, momentum and steps are those of the checkpoint."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    for step in range(3):
        edge.step(step)
    edge.save(3)
    kept = edge.holding.export(sorted(edge.owned))
    edge.step(3)
    edge.room.end("killed")
    edge.room = make_room()
    begun = edge.begin()
    edge.holding.take(sorted(edge.owned), kept)
    edge.recall(3, f"{TWO} | mode=train")
    for step in range(3, 5):
        edge.step(step)

    assert begun.steps == (3,)
    assert same(edge.gather(), unsplit(5)[1])


def test_a_kill_between_prepare_and_commit_costs_nothing(
    make_edge: MakeEdge, make_room: Any, unsplit: Any
) -> None:
    """What was given to the dead room is gone; the checkpoint is there, and the move is made again."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.step(0)
    edge.save(1)
    edge.give(edge.prepare(f"{ALL} | mode=train"))
    edge.room.end("killed")
    edge.room = make_room()
    edge.begin()
    edge.recall(1, f"{TWO} | mode=train")
    edge.change(f"{ALL} | mode=train")
    edge.step(1)

    assert same(edge.gather(), unsplit(2)[1])


def test_an_abandoned_plan_leaves_everything_as_it_was(make_edge: MakeEdge, unsplit: Any) -> None:
    """The plan in force goes on under its own version."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.step(0)
    edge.give(edge.prepare(f"{ALL} | mode=train"))
    edge.ask(Abandon, edge.version)
    assert edge.refusal(Commit, edge.version, "") == "protocol-violation"
    edge.version -= 1
    edge.step(1)

    assert same(edge.gather(), unsplit(2)[1])


def test_a_commit_with_another_digest_leaves_everything_as_it_was(make_edge: MakeEdge, unsplit: Any) -> None:
    """What arrived is not what was sent: the plan in force goes on."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.step(0)
    edge.give(edge.prepare(f"{ALL} | mode=train"))
    assert edge.refusal(Commit, edge.version, "sha256:" + "0" * 64) == "digest-mismatch"
    edge.version -= 1
    edge.step(1)

    assert same(edge.gather(), unsplit(2)[1])


def test_a_commit_without_all_states_is_refused(make_edge: MakeEdge) -> None:
    """Nothing is trained on zeros."""
    edge = make_edge()
    edge.prepare(f"{TWO} | mode=train")

    assert edge.refusal(Commit, edge.version, "") == "bad-document"
    assert edge.room.plan is None


def test_states_are_let_go_when_no_plan_needs_them(make_edge: MakeEdge) -> None:
    """What went home can not be taken a second time."""
    edge = make_edge()
    edge.change(f"{ALL} | mode=train")
    edge.change(f"{TWO} | mode=train")

    assert edge.refusal(Take, ("0.weight",)) == "bad-document"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight/4.weight", np.zeros((16, 15), np.float32)),
        ("weight/4.weight", np.zeros((16, 16), np.float64)),
        ("weight/0.weight", np.zeros((16, 8), np.float32)),
        ("optimizer/4.weight/momentum_buffer", np.zeros((2, 2), np.float32)),
        ("optimizer/4.weight/" + "k" * 99, np.zeros((), np.float32)),
        ("nothing", np.zeros(1)),
    ],
)
def test_a_state_that_does_not_fit_is_refused(make_edge: MakeEdge, name: str, value: Any) -> None:
    """By name, type and shape, before it is kept."""
    edge = make_edge()
    edge.prepare(f"{TWO} | mode=train")

    assert edge.refusal(Give, edge.version, True, tensors={name: encode(value)}) == "bad-document"


def test_a_state_is_given_once(make_edge: MakeEdge) -> None:
    """A second copy is refused."""
    edge = make_edge()
    edge.prepare(f"{TWO} | mode=train")
    state = {"weight/4.bias": encode(np.zeros(16, np.float32))}
    edge.ask(Give, edge.version, False, tensors=state)

    assert edge.refusal(Give, edge.version, True, tensors=state) == "bad-document"


def test_messages_of_another_version_are_refused(make_edge: MakeEdge) -> None:
    """Late steps of a plan that was left, and early ones of a plan that is not in force."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.change(f"{ALL} | mode=train")

    for version in (0, 1, 3):
        for message in ((Step, version, 0, 0.1), (Slope, version, 0, 0.1), (Examine, version)):
            assert edge.refusal(*message) == "protocol-violation"
    assert edge.refusal(Prepare, 2, HOME) == "protocol-violation"
    assert edge.refusal(Give, 3, True) == "protocol-violation"


def test_a_step_is_refused_where_the_cloud_has_no_part(make_edge: MakeEdge) -> None:
    """Under an edge-only plan there is nothing to do here."""
    edge = make_edge()
    edge.change(f"{HOME} | mode=train")

    assert edge.refusal(Step, edge.version, 0, 0.1) == "protocol-violation"


def test_plans_do_not_change_while_steps_are_under_way(make_edge: MakeEdge) -> None:
    """Neither are checkpoints written."""
    edge = make_edge()
    edge.change(f"{THREE} | mode=train")
    features = {edge.roles.up[0]: encode(np.zeros((2, 16), np.float32))}
    edge.ask(Step, edge.version, 0, 0.1, tensors=features)

    assert edge.refusal(Prepare, 2, HOME) == "protocol-violation"
    assert edge.refusal(Save, 0) == "protocol-violation"


@pytest.mark.parametrize("kind", ["missing", "unknown", "labels", "shape", "type"])
def test_a_step_with_wrong_tensors_is_refused_and_changes_nothing(
    kind: str, make_edge: MakeEdge, unsplit: Any
) -> None:
    """The next good step is as good as if the wrong one had never come."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    up, good = edge.roles.up[0], encode(np.zeros((6, 16), np.float32))
    labels = {"label/label": encode(np.zeros(6, np.int64))}
    tensors = {
        "missing": labels,
        "unknown": {up: good, "spy": good, **labels},
        "labels": {up: good},
        "shape": {up: encode(np.zeros((6, 15), np.float32)), **labels},
        "type": {up: encode(np.zeros((6, 16), np.float64)), **labels},
    }[kind]
    assert edge.refusal(Step, edge.version, 0, 0.1, tensors=tensors) in {"bad-document", "part-failed"}
    edge.step(0)

    assert same(edge.gather(), unsplit(1)[1])


def test_a_step_is_sent_once_and_answered_once(make_edge: MakeEdge) -> None:
    """Slopes of a step that does not wait are refused, and so is a step that does."""
    edge = make_edge()
    edge.change(f"{THREE} | mode=train")
    features = {edge.roles.up[0]: encode(np.zeros((2, 16), np.float32))}
    edge.ask(Step, edge.version, 0, 0.1, tensors=features)

    assert edge.refusal(Step, edge.version, 0, 0.1, tensors=features) == "protocol-violation"
    assert edge.refusal(Slope, edge.version, 1, 0.1) == "not-found"


def test_an_examination_judges_where_the_loss_is_and_keeps_nothing(make_edge: MakeEdge) -> None:
    """The verdict is a sum over samples, of the module in eval mode; training goes on as before."""
    edge = make_edge()
    edge.change(f"{ALL} | mode=train")
    edge.step(0)
    verdict = edge.examine(7)
    edge.gather()
    edge.module.eval()
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(6, 8, generator=generator)
    answer, labels = edge.module(inputs), inputs[:, :4].argmax(1)
    loss = torch.nn.functional.cross_entropy(answer, labels, reduction="sum")

    assert isinstance(verdict, Verdict)
    assert verdict.loss == pytest.approx(loss.item(), rel=1e-5)
    assert (verdict.right, verdict.count) == (int((answer.argmax(1) == labels).sum()), 6)


def test_the_cloud_can_have_the_inputs(make_room: Any, make_edge: MakeEdge, unsplit: Any) -> None:
    """Then a step carries ids only, and private targets stay at the edge."""

    def data(ids: Any) -> dict[str, Any]:
        inputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(int(ids[0])))
        return {"input": inputs.numpy()}

    edge = make_edge(data=data)
    edge.change("cloud[0:4] -raw/raw-> edge[4:7] | mode=train")
    losses = [edge.step(step, ids=True) for step in range(3)]

    assert (losses, True) == (unsplit(3)[0], same(edge.gather(), unsplit(3)[1]))


def test_a_plan_with_inputs_at_the_cloud_needs_its_data(make_edge: MakeEdge) -> None:
    """It is refused when it is prepared, not at its first step."""
    text = make_edge().plan("cloud[0:4] -raw/raw-> edge[4:7] | mode=train")

    assert make_edge(run="a" * 32).refusal(Prepare, 1, str(text)) == "bad-document"
