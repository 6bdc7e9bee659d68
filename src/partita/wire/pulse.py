"""When to ping, and when to be quiet for it. Pure: time is an argument.

One rule: the round trip that sizes windows must be that of an empty link. The first ping goes before any tensors; every
fourth one after that is preceded by a quiet moment, in which the window is halved until the standing queue has drained
(the idea of BBR's ProbeRTT). Without it a session on a busy link takes its own queue for distance and grows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

__all__ = ["Pulse"]

_QUIET_EVERY: Final = 4
# A queue drains in about one round trip, of which it is itself a part.
_DRAIN_ROUND_TRIPS: Final = 1.5
_LONGEST_DRAIN: Final = 1.0


@final
@dataclass(slots=True)
class Pulse:
    """The heartbeat of one session on one connection."""

    heartbeat: float
    due: float = 0.0
    quiet: bool = False
    _beats: int = 0
    _awaited: int | None = None

    def start(self, now: float) -> None:
        """A new connection, whose first ping goes with the greeting."""
        self.due, self.quiet, self._beats, self._awaited = now + self.heartbeat, False, 0, None

    def beat(self, now: float, round_trip: float | None) -> bool:
        """Something is due; True if it is a ping."""
        if now < self.due:
            return False
        self._beats += 1
        if self._beats % _QUIET_EVERY == 0 and not self.quiet:
            self.quiet = True
            self._beats -= 1
            self.due = now + min(_DRAIN_ROUND_TRIPS * (round_trip or 0.0), _LONGEST_DRAIN)
            return False
        self.due = now + self.heartbeat
        return True

    def pinged(self, number: int) -> None:
        """This ping left; in a quiet moment its answer ends the quiet."""
        if self.quiet and self._awaited is None:
            self._awaited = number

    def answered(self, number: int) -> None:
        """The answer to a ping came."""
        if number == self._awaited:
            self.quiet, self._awaited = False, None
