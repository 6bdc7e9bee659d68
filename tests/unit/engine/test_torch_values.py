"""Arrays as tensors and back."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest
import torch

from partita.engine.torch_values import dtype_of, to_numpy, to_torch
from partita.graph import DType

NUMPY = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
FOREIGN = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]


@pytest.mark.parametrize("name", NUMPY + FOREIGN)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_every_type_survives_the_way_to_torch_and_back(name: str, shape: tuple[int, ...]) -> None:
    """Bit for bit, scalars and empty tensors included."""
    dtype = np.dtype(getattr(ml_dtypes, name) if name in FOREIGN else name)
    array = np.ones(shape).astype(dtype)
    tensor = to_torch(array)
    back = to_numpy(tensor)

    assert dtype_of(tensor) == DType(name)
    assert (back.dtype, back.shape, back.tobytes()) == (dtype, shape, array.tobytes())


def test_nothing_is_copied_where_both_can_see_the_memory() -> None:
    """Also for types that only ml_dtypes knows."""
    for dtype in (np.float32, ml_dtypes.bfloat16):
        array = np.zeros((4, 4), dtype)

        assert np.shares_memory(to_numpy(to_torch(array)), array)


def test_read_only_arrays_are_taken_as_they_are_and_without_a_warning() -> None:
    """Buffers from the wire are read-only; torch would warn about each."""
    array = np.frombuffer(bytes(16), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = to_torch(array)

    assert tensor.data_ptr() == array.ctypes.data


def test_reversed_and_foreign_byte_order_is_put_right() -> None:
    """Torch has neither negative strides nor big-endian numbers."""
    array = np.arange(4, dtype=">f4")[::-1]

    assert to_torch(array).tolist() == [3.0, 2.0, 1.0, 0.0]


def test_what_has_no_bytes_of_its_own_is_unknown() -> None:
    """A sparse tensor cannot cross a cut."""
    assert dtype_of(torch.eye(2).to_sparse()) is DType.UNKNOWN
