"""What one side of a wire accepts, as data: checked before anything is allocated.

One rule: every bound has a name here, an error that prints it, and a test that attacks it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MIN_CHUNK", "Limits"]

# A chunk that is not the last of its message carries at least this much, so that the cost of keeping track of a
# chunk (about 0.3 KB here) can not be made larger than the chunk.
MIN_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in bytes and counts; the defaults hold a 1 GiB state of 4,096 tensors."""

    max_header: int = 1 << 20
    max_body: int = 1 << 30
    max_chunk: int = 4 << 20
    # Of one tensor after decoding: a codec can make it larger than its bytes on the wire.
    max_tensor: int = 1 << 30
    max_tensors: int = 4096
    # numpy stops at 64 dimensions, ONNX models in the wild at 8.
    max_dims: int = 16
    max_channels: int = 8
    # Received and not yet read by the application; beyond it no more credit is given.
    max_held: int = 64 << 20
    # Sent and not yet acknowledged; beyond it sending waits.
    max_retained: int = 64 << 20
    # A link probe of this size takes 3.4 s at 10 Mbit/s: enough to measure, too little to harm.
    max_probe: int = 4 << 20
