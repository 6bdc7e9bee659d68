"""How a training begins: captured, greeted, measured."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_portable import pack_torch
from partita.errors import BadDocument, DigestMismatch, PartitaError
from partita.graph import CodecCost, Profile
from partita.profile import Effort
from partita.testing.lines import Tampering, around
from partita.train import opening as module
from partita.train import room_measuring
from partita.train.line import DirectLine, Line
from partita.train.messages import Begin, Begun, Measure, Model
from partita.train.opening import Opening, codecs_of, greet, private_front, run_id
from partita.train.room import House, Room
from partita.train.settings import Settings

from .conftest import SETTINGS, batch_of, small_net

COST = CodecCost(1e-9, 1e-9)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A room whose measurements take a moment only."""
    for each in (module, room_measuring):
        monkeypatch.setattr(each, "EFFORT", Effort(seconds=0.002, budget=0.02))
        monkeypatch.setattr(each, "measure_codecs", lambda names, **_: dict.fromkeys(names, COST))
    room = Room(House(tmp_path / "state"))
    yield room
    room.end("the test is over")


def opening(folder: Path | None = None, cloud: Callable[[], Line] | None = None, **fields: Any) -> Opening:
    return Opening(SETTINGS, cloud, None, None, fields.get("profiles", {}), folder, 1)


def captured() -> Any:
    return capture_torch(small_net(), (batch_of(0)[0],), name="net", mode="train")


def pieces_of(model: Any) -> dict[str, bytes]:
    return {"model": pack_torch(model)}


# -- the model ------------------------------------------------------------------------------------------------------------


def test_a_module_is_captured_in_train_mode_from_the_first_batch() -> None:
    model = opening().captured(small_net(), [batch_of(0)])

    assert model.mode == "train"
    assert model.chain.tensors[model.chain.inputs[0]].shape[1:] == (8,)


def test_a_captured_model_is_put_in_train_mode() -> None:
    model = captured()
    model.set_mode("eval")

    assert opening().captured(model, []).mode == "train"


class Skip(torch.nn.Module):
    """A raw input that is read again late; `small` decides whether in another form."""

    def __init__(self, *, scaled: bool) -> None:
        super().__init__()
        self.scaled = scaled
        self.one, self.two, self.three = (torch.nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x * 2 if self.scaled else x
        return self.three(torch.tanh(self.two(torch.tanh(self.one(kept)))) + kept)


@pytest.mark.parametrize(
    ("net", "least"),
    [
        (small_net(), 1),
        (torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU(), torch.nn.Linear(8, 4), torch.nn.ReLU()), 3),
        (torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU()), 2),
        (Skip(scaled=True), 5),
        (Skip(scaled=False), 4),
    ],
    ids=["weights first", "weights third", "no weights", "a skip of the input scaled", "a skip of the input"],
)
def test_what_no_weights_have_seen_stays(net: torch.nn.Module, least: int) -> None:
    """No cut from there on is crossed by an input, or by what was made of inputs alone."""
    model = capture_torch(net, (torch.randn(6, 8),), mode="train")
    found = private_front(model)
    raw = {*model.chain.inputs, *(s.outputs[0] for s in model.chain.stages if s.name == "mul")}

    assert found == least
    for position in range(found, len(model.chain)):
        assert not raw & set(model.chain.part_inputs(position, len(model.chain)))


# -- the run --------------------------------------------------------------------------------------------------------------


def test_a_run_has_one_secret_name_that_only_its_owner_can_read(tmp_path: Path) -> None:
    name = run_id(tmp_path / "run")

    assert run_id(tmp_path / "run") == name
    assert len(bytes.fromhex(name)) == 16
    assert stat.S_IMODE((tmp_path / "run/run-id").stat().st_mode) == 0o600
    assert run_id(None) != run_id(None)


