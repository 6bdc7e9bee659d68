"""How much arithmetic a part is."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_exits_work import flops
from partita.testing.onnx_models import filled

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
# name -> text, multiply-adds of one sample by hand
COUNTED = {
    "convolution": (
        """m (float[batch, 4, 8, 8] x) => (float[batch, 6, 4, 4] y) <float[6, 2, 3, 3] w> {
            y = Conv <group = 2, strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)
        }""",
        6 * 4 * 4 * 2 * 3 * 3,
    ),
    "transposed convolution": (
        """m (float[batch, 4, 8, 8] x) => (float[batch, 3, 16, 16] y) <float[4, 3, 2, 2] w> {
            y = ConvTranspose <strides = [2, 2]> (x, w)
        }""",
        4 * 8 * 8 * 3 * 2 * 2,
    ),
    "layer": (
        """m (float[batch, 5] x) => (float[batch, 7] y) <float[7, 5] w, float[7] b> {
            y = Gemm <transB = 1> (x, w, b)
        }""",
        5 * 7,
    ),
    "product of features": (
        """m (float[batch, 3, 5] x) => (float[batch, 3, 3] y) {
            t = Transpose <perm = [0, 2, 1]> (x)
            y = MatMul(x, t)
        }""",
        3 * 5 * 3,
    ),
    "elementwise": ("m (float[batch, 3] x) => (float[batch, 3] y) { y = Tanh(x) }", 0),
}


def counted(tmp_path: Path, text: str) -> float | None:
    path = tmp_path / "m.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(HEAD + text)).SerializeToString())
    return flops(capture_onnx(path).source, {"batch": 1})


@pytest.mark.parametrize("name", COUNTED)
def test_products_count_two_for_each_multiply_add(tmp_path: Path, name: str) -> None:
    """By hand for one sample."""
    text, products = COUNTED[name]

    assert counted(tmp_path, text) == 2 * products


def test_what_cannot_be_counted_is_unknown(tmp_path: Path) -> None:
    """A recurrent layer, whose products are inside."""
    text = """m (float[6, batch, 4] x) => (float[6, 1, batch, 5] y) <float[1, 5, 4] w, float[1, 5, 5] r> {
        y = RNN <hidden_size = 5> (x, w, r)
    }"""

    assert counted(tmp_path, text) is None


def test_open_sizes_are_unknown(tmp_path: Path) -> None:
    """Unless somebody binds them."""
    text = "m (float[batch, seq, 4] x) => (float[batch, seq, 4] y) <float[4, 4] w> { y = MatMul(x, w) }"

    assert counted(tmp_path, text) is None
