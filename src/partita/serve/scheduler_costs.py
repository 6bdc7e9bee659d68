"""What a stage costs now: the profile's seconds, corrected by what the workers report.

Rules: the shape over batch sizes is the profile's and only its scale is learned, one per span; a lookup is a list
index, because a decision makes many; batches end where larger ones bring nothing.
"""

from __future__ import annotations

from itertools import pairwise

from ..errors import BadDocument
from .tables import ExitProfile

# A batch is large enough when a sample costs at most this share more than at the best size: beyond it a larger batch
# only blocks the worker for longer.
_ENOUGH = 1.03
# How much one observation moves the learned scale.
_STEP = 0.05
# A single stall must not teach that the device became slow: an observation counts at most this many times the expected.
_STALL = 3.0


class Costs:
    """Seconds of every span at every batch size up to the largest useful one."""

    def __init__(self, profile: ExitProfile, max_batch: int) -> None:
        if not profile.timed:
            raise BadDocument(
                "exit profile",
                ["stages: no stage times, and a schedule without times is a guess"],
                fix="measure them: partita serve profile",
            )
        self.exits = len(profile.exits)
        self.spans: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
        for first in range(self.exits):
            for last in range(first, self.exits):
                time = profile.span(first, last)
                if time is not None:
                    p50 = [0.0, *(time.seconds(b) for b in range(1, max_batch + 1))]
                    p99 = [0.0, *(time.seconds(b, tail=True) for b in range(1, max_batch + 1))]
                    self.spans[first, last] = (p50, p99)
        self.scale = dict.fromkeys(self.spans, 1.0)
        self.enough = {span: _enough(p50) for span, (p50, _) in self.spans.items()}
        joules = [0.0, *(cost.joules or 0.0 for cost in profile.exits)]
        # Joules of stage k for one sample: exits count from the input, a stage only from the exit before.
        self.joules = [max(0.0, b - a) for a, b in pairwise(joules)]

    def seconds(self, first: int, last: int, batch: int) -> float:
        """The median for a batch."""
        return self.spans[first, last][0][batch] * self.scale[first, last]

    def tail(self, stage: int, margin: float) -> float:
        """What one sample through one stage takes at worst: for deciding whether there is a last chance."""
        p50, p99 = self.spans[stage, stage]
        return max(p99[1], margin * p50[1]) * self.scale[stage, stage]

    def alone(self, first: int, last: int) -> float:
        """The median of one sample through several stages, one after the other."""
        return sum(self.seconds(k, k, 1) for k in range(first, last + 1))

    def units(self) -> list[float]:
        """Seconds of each stage for one sample alone.

        Tight deadlines form small batches: priced as members of full ones, requests would go deeper than there is time
        for (98.2% instead of 99.7% in time in a burst of three times, on a measured network).
        """
        return [self.seconds(k, k, 1) for k in range(self.exits)]

    def observe(self, first: int, last: int, batch: int, seconds: float) -> None:
        """Learn from one run."""
        expected = self.spans[first, last][0][batch]
        if expected > 0:
            ratio = min(seconds / expected, _STALL * self.scale[first, last])
            self.scale[first, last] += _STEP * (ratio - self.scale[first, last])


def _enough(seconds: list[float]) -> int:
    """The smallest batch size that is nearly as cheap per sample as the cheapest."""
    each = [seconds[b] / b for b in range(1, len(seconds))]
    best = min(each)
    return next(b for b, cost in enumerate(each, 1) if cost <= _ENOUGH * best)
