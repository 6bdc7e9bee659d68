"""Named tensors as bytes, and back without a copy: what an event carries and what rests in a store.

Rules: bits are kept for every type; all that is read from bytes is checked against their real length before it is
believed, and decoding raw tensors takes no memory; the size follows from names, types and shapes alone.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from ..engine import Array, Values
from ..engine.onnx_values import numpy_dtype
from ..errors import BadDocument, FrameCorrupt, FrameTooLarge
from ..graph import DType, TensorSpec

Buffer = bytes | bytearray | memoryview

# 10,240 MiB, the largest function that any platform here sells: what is larger cannot be held there.
MOST_BYTES: Final = 10_240 << 20
MOST_TENSORS: Final = 4096
_MOST_HEAD: Final = 4 << 20
_MOST_AXES: Final = 32
# A cache line; more than any element needs, so that arrays can lie on the bytes as they came.
ALIGN: Final = 64

_MAGIC: Final = b"PTV1"
_PREFIX: Final = struct.Struct("<4sIQ")
_SAME: Final = (
    "check that both sides run the same version of partita, and that nothing on the way changes bytes"
)


class _Tensor(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


class _Head(msgspec.Struct, frozen=True, array_like=True):
    tensors: tuple[_Tensor, ...]
    note: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Head)
_BY_NAME: Final = {d.value: numpy_dtype(d) for d in DType if d.travels or d is DType.STRING}
_TYPES: Final = {numpy_dtype(dtype): dtype for dtype in DType if dtype.travels}


@dataclass(frozen=True, slots=True)
class Payload:
    """What bytes held: tensors that are views of them, and the sender's note."""

    values: Values
    note: bytes = b""


def pack(values: Mapping[str, Array], *, note: bytes = b"") -> bytes:
    """Tensors as bytes. Fortran order, gaps and foreign byte order become plain; nothing else changes."""
    return b"".join(pieces(values, note=note))


def pieces(values: Mapping[str, Array], *, note: bytes = b"") -> list[Buffer]:
    """The same bytes in pieces that are not copied yet."""
    wrong: list[str] = []
    raw = [_raw(name, value, wrong) for name, value in values.items()]
    if wrong:
        raise BadDocument("payload", wrong, fix="give numpy arrays of types that ONNX has")
    heads = [head for head, _ in raw]
    out = _opening(heads, note)
    for index, (head, buffer) in enumerate(raw):
        out.append(buffer)
        if index < len(raw) - 1:
            out.append(bytes(-head.bytes % ALIGN))
    return out


def unpack(data: Buffer, *, limit: int = MOST_BYTES) -> Payload:
    """The tensors in these bytes, which need not be trusted. They are read-only where the bytes are."""
    view = memoryview(data).cast("B")
    if len(view) > limit:
        raise FrameTooLarge(
            f"payload: {len(view)} bytes, at most {limit} are accepted", fix="send less, or raise the limit"
        )
    head, at = _read_head(view)
    values: Values = {}
    for index, tensor in enumerate(head.tensors):
        if index:
            at += -at % ALIGN
        if tensor.name in values:
            raise _corrupt(f"tensor {tensor.name!r} is there twice")
        values[tensor.name] = _tensor(tensor, view, at)
        at += tensor.bytes
    if at != len(view):
        raise _corrupt(f"the head describes {at} bytes, and {len(view)} came")
    return Payload(values, head.note)


def payload_bytes(specs: Iterable[TensorSpec], bind: Mapping[str, int], *, note: bytes = b"") -> int:
    """What `pack` makes of such tensors, to the byte. Strings, which have no size of their own, count nothing."""
    heads = [_Tensor(s.name, s.dtype.value, s.bound(bind), s.nbytes(bind)) for s in specs]
    at = sum(map(len, _opening(heads, note)))
    for index, head in enumerate(heads):
        at += head.bytes + (-head.bytes % ALIGN if index < len(heads) - 1 else 0)
    return at


def type_of(value: Array) -> DType:
    """The element type of an array; UNKNOWN where ONNX has none."""
    if value.dtype.kind in "OUT":
        return DType.STRING
    return _TYPES.get(value.dtype.newbyteorder("="), DType.UNKNOWN)


def _opening(heads: Sequence[_Tensor], note: bytes) -> list[Buffer]:
    head = _ENCODER.encode(_Head(tuple(heads), note))
    if len(heads) > MOST_TENSORS or len(head) > _MOST_HEAD:
        raise FrameTooLarge(
            f"payload: {len(heads)} tensors with {len(head)} bytes of names and shapes; "
            f"at most {MOST_TENSORS} and {_MOST_HEAD} are accepted",
            fix="cut where fewer tensors cross",
        )
    body = sum(tensor.bytes for tensor in heads)
    padding = -(_PREFIX.size + len(head)) % ALIGN if heads else 0
    return [_PREFIX.pack(_MAGIC, len(head), body), head, bytes(padding)]


