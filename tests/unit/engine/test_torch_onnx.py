"""Modules as ONNX files, with proof."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from partita.engine.torch_onnx import export_onnx
from partita.errors import CannotCapture, MissingExtra


class Branches(nn.Module):
    """Two inputs, two named outputs, dropout and a buffer that training would change."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(3, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        mixed = self.norm(self.one(left)) + self.two(right)
        return {"mixed": self.drop(mixed), "best": mixed.argmax(-1)}


class Attention(nn.Module):
    """What most transformers do between two projections."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4000, 16)
        self.head = nn.Linear(16, 4000, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.table(ids).view(ids.shape[0], -1, 2, 8).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(h, h, h, is_causal=True)
        out: torch.Tensor = self.head(mixed.transpose(1, 2).reshape(ids.shape[0], -1, 16))
        return out


class Constant(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"y": x + 1, "classes": 10}


class Eigen(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x)


class Deciding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x


PAIR = {"left": torch.ones(2, 4), "right": torch.ones(2, 3)}


def test_inputs_outputs_and_batch_have_the_modules_own_names(tmp_path: Path) -> None:
    """Whichever way they are given."""
    done = export_onnx(Branches(), (), PAIR, tmp_path / "m.onnx")
    graph = onnx.load(done.path).graph

    assert [value.name for value in graph.input] == ["left", "right"] == list(done.inputs)
    assert [value.name for value in graph.output] == ["mixed", "best"] == list(done.outputs)
    assert done.batch == "batch"
    assert {v.type.tensor_type.shape.dim[0].dim_param for v in (*graph.input, *graph.output)} == {"batch"}


def test_the_file_computes_what_the_module_computes(tmp_path: Path) -> None:
    """At the example's batch size and at another; both differences are told."""
    done = export_onnx(Branches(), (), PAIR, tmp_path / "m.onnx")

    assert done.batches == (2, 3)
    assert done.difference is not None
    assert 0 <= done.difference < 1e-5
    assert done.bytes == done.path.stat().st_size


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    """Its mode and its buffers; the file is that of eval mode."""
    module = Branches().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_onnx(module, (), PAIR, tmp_path / "m.onnx")

    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert "Dropout" not in {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}


def test_attention_and_a_tied_weight_are_exported(tmp_path: Path) -> None:
    """The shared table is there once."""
    done = export_onnx(Attention(), (torch.randint(0, 4000, (2, 5)),), {}, tmp_path / "m.onnx")
    tables = [t for t in onnx.load(done.path).graph.initializer if sorted(t.dims) == [16, 4000]]

    assert done.relative is not None
    assert done.relative < 1e-5
    assert len(tables) == 1


def test_a_fixed_batch_stays_fixed(tmp_path: Path) -> None:
    """On request; then it is tried at that size only."""
    done = export_onnx(nn.Linear(3, 2), (torch.ones(5, 3),), {}, tmp_path / "m.onnx", dynamic_batch=False)

    assert (done.batch, done.batches) == (None, (5,))


def test_a_batch_of_one_stays_open(tmp_path: Path) -> None:
    """Torch takes a dimension of one for a constant."""
    done = export_onnx(nn.Linear(3, 2), (torch.ones(1, 3),), {}, tmp_path / "m.onnx")

    assert done.batch == "batch"


def test_weights_lie_beside_the_file_on_request(tmp_path: Path) -> None:
    """And the pair is counted together."""
    done = export_onnx(nn.Linear(64, 64), (torch.ones(2, 64),), {}, tmp_path / "m.onnx", external=True)

    assert done.data == tmp_path / "m.onnx.data"
    assert done.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_weights_that_no_message_holds_go_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being asked."""
    monkeypatch.setattr("partita.engine.torch_onnx._LARGEST_MESSAGE", 1000)
    done = export_onnx(nn.Linear(64, 64), (torch.ones(2, 64),), {}, tmp_path / "m.onnx")

    assert done.data is not None


def test_an_older_operator_set_can_be_asked_for(tmp_path: Path) -> None:
    """As far as the exporter converts."""
    assert export_onnx(nn.Linear(3, 2), (torch.ones(2, 3),), {}, tmp_path / "m.onnx", opset=18).opset == 18


def test_the_file_tells_nothing_of_this_machine(tmp_path: Path) -> None:
    """The exporter notes the Python line of every node."""
    done = export_onnx(Branches(), (), PAIR, tmp_path / "m.onnx")

    assert b".py" not in done.path.read_bytes()


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        (Constant(), "Constant returns 'classes', which is no tensor"),
        (Eigen(), "Eigen cannot be written as ONNX: .*linalg_eig"),
        (Deciding(), r"Deciding cannot be captured: .*test_torch_onnx\.py"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path: Path, module: nn.Module, problem: str) -> None:
    """With the operator or the line, and without a file."""
    with pytest.raises(CannotCapture, match=problem):
        export_onnx(module, (torch.ones(2, 3, 3),), {}, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_torch_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither its steps nor its warnings."""
    export_onnx(nn.Linear(3, 2), (torch.ones(2, 3),), {}, tmp_path / "m.onnx")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("absent", ["onnx", "onnxscript"])
def test_without_the_libraries_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    """How to install it."""
    monkeypatch.setattr(
        "partita.engine.torch_onnx.find_spec", lambda name: None if name == absent else object()
    )
    with pytest.raises(MissingExtra, match=f"export to ONNX needs {absent}") as caught:
        export_onnx(nn.Linear(3, 2), (torch.ones(2, 3),), {}, tmp_path / "m.onnx")
    assert caught.value.fix == "pip install 'partita[onnx]'"
