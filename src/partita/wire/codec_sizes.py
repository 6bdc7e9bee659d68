"""How many bytes a codec makes of a tensor: the one place that knows, asked by the planner and by every decoder.

Three rules. Standard library only and no tensor needed: sizes follow from name, dtype and shape.
A codec that would not save bytes leaves the tensor raw, and so do integers and booleans under a lossy codec.
The lossless stage depends on the values, so its size is an estimate here and stands in the header on the wire.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..errors import PartFailed
from .codec_name import CodecName, parse_name

__all__ = [
    "DTYPE_BYTES",
    "FLOATS",
    "Slot",
    "applied_name",
    "channel_layout",
    "codec_ratio",
    "encoded_bytes",
    "index_bytes",
    "kept",
    "payload_layout",
    "rows_and_columns",
    "tensor_bytes",
]

FLOATS = {
    "float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1,
    "bfloat16": 2, "float16": 2, "float32": 4, "float64": 8,
}  # fmt: skip
DTYPE_BYTES = FLOATS | {
    "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "complex64": 8, "complex128": 16,
}  # fmt: skip

# Bytes left by shuffle and zstd level 1 on features behind a ReLU (normal, the negative half set to zero),
# as `benchmarks/codecs.py` measures them. Estimates: real features compress better or worse.
_LOSSLESS_LEAVES = {"raw": 0.56, "fp16": 0.54, "bf16": 0.47, "affine": 0.56, "topk": 0.63}


class Slot(NamedTuple):
    """One buffer of a payload: its length, and the width of its elements (which the lossless stage shuffles by)."""

    length: int
    width: int


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor as it is."""
    if dtype not in DTYPE_BYTES:
        raise PartFailed(
            f"a tensor of dtype {dtype!r} cannot travel", fix=f"use one of {', '.join(DTYPE_BYTES)}"
        )
    return DTYPE_BYTES[dtype] * math.prod(shape)


def applied_name(name: CodecName, dtype: str, shape: tuple[int, ...]) -> CodecName:
    """The codec that really applies to such a tensor: the one asked for, or raw where it cannot save bytes."""
    raw = tensor_bytes(dtype, shape)
    lossy = name.plain()
    if lossy.kind == "raw":
        return name
    if dtype in FLOATS and 0 < sum(slot.length for slot in payload_layout(lossy, dtype, shape)) < raw:
        return name
    return CodecName("raw", lossless=name.lossless)


def payload_layout(name: CodecName, dtype: str, shape: tuple[int, ...]) -> tuple[Slot, ...]:
    """The buffers of a payload before the lossless stage."""
    width, size = DTYPE_BYTES[dtype], math.prod(shape)
    if name.kind == "affine":
        _, channels, _ = channel_layout(name, shape)
        number = 8 if dtype == "float64" else 4
        return Slot(2 * channels * number, number), Slot(-(-size * name.bits // 8), 1)
    if name.kind == "topk":
        return _topk_layout(name, shape)
    if name.kind == "raw":
        return (Slot(width * size, width),)
    return (Slot(2 * size, 2),)


def channel_layout(name: CodecName, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The tensor seen as outer x channels x inner; one channel where the codec or the shape has no such axis."""
    axis, rank = name.axis, len(shape)
    if axis is None or not -rank <= axis < rank:
        return 1, 1, math.prod(shape)
    at = axis % rank
    return math.prod(shape[:at]), shape[at], math.prod(shape[at + 1 :])


def rows_and_columns(shape: tuple[int, ...]) -> tuple[int, int]:
    """The tensor seen as samples: the first axis is the row, unless there is no other axis."""
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def kept(fraction: float, columns: int) -> int:
    """How many values of a row top-k keeps: rounded up, and always one."""
    return min(columns, max(1, math.ceil(fraction * columns - 1e-9)))


def index_bytes(columns: int, count: int) -> int:
    """The width of one index, or 0 where a bitmap of the row is smaller than its list of indices."""
    width = 1 if columns <= 1 << 8 else 2 if columns <= 1 << 16 else 4 if columns <= 1 << 32 else 8
    return width if count * width < -(-columns // 8) else 0


def _topk_layout(name: CodecName, shape: tuple[int, ...]) -> tuple[Slot, ...]:
    rows, columns = rows_and_columns(shape)
    count = kept(name.fraction, columns)
    width = index_bytes(columns, count)
    places = Slot(rows * count * width, width) if width else Slot(rows * -(-columns // 8), 1)
    number = 4 if name.wide else 2
    return Slot(rows * count * number, number), places


def encoded_bytes(codec: str | CodecName, dtype: str, shape: tuple[int, ...]) -> int:
    """The payload bytes of such a tensor: exact, except that a lossless stage is estimated. Headers not counted."""
    asked = parse_name(codec) if isinstance(codec, str) else codec
    name = applied_name(asked, dtype, shape)
    exact = sum(slot.length for slot in payload_layout(name.plain(), dtype, shape))
    return math.ceil(exact * _LOSSLESS_LEAVES[name.kind]) if name.lossless else exact


def codec_ratio(codec: str | CodecName, dtype: str = "float32") -> float:
    """How many times smaller a large tensor becomes: what a planner multiplies by when it knows only bytes."""
    large = (8, 256, 16, 16)  # rows of 64 Ki values, as many as the widest features of ResNets and BERTs have
    return tensor_bytes(dtype, large) / encoded_bytes(codec, dtype, large)
