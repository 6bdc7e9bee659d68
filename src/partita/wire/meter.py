"""What the link can do, learned from the traffic itself. Pure: time is an argument.

Three rules. The receiver measures, with its own clock only: bytes after the first chunk, over first to last arrival.
The first chunk never counts, because it was on its way before the clock started. The round trip is the shortest of the
recent pings, because queues only ever add to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp
from typing import Final, final

__all__ = ["LinkEstimate", "Rate", "ReceiveMeter", "RoundTrip", "Sample"]

# Seconds that are remembered: one message of 3 s on a link that became slow says it all, while a burst of
# 1 ms (what TCP hands over after a retransmission) says little. Windows follow the longer memory. Whoever plans wants
# the shorter one: a link that fell to a fortieth shows it after 0.3 s, with the longer one after 1.5 s.
_MEMORY_SECONDS: Final = 0.5
_SHORT_MEMORY_SECONDS: Final = 0.1
_RECENT_SECONDS: Final = 3.0
_RECENT_PINGS: Final = 16
# A message below this is over before the clock has moved.
_MEASURABLE_BYTES: Final = 64 << 10
# Long messages report while they run, so that windows grow and links change within one of them.
_REPORT_BYTES: Final = 256 << 10
_REPORT_SECONDS: Final = 0.05
# On a link that became slow they report though little came.
_LATEST_REPORT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """So many bytes arrived in so many seconds."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """Bytes per second each way and the round trip in seconds; None where nothing was measured yet."""

    up: float | None
    down: float | None
    rtt: float | None


@final
class ReceiveMeter:
    """Measures the large messages that arrive; one at a time, the others ride along and count."""

    __slots__ = ("_bytes", "_first", "_last")

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._bytes = 0

    def arrived(self, size: int, now: float, *, message_bytes: int, ended: bool) -> Sample | None:
        """Count a chunk of a message of ``message_bytes``; a Sample when a burst is complete."""
        if self._first is None:
            if message_bytes >= _MEASURABLE_BYTES and not ended:
                self._first, self._last, self._bytes = now, now, 0
            return None
        self._last = now
        self._bytes += size
        seconds = now - self._first
        few = self._bytes < _REPORT_BYTES and seconds < _LATEST_REPORT
        if not ended and (few or seconds < _REPORT_SECONDS):
            return None
        sample = Sample(self._bytes, seconds) if seconds > 0 else None
        self._first = None if ended else now
        self._bytes = 0
        return sample

    def interrupted(self) -> None:
        """The connection broke: what comes next is another burst."""
        self._first = None


@final
@dataclass(slots=True)
class Rate:
    """Bytes per second from samples: over the last moments of transfer, and the highest that was in three seconds."""

    _bytes: float = 0.0
    _seconds: float = 0.0
    _steady_bytes: float = 0.0
    _steady_seconds: float = 0.0
    _at: float = 0.0
    _recent: deque[tuple[float, float]] = field(default_factory=deque)

    @property
    def smoothed(self) -> float | None:
        """Bytes over seconds, the older ones counting less; None before the first sample."""
        return self._bytes / self._seconds if self._seconds else None

    def add(self, sample: Sample, now: float) -> None:
        """Learn from one burst."""
        # Time without transfer counts like transfer: a message of 4 ms on a link that became fast must not be weighed
        # against half a second of a minute ago.
        passed = max(sample.seconds, now - self._at)
        self._at = now
        keep = exp(-passed / _SHORT_MEMORY_SECONDS)
        self._bytes = self._bytes * keep + sample.bytes
        self._seconds = self._seconds * keep + sample.seconds
        keep = exp(-passed / _MEMORY_SECONDS)
        self._steady_bytes = self._steady_bytes * keep + sample.bytes
        self._steady_seconds = self._steady_seconds * keep + sample.seconds
        rate = self._steady_bytes / self._steady_seconds
        while self._recent and self._recent[-1][1] <= rate:  # never again the highest
            self._recent.pop()
        self._recent.append((now, rate))

    def highest(self, now: float) -> float | None:
        """The highest rate of the last three seconds, else the smoothed one."""
        while self._recent and self._recent[0][0] < now - _RECENT_SECONDS:
            self._recent.popleft()
        return self._recent[0][1] if self._recent else self.smoothed


@final
@dataclass(slots=True)
class RoundTrip:
    """The shortest of the recent pings, and the last one."""

    last: float | None = None
    _sent: dict[int, float] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_PINGS))

    @property
    def shortest(self) -> float | None:
        """Seconds, or None before the first answer."""
        return min(self._recent) if self._recent else None

    def sent(self, number: int, now: float) -> None:
        """A ping left."""
        self._sent[number] = now

    def answered(self, number: int, now: float) -> bool:
        """A pong came; False if nobody asked."""
        left = self._sent.pop(number, None)
        if left is None:
            return False
        self.last = now - left
        self._recent.append(self.last)
        return True

    def forget(self) -> None:
        """The connection broke: its pings will not be answered."""
        self._sent.clear()
