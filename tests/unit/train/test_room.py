import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partita.engine.torch_portable import pack_torch
from partita.graph import Profile, dump, load
from partita.profile import Effort
from partita.run import state_digest
from partita.train import room_measuring
from partita.train.losses import custom_loss
from partita.train.losses_graph import pack_loss
from partita.train.messages import (
    Abandon,
    Begin,
    Begun,
    Commit,
    Examine,
    Give,
    Measure,
    Model,
    Prepare,
    Recall,
    Save,
    Slope,
    Step,
    Take,
    Verdict,
)
from partita.train.room_limits import MemoryWatch, RoomLimits
from partita.train.settings import Optimizing, Settings
from partita.wire import Forward, decode, encode

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


@pytest.mark.parametrize(
    ("run", "settings"),
    [("short", ""), ("g" * 32, ""), ("a" * 65, ""), ("../" + "a" * 32, ""), ("a" * 32, "{")],
)
def test_a_run_with_a_wrong_name_or_settings_is_refused(make_room: Any, run: str, settings: str) -> None:
    """And nothing is written."""
    room = make_room()
    message = Begin(1, run, "net", "sha256:0", settings or dump(Settings(), indent=None))

    assert room.answer(message, {})[0].code == "bad-document"


def test_the_name_of_a_run_stands_in_no_path(make_edge: MakeEdge, tmp_path: Path) -> None:
    """The folder has its SHA-256."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.save(0)

    (folder,) = (tmp_path / "state").iterdir()
    assert folder.name == hashlib.sha256(edge.run.encode()).hexdigest()


def test_a_model_other_than_announced_is_refused(make_room: Any, make_edge: MakeEdge) -> None:
    """By its digest, once it is read."""
    edge = make_edge()
    room = make_room()
    room.answer(Begin(1, "a" * 32, "net", "sha256:1234", dump(Settings(), indent=None)), {})
    piece = {"model": encode(np.frombuffer(pack_torch(edge.model), np.uint8))}

    assert room.answer(Model(2, True), piece)[0].code == "digest-mismatch"
    assert room.answer(Prepare(3, 1, TWO), {})[0].code == "protocol-violation"


def test_an_offered_model_need_not_be_sent(make_edge: MakeEdge, make_room: Any) -> None:
    """Begun says that it is known, and each visitor has states of its own."""
    first = make_edge()
    room = make_room(offers={first.chain.digest: pack_torch(first.model)})
    edge = make_edge(room, run="b" * 32)

    assert edge.refusal(Model, True, tensors={"model": encode(np.zeros(1, np.uint8))}) == "protocol-violation"
    assert edge.prepare(f"{TWO} | mode=train").missing


def test_a_connection_has_one_run(make_edge: MakeEdge) -> None:
    """A second one is for a second connection."""
    edge = make_edge()

    assert edge.refusal(Begin, "c" * 32, "net", edge.chain.digest, "{}") == "protocol-violation"


def test_a_model_is_sent_as_bytes_and_nothing_else(make_room: Any) -> None:
    """Other tensors are refused; a loss needs its model."""
    room = make_room()
    room.answer(Begin(1, "a" * 32, "net", "sha256:1234", dump(Settings(), indent=None)), {})
    codes = [
        room.answer(Model(2, True), {name: encode(value)})[0].code
        for name, value in (
            ("code", np.zeros(1, np.uint8)),
            ("model", np.zeros(1, np.float32)),
            ("loss", np.zeros(1, np.uint8)),
        )
    ]

    assert codes == ["bad-document", "bad-document", "protocol-violation"]


def test_a_loss_of_the_visitors_own_comes_as_a_graph(make_edge: MakeEdge, unsplit: Any) -> None:
    """Here it is the very loss that has a name, so that the numbers are known."""
    edge = make_edge(settings=replace(SETTINGS, loss=""))

    assert edge.refusal(Prepare, 1, str(edge.plan(f"{TWO} | mode=train"))) == "bad-document"
    (name,) = edge.chain.outputs
    loss = custom_loss(
        torch.nn.functional.cross_entropy, lambda made: made[name], lambda given: given["label"]
    )
    data = pack_loss(loss, {name: np.zeros((6, 4), np.float32)}, {"label": np.zeros(6, np.int64)})
    edge.ask(Model, True, tensors={"loss": encode(np.frombuffer(data, np.uint8))})
    edge.change(f"{TWO} | mode=train")
    losses = [edge.step(step) for step in range(3)]

    assert (losses, True) == (unsplit(3)[0], same(edge.gather(), unsplit(3)[1]))


def test_too_much_is_refused_by_name(make_edge: MakeEdge, make_room: Any) -> None:
    """State, model, checkpoints, steps that wait: each has its bound."""
    small = RoomLimits(state=4000)
    edge = make_edge(limits=small)
    assert edge.refusal(Prepare, 1, str(edge.plan(f"{ALL} | mode=train"))) == "limit-exceeded"
    assert edge.refusal(Measure, 1000, ()) == "limit-exceeded"

    room = make_room(limits=RoomLimits(model=10))
    room.answer(Begin(1, "a" * 32, "net", "sha256:1", dump(Settings(), indent=None)), {})
    piece = {"model": encode(np.zeros(11, np.uint8))}
    assert room.answer(Model(2, False), piece)[0].code == "limit-exceeded"

    full = make_edge(limits=RoomLimits(disk=100, kept=1), run="b" * 32)
    full.change(f"{THREE} | K=2 mode=train")
    features = {full.roles.up[0]: encode(np.zeros((2, 16), np.float32))}
    assert full.refusal(Save, 0) == "limit-exceeded"
    full.ask(Step, 1, 0, 0.1, tensors=features)
    assert full.refusal(Step, 1, 1, 0.1, tensors=features) == "limit-exceeded"


def test_so_many_runs_have_checkpoints_and_no_more(make_edge: MakeEdge, make_room: Any) -> None:
    """A room that ends without a checkpoint leaves no folder behind."""
    limits = RoomLimits(runs=1)
    begin = [Begin(1, letter * 32, "net", "sha256:1", dump(Settings(), indent=None)) for letter in "ab"]
    one, two = make_room(limits=limits), make_room(limits=limits)
    one.answer(begin[0], {})
    assert two.answer(begin[1], {})[0].code == "limit-exceeded"
    one.end("left")

    assert isinstance(two.answer(begin[1], {})[0], Begun)


def test_memory_that_is_short_stops_new_work_and_nothing_else(make_edge: MakeEdge) -> None:
    """Steps are refused; what is here can be taken home."""
    held = [0]
    edge = make_edge()
    edge.room._watch = MemoryWatch(100, read=lambda: held[0], trim=lambda: None)
    edge.change(f"{TWO} | mode=train")
    held[0] = 101

    assert edge.refusal(Step, 1, 0, 0.1) == "limit-exceeded"
    edge.gather()
    held[0] = 99
    edge.step(0)


def test_a_measurement_changes_nothing_and_says_what_codecs_cost(
    make_edge: MakeEdge, unsplit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held states come out as they went in, borrowed ones are given back."""
    monkeypatch.setattr(room_measuring, "EFFORT", Effort(runs=1, seconds=0.0, warmup=0, budget=0.0))
    edge = make_edge(slow=2.0)
    edge.change(f"{TWO} | mode=train")
    edge.step(0)
    edge.ask(Measure, 4, ("int8",))
    profile = load(Profile, decode(edge.tensors["profile"]).tobytes().decode())
    edge.step(1)

    assert profile.trained
    assert (profile.batches, set(profile.codecs)) == ((4,), {"int8"})
    assert "2 times slower" in profile.source
    assert same(edge.gather(), unsplit(2)[1])


