"""Made-up traces, for who has none: `made:step`, `made:wifi`, `made:train`.

Rules: the same seed gives the same trace; nothing here was measured, and its name says so.
"""

from __future__ import annotations

import random
from math import exp
from typing import Final

from ..errors import BadDocument
from ..graph import Link
from .simulate_moments import Moment

PREFIX: Final = "made:"
KINDS: Final = {
    "step": "200 Mbit/s, after a minute 5, after two more 200 again",
    "wifi": "a walk between 2 and 200 Mbit/s, another rate every second, for ten minutes",
    "train": "80 Mbit/s at 60 ms, and a tunnel of 12 s in every minute, for ten minutes",
}
_LOW, _HIGH = 2e6, 200e6
# The standard deviation of one second's change, as a logarithm: a quarter up or down.
_STRIDE: Final = 0.25


def made_moments(name: str, *, rtt: float = 0.0, shared: bool = False, seed: int = 0) -> tuple[Moment, ...]:
    """A trace by its name."""
    match name.removeprefix(PREFIX):
        case "step":
            rows = [(0.0, 200e6), (60.0, 5e6), (180.0, 200e6)]
        case "wifi":
            rows = _walk(seed)
        case "train":
            starts = [60.0 * minute for minute in range(10)]
            rows = [row for at in starts for row in ((at, 80e6), (at + 48.0, 1e6))]
            rtt = rtt or 0.06
        case _:
            raise BadDocument(
                "--trace",
                [f"{name!r} is not one of {', '.join(PREFIX + kind for kind in KINDS)}"],
                fix="name one of them, or a CSV file",
            )
    return tuple(Moment(at, Link(rate, rate, rtt, shared)) for at, rate in rows)


def _walk(seed: int) -> list[tuple[float, float]]:
    draw = random.Random(seed)  # noqa: S311 - weather, not secrets
    rate, rows = 50e6, []
    for second in range(600):
        rows.append((float(second), rate))
        rate = min(max(rate * exp(draw.gauss(0.0, _STRIDE)), _LOW), _HIGH)
    return rows
