"""The description of an encoded tensor, and the checks that make it safe to believe.

Three rules. Everything a receiver allocates follows from the head, and the head is checked before anything is allocated.
The lengths of the buffers are a function of the head alone. A fault is a `FrameCorrupt` that names its field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import msgspec

from ..errors import BadDocument, FrameCorrupt, FrameTooLarge
from .codec_name import CodecName, parse_name
from .codec_sizes import DTYPE_BYTES, FLOATS, Slot, payload_layout, tensor_bytes

__all__ = ["MAX_TENSOR_BYTES", "Encoded", "TensorHead", "buffer_lengths", "check_head", "stored_lengths"]

Buffer = bytes | bytearray | memoryview
Meta = dict[str, int | str | tuple[int, ...]]

# A decoded tensor larger than this is refused. 1 GiB holds the widest activation of any network in the zoo many
# times over; safetensors and gRPC servers bound their messages in the same range.
MAX_TENSOR_BYTES = 1 << 30

# numpy 1 stops at 32 axes.
MOST_AXES = 32


@final
class TensorHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a receiver must know to decode: the codec that was applied, dtype and shape of the tensor it gives back."""

    codec: str
    dtype: str
    shape: tuple[int, ...]
    meta: Meta = {}


@final
@dataclass(frozen=True, slots=True)
class Encoded:
    """One tensor, ready to travel: its head, and buffers that are sent as they are."""

    head: TensorHead
    buffers: tuple[Buffer, ...]

    @property
    def nbytes(self) -> int:
        """The bytes of the buffers."""
        return sum(len(buffer) for buffer in self.buffers)

    @property
    def fell_back(self) -> bool:
        """Whether the values were such that the codec asked for would have destroyed them, so that raw was sent."""
        return "instead_of" in self.head.meta


def check_head(head: TensorHead, limit: int = MAX_TENSOR_BYTES) -> CodecName:
    """Believe a head that came from elsewhere, or say which field is wrong. Nothing is allocated here."""
    try:
        name = parse_name(head.codec)
    except BadDocument as error:
        raise _corrupt("codec", repr(head.codec[:80]), "is unknown") from error
    if head.dtype not in DTYPE_BYTES:
        raise _corrupt("dtype", repr(head.dtype[:80]), "is unknown")
    if len(head.shape) > MOST_AXES or any(length < 0 for length in head.shape):
        raise _corrupt(
            "shape", str(head.shape[:MOST_AXES]), f"has a negative length or more than {MOST_AXES} axes"
        )
    size = tensor_bytes(head.dtype, head.shape)
    # numpy refuses even an empty tensor whose other lengths do not fit 63 bits.
    if size > limit or tensor_bytes(head.dtype, tuple(length or 1 for length in head.shape)) >> 63:
        raise FrameTooLarge(
            f"shape {head.shape} of {head.dtype} makes a tensor of {size} bytes, and this side accepts {limit}",
            fix="send smaller batches, or raise the limit on the receiving side",
        )
    if name.kind != "raw" and (head.dtype not in FLOATS or math.prod(head.shape) == 0):
        raise _corrupt("codec", repr(head.codec), f"does not apply to {head.dtype} of shape {head.shape}")
    return name


def buffer_lengths(head: TensorHead, limit: int = MAX_TENSOR_BYTES) -> tuple[int, ...]:
    """The length that each buffer must have; the head is checked first."""
    name = check_head(head, limit)
    slots = payload_layout(name.plain(), head.dtype, head.shape)
    if name.lossless:
        return stored_lengths(head, slots)
    return tuple(slot.length for slot in slots)


def stored_lengths(head: TensorHead, slots: Sequence[Slot]) -> tuple[int, ...]:
    """What the lossless stage left of each buffer, as the head says: never more than went in."""
    stored = head.meta.get("stored")
    if not isinstance(stored, tuple) or len(stored) != len(slots):
        raise _corrupt("meta.stored", repr(stored), f"does not give {len(slots)} lengths")
    for length, slot in zip(stored, slots, strict=True):
        if not 0 <= length <= slot.length:
            raise _corrupt("meta.stored", repr(stored), f"has a length outside 0 to {slot.length}")
    return stored


def check_buffers(head: TensorHead, buffers: Sequence[Buffer], lengths: Sequence[int]) -> None:
    """The buffers that came against the lengths that the head promised."""
    found = tuple(len(buffer) for buffer in buffers)
    if found != tuple(lengths):
        raise _corrupt(
            "buffers", str(found), f"of {head.codec} {head.dtype} {head.shape} must be {tuple(lengths)}"
        )


def _corrupt(field: str, value: str, problem: str) -> FrameCorrupt:
    return FrameCorrupt(
        f"tensor head: {field} {value} {problem}", fix="check that both sides run the same version of partita"
    )
