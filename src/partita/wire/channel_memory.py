"""The in-process carrier: two ends in one event loop, with the same session between them as on a network.

One rule: bytes are copied on the way, so that neither side ever sees the other's memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import final

from .channel import PipeEnded
from .message import Buffer

__all__ = ["MemoryPipe", "memory_pipes"]

# As much as a kernel's socket buffer holds.
_ROOM = 1 << 20


@final
class MemoryPipe:
    """One end of an in-process pipe."""

    def __init__(self) -> None:
        self._arrived: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._other = self

    async def read(self) -> Buffer:
        """The next bytes that the other end wrote."""
        while not self._arrived:
            if self._ended:
                raise PipeEnded("the other end closed the pipe")
            self._changed.clear()
            await self._changed.wait()
        data = self._arrived.popleft()
        self._bytes -= len(data)
        self._other._changed.set()
        return data

    async def write(self, buffers: Sequence[Buffer]) -> None:
        """Hand a copy to the other end; waits while its buffer is full."""
        other = self._other
        data = b"".join(buffers)
        if self._ended:
            raise PipeEnded("the pipe is closed")
        other._arrived.append(data)
        other._bytes += len(data)
        other._changed.set()
        while other._bytes > _ROOM and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Both ends are over; what was written before can still be read."""
        for end in (self, self._other):
            end._ended = True
            end._changed.set()


def memory_pipes() -> tuple[MemoryPipe, MemoryPipe]:
    """Two ends of one pipe."""
    one, two = MemoryPipe(), MemoryPipe()
    one._other, two._other = two, one
    return one, two