def _raw(name: str, value: object, wrong: list[str]) -> tuple[_Tensor, Buffer]:
    nothing = _Tensor(name, "", (), 0), b""
    if not isinstance(value, np.ndarray):
        wrong.append(f"{name!r} is {type(value).__name__}, not a numpy array")
        return nothing
    dtype = type_of(value)
    if dtype is DType.UNKNOWN or value.ndim > _MOST_AXES:
        wrong.append(f"{name!r} is {value.dtype} with {value.ndim} axes, which cannot travel")
        return nothing
    if dtype is DType.STRING:
        try:
            buffer: Buffer = _text_bytes(value)
        except (UnicodeError, TypeError) as error:
            wrong.append(f"{name!r} is no text in UTF-8: {error}")
            return nothing
    else:
        plain = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        buffer = plain.reshape(-1).view(np.uint8).data
    return _Tensor(name, dtype.value, value.shape, len(buffer)), buffer


def _read_head(view: memoryview) -> tuple[_Head, int]:
    """The head, and where the first tensor begins."""
    if len(view) < _PREFIX.size:
        raise _corrupt(f"{len(view)} bytes are too few for a payload")
    magic, length, body = _PREFIX.unpack_from(view)
    if magic != _MAGIC:
        raise _corrupt(f"it begins with {magic!r}, not {_MAGIC!r}")
    if length > _MOST_HEAD:
        raise FrameTooLarge(
            f"payload: a head of {length} bytes, at most {_MOST_HEAD} are accepted",
            fix="cut where fewer tensors cross",
        )
    at = _PREFIX.size + length
    if at + body > len(view):
        raise _corrupt(f"{at + body} bytes are announced, and {len(view)} came")
    try:
        head = _DECODER.decode(view[_PREFIX.size : at])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(f"its head does not parse: {error}") from None
    if len(head.tensors) > MOST_TENSORS:
        raise FrameTooLarge(
            f"payload: {len(head.tensors)} tensors, at most {MOST_TENSORS} are accepted",
            fix="cut where fewer tensors cross",
        )
    return head, at + (-at % ALIGN if head.tensors else 0)


def _tensor(head: _Tensor, view: memoryview, at: int) -> Array:
    name, shape = f"tensor {head.name[:80]!r}", head.shape
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise _corrupt(f"{name} has a negative length or more than {_MOST_AXES} axes")
    if head.dtype not in _BY_NAME:
        raise _corrupt(f"{name} has the unknown type {head.dtype[:40]!r}")
    if head.bytes < 0 or at + head.bytes > len(view):
        raise _corrupt(f"{name} ends at byte {at + head.bytes} of {len(view)}")
    # numpy refuses even an empty tensor whose other lengths do not fit 63 bits.
    if math.prod(size or 1 for size in shape) * 16 >> 63:
        raise FrameTooLarge(f"{name}: its shape {shape} fits no memory", fix=_SAME)
    raw = view[at : at + head.bytes]
    if head.dtype == DType.STRING:
        return _texts(name, raw, shape)
    dtype = _BY_NAME[head.dtype]
    if math.prod(shape) * dtype.itemsize != head.bytes:
        raise _corrupt(f"{name}: {dtype} of {shape} does not take {head.bytes} bytes")
    if not head.bytes:
        return np.empty(shape, dtype)
    array: Array = np.frombuffer(raw, np.uint8).view(dtype).reshape(shape)
    if head.dtype == DType.BOOL and bool((array.view(np.uint8) > 1).any()):
        raise _corrupt(f"{name} has bytes that are neither true nor false")
    return array if array.flags.aligned else array.copy()


def _text_bytes(value: Array) -> bytes:
    """The length of every text in four bytes, then the texts."""
    texts: list[bytes] = []
    for text in value.reshape(-1).tolist():
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"it holds {type(text).__name__}")
        texts.append(text.encode() if isinstance(text, str) else text.decode().encode())
    return np.array([len(text) for text in texts], "<u4").tobytes() + b"".join(texts)


def _texts(name: str, raw: memoryview, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if 4 * count > len(raw):
        raise _corrupt(f"{name}: {count} texts do not fit {len(raw)} bytes")
    ends = 4 * count + np.cumsum(np.frombuffer(raw[: 4 * count], "<u4"), dtype=np.int64)
    if (int(ends[-1]) if count else 0) != len(raw):
        raise _corrupt(f"{name}: its texts do not fill {len(raw)} bytes")
    array: Array = np.empty(count, dtype=object)
    at = 4 * count
    try:
        for index, end in enumerate(ends.tolist()):
            array[index] = str(raw[at:end], "utf-8")
            at = end
    except UnicodeDecodeError:
        raise _corrupt(f"{name}: text {index} is not UTF-8") from None
    return array.reshape(shape)


def _corrupt(problem: str) -> FrameCorrupt:
    return FrameCorrupt(f"payload: {problem}", fix=_SAME)


def total_bytes(values: Iterable[Any]) -> int:
    """The bytes of arrays in memory; of texts, those of their letters; of sequences, those of their members."""
    return sum(map(_bytes_of, values))


def _bytes_of(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return total_bytes(value)
    if not isinstance(value, np.ndarray):  # an optional without a value
        return 0
    if value.dtype.kind in "OUT":
        return sum(len(str(text).encode(errors="replace")) for text in value.reshape(-1).tolist())
    return value.nbytes
