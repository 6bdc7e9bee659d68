"""What a connection carries, found out by probing it for a few seconds.

Rules: the rates are those of the receiving side, by its own clock (the session measures them: bytes after the first
chunk, over first to last arrival); the round trip is the shortest seen; probing is bounded in time. A connection
starts slowly and its estimate is smoothed, so only the later half of the probes counts, and of it the highest:
windows and queues hold bytes up, nothing hurries them.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import BadDocument, Unreachable
from ..graph import Link

# What the first probe weighs: 0.2 s at 10 Mbit/s, and more than the 64 KB below which no burst is timed.
_FIRST_PROBE: Final = 256 << 10
# A probe should keep the link busy this long, so that start and end do not count.
_PROBE_SECONDS: Final = 0.5
# The session answers no probe with more than this.
_LARGEST_PROBE: Final = 4 << 20
_LEAST_PROBES: Final = 3


class Estimate(Protocol):
    """What a connection knows of its link: bytes per second each way and the round trip, or None."""

    @property
    def up(self) -> float | None: ...
    @property
    def down(self) -> float | None: ...
    @property
    def rtt(self) -> float | None: ...


class Probed(Protocol):
    """A connection that can be probed: `partita.wire` has them."""

    async def measure(self, size: int = ...) -> Estimate:
        """Send and ask back `size` bytes, and say what the link can do."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """Bits per second one way: the highest of the probes that count, and the distance between their quartiles."""

    highest: float
    spread: float
    samples: int


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """A measured link: what the planner takes, and how sure it is."""

    link: Link
    up: Rate
    down: Rate
    rtt: float
    seconds: float

    def __str__(self) -> str:
        ways = (
            f"{name} {way.highest / 1e6:.3g} +- {way.spread / 2e6:.2g} Mbit/s" for name, way in self._ways()
        )
        return f"{', '.join(ways)}, round trip {self.rtt * 1e3:.3g} ms, {self.up.samples} probes"

    def _ways(self) -> tuple[tuple[str, Rate], ...]:
        return ("up", self.up), ("down", self.down)


async def measure_link(
    connection: Probed, *, seconds: float = 3.0, clock: Callable[[], float] = time.monotonic
) -> LinkMeasurement:
    """The link of a connection, by probes of growing size for at most about `seconds`."""
    if not 0 < seconds < float("inf"):
        raise BadDocument("seconds", [f"{seconds!r} is not a positive number"], fix="give --seconds 3")
    begun, size = clock(), _FIRST_PROBE
    found: list[Estimate] = []
    try:
        async with asyncio.timeout(seconds):
            while len(found) <= _LEAST_PROBES or clock() - begun < seconds:
                started = clock()
                found.append(await connection.measure(size))
                size = next_size(size, clock() - started)
    except TimeoutError:
        if not found:
            raise Unreachable(
                f"no probe of {size} bytes came back within {seconds:g} s",
                fix="give --seconds more time, or see whether the other side still runs",
            ) from None
    return summarize(found, clock() - begun)


def next_size(size: int, took: float) -> int:
    """The size of the next probe: twice as large while probes are over too soon, half as large while too late."""
    if took < _PROBE_SECONDS:
        return min(size * 2, _LARGEST_PROBE)
    return max(size // 2, _FIRST_PROBE) if took > 4 * _PROBE_SECONDS else size


def summarize(found: Sequence[Estimate], seconds: float) -> LinkMeasurement:
    """One measurement from the estimates after each probe, of which the later half counts."""
    steady = found[len(found) // 2 :]
    up = _rate([e.up for e in steady if e.up], "up")
    down = _rate([e.down for e in steady if e.down], "down")
    rtt = min((e.rtt for e in found if e.rtt is not None), default=0.0)
    return LinkMeasurement(Link(up.highest, down.highest, rtt), up, down, rtt, seconds)


def _rate(values: Sequence[float], way: str) -> Rate:
    if not values:
        raise Unreachable(
            f"the probes say nothing about the way {way}: no burst was long enough to be timed",
            fix="give --seconds more time; on a link inside one machine there is nothing to measure",
        )
    bits = [value * 8 for value in values]
    spread = 0.0
    if len(bits) > 1:
        low, _, high = statistics.quantiles(bits, n=4, method="inclusive")
        spread = high - low
    return Rate(max(bits), spread, len(bits))
