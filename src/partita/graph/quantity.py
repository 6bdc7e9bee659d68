"""Rates, times and sizes as people write them: `20mbit`, `40ms`, `6mb`, and back.

Rates are bits per second, times are seconds, sizes are bytes with decimal prefixes (`mib` and kin are binary).
"""

from __future__ import annotations

import re

from ..errors import BadDocument

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z/%]*)\s*\Z")
_RATES = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_RATES |= {name + "/s": value for name, value in _RATES.items()} | {
    "bps": 1.0,
    "kbps": 1e3,
    "mbps": 1e6,
    "gbps": 1e9,
}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SIZES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024.0, "mib": 1024.0**2, "gib": 1024.0**3}


def _parse(text: str, units: dict[str, float], what: str, example: str) -> float:
    match = _NUMBER.match(text.lower())
    if match is None or match[2] not in units:
        raise BadDocument(what, [f"{text!r} is not a {what}"], fix=f"write it like {example}")
    return float(match[1]) * units[match[2]]


def parse_rate(text: str) -> float:
    """Bits per second from `20mbit`, `1.5gbit`, `800kbps`."""
    return _parse(text, _RATES, "rate", "20mbit or 800kbit")


def parse_seconds(text: str) -> float:
    """Seconds from `40ms`, `1.5s`, `200us`."""
    return _parse(text, _TIMES, "time", "40ms or 1.5s")


def parse_size(text: str) -> int:
    """Bytes from `6mb`, `512mib`, `4096b`."""
    return round(_parse(text, _SIZES, "size", "6mb, 512mib or 4096b"))


def _exact(value: float, units: list[tuple[str, float]]) -> str:
    """In the unit that needs the fewest characters among those from which the same float comes back."""
    found = []
    for name, unit in units:
        scaled = value / unit
        number = repr(int(scaled)) if scaled == int(scaled) else repr(scaled)
        if float(number) * unit == value:
            found.append(number + name)
    return min(found, key=len)


def print_rate(rate: float) -> str:
    """`20mbit`; parses back to the same float."""
    return _exact(rate, [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)])


def print_seconds(seconds: float) -> str:
    """`40ms`; parses back to the same float."""
    return _exact(seconds, [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)]) if seconds else "0ms"


def print_size(size: float) -> str:
    """`6.29 MB`, rounded for reading."""
    for name, unit in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:g} B"
