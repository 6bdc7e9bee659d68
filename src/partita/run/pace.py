"""A slower device than this one, pretended: work takes its time here, and then as long again as it would there."""

from __future__ import annotations

from time import perf_counter, sleep
from typing import Final, final

# What work takes longer after a sleep of milliseconds, on a machine that others use too: caches are cold. Of short work it
# is counted as half.
_WAKING: Final = 2e-4


@final
class Pace:
    """Stretches work `factor` times. What is stretched is the least that the same work took so far: the noise of this
    machine is not part of the other device, and must not be multiplied; neither is waking up, which work does here
    because it slept before, to be slow."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self._least: dict[object, float] = {}

    def keep(self, work: object, began: float) -> None:
        """Wait until the work that began at `began` (by perf_counter) has taken as long as it would there."""
        if self.factor <= 1.0:
            return
        taken = perf_counter() - began
        least = self._least[work] = min(self._least.get(work, taken), taken)
        woken = min(_WAKING, least / 2)
        left = (least - woken) * self.factor + woken - taken
        if left > 0:
            sleep(left)
