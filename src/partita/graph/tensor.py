"""What a tensor looks like from outside: name, element type, shape. No data.

Rules: sizes are exact or refused, never guessed; a tensor that has no bytes of its own (a sequence, an
optional, a string) has a type too, so that a graph can name it, but it cannot cross a cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod

from ..errors import UnboundDimension
from . import dim as dims
from .dim import Dim


class DType(StrEnum):
    """Element types, by the names numpy and ml_dtypes use."""

    BOOL = "bool"
    INT4 = "int4"
    UINT4 = "uint4"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"
    SEQUENCE = "sequence"
    OPTIONAL = "optional"
    UNKNOWN = "unknown"

    @property
    def itemsize(self) -> int:
        """Bytes of one element as it travels; 0 where a value has no fixed size (string, sequence, unknown).

        Four-bit integers travel as one byte each, as numpy holds them.
        """
        return _ITEMSIZE.get(self, 0)

    @property
    def travels(self) -> bool:
        """Whether raw bytes with a shape carry a value of this type."""
        return self in _ITEMSIZE

    @property
    def is_float(self) -> bool:
        """Whether gradients exist for it and a lossy codec may touch it."""
        return self in _FLOATS


_ITEMSIZE = {
    DType.BOOL: 1,
    DType.INT4: 1,
    DType.UINT4: 1,
    DType.INT8: 1,
    DType.UINT8: 1,
    DType.INT16: 2,
    DType.UINT16: 2,
    DType.INT32: 4,
    DType.UINT32: 4,
    DType.INT64: 8,
    DType.UINT64: 8,
    DType.FLOAT8_E4M3FN: 1,
    DType.FLOAT8_E4M3FNUZ: 1,
    DType.FLOAT8_E5M2: 1,
    DType.FLOAT8_E5M2FNUZ: 1,
    DType.FLOAT16: 2,
    DType.BFLOAT16: 2,
    DType.FLOAT32: 4,
    DType.FLOAT64: 8,
    DType.COMPLEX64: 8,
    DType.COMPLEX128: 16,
}
_FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: its name, element type and shape. `shape` is None where even the rank is unknown."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...] | None

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the dimensions that are still open."""
        return frozenset().union(*map(dims.symbols, self.shape or ()))

    @property
    def travels(self) -> bool:
        """Whether it can cross a cut: a type with bytes and a known rank."""
        return self.dtype.travels and self.shape is not None

    def bound(self, bind: Mapping[str, int]) -> tuple[int, ...]:
        """The shape in numbers."""
        if self.shape is None:
            raise UnboundDimension(
                f"the shape of tensor {self.name!r} is unknown",
                fix="give example inputs, or export the model with shape information",
            )
        return tuple(dims.evaluate(d, bind) for d in self.shape)

    def nbytes(self, bind: Mapping[str, int]) -> int:
        """Raw bytes of one value."""
        return self.dtype.itemsize * prod(self.bound(bind))


def bytes_formula(tensors: tuple[TensorSpec, ...]) -> str:
    """The bytes of several tensors as a sum over their open dimensions, like `4096 + 16384*batch`."""
    terms: dict[str, int] = {}
    for tensor in tensors:
        if tensor.shape is None:
            return "?"
        fixed = prod(d for d in tensor.shape if isinstance(d, int))
        open_dims = sorted(d if d.isidentifier() else f"({d})" for d in tensor.shape if isinstance(d, str))
        key = "*".join(open_dims)
        terms[key] = terms.get(key, 0) + fixed * tensor.dtype.itemsize
    parts = [f"{size}*{key}" if key else str(size) for key, size in sorted(terms.items()) if size]
    return " + ".join(parts) or "0"
