"""Slices are compared with the whole, bit for bit, on inputs given or made."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.errors import BadDocument, CorruptArtifact, PlanMismatch
from partita.slice import Preparation, cut, plan_at, prepare, verify
from partita.slice.slicer import UNPREPARED
from partita.testing.onnx_models import NAMES, filled, write_onnx

HEAD = '<ir_version: 9, opset_import: ["" : 18]> '
WIDE = """
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        y = MatMul(d, w3)
    }"""
# Answers of other types than numbers with a point.
TYPES = """
    types (float[batch, 8] x, int64[batch, 8] n, string[batch] s) =>
        (int64[batch, 8] whole, bool[batch, 8] large, string[batch] text, float[batch, 8] y, float16[batch, 8] half) {
        a = Tanh(x)
        zero = Constant <value = float {0.0}> ()
        large = Greater(a, zero)
        whole = Add(n, n)
        b = Sin(a)
        text = Identity(s)
        half = Cast <to = 10> (b)
        y = Cos(b)
    }"""
NOT_A_NUMBER = (
    "nan (float[batch, 8] x) => (float[batch, 8] y) { a = Neg(x)  b = Abs(x)  c = Add(a, b)  y = Log(c) }"
)
FIXED = "fixed (float[5, 8] x) => (float[5, 8] y) <float[8, 8] w> { a = MatMul(x, w)  y = Tanh(a) }"


def sliced(path: Path, made: Preparation = UNPREPARED, **more: Any) -> Path:
    """Cut everywhere."""
    ready = prepare(path, made)
    cuts = tuple(c.position for c in ready.chain.cuts if c.legal and 0 < c.position < len(ready.chain))
    cut(ready, plan_at(ready.chain, cuts, preparation=made), path.parent / "slices", **more)
    return path.parent / "slices"


def written(text: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(HEAD + text)).SerializeToString())
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WIDE and its slices; nobody changes them."""
    path = written(WIDE, tmp_path_factory.mktemp("verify"))
    sliced(path)
    return path.parent


@pytest.mark.parametrize("level", ["none", "extended"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "loop"])
def test_slices_of_every_construct_are_equal(tmp_path: Path, name: str, level: Any) -> None:
    path = write_onnx(name, tmp_path)
    found = verify(path, sliced(path, Preparation(level)), seeds=2)

    assert found.passed
    assert found.equal
    assert set(found.absolute) == {value.name for value in onnx.load(path).graph.output}


def test_what_was_compared_is_said(made: Path) -> None:
    found = verify(made / "model.onnx", made / "slices", seeds=2)

    assert (found.slices, found.exactness, found.level, found.runs) == (5, "exact", "none", 2)
    assert dict(found.absolute) == dict(found.relative) == {"y": 0.0}


def test_inputs_of_ones_own_are_taken(made: Path) -> None:
    values = {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)}
    found = verify(made / "model.onnx", made / "slices", values)

    assert found.equal
    assert found.runs == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "'x' is missing"),
        ({"x": np.zeros((1, 8), np.float32), "z": np.zeros(1)}, "'z' is not an input"),
        ({"x": np.zeros((1, 8))}, "'x' must be float32, not float64"),
        ({"x": np.zeros((1, 7), np.float32)}, r"'x' must have the shape \[batch, 8\], not \[1, 7\]"),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(made: Path, values: Any, said: str) -> None:
    with pytest.raises(BadDocument, match=f"inputs of model: .*{said}"):
        verify(made / "model.onnx", made / "slices", values)


def test_integers_truth_text_and_half_precision_are_compared(tmp_path: Path) -> None:
    path = written(TYPES, tmp_path)
    values = {
        "x": np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32),
        "n": np.arange(24).reshape(3, 8),
        "s": np.array(["one", "zwei", "trois"], object),
    }

    found = verify(path, sliced(path), values)
    assert found.equal
    assert set(found.absolute) == {"whole", "large", "text", "y", "half"}


def test_what_is_not_a_number_in_both_is_equal(tmp_path: Path) -> None:
    path = written(NOT_A_NUMBER, tmp_path)

    assert verify(path, sliced(path), {"x": np.full((2, 8), np.nan, np.float32)}).equal


def test_a_model_that_fixes_its_batch_is_verified_at_it(tmp_path: Path) -> None:
    path = written(FIXED, tmp_path)

    assert verify(path, sliced(path)).equal


def test_fast_slices_pass_within_the_tolerance(made: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(made / "model.onnx", tmp_path))
    found = verify(path, sliced(path, exactness="fast"))

    assert found.exactness == "fast"
    assert found.passed
    assert max(found.relative.values()) <= found.tolerance


def forged(made: Path, tmp_path: Path, factor: float, exactness: str) -> tuple[Path, Path]:
    """Slices of a model whose last weight is a little larger, passed off as those of the model."""
    model = onnx.load(made / "model.onnx")
    (last,) = [tensor for tensor in model.graph.initializer if tensor.name == "w3"]
    last.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(last) * np.float32(factor), "w3"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    folder = sliced(tmp_path / "model.onnx", exactness=exactness)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["plan"]["digest"] = prepare(made / "model.onnx", Preparation()).chain.digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return made / "model.onnx", folder


@pytest.mark.parametrize(
    ("exactness", "factor", "passed"),
    [("exact", 1.00001, False), ("fast", 1.00001, True), ("fast", 1.1, False)],
)
def test_other_numbers_are_measured_and_held_against_the_promise(
    made: Path, tmp_path: Path, exactness: str, factor: float, passed: bool
) -> None:
    found = verify(*forged(made, tmp_path, factor, exactness))

    assert not found.equal
    assert found.passed is passed
    assert found.relative["y"] == pytest.approx(factor - 1, rel=0.3)


def test_an_altered_weight_is_found_before_anything_runs(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "slices", tmp_path / "slices"))
    file = next(folder.glob("slice-02*.data"))
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)

    with pytest.raises(CorruptArtifact, match=f"slice 2: .*{file.name}"):
        verify(made / "model.onnx", folder)


@pytest.mark.parametrize(
    "preparation", [Preparation(), Preparation("extended"), Preparation(recompute=("Relu_1",))]
)
def test_slices_of_another_model_are_refused(made: Path, tmp_path: Path, preparation: Preparation) -> None:
    folder = shutil.copytree(made / "slices", tmp_path / "slices")
    path = Path(shutil.copy(made / "model.onnx", tmp_path))
    folder = sliced(path, preparation)

    with pytest.raises(PlanMismatch) as caught:
        verify(write_onnx("split", tmp_path), folder)
    assert "partita slice" in caught.value.fix
