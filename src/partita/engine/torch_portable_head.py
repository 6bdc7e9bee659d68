"""The bytes of a portable model: a mark, a version, a head in MessagePack, and the constants as raw buffers.

Rules: every list and text has a bound; lengths are compared with the bytes that are there before anything is read;
a version this side does not know is refused. Nothing here knows torch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from ..errors import BadDocument, FrameCorrupt, FrameTooLarge
from .base import Mode

MARK: Final = b"partita-graph\n"
VERSION: Final = 1
_START: Final = struct.Struct("<14sHQ")
# A model of 10,000 operators needs about 1 MB. What it holds grows some thirty times when it is read.
LARGEST_HEAD: Final = 8 << 20
FIX: Final = "pack the model again with `pack_torch`, and with the same version of Partita on both sides"

Name = Annotated[str, msgspec.Meta(max_length=1024)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
Shape = Annotated[tuple[Size, ...], msgspec.Meta(max_length=16)]
Axes = Annotated[tuple[Index, ...], msgspec.Meta(max_length=16)]


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row of the head: fields by place."""


class Ref(_Row, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """What another node gives, by its number."""

    node: Index


class Items(_Row, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """A list of arguments."""

    items: list[Arg]


class Kind(_Row, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """An element type, a layout or a memory format, by name."""

    of: Literal["dtype", "layout", "memory_format"]
    name: Word


class Here(_Row, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """The device on which the model runs, whichever it is."""


class Complex(_Row, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    real: float
    imaginary: float


Arg = None | bool | int | float | Name | Ref | Items | Kind | Here | Complex


class Node(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One operator, by its place in the list of operators; `body` is what a region runs."""

    operator: Index
    args: Annotated[list[Arg], msgspec.Meta(max_length=256)]
    kwargs: Annotated[dict[Word, Arg], msgspec.Meta(max_length=64)] = {}
    stage: Index = 0
    body: Body | None = None


class Body(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The graph of a region: numbers below `inputs` are what it is given, the nodes follow."""

    inputs: Annotated[int, msgspec.Meta(ge=0, le=4096)]
    nodes: list[Node]
    outputs: Annotated[list[Arg], msgspec.Meta(max_length=4096)]


class SizeOf(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A number that a stage works out by a formula over the shapes it reads."""

    stage: Index
    node: Index
    formula: int | Name


class Named(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tensor of the chain: the node that makes it, whether it has a gradient, whether it is a number inside."""

    name: Name
    node: Index
    carries: bool = False
    number: bool = False
    order: Axes = ()


class Graph(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One mode. Nodes are numbered: inputs, states, constants, then operators."""

    mode: Mode
    # The chain as the JSON of `graph.dump`.
    chain: str
    keys: list[Name]
    states: list[Index]
    constants: list[Index]
    nodes: list[Node]
    named: list[Named]
    sizes: list[SizeOf]


class State(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A parameter or buffer. Values come only with buffers that no state carries: `value` is a constant plus one."""

    name: Name
    dtype: Word
    shape: Shape
    parameter: bool
    persistent: bool
    learns: bool
    order: Axes = ()
    # Other names of the same tensor.
    aliases: Annotated[list[Name], msgspec.Meta(max_length=4096)] = []
    value: Index = 0


class Constant(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tensor that tracing found in the code; its bytes follow the head."""

    dtype: Word
    shape: Shape
    length: Size
    order: Axes = ()


class Input(_Row, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an example input looked like."""

    name: Name
    dtype: Word
    shape: Shape
    low: int = 0
    high: int = 0


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    torch: Word
    batch: Name
    operators: Annotated[list[Word], msgspec.Meta(max_length=4096)]
    states: list[State]
    constants: list[Constant]
    inputs: Annotated[list[Input], msgspec.Meta(max_length=4096)]
    # The mode of the chain first.
    graphs: Annotated[list[Graph], msgspec.Meta(min_length=1, max_length=2)]
    # Why the other mode is not here; empty where it is.
    absent: Annotated[str, msgspec.Meta(max_length=4096)] = ""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Head)


def join(head: Head, buffers: Sequence[bytes]) -> bytes:
    """Head and constants as one string of bytes."""
    text = _ENCODER.encode(head)
    if len(text) > LARGEST_HEAD:
        raise BadDocument(
            f"model {head.name!r}",
            [f"its graph takes {len(text)} bytes as data, more than {LARGEST_HEAD}"],
            fix="start the cloud with `--model` and the same model, so that it builds it itself",
        )
    return b"".join((_START.pack(MARK, VERSION, len(text)), text, *buffers))


def part(data: bytes, most_bytes: int) -> tuple[Head, list[memoryview]]:
    """Head and constants from bytes that anybody may have made."""
    view = memoryview(data)
    if len(view) < _START.size:
        raise FrameCorrupt(f"{len(view)} bytes are no model", fix=FIX)
    mark, version, length = _START.unpack_from(view)
    if mark != MARK:
        raise FrameCorrupt("these bytes do not begin like a model", fix=FIX)
    if version != VERSION:
        raise FrameCorrupt(
            f"this model is in version {version}; only version {VERSION} is known here", fix=FIX
        )
    if length > LARGEST_HEAD:
        raise FrameTooLarge(
            f"the head has {length} bytes; {LARGEST_HEAD} are allowed",
            fix="start the cloud with `--model` and the same model",
        )
    rest = view[_START.size :]
    if length > len(rest) or len(rest) - length > most_bytes:
        problem = f"a head of {length} bytes does not go with the {len(rest)} bytes that follow"
        raise FrameCorrupt(problem, fix=FIX)
    try:
        head = _DECODER.decode(rest[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise FrameCorrupt(f"the head does not parse: {problem}", fix=FIX) from None
    return head, _slices(head, rest[length:])


def _slices(head: Head, buffers: memoryview) -> list[memoryview]:
    total = sum(constant.length for constant in head.constants)
    if total != len(buffers):
        raise FrameCorrupt(f"constants have {total} bytes, {len(buffers)} follow the head", fix=FIX)
    found: list[memoryview] = []
    start = 0
    for constant in head.constants:
        found.append(buffers[start : start + constant.length])
        start += constant.length
    return found
