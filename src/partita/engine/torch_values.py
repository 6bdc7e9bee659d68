"""Numpy arrays as torch tensors and back, without copying where both can see the same memory.

Rules: a tensor made here from an array is never written to (parts clone what they change), so read-only arrays
from the wire are taken as they are; element types that numpy lacks travel through ml_dtypes.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

from ..graph import DType
from .base import Array

# Types numpy does not have: the ml_dtypes type, and the integer type of the same width both sides can view.
_FOREIGN: dict[torch.dtype, tuple[Any, Any, torch.dtype]] = {
    torch.bfloat16: (ml_dtypes.bfloat16, np.int16, torch.int16),
    torch.float8_e4m3fn: (ml_dtypes.float8_e4m3fn, np.uint8, torch.uint8),
    torch.float8_e4m3fnuz: (ml_dtypes.float8_e4m3fnuz, np.uint8, torch.uint8),
    torch.float8_e5m2: (ml_dtypes.float8_e5m2, np.uint8, torch.uint8),
    torch.float8_e5m2fnuz: (ml_dtypes.float8_e5m2fnuz, np.uint8, torch.uint8),
}
_BY_NUMPY = {np.dtype(known): (bits, torch_type) for torch_type, (known, bits, _) in _FOREIGN.items()}
_NAMES = {str(member) for member in DType}


def dtype_of(tensor: torch.Tensor) -> DType:
    """The element type as the graph names it; UNKNOWN where no bytes can carry it."""
    name = str(tensor.dtype).removeprefix("torch.")
    dense = tensor.layout is torch.strided and not tensor.is_nested
    return DType(name) if dense and name in _NAMES else DType.UNKNOWN


class _Writable:
    """The same memory, said to be writable: torch warns about read-only arrays although nobody writes here."""

    def __init__(self, array: Array) -> None:
        self.keep = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def to_torch(array: Array, device: torch.device | None = None) -> torch.Tensor:
    """The array as a tensor over the same memory, or on the device where the part lives."""
    known = _BY_NUMPY.get(array.dtype)
    plain = array if known is None else array.view(known[0])
    if plain.size == 0 or any(stride < 0 for stride in plain.strides) or not plain.dtype.isnative:
        plain = plain.astype(plain.dtype.newbyteorder("="), order="C", copy=True)
    elif not plain.flags.writeable:
        plain = np.asarray(_Writable(plain))
    tensor = torch.from_numpy(plain)
    if known is not None:
        tensor = tensor.view(known[1])
    return tensor if device is None or device.type == "cpu" else tensor.to(device)


def to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor as an array over the same memory where it lies in main memory."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    known = _FOREIGN.get(plain.dtype)
    if known is None:
        array: Array = plain.numpy()
        return array
    return plain.view(known[2]).numpy().view(known[0])
