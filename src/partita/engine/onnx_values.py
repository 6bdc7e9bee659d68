"""Values between numpy and ONNX Runtime, bfloat16, float8 and four-bit integers included.

Rules: a value keeps its bits on both ways; all that is wrong with a set of inputs is said at once, by name.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ..errors import PartFailed
from ..graph import DType
from .base import Array

# The names ONNX Runtime gives to element types: tensor(NAME).
_NAMES = {
    "bool": DType.BOOL,
    "int4": DType.INT4,
    "uint4": DType.UINT4,
    "int8": DType.INT8,
    "uint8": DType.UINT8,
    "int16": DType.INT16,
    "uint16": DType.UINT16,
    "int32": DType.INT32,
    "uint32": DType.UINT32,
    "int64": DType.INT64,
    "uint64": DType.UINT64,
    "float8e4m3fn": DType.FLOAT8_E4M3FN,
    "float8e4m3fnuz": DType.FLOAT8_E4M3FNUZ,
    "float8e5m2": DType.FLOAT8_E5M2,
    "float8e5m2fnuz": DType.FLOAT8_E5M2FNUZ,
    "float16": DType.FLOAT16,
    "bfloat16": DType.BFLOAT16,
    "float": DType.FLOAT32,
    "double": DType.FLOAT64,
    "complex64": DType.COMPLEX64,
    "complex128": DType.COMPLEX128,
    "string": DType.STRING,
}
# onnx.TensorProto.DataType of the types that numpy alone does not have.
_EXOTIC = {
    DType.BFLOAT16: 16,
    DType.FLOAT8_E4M3FN: 17,
    DType.FLOAT8_E4M3FNUZ: 18,
    DType.FLOAT8_E5M2: 19,
    DType.FLOAT8_E5M2FNUZ: 20,
    DType.UINT4: 21,
    DType.INT4: 22,
}
_PACKED = (DType.INT4, DType.UINT4)


def dtype_of(kind: str) -> DType:
    """The element type behind a name such as `tensor(float)`."""
    outer, _, inner = kind.partition("(")
    match outer:
        case "tensor":
            return _NAMES.get(inner.removesuffix(")"), DType.UNKNOWN)
        case "seq":
            return DType.SEQUENCE
        case "optional":
            return DType.OPTIONAL
        case _:
            return DType.UNKNOWN


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """How numpy holds an element type."""
    if dtype is DType.STRING:
        return np.dtype(object)
    name = dtype.value
    return np.dtype(getattr(ml_dtypes, name)) if dtype in _EXOTIC else np.dtype(name)


def problems(values: Mapping[str, Array], names: Sequence[str], arguments: Sequence[Any]) -> list[str]:
    """All that is wrong with some inputs: names that lack or do not belong, types, ranks, sizes."""
    found = [f"{name!r} is missing" for name in names if name not in values]
    found += [f"{name!r} is not an input" for name in values if name not in names]
    for argument in arguments:
        if argument.name in values:
            found += _mismatch(argument, values[argument.name])
    return found


def _mismatch(argument: Any, value: object) -> list[str]:
    name, dtype = argument.name, dtype_of(argument.type)
    if not isinstance(value, np.ndarray):
        return [f"{name!r} must be a numpy array, not {type(value).__name__}"]
    if not (dtype.travels or dtype is DType.STRING):
        return [f"{name!r} is a {argument.type}: only tensors are given and taken"]
    fits = value.dtype.kind in "OUT" if dtype is DType.STRING else value.dtype == numpy_dtype(dtype)
    found = [] if fits else [f"{name!r} must be {dtype}, not {value.dtype}"]
    # ONNX Runtime shows an empty shape for scalars and for tensors of unknown rank alike.
    shape = argument.shape
    wrong = shape and (
        len(shape) != value.ndim
        or any(isinstance(d, int) and d != size for d, size in zip(shape, value.shape, strict=True))
    )
    if wrong:
        wanted = ", ".join("?" if d is None else str(d) for d in shape)
        found.append(f"{name!r} must have the shape [{wanted}], not {list(value.shape)}")
    return found


def needs_handles(arguments: Sequence[Any]) -> bool:
    """Whether some argument has a type that only an OrtValue carries."""
    return any(dtype_of(argument.type) in _EXOTIC for argument in arguments)


def to_handle(value: Array, dtype: DType) -> Any:
    """A value for `run_with_ort_values`."""
    import onnxruntime as ort

    value = np.ascontiguousarray(value).reshape(value.shape)  # ascontiguousarray makes scalars vectors
    if dtype not in _EXOTIC:
        return ort.OrtValue.ortvalue_from_numpy(value)
    try:
        if dtype in _PACKED:
            handle = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), _EXOTIC[dtype])
            raw = _pack(value)
            ctypes.memmove(handle.data_ptr(), raw, len(raw))
            return handle
        raw_type = np.uint16 if value.dtype.itemsize == 2 else np.uint8
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value.view(raw_type), _EXOTIC[dtype])
    except (AttributeError, RuntimeError, TypeError) as error:
        raise _no_way(dtype, error) from error


def from_handle(handle: Any) -> Array:
    """A value that `run_with_ort_values` gave."""
    dtype = dtype_of(handle.data_type())
    if dtype not in _EXOTIC:
        return np.asarray(handle.numpy())
    shape = tuple(handle.shape())
    count = int(np.prod(shape, dtype=np.int64))
    size = (count + 1) // 2 if dtype in _PACKED else count * numpy_dtype(dtype).itemsize
    try:
        raw = ctypes.string_at(handle.data_ptr(), size)
    except (AttributeError, RuntimeError) as error:
        raise _no_way(dtype, error) from error
    if dtype in _PACKED:
        return _unpack(raw, count, dtype).reshape(shape)
    return np.frombuffer(bytearray(raw), numpy_dtype(dtype)).reshape(shape)


def _pack(value: Array) -> bytes:
    """Two to a byte, the first in the low half, as ONNX keeps four-bit integers."""
    nibbles = value.reshape(-1).astype(np.int8).astype(np.uint8) & 0xF
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    return bytes((nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8))


def _unpack(raw: bytes, count: int, dtype: DType) -> Array:
    pairs = np.frombuffer(raw, np.uint8)
    nibbles = np.stack([pairs & 0xF, pairs >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    if dtype is DType.INT4:
        nibbles = np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    return nibbles.astype(numpy_dtype(dtype))


def _no_way(dtype: DType, error: Exception) -> PartFailed:
    return PartFailed(
        f"this ONNX Runtime takes no {dtype} values from Python ({error})",
        fix="upgrade onnxruntime, or cut where the crossing tensors have another type",
    )
