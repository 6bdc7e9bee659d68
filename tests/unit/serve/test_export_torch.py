"""The PyTorch end of an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine.torch_state import StateBook, save_file
from partita.errors import BadDocument
from partita.serve.exits import MultiExit, Stage, summed
from partita.serve.exits_build import build_exits
from partita.serve.export_torch import write_torch
from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.serve.train_run import write_run
from partita.serve.train_spec import Run, TrainSpec


class Double(nn.Module):
    """The sum of two features through a layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, first: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.tanh(self.layer(first)) + sum(rest)
        return made


class Head(nn.Module):
    """Logits from the first feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        made: torch.Tensor = self.layer(self.drop(features[0]))
        return made


def network(inputs: int = 1, names: tuple[str, ...] = ("early", "middle", "late")) -> MultiExit:
    torch.manual_seed(3)
    return MultiExit(
        [Stage(Double(6)) for _ in names],
        [Head(6) for _ in names],
        names=names,
        classes=3,
        kind="image",
        example=lambda batch: tuple(torch.randn(batch, 6) for _ in range(inputs)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("torch") / "model"
    export(network(), made)
    return made


def test_the_difference_to_torch_is_rounding_and_stated(folder: Path) -> None:
    """The manifest holds it."""
    found = ExitModel.open(folder).manifest.parity.torch

    assert found is not None
    assert found < 1e-5


def test_every_exit_answers_as_in_torch(folder: Path) -> None:
    """On inputs that the export never saw, at another batch size."""
    x = torch.randn(7, 6)
    with torch.no_grad():
        wanted = network().eval()(x)
    model = ExitModel.open(folder)

    for k, logits in enumerate(wanted):
        np.testing.assert_allclose(model.run_to(k, x.numpy()), logits.numpy(), atol=1e-5)


def test_exits_keep_the_names_they_have_in_torch(folder: Path) -> None:
    """As exits and as outputs; the only input is `input`, as in the original's files."""
    manifest = ExitModel.open(folder).manifest

    assert manifest.exits == manifest.outputs == ("early", "middle", "late")
    assert [spec.name for spec in manifest.inputs] == ["input"]


def test_names_that_onnx_cannot_carry_stay_names_of_exits(tmp_path: Path) -> None:
    """The files number them."""
    made = export(network(names=("after 1", "after 2")), tmp_path / "model")

    assert (made.exits, made.outputs) == (("after 1", "after 2"), ("exit_0", "exit_1"))


def test_several_inputs_are_numbered(tmp_path: Path) -> None:
    """And given in order."""
    made = export(network(inputs=2), tmp_path / "model")
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    with torch.no_grad():
        wanted = network(inputs=2).eval()(x, y)[2].numpy()

    assert [spec.name for spec in made.inputs] == ["input.0", "input.1"]
    np.testing.assert_allclose(
        ExitModel.open(tmp_path / "model").run_to(2, (x.numpy(), y.numpy())), wanted, atol=1e-5
    )


def test_exits_that_answer_with_sums_keep_the_sum_as_a_feature(tmp_path: Path) -> None:
    """A later exit needs the heads before it, so no span leaves them out."""
    made = export(summed(network()), tmp_path / "model")

    assert "early" in [feature.name for feature in made.borders[1]]
    assert made.parity.spans == 0.0


def test_a_network_in_training_is_given_back_as_it_was(tmp_path: Path) -> None:
    """Exported in eval mode, then as before."""
    model = network().train()
    write_torch(model, tmp_path)

    assert model.training
    assert model.heads.training


def test_exits_of_a_module_are_not_chosen_by_output(tmp_path: Path) -> None:
    """They are its own."""
    with pytest.raises(BadDocument, match=r"only those of an \.onnx file"):
        export(network(), tmp_path / "model", exits=("early",))
    assert not (tmp_path / "model").exists()


def test_a_finished_training_is_exported_by_its_folder(tmp_path: Path) -> None:
    """With the trained weights, under the name of the folder."""
    shape, names = (3, 16, 16), ("a", "b", "c")
    trained = build_exits("early-cnn", 3, shape=shape, arguments={"width": 4}, seed=7)
    spec = TrainSpec(model="early-cnn", arguments={"width": 4}, epochs=1)
    run = Run(spec, trained.names, names, "image", shape, (1.0,) * 4, finished=True)
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", run)
    save_file(tmp_path / "run" / "weights.safetensors", StateBook.of(trained).persistent(), {})
    made = export(tmp_path / "run", tmp_path / "model")
    x = trained.example(2)
    with torch.no_grad():
        wanted = trained.eval()(*x)[3].numpy()

    assert (made.model, made.exits) == ("early-cnn", trained.names)
    np.testing.assert_allclose(ExitModel.open(tmp_path / "model").run_to(3, x[0].numpy()), wanted, atol=1e-5)
