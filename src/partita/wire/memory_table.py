"""Rows remembered by sample id, at most so many: the table behind both memories.

Three rules. Order decides everything and nothing else does: two tables that see the same calls hold the same bits.
The row that was used longest ago leaves first. Memory grows with what is used, up to capacity x row.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowTable"]

Array = NDArray[Any]

# Few enough to cost nothing for a small fold, then doubled.
_FIRST_ROWS = 64


@final
class RowTable:
    """A least-recently-used table from sample id to one row of floats."""

    def __init__(self, capacity: int, dtype: np.dtype[Any]) -> None:
        self.capacity = capacity
        self.dtype = dtype
        self.width: int | None = None
        self._slots: OrderedDict[int, int] = OrderedDict()
        self._rows: Array = np.empty((0, 0), dtype)

    @property
    def nbytes(self) -> int:
        """What the rows take now."""
        return self._rows.nbytes

    def clear(self) -> None:
        """Forget all rows, and what a row looks like."""
        self.width = None
        self._slots.clear()
        self._rows = np.empty((0, 0), self.dtype)

    def read(self, ids: list[int], width: int, work: np.dtype[Any]) -> Array:
        """The rows of these ids in the working type; zeros for those never seen or forgotten."""
        out = np.zeros((len(ids), width), work)
        known = [(at, self._slots[key]) for at, key in enumerate(ids) if key in self._slots]
        if known:
            places, slots = zip(*known, strict=True)
            out[list(places)] = self._rows[list(slots)]
        return out

    def write(self, ids: list[int], rows: Array) -> None:
        """Remember these rows, the last one for an id that comes twice; the oldest ids leave beyond capacity."""
        if not ids:
            return
        self.width = rows.shape[1]
        last = {key: at for at, key in enumerate(ids)}
        # In the order of their last use, and no more than fit.
        newest = sorted(last.items(), key=lambda item: item[1])[-self.capacity :]
        slots = [self._slot(key) for key, _ in newest]
        limits = np.finfo(self.dtype)
        self._rows[slots] = np.clip(rows[[at for _, at in newest]], limits.min, limits.max)

    def items(self) -> tuple[Array, Array]:
        """Ids from the oldest to the newest, and their rows."""
        return np.array(list(self._slots), np.int64), self._rows[list(self._slots.values())]

    def _slot(self, key: int) -> int:
        if key in self._slots:
            self._slots.move_to_end(key)
        elif len(self._slots) == self.capacity:
            _, self._slots[key] = self._slots.popitem(last=False)
        else:
            self._slots[key] = len(self._slots)
            self._grow(len(self._slots))
        return self._slots[key]

    def _grow(self, needed: int) -> None:
        if needed <= len(self._rows):
            return
        held = len(self._rows)
        rows = np.zeros((min(self.capacity, max(_FIRST_ROWS, 2 * held)), self.width or 0), self.dtype)
        if held:
            rows[:held] = self._rows
        self._rows = rows
