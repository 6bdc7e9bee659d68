"""What is in the file of a checkpoint: plain safetensors, with the document and a digest of everything as metadata.

Rules: no I/O but a look at a file's length; whatever is wrong with bytes is a `ValueError` that says what; loaded
arrays are the caller's own and may be written to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as serialized

from ..engine import Array, Values
from ..errors import BadDocument
from .checkpoints_digest import values_digest

__all__ = ["Document", "looks_whole", "pack", "unpack"]

Document = dict[str, Any]

_FORMAT: Final = "1"
# The library's own bound on what describes the tensors of a file.
_MOST_HEADER: Final = 100_000_000
_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_), "I8": np.dtype(np.int8), "I16": np.dtype(np.int16), "I32": np.dtype(np.int32),
    "I64": np.dtype(np.int64), "U8": np.dtype(np.uint8), "U16": np.dtype(np.uint16), "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64), "F16": np.dtype(np.float16), "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64), "C64": np.dtype(np.complex64), "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn), "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}  # fmt: skip


def pack(step: int, document: Mapping[str, Any], values: Mapping[str, Array]) -> bytes:
    """The bytes of a checkpoint."""
    problems = [
        f"{name}: {array.dtype} has no place in safetensors"
        for name, array in values.items()
        if array.dtype not in _DTYPES.values()
    ]
    if step < 0:
        problems.append(f"step: {step} is below 0")
    if problems:
        raise BadDocument("checkpoint", problems, fix="save real tensors of a step that was counted")
    plain = {name: np.asarray(array, order="C") for name, array in values.items()}
    about = {"format": _FORMAT, "step": str(step), "document": json.dumps(document)}
    data: bytes = serialized(plain, {**about, "digest": _digest(about, plain)})
    return data


def unpack(step: int, data: bytes) -> tuple[Document, Values]:
    """Document and values of the checkpoint of this step; a ValueError where the bytes are not those that were written."""
    try:
        about = _header(data)["__metadata__"]
        if about["format"] != _FORMAT:
            raise ValueError(f"it has format {about['format']!r}, and this version reads {_FORMAT}")
        values = {
            name: np.frombuffer(found["data"], _DTYPES[found["dtype"]]).reshape(found["shape"])
            for name, found in deserialize(data)  # type: ignore[no-untyped-call]  # the library has no types
        }
        digest = about.pop("digest")
        if about["step"] != str(step) or digest != _digest(about, values):
            raise ValueError("its bytes do not match its digest")
        document: Document = json.loads(about["document"])
    except (SafetensorError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"it is no whole checkpoint ({problem})") from problem
    return document, values


def looks_whole(path: Path) -> bool:
    """Whether a file is as long as its header says: cheap, and enough to see what was cut short."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            size = path.stat().st_size
            if len(start) < 8 or length > min(_MOST_HEADER, size - 8):
                return False
            tensors = _header(start + file.read(length))
        about = tensors.pop("__metadata__")
        ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
        return "digest" in about and 8 + length + max(ends, default=0) == size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


def _header(data: bytes) -> Any:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def _digest(about: Mapping[str, str], values: Mapping[str, Array]) -> str:
    return values_digest(values, json.dumps(about, sort_keys=True))
