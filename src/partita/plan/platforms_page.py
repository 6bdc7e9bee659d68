"""Platforms as tables in Markdown: what they allow at a glance, then every figure with its source and date.

Rules: each figure is printed as one would write it in TOML; what is assumed says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..graph import print_seconds
from .figures import KINDS, cpu_steps, longest, money, rate, seconds, sizes
from .limits import Limits
from .platforms import Platform

_UNITS = (
    ("GiB", 1 << 30),
    ("GB", 10**9),
    ("MiB", 1 << 20),
    ("MB", 10**6),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
)
_GLANCE = ("memory", "package", "tmp", "payload_in", "event", "seconds")


def print_platforms(platforms: Iterable[Platform]) -> str:
    """Platforms as Markdown."""
    rows = list(platforms)
    lines = [
        "| platform | memory | package | temporary storage | request | event | time |",
        "|---|---|---|---|---|---|---|",
        *(f"| `{one.name}` | " + " | ".join(_shown(one, key) for key in _GLANCE) + " |" for one in rows),
    ]
    for one in rows:
        lines += ["", f"### {one.name}", "", f"{one.title[0].upper()}{one.title[1:]}."]
        if one.notes:
            lines += ["", "| figure | value | source | read |", "|---|---|---|---|", *_figures(one)]
    return "\n".join(lines) + "\n"


def _figures(platform: Platform) -> Iterator[str]:
    for key in KINDS:
        if note := platform.notes.get(key):
            source = f"assumed: {note.source}" if note.assumed else note.source
            yield f"| `{key}` | {_shown(platform, key)} | {source} | {note.date} |"


def _shown(platform: Platform, key: str) -> str:
    value = figure(platform, key)
    return "-" if value is None else _print(key, value)


def figure(platform: Platform, key: str) -> Any:
    """A figure by its name in a table."""
    if key.startswith("prices."):
        return getattr(platform.prices, key.removeprefix("prices."))
    return getattr(platform.limits if key in Limits.__dataclass_fields__ else platform, key)


def _print(key: str, value: Any) -> str:
    kind = KINDS[key]
    if kind in (seconds, longest):
        return print_seconds(value)
    if kind is rate:
        return f"{_size(round(value / 8))}/s"
    if kind is money:
        return f"${value:.10f}".rstrip("0").rstrip(".")
    if kind is sizes:
        return ", ".join(map(_size, value)) or "-"
    if kind is cpu_steps:
        return ", ".join(f"{cpus:g} to {_size(memory)}" for memory, cpus in value) or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _size(value)


def _size(value: int) -> str:
    """In the largest unit of which it is a whole number."""
    name, unit = next(found for found in _UNITS if value % found[1] == 0 and (value or found[1] == 1))
    return f"{value // unit} {name}"
