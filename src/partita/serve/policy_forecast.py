"""How long the next stage will take: from the profile where it has times, and from what this run has seen of it.

Rules: pure, fed with durations; firm forecasts err on the long side and soft ones do not; a stage that one bad moment
made look slow is trusted again after a while, because a stage that is never run can never be seen to have recovered.
"""

from __future__ import annotations

from .tables import ExitProfile

# The gains with which network stacks estimate round trips: smooth, yet a change of speed is followed in ten requests.
_GAIN, _SPREAD_GAIN = 1 / 8, 1 / 4
# Spreads above the mean that about 99 of 100 stay below, for durations with a long tail.
_SPREADS = 4.0
# Share of what is above the profile, or above the least seen, that is forgotten when a forecast kept a stage from running.
_FORGET = 1 / 200


class _Seen:
    """Durations of one stage at one batch size."""

    __slots__ = ("least", "mean", "spread")

    def __init__(self, seconds: float, spread: float) -> None:
        self.mean = self.least = seconds
        self.spread = spread

    def add(self, seconds: float) -> None:
        self.spread += _SPREAD_GAIN * (abs(seconds - self.mean) - self.spread)
        self.mean += _GAIN * (seconds - self.mean)
        self.least = min(self.least, seconds)

    def forget(self) -> None:
        self.mean += _FORGET * (self.least - self.mean)
        self.spread *= 1 - _FORGET


class StageForecast:
    """Seconds of each stage of one network, as of now."""

    def __init__(self, profile: ExitProfile) -> None:
        self._profile = profile
        self._seen: list[dict[int, _Seen]] = [{} for _ in profile.exits]

    def saw(self, k: int, batch: int, seconds: float) -> None:
        """Stage k took so long with so many samples."""
        found = self._seen[k].get(batch)
        if found is not None:
            found.add(seconds)
        elif self._profile.timed:
            # What was measured before is where learning starts.
            p50, p99 = (self._profile.stages[k].seconds(batch, tail=tail) for tail in (False, True))
            self._seen[k][batch] = seen = _Seen(p50, (p99 - p50) / _SPREADS)
            seen.add(seconds)
        else:
            # One observation says nothing of the spread: the second forecast is twice the first duration.
            self._seen[k][batch] = _Seen(seconds, seconds / _SPREADS)

    def skipped(self, k: int, batch: int) -> None:
        """The forecast kept stage k from running."""
        if found := self._nearest(k, batch):
            found[1].forget()

    def seconds(self, k: int, batch: int, *, tail: bool = True) -> float:
        """What stage k will probably take: 99 of 100 times less (`tail`), or half of the time. Zero where nothing is known."""
        known = self._profile.stages[k].seconds(batch, tail=tail) if self._profile.timed else None
        found = self._nearest(k, batch)
        if found is None:
            return known or 0.0
        size, seen = found
        learned = seen.mean + (_SPREADS * seen.spread if tail else 0.0)
        # More samples take longer, in proportion at worst; fewer are not counted as faster.
        learned *= max(1.0, batch / size)
        return learned if known is None else max(known, learned) if tail else learned

    def _nearest(self, k: int, batch: int) -> tuple[int, _Seen] | None:
        seen = self._seen[k]
        if batch in seen:
            return batch, seen[batch]
        if not seen:
            return None
        size = min(seen, key=lambda known: abs(known - batch))
        return size, seen[size]
