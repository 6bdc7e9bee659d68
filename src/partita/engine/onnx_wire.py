"""Protobuf records by byte range: what lies where in an ONNX file, and messages put together from ranges.

Rules: nothing is decoded that is not asked for, so the cost of a walk does not depend on the size of the
weights; every length is checked against the record around it before it is believed; a new message is a list of
pieces, bytes or ranges of a file, so that weights are copied once, by the kernel, and never held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Protocol Buffers readers refuse deeper messages than this; a hostile file must not exhaust our stack either.
_DEEPEST = 100
# A varint carries seven bits per byte and a number has 64.
_LONGEST_VARINT = 10


class Malformed(ValueError):
    """Bytes that are no protobuf message, or one that was cut short."""


class Buffer(Protocol):
    """What a walk reads: bytes, or a file read as it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...
    def find(self, wanted: bytes, start: int, stop: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: `start` is its tag, [value, stop) its payload."""

    number: int
    wire: int
    start: int
    value: int
    stop: int


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes [start, stop) of a file; without a path, of the file that is being walked."""

    start: int
    stop: int
    path: Path | None = None

    def __len__(self) -> int:
        return self.stop - self.start


Piece = bytes | Span


def varint(buffer: Buffer, at: int, stop: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = 0
    for index, byte in enumerate(buffer[at : min(stop, at + _LONGEST_VARINT)]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
    raise Malformed(f"a number at byte {at} does not end")


def fields(buffer: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message in [start, stop), in the order they were written."""
    at = start
    while at < stop:
        tag, value = varint(buffer, at, stop)
        number, wire = tag >> 3, tag & 7
        match wire:
            case 0:
                end = varint(buffer, value, stop)[1]
            case 1:
                end = value + 8
            case 2:
                length, value = varint(buffer, value, stop)
                end = value + length
            case 5:
                end = value + 4
            case _:
                raise Malformed(f"byte {at} starts a field of wire type {wire}, which no ONNX file has")
        if number == 0 or end > stop:
            what = "has the number 0" if number == 0 else f"ends at byte {end}, past its message ({stop})"
            raise Malformed(f"the field at byte {at} {what}")
        yield Field(number, wire, at, value, end)
        at = end


def number_of(buffer: Buffer, field: Field) -> int:
    """The value of a varint field, read as a signed 64-bit number."""
    value = varint(buffer, field.value, field.stop)[0]
    return value - (1 << 64) if value >> 63 else value


def text_of(buffer: Buffer, field: Field) -> str:
    """The value of a string field."""
    try:
        return bytes(buffer[field.value : field.stop]).decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"the text at byte {field.value} is not UTF-8") from error


def numbers_of(buffer: Buffer, field: Field) -> list[int]:
    """The values of a repeated varint field, packed or not."""
    if field.wire == VARINT:
        return [number_of(buffer, field)]
    values, at = [], field.value
    while at < field.stop:
        value, at = varint(buffer, at, field.stop)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values


def encode(value: int) -> bytes:
    """A number as a varint; negative ones as 64-bit two's complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def size(pieces: Iterable[Piece]) -> int:
    """How many bytes the pieces make."""
    return sum(map(len, pieces))


def message(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """A length-delimited field around some pieces."""
    return [encode(number << 3 | BYTES) + encode(size(pieces)), *pieces]


def text(number: int, value: str | bytes) -> bytes:
    """A string or bytes field."""
    raw = value.encode() if isinstance(value, str) else value
    return encode(number << 3 | BYTES) + encode(len(raw)) + raw


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return encode(field << 3 | VARINT) + encode(value)


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The same bytes in as few pieces as possible."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            out[-1] = last + piece
        elif (
            isinstance(piece, Span)
            and isinstance(last, Span)
            and last.path == piece.path
            and last.stop == piece.start
        ):
            out[-1] = Span(last.start, piece.stop, piece.path)
        elif len(piece):
            out.append(piece)
    return out


# Which fields of which message lead to tensors (onnx.proto).
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
OnTensor = Callable[[int, int], Sequence[Piece] | None]


def rewritten(
    buffer: Buffer, kind: str, span: Span, on_tensor: OnTensor, *, at_least: int = 0, depth: int = 0
) -> list[Piece]:
    """The message in `span` with every tensor in it, at any depth, given to `on_tensor` and replaced by its answer.

    None keeps a tensor as it is; records under `at_least` bytes are not entered.
    """
    if depth > _DEEPEST:
        raise Malformed(f"messages nest deeper than {_DEEPEST}")
    paths = _PATHS[kind]
    out: list[Piece] = []
    for field in fields(buffer, span.start, span.stop):
        inner = paths.get(field.number) if field.wire == BYTES else None
        if inner is None or field.stop - field.value < at_least:
            out.append(Span(field.start, field.stop))
            continue
        whole = Span(field.value, field.stop)
        if inner == "tensor":
            new = on_tensor(field.value, field.stop)
        else:
            new = rewritten(buffer, inner, whole, on_tensor, at_least=at_least, depth=depth + 1)
            new = None if new == [whole] or not new else new
        out += [Span(field.start, field.stop)] if new is None else message(field.number, new)
    return merged(out)
