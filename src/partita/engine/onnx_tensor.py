"""A TensorProto by byte range: its head decoded, its payload only located.

Rules: an external file is named relative to the model and lies inside the model's folder, after links are
followed; a payload is a range of a file with exactly the bytes its type and dimensions ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PureWindowsPath

from ..errors import CannotCapture
from ..graph import DType
from .onnx_wire import (
    BYTES,
    Buffer,
    Field,
    Malformed,
    Piece,
    Span,
    encode,
    fields,
    number,
    numbers_of,
    text,
    text_of,
)

_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
# float, int32, int64, double and uint64 data: the same numbers outside raw_data.
_TYPED = frozenset({4, 5, 7, 10, 11})
_VALUES = _TYPED | {6, _RAW}
STRING = 8
_FLOAT, _DOUBLE = 1, 11

# onnx.TensorProto.DataType
DTYPES = {
    1: DType.FLOAT32,
    2: DType.UINT8,
    3: DType.INT8,
    4: DType.UINT16,
    5: DType.INT16,
    6: DType.INT32,
    7: DType.INT64,
    8: DType.STRING,
    9: DType.BOOL,
    10: DType.FLOAT16,
    11: DType.FLOAT64,
    12: DType.UINT32,
    13: DType.UINT64,
    14: DType.COMPLEX64,
    15: DType.COMPLEX128,
    16: DType.BFLOAT16,
    17: DType.FLOAT8_E4M3FN,
    18: DType.FLOAT8_E4M3FNUZ,
    19: DType.FLOAT8_E5M2,
    20: DType.FLOAT8_E5M2FNUZ,
    21: DType.UINT4,
    22: DType.INT4,
}
# Types that ONNX packs several to a byte, and the byte-wide ones that have no name in our graph.
_BITS = {21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}


def nbytes(data_type: int, dims: tuple[int, ...]) -> int:
    """Bytes of a tensor at rest; 0 for types without a fixed size."""
    bits = _BITS.get(data_type) or 8 * DTYPES.get(data_type, DType.UNKNOWN).itemsize
    return (prod(dims) * bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """One TensorProto in a file. `payload` is where its raw bytes lie, if they lie in one piece.

    `valued` says whether it has values of its own in any of the fields that may hold them.
    """

    span: Span
    name: str
    data_type: int
    dims: tuple[int, ...]
    payload: Span | None
    external: dict[str, str] = field(default_factory=dict)
    valued: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return nbytes(self.data_type, self.dims)


def read_tensor(buffer: Buffer, start: int, stop: int) -> Tensor:
    """The head of a tensor; its values are not touched."""
    name, data_type, dims, location = "", 0, [], 0
    payload: Span | None = None
    external: dict[str, str] = {}
    found = list(fields(buffer, start, stop))
    for item in found:
        match item.number:
            case 1:
                dims += numbers_of(buffer, item)
            case 2:
                data_type = numbers_of(buffer, item)[0]
            case 8:
                name = text_of(buffer, item)
            case 9:
                payload = Span(item.value, item.stop)
            case 13:
                external.update([_entry(buffer, item.value, item.stop)])
            case 14:
                location = numbers_of(buffer, item)[0]
    if any(d < 0 for d in dims):
        raise Malformed(f"the tensor {name!r} has a negative dimension in {dims}")
    payload = payload or _packed(found, data_type)
    valued = any(item.number in _VALUES and item.stop > item.value for item in found)
    outer = external if location == 1 else {}
    return Tensor(Span(start, stop), name, data_type, tuple(dims), payload, outer, valued)


def _packed(found: list[Field], data_type: int) -> Span | None:
    """Floats and doubles in one packed field are the very bytes that raw_data would hold."""
    chunks = [item for item in found if item.number == {_FLOAT: 4, _DOUBLE: 10}.get(data_type)]
    return Span(chunks[0].value, chunks[0].stop) if len(chunks) == 1 and chunks[0].wire == BYTES else None


def _entry(buffer: Buffer, start: int, stop: int) -> tuple[str, str]:
    texts = {item.number: text_of(buffer, item) for item in fields(buffer, start, stop)}
    return texts.get(1, ""), texts.get(2, "")


def head(buffer: Buffer, tensor: Tensor) -> list[Piece]:
    """The tensor without its values and without where they lie."""
    dropped = _TYPED | {_RAW, _EXTERNAL, _LOCATION}
    span = tensor.span
    return [
        Span(item.start, item.stop)
        for item in fields(buffer, span.start, span.stop)
        if item.number not in dropped
    ]


def elided(buffer: Buffer, start: int, stop: int, at_least: int) -> list[Piece] | None:
    """The tensor without its values, if they are many; type, shape and name are what a graph is understood by."""
    if stop - start < at_least:
        return None
    tensor = read_tensor(buffer, start, stop)
    return None if tensor.data_type == STRING else head(buffer, tensor)


def elsewhere(location: str, offset: int, length: int) -> list[Piece]:
    """The fields that say that a tensor's values lie in another file."""
    entries = (("location", location), ("offset", str(offset)), ("length", str(length)))
    return [
        b"".join(text(_EXTERNAL, text(1, key) + text(2, value)) for key, value in entries),
        number(_LOCATION, 1),
    ]


