"""The world of a simulated training: how long work and bytes take that begin at some second.

Rules: rates change in steps, at the moments of the trace, also in the middle of a transfer or of a stage; the first
moment begins at 0 and the last one never ends; noise is drawn from a seed, in the order of the work.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from math import exp
from typing import final

from .simulate_moments import Moment


@final
class Progress:
    """Something that advances at a rate that changes in steps."""

    def __init__(self, times: Sequence[float], rates: Sequence[float]) -> None:
        self._times, self._rates = list(times), list(rates)
        self._done = [0.0]
        for index in range(1, len(self._times)):
            span = self._times[index] - self._times[index - 1]
            self._done.append(self._done[-1] + span * self._rates[index - 1])

    def after(self, start: float, amount: float) -> float:
        """When so much is done that began at `start`."""
        at = bisect_right(self._times, start) - 1
        done = self._done[at] + (start - self._times[at]) * self._rates[at]
        target = done + amount
        end = max(bisect_right(self._done, target) - 1, at)
        if end == at:
            # Not through the sums, which after hours would blur what takes microseconds.
            return start + amount / self._rates[at]
        return self._times[end] + (target - self._done[end]) / self._rates[end]


@final
class World:
    """The moments of a trace as clocks for work and bytes."""

    def __init__(self, moments: Sequence[Moment], *, noise: float = 0.0, seed: int = 0) -> None:
        self.moments = tuple(moments)
        self._times = [moment.at for moment in moments]
        # Rates are bits per second, the devices' are seconds of the profile per second.
        self._up = Progress(self._times, [moment.link.up for moment in moments])
        self._down = Progress(self._times, [moment.link.down for moment in moments])
        self._places = {
            "edge": Progress(self._times, [1 / moment.edge for moment in moments]),
            "cloud": Progress(self._times, [1 / moment.cloud for moment in moments]),
        }
        self._noise = noise
        self._draw = random.Random(seed)  # noqa: S311 - noise, not secrets

    def at(self, now: float) -> Moment:
        """What holds at a second."""
        return self.moments[max(bisect_right(self._times, now) - 1, 0)]

    def worked(self, place: str, start: float, seconds: float) -> float:
        """When work is done that takes so many seconds of the profile."""
        return self._places[place].after(start, seconds * self._factor()) if seconds else start

    def sent(self, start: float, size: float, *, up: bool) -> float:
        """When the last byte has left; it is there half a round trip later."""
        if not size:
            return start
        return (self._up if up else self._down).after(start, size * 8 * self._factor())

    def trip(self, now: float) -> float:
        """Seconds from one end of the link to the other."""
        return self.at(now).link.rtt / 2

    def _factor(self) -> float:
        """Noise with a mean of 1: never negative, and rarely far beyond its scale."""
        if not self._noise:
            return 1.0
        return exp(self._draw.gauss(0.0, self._noise) - self._noise**2 / 2)
