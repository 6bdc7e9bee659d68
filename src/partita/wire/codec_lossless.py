"""The lossless stage: bytes of one significance side by side (the shuffle), then zstandard. Works behind any codec.

Three rules. What comes out is known before it is made: a frame must state exactly the size that the tensor's head implies,
and need no window or dictionary beyond it, or it is refused unopened. A buffer that would grow travels as it is.
Level 1: links that are worth compressing for are slower than it (hundreds of MB/s), and level 3 gains 1 to 2 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from .codec_plain import Unfit
from .codec_sizes import Slot

__all__ = ["compress", "expand"]

Array = NDArray[Any]
Buffer = bytes | bytearray | memoryview

# What the zstandard format asks every decoder to support, and more than level 1 uses.
_MAX_WINDOW = 8 << 20


def compress(data: Array, slot: Slot) -> bytes | memoryview:
    """The shorter of the compressed bytes and the bytes themselves: their lengths tell them apart."""
    shuffled = np.ascontiguousarray(data.reshape(-1, slot.width).T) if slot.width > 1 else data
    packed = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(shuffled.data)
    return packed if len(packed) < slot.length else data.data


def expand(data: Buffer, slot: Slot) -> Array:
    """The bytes again: exactly `slot.length` of them, or `Unfit` before any of them is allocated."""
    if len(data) == slot.length:
        return np.frombuffer(data, np.uint8)
    try:
        _check_frame(data, slot.length)
        plain = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompress(
            data, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise Unfit(f"zstandard: {error}") from error
    flat = np.frombuffer(plain, np.uint8)
    return np.ascontiguousarray(flat.reshape(slot.width, -1).T).reshape(-1) if slot.width > 1 else flat


def _check_frame(data: Buffer, length: int) -> None:
    # A frame that states no size reads as a huge one here, so that it is refused by the same comparison.
    frame = zstandard.get_frame_parameters(data)
    if frame.content_size != length:
        raise Unfit(f"a frame states {frame.content_size} bytes where the head implies {length}")
    if frame.window_size > max(length, _MAX_WINDOW) or frame.dict_id:
        raise Unfit("a frame asks for a dictionary or for more memory than its tensor")
