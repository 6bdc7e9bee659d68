"""From the times of stages run alone to what they cost inside a longer part.

A stage run alone pays for a call of its own: conversion of its values, the interpreter, the runtime's way in
and out, a memory layout it would have shared with its neighbours. A longer part pays that once. So every stage
is timed alone, in pieces of several stages, and as part of the whole; the differences say what a call costs.

Rules: the calibrated stages add up to the measured whole; a stage's share comes from its own measurement, a
piece's share from the piece's; nothing becomes negative. No clock, no model: numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import Work

# What is left of a time at least when the price of a call is taken off it: noise must not make a stage free.
_LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far stages run alone are from the whole, at one batch size.

    `alone` is the sum over all stages, `pieces` that over the longer pieces (equal to `whole` where there were
    none), `handover` the seconds that one more cut costs.
    """

    batch: int
    work: Work
    whole: float
    alone: float
    pieces: float
    handover: float

    @property
    def ratio(self) -> float:
        """Whole by sum of stages: 1 where stages cost alone what they cost together."""
        return self.whole / self.alone if self.alone else 1.0

    def __str__(self) -> str:
        return (
            f"{self.work} at batch {self.batch}: whole / sum of stages {self.ratio:.3f}, "
            f"one more cut {self.handover * 1e3:.3g} ms"
        )


def handover(
    alone: Sequence[float], groups: Sequence[tuple[int, int]], together: Sequence[float], whole: float
) -> float:
    """The seconds that one more cut costs: what the pieces take beyond the whole, for each cut between them.

    It is at most what the cheapest stage takes alone, since that stage paid it too.
    """
    parts = together if groups else alone
    if len(parts) < 2:
        return 0.0
    call = (sum(parts) - whole) / (len(parts) - 1)
    return min(max(call, 0.0), *alone)


def calibrate(
    alone: Sequence[float], groups: Sequence[tuple[int, int]], together: Sequence[float], whole: float
) -> tuple[float, ...]:
    """The seconds of each stage inside the whole, from its seconds alone.

    `groups` are index pairs that cover all stages in order (or nothing), `together` the seconds of each.
    """
    call = handover(alone, groups, together, whole)
    bare = [max(seconds - call, _LEAST_SHARE * seconds) for seconds in alone]
    for (start, stop), seconds in zip(groups, together, strict=True):
        _scale(bare, start, stop, max(seconds - call, _LEAST_SHARE * seconds))
    _scale(bare, 0, len(bare), whole)
    return tuple(bare)


def _scale(values: list[float], start: int, stop: int, total: float) -> None:
    """Bring a run of values to a total, keeping their proportions; equal shares where they are all zero."""
    old = sum(values[start:stop])
    for index in range(start, stop):
        values[index] = values[index] * total / old if old else total / (stop - start)
