"""Codecs that change at most the float type: raw, fp16 and bf16. And what all schemes share.

Two rules. Raw bytes are little-endian, in C order, and never copied when they already lie so.
A value that the narrower type cannot hold is `Unfit`: the tensor then travels raw and says so.
"""

from __future__ import annotations

from typing import Any, Protocol, final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .codec_name import CodecName

__all__ = ["Half", "Raw", "Scheme", "Unfit", "as_bytes", "dtype_of"]

Array = NDArray[Any]


class Unfit(Exception):
    """The values do not suit the scheme. Never leaves the codecs: it becomes a fallback or a `FrameCorrupt`."""


class Scheme(Protocol):
    """One way to turn an array into byte arrays and back; sizes and types are already checked."""

    def pack(self, array: Array, draw: int) -> list[Array]:
        """The buffers of a contiguous array."""
        ...

    def unpack(self, buffers: list[Array], dtype: str, shape: tuple[int, ...]) -> Array:
        """The array of buffers whose lengths are right and whose contents may be anything."""
        ...


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy dtype of a name on the wire, which numpy itself does not know for bfloat16 and float8."""
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def as_bytes(array: Array) -> Array:
    """The bytes of a contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8)


@final
class Raw:
    """The bytes as they are: no copy on either end."""

    def pack(self, array: Array, draw: int) -> list[Array]:  # noqa: ARG002  (one signature for all schemes)
        """The array itself; it must not change until it has been acknowledged."""
        return [array]

    def unpack(self, buffers: list[Array], dtype: str, shape: tuple[int, ...]) -> Array:
        """A view of the buffer, read-only where the buffer is; copied only when it lies misaligned."""
        array = buffers[0].view(dtype_of(dtype)).reshape(shape)
        return array if array.flags.aligned else array.copy()


@final
class Half:
    """Two bytes a value: fp16 (11 bits of precision, up to 65504) or bf16 (8 bits, the range of float32)."""

    def __init__(self, name: CodecName) -> None:
        self._dtype = np.dtype(np.float16 if name.kind == "fp16" else ml_dtypes.bfloat16)

    def pack(self, array: Array, draw: int) -> list[Array]:  # noqa: ARG002  (one signature for all schemes)
        """NaN and infinities are carried; finite values that would become infinite are `Unfit`."""
        return [narrowed(array, self._dtype)]

    def unpack(self, buffers: list[Array], dtype: str, shape: tuple[int, ...]) -> Array:
        """Exact: every half is a float of the wider types."""
        # A head may claim a narrower type than any sender would: what does not fit becomes what that type makes of it.
        with np.errstate(invalid="ignore", over="ignore"):
            return buffers[0].view(self._dtype).astype(dtype_of(dtype)).reshape(shape)


def narrowed(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array in a narrower float type, or `Unfit` when a finite value does not survive."""
    try:
        with np.errstate(over="raise"):
            narrow = array.astype(dtype)
    except FloatingPointError:
        raise Unfit("range") from None
    # The processor's overflow flag is a check for free, but conversions of ml_dtypes do not raise it.
    if "V" in array.dtype.kind + dtype.kind:
        lost = ~np.isfinite(narrow)
        if lost.any() and not np.array_equal(lost, ~np.isfinite(array)):
            raise Unfit("range")
    return narrow