def test_checkpoints_are_opened_once_and_let_go(tmp_path: Path) -> None:
    first, second = opening(tmp_path), opening(tmp_path)
    assert first.checkpoints() is first.checkpoints()
    with pytest.raises(PartitaError, match="in use"):
        second.checkpoints()
    first.close()
    assert second.checkpoints() is not None
    second.close()
    second.close()
    assert opening().checkpoints() is None


def test_the_cloud_gets_the_model_where_it_does_not_know_it(
    cloud: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of a bounded size."""
    monkeypatch.setattr(module, "MESSAGE_BYTES", 1000)
    tampering = Tampering()
    line = around(lambda: cloud, tampering)()
    begun = greet(line, "a" * 32, captured(), SETTINGS, pieces_of(captured()))
    pieces = tampering.said(Model)

    assert begun.known
    assert len(pieces) > 1
    assert [each.message.last for each in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(each.tensors["model"].nbytes <= 1000 for each in pieces)


def test_a_model_that_the_cloud_offers_is_not_sent(tmp_path: Path) -> None:
    model, tampering = captured(), Tampering()
    room = Room(House(tmp_path, {model.chain.digest: pieces_of(model)["model"]}))
    begun = greet(around(lambda: room, tampering)(), "a" * 32, model, SETTINGS, pieces_of(model))
    room.end("the test is over")

    assert begun == Begun(1, True, (), "cpu")
    assert not tampering.said(Model)


def test_a_line_on_which_the_greeting_fails_is_hung_up(tmp_path: Path) -> None:
    room, closed = Room(House(tmp_path)), list[bool]()
    line = DirectLine(room)
    line.close = lambda: closed.append(True)  # type: ignore[method-assign]
    model = captured()
    dial = opening(cloud=lambda: line).dial(model, None)
    room.answer(Begin(1, "b" * 32, "net", "sha256:1", "{}"), {})
    room.end("somebody else has it")
    with pytest.raises(PartitaError):
        dial()
    assert closed == [True]


# -- measuring ------------------------------------------------------------------------------------------------------------


def test_both_ends_are_measured_once_for_a_run(cloud: Room, tmp_path: Path) -> None:
    """The profiles lie in its folder; neither weights, buffers nor random numbers are touched."""
    model, tampering = captured(), Tampering()
    line = around(lambda: cloud, tampering)()
    greet(line, "a" * 32, model, SETTINGS, pieces_of(model))
    before = {name: tensor.clone() for name, tensor in model.book.persistent().items()}
    state = torch.get_rng_state()
    run = opening(tmp_path / "run")
    (tmp_path / "run").mkdir()
    found = run.measured(model, line, 2.0)
    again = opening(tmp_path / "run").measured(model, line, 2.0)

    assert set(found) == {"edge", "cloud"}
    assert again == found
    assert len(tampering.said(Measure)) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.book.persistent().items())


def test_a_profile_that_was_given_is_not_measured(cloud: Room) -> None:
    model, tampering = captured(), Tampering()
    line = around(lambda: cloud, tampering)()
    greet(line, "a" * 32, model, SETTINGS, pieces_of(model))
    mine: dict[str, Profile] = opening().measured(model, line, 1.0)
    tampering.exchanges.clear()

    assert opening(profiles=mine).measured(model, line, 1.0) == mine
    assert not tampering.said(Measure)


def test_codecs_that_were_asked_for_are_measured_too() -> None:
    usual = codecs_of(Settings())

    assert codecs_of(Settings(codec_up="top:0.1", codec_down=usual[-1])) == (*usual, "top:0.1")


def test_a_kept_profile_that_is_damaged_is_named(cloud: Room, tmp_path: Path) -> None:
    model = captured()
    run = opening(tmp_path)
    file = run._file(model, "edge")
    assert file is not None
    file.write_text("{")
    line = around(lambda: cloud)()
    greet(line, "a" * 32, model, SETTINGS, pieces_of(model))
    with pytest.raises((BadDocument, DigestMismatch), match="profile-edge") as refusal:
        run.measured(model, line, 1.0)
    assert refusal.value.fix
