"""Links with faults on purpose: they cut, corrupt, repeat and delay what passes, at places that a seed decides.

Two rules. A fault happens to bytes in a pipe, never to a session: what a test sees is how the session copes. The same
seed gives the same faults.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ..wire import Dial, Pipe, PipeEnded

__all__ = ["Faults", "FaultyPipe", "faulty_dial"]


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities for each write; ``cut_after`` ends a pipe after so many bytes, whatever else happens."""

    cut: float = 0.0
    corrupt: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    cut_after: int | None = None


@final
class FaultyPipe:
    """A pipe that does to its writes what ``faults`` say."""

    def __init__(self, pipe: Pipe, faults: Faults, source: random.Random) -> None:
        self._pipe, self._faults, self._random = pipe, faults, source
        self._written = 0

    async def read(self) -> bytes | bytearray | memoryview:
        """Reads are left alone: the faults of one end's writes are those of the other end's reads."""
        return await self._pipe.read()

    async def write(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """One chunk: cut in the middle, changed in one bit, said twice, late, or as it is."""
        faults, data = self._faults, b"".join(buffers)
        limit = faults.cut_after
        if self._happens(faults.cut) or (limit is not None and self._written + len(data) > limit):
            if half := data[: self._random.randrange(len(data))]:
                await self._pipe.write([half])
            await self._pipe.close()
            raise PipeEnded("cut on purpose")
        self._written += len(data)
        if self._happens(faults.corrupt):
            data = self._flipped(data)
        if self._happens(faults.delay):
            await asyncio.sleep(self._random.uniform(0.0, 0.01))
        await self._pipe.write([data])
        if self._happens(faults.repeat):
            await self._pipe.write([data])

    async def close(self) -> None:
        """Close the pipe below."""
        await self._pipe.close()

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _flipped(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]


def faulty_dial(dial: Dial, faults: Faults, *, seed: int = 0) -> Dial:
    """The same dial, whose pipes have these faults."""
    source = random.Random(seed)  # noqa: S311  # faults that repeat, not secrets

    async def dialled() -> Pipe:
        return FaultyPipe(await dial(), faults, source)

    return dialled
