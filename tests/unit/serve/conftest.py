"""Networks with exits, small enough to be read: as ONNX text, written and exported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.testing.onnx_models import filled

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
# The third stage reads what the first made: a skip connection over a border.
THREE = """
    three (float[batch, 64] x) => (float[batch, 3] first, float[batch, 3] second, float[batch, 3] third)
    <float[64, 64] w1, float[64, 64] w2, float[64, 64] w3, float[64, 3] h1, float[64, 3] h2, float[64, 3] h3> {
        f1 = MatMul(x, w1)
        r1 = Tanh(f1)
        g1 = Relu(r1)
        first = MatMul(g1, h1)
        f2 = MatMul(r1, w2)
        r2 = Tanh(f2)
        second = MatMul(r2, h2)
        f3 = MatMul(r2, w3)
        s3 = Add(f3, r1)
        r3 = Tanh(s3)
        third = MatMul(r3, h3)
    }"""


def write_exits(text: str, path: Path) -> Path:
    """An ONNX file from text; declared values that nothing makes are weights."""
    path.write_bytes(filled(onnx.parser.parse_model(HEAD + text)).SerializeToString())
    return path


@pytest.fixture
def onnx_exits(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a network from its text."""
    return lambda text: write_exits(text, tmp_path / "given.onnx")


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three exits, with a skip connection, as one ONNX file."""
    return write_exits(THREE, tmp_path / "three.onnx")


@pytest.fixture(scope="session")
def three_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, exported; to be read only."""
    folder = tmp_path_factory.mktemp("three")
    export(write_exits(THREE, folder / "three.onnx"), folder / "model")
    return folder / "model"


@pytest.fixture
def exit_model(three_folder: Path) -> ExitModel:
    """The exported network, to be run with the bits of the whole."""
    return ExitModel.open(three_folder, speed="exact", check=False)