def inline(payload: Span | bytes) -> list[Piece]:
    """The field that holds a tensor's values."""
    return [encode(_RAW << 3 | BYTES) + encode(len(payload)), payload]


def check_payload(tensor: Tensor, model: Path) -> Path | None:
    """Refuse a tensor whose values are not all there, or more than its type and shape ask for.

    Gives the file that holds them, where it is another than the model's.
    """
    if tensor.external:
        return outside(tensor, model).path
    if tensor.payload is not None and tensor.nbytes and len(tensor.payload) != tensor.nbytes:
        raise Malformed(
            f"the weight {tensor.name!r} has {len(tensor.payload)} bytes, but its type and shape ask for {tensor.nbytes}"
        )
    if tensor.nbytes and not tensor.valued:
        raise Malformed(
            f"the weight {tensor.name!r} has no values, but its shape asks for {tensor.nbytes} bytes"
        )
    return None


def outside(tensor: Tensor, model: Path) -> Span:
    """Where the values of an external tensor lie, checked: inside the model's folder, and all there."""
    where = f"the values of {tensor.name!r}"
    location = tensor.external.get("location", "")
    path = _inside(model, location, where)
    try:
        offset = int(tensor.external.get("offset", "0"))
        length = int(tensor.external.get("length") or tensor.nbytes)
    except ValueError as error:
        raise CannotCapture(
            f"{where} lie at offset {tensor.external.get('offset')!r}, length {tensor.external.get('length')!r}, "
            "which are no numbers",
            fix="write the model again with onnx.save_model(..., save_as_external_data=True)",
        ) from error
    if length != tensor.nbytes:
        raise CannotCapture(
            f"{where} have {length} bytes in {location!r}, but its type and shape ask for {tensor.nbytes}",
            fix="fetch the model and its data again from where they came",
        )
    held = path.stat().st_size
    if offset < 0 or offset + length > held:
        raise CannotCapture(
            f"{where} end at byte {offset + length} of {location!r}, which has {held}",
            fix="fetch the data file again: it was cut short",
        )
    return Span(offset, offset + length, path)


def _inside(model: Path, location: str, where: str) -> Path:
    folder = model.parent.resolve()
    parts = PureWindowsPath(location).parts  # splits at both kinds of slash
    rooted = location.startswith(("/", "\\")) or bool(PureWindowsPath(location).drive)
    path = (folder / location).resolve() if location and "\0" not in location else folder
    if not parts or rooted or ".." in parts or not path.is_relative_to(folder) or path == folder:
        raise CannotCapture(
            f"{where} lie in {location!r}, which is not a file inside the model's folder",
            fix="put the data file beside the model, as a file and not as a link, and name it by a relative path",
        )
    if not path.is_file():
        raise CannotCapture(
            f"{where} lie in {location!r}, which is not beside {model.name}",
            fix=f"fetch {location!r} too and put it into the folder of {model.name}",
        )
    return path
