"""The queue: requests in the order of their deadlines, and what a decision asks about all of them at once.

Rules: entries and arrays stay in step, row by row; equal deadlines keep the order of arrival; nothing here knows what
a price is: it is given a table row and answers whether everybody's work fits before everybody's deadline.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from .scheduler_orders import Entry

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class Queue:
    """Waiting entries, earliest deadline first."""

    def __init__(self, room: int = 256) -> None:
        self.entries: list[Entry] = []
        self._order: list[tuple[float, int]] = []
        # Deadline and latest start; row, stage and account. Two blocks, because moving a block costs one call.
        self._times = np.zeros((2, room))
        self._marks = np.zeros((3, room), dtype=np.intp)
        self._work = np.zeros(room)
        self._flag = np.zeros(room, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def deadlines(self) -> Floats:
        """When each must be answered; infinite for who may be late."""
        return self._times[0, : len(self.entries)]

    @property
    def latest(self) -> Floats:
        """When each must start its next stage at the latest, for that to make sense."""
        return self._times[1, : len(self.entries)]

    @property
    def rows(self) -> Indices:
        """The row of each in the price tables."""
        return self._marks[0, : len(self.entries)]

    @property
    def stages(self) -> Indices:
        """The next stage of each."""
        return self._marks[1, : len(self.entries)]

    def add(self, entry: Entry, row: int, latest: float) -> int:
        """Put one in its place, and say which place that is."""
        count = len(self.entries)
        if count == len(self._work):
            self._grow()
        key = (entry.deadline, entry.number)
        at = bisect_right(self._order, key)
        self._order.insert(at, key)
        self.entries.insert(at, entry)
        times, marks = self._times, self._marks
        times[:, at + 1 : count + 1] = times[:, at:count]
        marks[:, at + 1 : count + 1] = marks[:, at:count]
        times[0, at], times[1, at] = key[0], latest
        marks[0, at], marks[1, at], marks[2, at] = row, entry.stage, entry.account
        return at

    def take(self, places: Iterable[int]) -> list[Entry]:
        """Remove entries by place, ascending, and give them back in order."""
        gone = list(places)
        if not gone:
            return []
        count, left = len(self.entries), len(self.entries) - len(gone)
        taken = [self.entries[at] for at in gone]
        for at in reversed(gone):
            del self.entries[at], self._order[at]
        times, marks = self._times, self._marks
        if len(gone) == gone[-1] - gone[0] + 1:
            low, high = gone[0], gone[-1] + 1
            times[:, low:left] = times[:, high:count]
            marks[:, low:left] = marks[:, high:count]
        else:
            keep = np.ones(count, dtype=np.bool_)
            keep[gone] = False
            stay = keep.nonzero()[0]
            times[:, :left] = times.take(stay, axis=1)
            marks[:, :left] = marks.take(stay, axis=1)
        return taken

    def room(self, free: list[float], now: float, margin: float, owed: float) -> Floats:
        """Seconds of undisturbed work before each deadline, by workers that are free at those times."""
        deadlines = self.deadlines
        room: Floats = np.maximum(deadlines - max(now, free[0]), 0.0)
        for other in free[1:]:
            room += np.maximum(deadlines - max(now, other), 0.0)
        room /= margin
        return room - owed if owed else room

    def fits(self, cost: Floats, room: Floats) -> bool:
        """Whether, in order, the work up to each entry stays within the room before its deadline."""
        count = len(self.entries)
        work, flag = self._work[:count], self._flag[:count]
        # "clip" because the checking modes copy through a buffer; rows are ours and always inside.
        cost.take(self._marks[0, :count], out=work, mode="clip")
        np.add.accumulate(work, out=work)
        np.less_equal(work, room, out=flag)
        return bool(flag.all())

    def excess(self, cost: Floats, room: Floats) -> Floats:
        """By how many seconds the work up to each entry overruns its room."""
        return np.asarray(np.cumsum(cost.take(self.rows)) - room)

    def move(self, account: int, by: int) -> None:
        """Shift the rows of one tenant, because it now pays differently."""
        self.rows[self._marks[2, : len(self.entries)] == account] += by

    def _grow(self) -> None:
        for name in ("_times", "_marks", "_work", "_flag"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)], axis=-1))
