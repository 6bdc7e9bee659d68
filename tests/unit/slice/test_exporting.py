"""Any model reference as an ONNX file."""

from pathlib import Path

import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.errors import BadDocument, BadReference
from partita.graph import parse_tensor
from partita.slice.exporting import export

FACTORY = """
import torch
def pair(width=4):
    return torch.nn.Linear(8, width), torch.ones(2, 8)
def bare():
    return torch.nn.Linear(8, 4)
"""


@pytest.fixture
def factory(tmp_path: Path) -> str:
    path = tmp_path / "mynets.py"
    path.write_text(FACTORY)
    return str(path)


def test_a_factorys_module_becomes_a_file_that_can_be_cut(factory: str, tmp_path: Path) -> None:
    """With the reference's options, an open batch and the names of the module."""
    done = export(f"{factory}:pair?width=3", tmp_path / "made.onnx")
    chain = capture_onnx(done.path).chain

    assert (done.inputs, done.outputs, done.batch) == (("input",), ("output",), "batch")
    assert chain.tensors["output"].shape == ("batch", 3)


def test_a_module_without_an_example_needs_a_description(factory: str, tmp_path: Path) -> None:
    """As in every other command."""
    with pytest.raises(BadReference, match="without example inputs"):
        export(f"{factory}:bare", tmp_path / "made.onnx")
    spec = parse_tensor("input:float32[batch,8]")

    assert export(f"{factory}:bare", tmp_path / "made.onnx", inputs=(spec,), batch=3).batches == (3, 4)


def test_the_same_seed_gives_the_same_weights(factory: str, tmp_path: Path) -> None:
    """In the file too."""
    first, second, other = (
        capture_onnx(export(f"{factory}:pair", tmp_path / f"{name}.onnx", seed=seed).path).weights
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert first == second != other


def test_an_onnx_file_is_refused_with_the_command_that_cuts_it(tmp_path: Path) -> None:
    """There is nothing to export."""
    with pytest.raises(BadReference, match="is an ONNX file already") as caught:
        export("model.onnx", tmp_path / "made.onnx")
    assert "partita slice cut model.onnx" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "problem"), [("made.bin", "does not end with .onnx"), ("absent/made.onnx", "is not there")]
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    factory: str, tmp_path: Path, name: str, problem: str
) -> None:
    """The reference is not even read."""
    with pytest.raises(BadDocument, match=problem):
        export("no:such:reference", tmp_path / name)


def test_a_tensorflow_model_takes_no_example(tmp_path: Path) -> None:
    """It has its inputs and weights."""
    model = tmp_path / "model.keras"
    model.touch()
    with pytest.raises(BadReference, match="holds its weights and its inputs"):
        export(str(model), tmp_path / "made.onnx", batch=3)
    with pytest.raises(BadReference, match="there is no file"):
        export(str(tmp_path / "absent.h5"), tmp_path / "made.onnx")
