"""What one visitor of a training cloud may take, as data, and the watch over the memory of the whole process.

Rules: every bound has a name here, and an error that prints it; a server that is short of memory refuses new work
and lives on, it does not die with the work of all its visitors.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, final

from ..errors import BadDocument, LimitExceeded
from ..graph import print_size

MB: Final = 1_000_000
GB: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bounds of a cloud; those in bytes and `kept` are of each visitor, `memory` is of the process (0: no bound).

    `kept` is the number of steps that may wait for their slopes, `idle` the seconds after which a visitor that asks
    nothing is let go, `disk` the bytes of the checkpoints of one run, `runs` how many runs may have some.
    """

    visitors: int = 16
    state: int = 8 * GB
    model: int = 256 * MB
    kept: int = 64
    idle: float = 3600.0
    disk: int = 32 * GB
    runs: int = 1000
    memory: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{field.name}: {getattr(self, field.name)!r} is not a positive number"
            for field in fields(self)
            if field.name != "memory" and not getattr(self, field.name) > 0
        ]
        problems += [f"memory: {self.memory!r} is below 0"] if self.memory < 0 else []
        if problems:
            raise BadDocument("limits", problems, fix="leave a limit away for its default")


def exceeded(what: str, wanted: int, allowed: int, option: str) -> LimitExceeded:
    """A visitor asked for more bytes than it may have."""
    return LimitExceeded(
        f"{what} takes {print_size(wanted)}, and a visitor here may have {print_size(allowed)}",
        fix=f"give the cloud a smaller part, or raise `{option}` of its limits",
    )


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """What this process holds now; None where the system does not tell."""
    try:
        pages = int(statm.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def trim_heap() -> None:
    """Give back what the heap keeps of freed tensors (see profile.steady_heap); nothing where that is not possible."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


@final
class MemoryWatch:
    """Refuses new work while the process holds more than `most` bytes."""

    def __init__(
        self,
        most: int = 0,
        *,
        read: Callable[[], int | None] = resident_bytes,
        trim: Callable[[], None] = trim_heap,
    ) -> None:
        self._most, self._read, self._trim = most, read, trim

    def check(self) -> None:
        """Raise `LimitExceeded` if memory is short."""
        if not self._most or (self._read() or 0) <= self._most:
            return
        # The heap keeps what was freed for the next tensor: that is no shortage.
        self._trim()
        held = self._read() or 0
        if held > self._most:
            raise LimitExceeded(
                f"this cloud holds {print_size(held)} of memory, and takes no new work above {print_size(self._most)}",
                fix="try again when other visitors have left, or start the cloud with a larger --memory",
            )
