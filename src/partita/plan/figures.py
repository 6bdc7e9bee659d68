"""The figures of a platform as people write them: `250 MiB`, `15 min`, `90 MB/s`, `4/3`, dollars.

Rules: each figure has one kind; what is not of its kind is refused with an example of what would be; nothing is
negative, and a bound is above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

from ..errors import BadDocument
from ..graph import parse_rate, parse_seconds, parse_size

# What lifts a bound that came with `like`.
NONE: Final = object()


class BadFigure(Exception):
    """A value that is not of the kind of its field."""


def _number(value: Any, example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise BadFigure(f"{value!r} is not {example}")
    if value < 0:
        raise BadFigure(f"{value!r} is below zero")
    return float(value)


def _text(value: Any, parse: Callable[[str], float], example: str) -> float:
    """A text with its unit, or a plain number in the smallest one."""
    if not isinstance(value, str):
        return _number(value, example)
    try:
        # A sign is no part of what the parsers know; without it the answer can say what is wrong.
        found = parse(value.strip().removeprefix("-"))
    except BadDocument:
        raise BadFigure(f"{value!r} is not {example}") from None
    if value.strip().startswith("-"):
        raise BadFigure(f"{value!r} is below zero")
    return found


def size(value: Any) -> int:
    """Bytes."""
    found = _text(value, parse_size, "a size like '250 MiB'")
    if found != int(found):
        raise BadFigure(f"{value!r} is no whole number of bytes")
    return int(found)


def seconds(value: Any) -> float:
    """Seconds."""
    return _text(value, parse_seconds, "a time like '900 s' or '15 min'")


def rate(value: Any) -> float:
    """Bits per second from `100mbit`, or from bytes: `90 MB/s`."""
    if not isinstance(value, str):
        raise BadFigure(f"{value!r} is not a rate like '90 MB/s' or '100 mbit'")
    return _text(value, _either, "a rate like '90 MB/s' or '100 mbit'")


def _either(text: str) -> float:
    head, _, per = text.lower().rpartition("/")
    if per.strip() == "s" and head.rstrip().endswith("b"):
        return 8.0 * parse_size(head)
    return parse_rate(text)


def ratio(value: Any) -> float:
    """A number, or a fraction like `4/3`."""
    if isinstance(value, str):
        over, slash, under = value.partition("/")
        try:
            value = float(over) / float(under if slash else 1)
        except (ValueError, ZeroDivisionError):
            raise BadFigure(f"{value!r} is not a number or a fraction like '4/3'") from None
    return _number(value, "a number or a fraction like '4/3'")


def money(value: Any) -> float:
    """US dollars."""
    return _number(value, "a number of dollars like 0.0000002")


def number(value: Any) -> float:
    """Processors."""
    return _number(value, "a number")


def joules(value: Any) -> Any:
    """Energy, or `none`."""
    return NONE if value == "none" else _above(_number(value, "a number of joules"), value)


def bound(value: Any) -> Any:
    """A size above zero, or `none`."""
    return NONE if value == "none" else _above(size(value), value)


def longest(value: Any) -> Any:
    """A time above zero, or `none`."""
    return NONE if value == "none" else _above(seconds(value), value)


def _above(found: float, value: Any) -> float:
    if found <= 0:
        raise BadFigure(f"{value!r} is not above zero")
    return found


def sizes(value: Any) -> tuple[int, ...]:
    """A list of sizes."""
    if not isinstance(value, list):
        raise BadFigure(f"{value!r} is not a list of sizes like ['512 MiB', '2 GiB']")
    return tuple(int(_above(size(one), one)) for one in value)


def cpu_steps(value: Any) -> tuple[tuple[int, float], ...]:
    """Processors by memory."""
    if not isinstance(value, dict):
        raise BadFigure(f"{value!r} is not a table like {{ '4 GiB' = 1, '8 GiB' = 2 }}")
    return tuple((size(memory), number(cpus)) for memory, cpus in value.items())


# Every figure that a platform may have, as it is named in its table.
KINDS: Mapping[str, Callable[[Any], Any]] = {
    "memory": bound,
    "package": bound,
    "storage": bound,
    "tmp": bound,
    "payload_in": bound,
    "payload_out": bound,
    "event": bound,
    "seconds": longest,
    "joules": joules,
    "runtime_memory": size,
    "runtime_package": size,
    "payload_growth": ratio,
    "memory_least": size,
    "memory_step": size,
    "memory_choices": sizes,
    "memory_per_cpu": size,
    "cpu_steps": cpu_steps,
    "cpus": number,
    "cpus_most": number,
    "invoke": seconds,
    "start": seconds,
    "package_rate": rate,
    "store": seconds,
    "store_rate": rate,
    "prices.gb_second": money,
    "prices.cpu_second": money,
    "prices.request": money,
    "prices.transition": money,
    "prices.put": money,
    "prices.get": money,
    "prices.billed_least": seconds,
    "prices.billed_step": seconds,
}
