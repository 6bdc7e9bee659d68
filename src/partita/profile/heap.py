"""A heap that keeps what it has, so that the same part takes the same time twice.

By default glibc gives every large tensor back to the system when it is freed, and takes new pages for the next one:
zeroed one by one, in the middle of a convolution. Whether that happens depends on what else the process freed, so
the same part takes 2.5 ms now and 7 ms later. A heap that does not shrink pays for its pages once.

Rules: one call for a process, before its parts run, and the same in the process that measures as in the ones that
run parts, or the measured times are not those of the run. The price is that memory stays at its high water.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# From malloc.h: the parameters of mallopt.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
# The heap is never given back, and only tensors of a gigabyte and more have pages of their own.
_NEVER: Final = 2**31 - 1
_LARGE: Final = 1 << 30


def steady_heap() -> bool:
    """Keep freed memory for the next tensor; whether this platform's allocator can be told so."""
    if not sys.platform.startswith("linux"):  # pragma: no cover - not the platform of the tests
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # pragma: no cover - musl has no such parameter, and no such habit
        return False
    # One arena: a thread that computes would else have a heap of its own, which shrinks whatever is said here.
    wanted = ((_TRIM_THRESHOLD, _NEVER), (_MMAP_THRESHOLD, _LARGE), (_ARENA_MAX, 1))
    return all(mallopt(name, value) for name, value in wanted)
