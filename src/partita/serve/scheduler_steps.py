"""The smallest price at which everybody's work fits.

Rules: fitting at one step means fitting at every later one; the search starts where the last one ended, because from
one decision to the next the price moves little.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp

# By how much the steadied price stands above the average of what was needed: the queue then stays short enough that
# few run out of time by chance, and depth is chosen by worth. Found in simulation at two to five times the capacity.
_AHEAD = 1.1


class Steady:
    """A price that remembers.

    What the queue needs jumps with every arrival. Paying the least at each moment spends on depth whatever is spare now
    and lacks it a moment later, while the worth of depth falls the deeper one goes: an even price buys more.
    """

    def __init__(self, memory: float, middle: int) -> None:
        self._memory, self._middle = memory, middle
        self._average = 0.0
        self._at = 0.0

    def step(self, needed: int, now: float) -> int:
        """The step to apply where `needed` is the smallest that fits: never below it, and never into the half in which
        the others pay too unless it is there."""
        fades = exp(-max(0.0, now - self._at) / self._memory)
        self._at = now
        self._average += (1 - fades) * (needed - self._average)
        if needed > self._middle:
            return needed
        return max(needed, min(self._middle, int(_AHEAD * self._average)))


def smallest(fits: Callable[[int], bool], steps: int, last: int) -> int | None:
    """The first step that fits, or None when not even the last one does."""
    if fits(last):
        low, high = _down(fits, last)
    elif last < steps - 1 and fits(steps - 1):
        low, high = _up(fits, last, steps - 1)
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


def _down(fits: Callable[[int], bool], high: int) -> tuple[int, int]:
    """From a step that fits, in growing strides to one that does not (-1 if all do)."""
    stride = 1
    while high > 0:
        probe = max(0, high - stride)
        if not fits(probe):
            return probe, high
        high, stride = probe, 2 * stride
    return -1, 0


def _up(fits: Callable[[int], bool], low: int, high: int) -> tuple[int, int]:
    """From a step that does not fit, in growing strides to one that does."""
    stride = 1
    while low + stride < high:
        if fits(low + stride):
            return low, low + stride
        low, stride = low + stride, 2 * stride
    return low, high
