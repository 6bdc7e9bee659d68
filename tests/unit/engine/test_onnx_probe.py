"""What ONNX Runtime refuses is refused at capture, in words that name the obstacle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_file import read_file
from partita.engine.onnx_probe import probe
from partita.errors import CannotCapture
from partita.graph import DType
from partita.testing.onnx_models import onnx_model

HEAD = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1, "acme" : 1]>'


def saved(model: Any, folder: Path) -> Path:
    """A model as a file."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_an_ir_version_from_the_future_is_named(tmp_path: Path) -> None:
    """With the version that this ONNX Runtime reads."""
    model = onnx_model("skip")
    model.ir_version = 99

    with pytest.raises(CannotCapture, match=r"IR version 99, and ONNX Runtime .* up to \d+"):
        capture_onnx(saved(model, tmp_path))


def test_an_operator_set_from_the_future_is_named(tmp_path: Path) -> None:
    """With the version that this ONNX Runtime knows."""
    model = onnx_model("skip")
    model.opset_import[0].version = 999

    with pytest.raises(
        CannotCapture, match=r"version 999 of the operator set ai.onnx; .* up to \d+"
    ) as error:
        capture_onnx(saved(model, tmp_path))

    assert "version_converter" in error.value.fix


def test_a_custom_operator_is_named(tmp_path: Path) -> None:
    """With what can be done about it."""
    model = onnx.parser.parse_model(HEAD + "g (float[2] x) => (float[2] y) { a = Neg(x) y = acme.Magic(a) }")

    with pytest.raises(CannotCapture, match="operator acme:Magic") as error:
        capture_onnx(saved(model, tmp_path))

    assert "local function" in error.value.fix


def test_an_operator_without_an_implementation_is_named(tmp_path: Path) -> None:
    """Types that no CPU kernel takes."""
    model = onnx.parser.parse_model(HEAD + "g (uint16[2] x) => (uint16[2] y) { y = Max(x, x) }")

    with pytest.raises(CannotCapture, match=r"Max \(opset 13, node ''\) with types"):
        capture_onnx(saved(model, tmp_path))


def test_any_other_complaint_is_passed_on(tmp_path: Path) -> None:
    """Without the runtime's codes, with a way to learn more."""
    model = onnx.parser.parse_model(HEAD + "g (float[2] x) => (float[2] y) { y = Neg <colour = 3> (x) }")

    with pytest.raises(CannotCapture, match=r"does not load .*colour") as error:
        capture_onnx(saved(model, tmp_path))

    assert "[ONNXRuntimeError]" not in error.value.problem
    assert "check_model" in error.value.fix


def test_types_of_operators_beyond_the_standard_come_from_the_runtime(tmp_path: Path) -> None:
    """Shape inference does not know com.microsoft; ONNX Runtime does."""
    text = "g (float[batch, 8] x) => (float[batch, 8] y) { a = com.microsoft.QuickGelu(x) y = Neg(a) }"
    chain = capture_onnx(saved(onnx.parser.parse_model(HEAD + text), tmp_path)).chain

    assert chain.tensors["a"].dtype is DType.FLOAT32
    assert chain.tensors["a"].shape == ("batch", 8)
    assert chain.cut(1).legal


@pytest.mark.parametrize("outside", [False, True])
def test_the_probe_asks_without_the_weights(outside: bool, tmp_path: Path) -> None:
    """Large weights are holes, inline or external, and the answer is the same."""
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    model = onnx.parser.parse_model(
        HEAD + "g (float[batch, 64] x) => (float[batch, 64] y) { y = MatMul(x, w) }"
    )
    model.graph.initializer.append(weight)
    path = tmp_path / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=outside, location="model.data", size_threshold=0)
    session = probe(read_file(path), [])

    assert session is not None
    (zeros,) = session.run(None, {"x": np.ones((2, 64), np.float32)})
    assert zeros.shape == (2, 64)
    assert not zeros.any()
