"""From values to places on paper: a linear or logarithmic scale with round numbers on it.

Rules: pure; every value given lies on the scale; ticks are 1, 2 or 5 times a power of ten, and no two of them are
written alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Literal

from ..graph import print_size

Unit = Literal["", "count", "bytes", "seconds", "dollars", "share"]
# How far a logarithmic scale reaches beyond its values, in powers of ten.
_ROOM = 0.08
# Fewer powers of ten than this leave too few lines: 2 and 5 join them.
_FEW_POWERS = 2.2


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` between two places; `first` may lie behind `last`, as upward on paper."""

    low: float
    high: float
    first: float
    last: float
    log: bool
    ticks: tuple[float, ...]
    unit: Unit

    @classmethod
    def over(
        cls,
        values: Sequence[float],
        first: float,
        last: float,
        *,
        log: bool = False,
        unit: Unit = "",
        from_zero: bool = False,
        most: int = 9,
    ) -> Scale:
        """The scale that holds all values. `from_zero` shows amounts from nothing, so that bars and heights compare."""
        low, high = min(values), max(values)
        if log:
            return _logarithmic(low, high, first, last, unit, most)
        if from_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            room = abs(low) / 2 or 1.0
            low, high = (low - room, high + room) if not from_zero else (low, high + room)
        whole = unit == "count" or all(v == int(v) for v in values)
        step = _step((high - low) / most, whole=whole)
        below, above = (
            (floor(low / step), ceil(high / step)) if from_zero else (ceil(low / step), floor(high / step))
        )
        ticks = tuple(index * step for index in range(below, above + 1))
        if from_zero:
            low, high = ticks[0], ticks[-1]
        return cls(low, high, first, last, False, ticks or (low, high), unit)

    def at(self, value: float) -> float:
        """Where a value lies."""
        low, high, value = (
            (log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        # Halves, because the distance between two very large numbers of different signs is not finite.
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
        return self.first + (self.last - self.first) * share

    @property
    def labels(self) -> tuple[tuple[float, str], ...]:
        """The ticks and how they are written; where two would read alike, the first stays."""
        told = {written(value, self.unit): value for value in reversed(self.ticks)}
        return tuple((value, text) for text, value in reversed(told.items()))


def _step(rough: float, *, whole: bool) -> float:
    """The round number from `rough` upwards."""
    if not isfinite(rough):  # values so far apart that their distance overflows
        rough = 1e307
    power = 10.0 ** floor(log10(rough)) if rough > 0 else 1.0
    step = next((m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999), 10 * power)
    return max(step, 1.0) if whole else step


def _logarithmic(low: float, high: float, first: float, last: float, unit: Unit, most: int) -> Scale:
    left, right = log10(low) - _ROOM, log10(high) + _ROOM
    if right - left < 1:
        middle = (left + right) / 2
        left, right = middle - 0.5, middle + 0.5
    powers = range(floor(left), ceil(right) + 1)
    every = max(1, ceil(len(powers) / most))
    multiples = (1, 2, 5) if right - left < _FEW_POWERS else (1,)
    found = (m * 10.0**p for p in powers if p % every == 0 and -308 < p < 309 for m in multiples)
    left, right = max(left, -307.0), min(right, 308.0)
    ticks = tuple(value for value in found if left <= log10(value) <= right)
    return Scale(10.0**left, 10.0**right, first, last, True, ticks, unit)


def written(value: float, unit: Unit) -> str:
    """A number with its unit, in three digits."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    match unit:
        case "bytes":
            return sign + print_size(float(f"{size:.3g}"))
        case "seconds":
            return sign + _seconds(size)
        case "dollars":
            return f"{sign}${_plain(size)}"
        case "share":
            return f"{sign}{_plain(size * 100)}%"
        case _:
            return sign + _plain(size)


def _seconds(size: float) -> str:
    for name, unit in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        # A time of a few minutes reads better in seconds.
        if size >= unit * (3 if unit > 1 else 1) or (not size and name == "s"):
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e-9:.3g} ns" if size else "0 s"


def _plain(size: float) -> str:
    """Three digits; whole thousands as people write them, exponents only beyond what one counts."""
    if not size or 1e-4 <= size < 1e6:
        return f"{float(f'{size:.3g}'):,.10g}"
    return f"{size:.3g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
