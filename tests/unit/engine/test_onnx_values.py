"""Values keep their bits on the way into ONNX Runtime and back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_proof import prove
from partita.engine.onnx_tensor import DTYPES
from partita.engine.onnx_values import _pack, _unpack, dtype_of, from_handle, numpy_dtype, problems, to_handle
from partita.graph import DType

NARROW = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_types_survive_both_ways(name: str) -> None:
    """Through an OrtValue and back, shape included."""
    value = np.arange(-3, 12).reshape(3, 5).astype(getattr(ml_dtypes, name))
    back = from_handle(to_handle(value, DType(name)))

    assert back.dtype == value.dtype
    assert back.tobytes() == value.tobytes()


@pytest.mark.parametrize("shape", [(), (0, 4), (1,)])
def test_shapes_without_an_inside_survive(shape: tuple[int, ...]) -> None:
    """Scalars stay scalars, and nothing stays nothing."""
    value = np.ones(shape, ml_dtypes.bfloat16)

    assert from_handle(to_handle(value, DType.BFLOAT16)).shape == shape


def test_values_in_any_memory_order_arrive_in_theirs() -> None:
    """A transposed view is copied, not reinterpreted."""
    value = np.arange(6, dtype=np.float32).reshape(2, 3).T

    assert np.array_equal(from_handle(to_handle(value, DType.FLOAT32)), value)


@given(st.lists(st.integers(-8, 7)))
def test_four_bit_integers_pack_two_to_a_byte(numbers: list[int]) -> None:
    """Odd counts included."""
    value = np.array(numbers, np.int8).astype(ml_dtypes.int4)
    raw = _pack(value)

    assert len(raw) == (len(numbers) + 1) // 2
    assert _unpack(raw, len(numbers), DType.INT4).astype(np.int8).tolist() == numbers


@pytest.mark.parametrize("name", NARROW)
def test_narrow_types_cross_a_cut(name: str, tmp_path: Path) -> None:
    """Cut after a Cast to it and before the Cast back: no bit lost."""
    text = f"""<ir_version: 10, opset_import: ["" : 21]> g (float[batch, 5] x) => (float[batch, 5] y) {{
        a = Mul(x, x)  b = Cast <to = {NARROW[name]}> (a)  c = Cast <to = 1> (b)  y = Sqrt(c)
    }}"""
    path = tmp_path / "narrow.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model = capture_onnx(path)

    assert [t.dtype for t in model.chain.cut(2).tensors] == [name]
    assert prove(model, [2], batch=3).equal


def test_the_runtimes_names_are_ours() -> None:
    """Every type we know by number is known by ONNX Runtime's name too."""
    names = {
        DType.FLOAT32: "float",
        DType.FLOAT64: "double",
    }

    for dtype in DTYPES.values():
        name = names.get(dtype, dtype.replace("_", ""))
        assert dtype_of(f"tensor({name})") is dtype
    assert dtype_of("seq(tensor(float))") is DType.SEQUENCE
    assert dtype_of("optional(tensor(float))") is DType.OPTIONAL
    assert dtype_of("sparse_tensor(float)") is DType.UNKNOWN


def test_numpy_holds_every_type_that_travels_in_as_many_bytes() -> None:
    """The sizes that are planned with are the sizes that are sent."""
    for dtype in DTYPES.values():
        if dtype.travels:
            assert numpy_dtype(dtype).itemsize == dtype.itemsize


def test_texts_are_taken_in_numpys_two_forms() -> None:
    """Fixed width and objects; numbers are not texts."""
    argument = SimpleNamespace(name="x", type="tensor(string)", shape=["n"])

    assert problems({"x": np.array(["a"])}, ["x"], [argument]) == []
    assert problems({"x": np.array(["a"], object)}, ["x"], [argument]) == []
    assert problems({"x": np.array([1])}, ["x"], [argument]) == ["'x' must be string, not int64"]


def test_what_is_no_tensor_is_not_taken() -> None:
    """Sequences end at the model's own stages."""
    argument = SimpleNamespace(name="s", type="seq(tensor(float))", shape=[])

    (said,) = problems({"s": np.ones(1)}, ["s"], [argument])
    assert "only tensors" in said