def test_a_recall_of_what_is_not_there_is_refused(make_edge: MakeEdge) -> None:
    """And of a checkpoint with another optimizer."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.save(0)
    assert edge.refusal(Recall, 5, 2) == "not-found"
    edge.room.end("left")
    other = make_edge(
        settings=replace(edge.settings, optimizer=replace(edge.settings.optimizer, name="adam", options={}))
    )

    assert other.refusal(Recall, 0, 2) == "bad-document"


def test_a_room_that_ended_says_why(make_edge: MakeEdge) -> None:
    """Every message is answered, with the reason."""
    edge = make_edge()
    edge.room.end("the reason")
    answer, _ = edge.room.answer(Save(7, 0), {})

    assert (answer.request, answer.problem) == (7, "the reason")


def test_messages_of_other_vocabularies_are_refused(make_edge: MakeEdge) -> None:
    """A place's messages are not a room's."""
    assert make_edge().refusal(Forward, "part") == "protocol-violation"


def test_a_commit_that_fails_at_the_last_moment_leaves_everything_as_it_was(
    make_edge: MakeEdge, unsplit: Any
) -> None:
    """A memory that this optimizer does not have is found when it is put in place."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.step(0)
    prepared = edge.prepare(f"{ALL} | mode=train")
    given = edge.holding.export(prepared.missing) | {"optimizer/0.bias/exp_avg": np.zeros(16, np.float32)}
    edge.ask(Give, edge.version, True, tensors={name: encode(value) for name, value in given.items()})
    assert edge.refusal(Commit, edge.version, state_digest(given)) == "bad-document"
    assert edge.refusal(Take, ("0.weight",)) == "bad-document"
    edge.version -= 1
    edge.step(1)

    assert same(edge.gather(), unsplit(2)[1])


