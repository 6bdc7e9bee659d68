"""How much may be on its way: credit per channel, counted in bytes since the session began. Pure.

Three rules. A sender never passes the limit it was given; limits only rise, so a repeated or lost Credit does no harm.
The receiver sizes the window: about one to two times what the link holds, plus SLACK_SECONDS of its rate, because what
is in flight beyond that stands in a queue in front of control. The chunk follows the window, an eighth of it up to what caches hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from .meter import LinkEstimate

__all__ = ["FIRST_WINDOW", "ReceiveCredit", "SendCredit", "window_for"]

# Measured on a saturated 10 Mbit/s link, heartbeat beside tensors: a window of 256 KB costs it 130 ms, 128 KB 81 ms,
# 64 KB 36 ms, 32 KB 8 ms, at the same 9.4 Mbit/s.
FIRST_WINDOW: Final = 64 << 10
_SMALLEST_WINDOW: Final = 32 << 10
_LARGEST_WINDOW: Final = 16 << 20
# Above one round trip, so that a window that limits the rate finds out that the link can do more.
_ROUND_TRIPS: Final = 1.25
SLACK_SECONDS: Final = 0.015
_SMALLEST_CHUNK: Final = 8 << 10
# Copies of this stay in a core's cache and in memory that malloc has at hand. Echoing 4 MB on loopback in chunks of
# 0.25 to 0.4 MB took 7 ms, in 2 MB 18 ms, in 4 MB 22 ms, each beside 7 to 12 ms of plain streams.
_LARGEST_CHUNK: Final = 384 << 10
_SMALLEST_RENEWAL: Final = 4 << 10
_CHUNKS_PER_WINDOW: Final = 8
# Of a window, one chunk waits for credit and one for its renewal, at the worst moment: the rest is what flies.
_GRAIN_LOSS: Final = _CHUNKS_PER_WINDOW / (_CHUNKS_PER_WINDOW - 2)


def window_for(link: LinkEstimate, *, quiet: bool = False) -> int:
    """The window for what comes down this link; a quiet one leaves the link half empty, so that no queue stands in it."""
    if link.down is None:
        return FIRST_WINDOW
    rtt = link.rtt or 0.0
    seconds = rtt / 2 if quiet else _ROUND_TRIPS * rtt + SLACK_SECONDS
    wanted = (link.down * seconds + _SMALLEST_CHUNK + _SMALLEST_RENEWAL) * _GRAIN_LOSS
    return int(min(max(wanted, _SMALLEST_WINDOW), _LARGEST_WINDOW))


@final
@dataclass(slots=True)
class SendCredit:
    """The sending end of one channel."""

    limit: int = FIRST_WINDOW
    sent: int = 0
    window: int = FIRST_WINDOW

    def chunk(self, remaining: int, largest: int) -> int:
        """Bytes that the next chunk of a message with ``remaining`` bytes may carry now; 0 is to wait."""
        fitting = min(max(self.window // _CHUNKS_PER_WINDOW, _SMALLEST_CHUNK), _LARGEST_CHUNK)
        chunk = min(fitting, largest, remaining)
        room = self.limit - self.sent
        # Less than a chunk's room is used too: a receiver whose window has shrunk does not add to it before it is.
        return chunk if chunk <= room else room if room >= _SMALLEST_CHUNK else 0

    def granted(self, limit: int, window: int) -> None:
        """The other side allows more."""
        self.limit = max(self.limit, limit)
        self.window = max(window, _SMALLEST_WINDOW)


@final
@dataclass(slots=True)
class ReceiveCredit:
    """The receiving end of one channel."""

    granted: int = FIRST_WINDOW
    received: int = 0

    def arrived(self, size: int) -> bool:
        """Count a chunk; False if it passed the limit."""
        self.received += size
        return self.received <= self.granted

    def renew(self, window: int, *, grain: int | None = None) -> int | None:
        """A new limit, when at least a grain (an eighth of the window) can be added to the old one."""
        limit = self.received + window
        if limit - self.granted < (grain or max(window // _CHUNKS_PER_WINDOW, _SMALLEST_RENEWAL)):
            return None
        self.granted = limit
        return limit
