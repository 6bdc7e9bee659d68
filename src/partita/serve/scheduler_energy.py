"""Energy over time: a bucket that fills with the joules allowed and empties with those spent, and a price that rises
as it runs dry.

Rules: the price answers the level (proportional) and how long it was low (integral); half full costs nothing; the
bucket may go below empty, because work that began is finished, and then somebody waits.
"""

from __future__ import annotations

# The level at which a joule costs nothing.
_COMFORT = 0.5
# Gains of the two halves of the controller. An empty bucket alone gives the full price, and half a bucket missing for
# one window gives it again.
_PROPORTIONAL = 2.0
_INTEGRAL = 2.0


class Bucket:
    """Joules saved up, at `rate` per second, for at most `window` seconds."""

    def __init__(self, rate: float, window: float) -> None:
        self.rate, self.full = rate, rate * window
        self._window = window
        self.level = self.full
        self._at = 0.0
        self._owed = 0.0

    def spend(self, joules: float, now: float) -> None:
        """Take what a batch drew."""
        self._fill(now)
        self.level -= joules

    def pressure(self, now: float) -> float:
        """The price of a joule as a share of the highest: 0 with plenty, 1 when dry."""
        self._fill(now)
        return min(1.0, max(0.0, _PROPORTIONAL * self._lack) + self._owed)

    def wait(self, joules: float, now: float) -> float:
        """Seconds until so many joules are there; 0 if they are."""
        self._fill(now)
        return max(0.0, (joules - self.level) / self.rate)

    @property
    def _lack(self) -> float:
        return _COMFORT - self.level / self.full

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = max(now, self._at)
        # The memory of scarcity is held between nothing and the full price, or it would punish long after.
        self._owed = min(1.0, max(0.0, self._owed + _INTEGRAL * self._lack * passed / self._window))
        self.level = min(self.full, self.level + self.rate * passed)