def test_what_is_given_again_takes_the_place_of_what_is_held(make_edge: MakeEdge) -> None:
    """An edge that went back to a time before may own what is still held here."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    prepared = edge.prepare(f"{TWO} | mode=train")
    given = {"weight/4.bias": np.full(16, 7, np.float32)}
    edge.ask(Give, edge.version, True, tensors={name: encode(value) for name, value in given.items()})
    edge.ask(Commit, edge.version, state_digest(given))
    edge.ask(Take, ("4.bias",))

    assert prepared.missing == ()
    assert (decode(edge.tensors["weight/4.bias"]) == 7).all()


def test_the_plan_in_force_is_not_abandoned(make_edge: MakeEdge) -> None:
    """It is left for another; one that was never prepared is abandoned already."""
    edge = make_edge()
    edge.change(f"{TWO} | mode=train")
    edge.ask(Abandon, 9)

    assert edge.refusal(Abandon, 1) == "protocol-violation"


def test_a_measurement_is_bounded(make_edge: MakeEdge) -> None:
    """No batch of nothing, no endless list of codecs."""
    edge = make_edge()

    assert edge.refusal(Measure, 0, ()) == "bad-document"
    assert edge.refusal(Measure, 1, ("int8",) * 33) == "bad-document"


def test_the_cloud_may_give_the_inputs_and_nothing_else(make_edge: MakeEdge, unsplit: Any) -> None:
    """Then the edge has the whole model, and slopes end here."""

    def data(ids: Any) -> dict[str, Any]:
        inputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(int(ids[0])))
        return {"whatever": inputs.numpy(), "label": np.zeros(6, np.int64)}

    edge = make_edge(data=data)
    edge.change("cloud -raw/raw-> edge[0:7] | mode=train")
    losses = [edge.step(step, ids=True) for step in range(2)]

    assert (losses, True) == (unsplit(2)[0], same(edge.gather(), unsplit(2)[1]))
    wrong = {"ids": encode(np.zeros(6, np.float32))}
    assert edge.refusal(Step, edge.version, 5, 0.1) == "bad-document"
    assert edge.refusal(Step, edge.version, 5, 0.1, tensors=wrong) == "bad-document"


def test_data_for_another_model_is_refused(make_edge: MakeEdge) -> None:
    """By the name of the input that it lacks."""
    edge = make_edge(data=lambda ids: {"one": np.zeros(6), "two": np.zeros(6)})
    edge.change("cloud[0:4] -raw/raw-> edge[4:7] | mode=train")
    ids = {"ids": encode(np.zeros(6, np.int64))}

    assert edge.refusal(Step, edge.version, 0, 0.1, tensors=ids) == "bad-document"


def test_with_a_window_the_cloud_replays_and_forgets_nothing(make_edge: MakeEdge) -> None:
    """Two steps are under way, and their slopes come in order; a recall forgets both."""
    edge = make_edge()
    edge.change(f"{THREE} | K=2 mode=train".replace("raw/raw", "int8/fp16"))
    edge.save(0)
    (up,), (down,) = edge.roles.up, edge.roles.down
    for step in range(2):
        edge.ask(Step, 1, step, 0.1, tensors={up: encode(np.ones((4, 16), np.float32), "int8")})
    edge.ask(Slope, 1, 0, 0.1, tensors={down: encode(np.ones((4, 16), np.float32))})
    assert edge.tensors[up].head.codec == "fp16"
    edge.ask(Recall, 0, 2)

    assert edge.refusal(Slope, 2, 1, 0.1) == "not-found"
