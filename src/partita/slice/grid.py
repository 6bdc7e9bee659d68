"""Sums over all spans [a, b) at once: whatever adds the same amount to a rectangle of spans, added in one sweep.

Rules: a table is indexed [a, b] by position, ends included; amounts are bytes and counts, which are exact in floats
below 2**53; empty rectangles must not be given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rectangles:
    """The spans with first <= a < stop_a and low <= b < stop_b, many times over."""

    first: Index
    stop_a: Index
    low: Index
    stop_b: Index

    def total(self, amounts: Numbers, shape: tuple[int, int]) -> Numbers:
        """For every span, the sum of the amounts whose rectangle it lies in."""
        width = shape[1] + 1
        corners = np.concatenate(
            [
                self.first * width + self.low,
                self.stop_a * width + self.low,
                self.first * width + self.stop_b,
                self.stop_a * width + self.stop_b,
            ]
        )
        signed = np.concatenate([amounts, -amounts, -amounts, amounts])
        flat = np.bincount(corners, signed, minlength=(shape[0] + 1) * width)
        grid = flat.reshape(shape[0] + 1, width)[: shape[0], : shape[1]]
        return np.cumsum(np.cumsum(grid, axis=0, dtype=np.float64), axis=1)


@dataclass(frozen=True)
class Uses:
    """Things that are made once and used by some spans: tensors by their readers, parameters by their users.

    `who` and `at` are pairs of thing and segment, sorted, each once; `since` is the segment of the use before, or
    where the thing was made; -1 is before the first.
    """

    who: Index
    at: Index
    since: Index

    @classmethod
    def of(cls, who: Index, stage: Index, made: Index, positions: Index) -> Uses:
        """From pairs of thing and stage in order; `made` is the stage of each thing."""
        at = segments(stage, positions)
        fresh = np.ones(len(who), bool)
        fresh[1:] = (who[1:] != who[:-1]) | (at[1:] != at[:-1])
        who, at = who[fresh], at[fresh]
        since = segments(made, positions)[who]
        again = np.flatnonzero(who[1:] == who[:-1]) + 1
        since[again] = at[again - 1]
        inside = at > since
        return cls(who[inside], at[inside], since[inside])

    def within(self, amounts: Numbers, side: int) -> Numbers:
        """For every span, the amounts of the things used in it and not made in it, each once."""
        kept = (amounts[self.who] != 0) & (self.at < side - 1)
        at, since = self.at[kept], self.since[kept]
        spans = Rectangles(since + 1, at + 1, at + 1, np.full_like(at, side))
        return spans.total(amounts[self.who[kept]], (side, side))


def segments(stage: Index, positions: Index) -> Index:
    """Between which positions each stage lies; -1 for what is given, the last position for what follows the end."""
    return np.searchsorted(positions, stage, side="right") - 1
