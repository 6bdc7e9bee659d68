"""The best row of spans from the first position to the last: exact, by dynamic programming over a table of costs.

Rules: a row is a list of positions, both ends included; keys that add up are minimised one after the other, and equal
means equal to the last bit; what is a maximum is bounded first and optimised within.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .grid import Mask, Numbers


def reachable(fits: Mask, most: int) -> list[Mask]:
    """The positions that rows of 0, 1, ... spans can end at; stops where the end is reached or nothing new is."""
    side = len(fits)
    reach: Mask = np.zeros(side, bool)
    reach[0] = True
    layers, seen = [reach], reach.copy()
    while len(layers) <= most and not layers[-1][-1]:
        reach = np.asarray(fits[reach].any(axis=0))
        if not (reach & ~seen).any():
            break
        seen |= reach
        layers.append(reach)
    return layers


def fewest(fits: Mask) -> int | None:
    """The least number of spans that reach the end; None where none do."""
    layers = reachable(fits, len(fits) - 1)
    return len(layers) - 1 if layers[-1][-1] else None


def counts(fits: Mask, most: int) -> list[int]:
    """Every number of spans up to `most` that reaches the end."""
    reach: Mask = np.zeros(len(fits), bool)
    reach[0] = True
    found = []
    for number in range(1, most + 1):
        reach = np.asarray(fits[reach].any(axis=0))
        if reach[-1]:
            found.append(number)
    return found


def smallest_maximum(values: Numbers, number: int | None) -> float:
    """The least that the largest value of a row can be; infinite where there is no row. Bad spans are infinite."""
    side = len(values)
    best = np.full(side, np.inf)
    best[0] = 0.0
    if number is None:
        for b in range(1, side):
            best[b] = np.maximum(best[:b], values[:b, b]).min()
        return float(best[-1])
    for step in range(number):
        # Only what was reached goes on, and the last step only to the end.
        live = np.isfinite(best)
        if not live.any():
            return float("inf")
        ends = slice(-1, None) if step == number - 1 else slice(None)
        grid = values[live, ends]
        found = np.maximum(best[live, None], grid, out=grid).min(axis=0)
        best = np.full(side, np.inf)
        best[ends] = found
    return float(best[-1])


def cheapest(keys: Sequence[Numbers], number: int | None) -> list[int] | None:
    """The row with the least sums, key by key; a span that is not allowed is infinite in the first key."""
    layers = _free(keys) if number is None else _counted(keys, number)
    if not np.isfinite(layers[-1][0][-1]):
        return None
    row = [len(keys[0]) - 1]
    while row[-1] > 0:
        b = row[-1]
        # Without a number there is one layer only, from which every step of the walk back is read.
        after = layers.pop() if number is not None else layers[-1]
        equal = np.ones(b, bool)
        for sums, key, total in zip(layers[-1], keys, after, strict=True):
            equal &= sums[:b] + key[:b, b] == total[b]
        row.append(int(np.flatnonzero(equal)[0]))
    return row[::-1]


# By key: the least sums at every position.
_Sums = list[Numbers]


def _start(keys: Sequence[Numbers]) -> _Sums:
    sums = [np.zeros(len(keys[0])) for _ in keys]
    sums[0][1:] = np.inf
    return sums


def _counted(keys: Sequence[Numbers], number: int) -> list[_Sums]:
    """The sums after 0, 1, ... `number` spans."""
    side, layers = len(keys[0]), [_start(keys)]
    for step in range(number):
        # Only what was reached goes on, and the last step only to the end.
        live = np.isfinite(layers[-1][0])
        ends = slice(-1, None) if step == number - 1 else slice(None)
        equal: Mask | None = None
        sums: _Sums = []
        for before, key in zip(layers[-1], keys, strict=True):
            total = np.full(side, np.inf)
            if live.any():
                grid = key[live, ends]
                grid += before[live, None]
                if equal is not None:
                    grid[~equal] = np.inf
                total[ends] = grid.min(axis=0)
                if len(sums) < len(keys) - 1:
                    same = grid == total[ends]
                    equal = same if equal is None else equal & same
            sums.append(total)
        layers.append(sums)
    return layers


def _free(keys: Sequence[Numbers]) -> list[_Sums]:
    """The sums at every position over rows of any length: one layer."""
    sums = _start(keys)
    columns = [np.asfortranarray(key) for key in keys]
    for b in range(1, len(keys[0])):
        chosen: Numbers | None = None
        for total, key in zip(sums, columns, strict=True):
            found = total[:b] + key[:b, b]
            if chosen is not None:
                found = np.where(chosen == 0, found, np.inf)
            total[b] = least = found.min()
            same = (found != least).astype(float)
            chosen = same if chosen is None else chosen + same
    return [sums]
