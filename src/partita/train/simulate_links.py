"""Links to simulate, from `1..100`, `2,10,50,200`, `5:20` (up and down) or rates with units.

Rules: a number alone is Mbit/s; a range is filled with few numbers that read well, evenly by ratio; every bad word
is reported at once.
"""

from __future__ import annotations

from math import floor, isfinite, log10
from typing import Final

from ..errors import BadDocument
from ..graph import Link, parse_rate

# Between two powers of ten; a range wider than a thousand leaves every other one out.
_STEPS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_FEWER: Final = (1.0, 2.0, 5.0)
# A table with more rows is read by nobody.
MOST: Final = 200


def parse_links(text: str, *, rtt: float = 0.0, shared: bool = False) -> tuple[Link, ...]:
    """Links of one round trip, slowest first in a range."""
    found: list[tuple[float, float]] = []
    problems = []
    for word in text.split(","):
        low, dots, high = word.strip().partition("..")
        up, colon, down = word.strip().partition(":")
        ends = [low, high] if dots else [up, down] if colon else [low, low]
        rates = [_rate(end) for end in ends]
        first, last = rates[0], rates[1]
        if first is None or last is None:
            problems.append(f"{word.strip()!r} is no bandwidth, pair or range")
        elif dots and first > last:
            problems.append(f"{word.strip()!r} falls")
        elif dots:
            found += [(rate, rate) for rate in between(first, last)]
        else:
            found.append((first, last))
    if len(found) > MOST:
        problems.append(f"{len(found)} links are more than {MOST}")
    if problems:
        raise BadDocument(
            "--bandwidth",
            problems,
            fix="write it like --bandwidth 1..100, or 2,10,50, or 5:20 for up and down",
        )
    return tuple(dict.fromkeys(Link(up, down, rtt, shared) for up, down in found))


def between(low: float, high: float) -> tuple[float, ...]:
    """Both ends, and numbers that read well between them."""
    steps = _STEPS if high <= low * 1000 else _FEWER
    powers = range(floor(log10(low)), floor(log10(high)) + 1)
    inside = [step * 10.0**power for power in powers for step in steps]
    return (
        low,
        *(value for value in inside if low * 1.05 < value < high / 1.05),
        *([high] if high > low else []),
    )


def _rate(word: str) -> float | None:
    """Bits per second; a number alone is Mbit/s."""
    try:
        value = float(word) * 1e6
    except ValueError:
        try:
            value = parse_rate(word)
        except BadDocument:
            return None
    return value if isfinite(value) and value > 0 else None
