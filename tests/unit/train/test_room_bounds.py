"""What a room refuses, bounds and measures, and how a run begins there."""

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
    Give,
    Measure,
    Model,
    Prepare,
    Recall,
    Save,
    Slope,
    Step,
    Take,
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
