"""A Plan on one line, and back.

    edge[0:5] -int8/raw-> cloud[5:17] -raw/int8-> edge[17:18] | K=2 batch=8 mode=train
    edge -fp16-> cloud[0:18] -raw-> edge | batch=1 mode=infer

Rules: a place without stages stands alone; between two parts stand the codec forward and, in training, the codec
back, in brackets where the name of a codec has a slash or a dash of its own; the full form adds the model and its digest, and parses back to an equal plan (without its estimate).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_args

from ..errors import BadDocument
from .placement import Hop, Mode, Objective, PlacedPart, Plan

_FIX = (
    "write it like: edge[0:5] -int8/raw-> cloud[5:17] | K=2 batch=8 mode=train;"
    " a codec with a / in its name in brackets: -(int4/channel)/raw->"
)
_PART = re.compile(
    r'\s*("(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_.]*(?:-[A-Za-z0-9_.]+)*)(?:\[(\d+):(\d+)\])?\s*'
)
_CODEC = r"([A-Za-z][A-Za-z0-9_.:+]*|\([A-Za-z][A-Za-z0-9_.:+/-]*\))"
_HOP = re.compile(rf"-{_CODEC}(?:/{_CODEC})?->")
_SETTING = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
# A row of a thousand places is longer than any we print.
_LONGEST = 100_000


def _error(problem: str) -> BadDocument:
    return BadDocument("plan", [problem], fix=_FIX)


def parse_plan(text: str, *, model: str = "", digest: str = "") -> Plan:
    """The plan that `print_plan` printed; `model` and `digest` fill in what a short form leaves out."""
    if len(text) > _LONGEST:
        raise _error(f"{len(text)} characters are more than the {_LONGEST} accepted")
    row, rest = _split(text)
    parts, hops = _parse_row(row)
    return Plan(**{"model": model, "digest": digest, **_parse_settings(rest), "parts": parts, "hops": hops})


def _split(text: str) -> tuple[str, str]:
    """The row of parts and the settings, at the first bar that is not inside a quoted name."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: "q" * len(found[0]), text)
    at = bare.find("|")
    return (text, "") if at < 0 else (text[:at], text[at + 1 :])


def _parse_row(row: str) -> tuple[tuple[PlacedPart, ...], tuple[Hop, ...]]:
    parts: list[PlacedPart] = []
    hops: list[Hop] = []
    at = 0
    while True:
        found = _PART.match(row, at)
        if found is None:
            raise _error(f"expected a place, found {row[at : at + 20].strip() or 'the end'!r}")
        here = parts[-1].stop if parts else 0
        start, stop = (int(found[2]), int(found[3])) if found[2] else (here, here)
        parts.append(PlacedPart(_unquote(found[1]), start, stop))
        at = found.end()
        if at == len(row):
            return tuple(parts), tuple(hops)
        found = _HOP.match(row, at)
        if found is None:
            raise _error(f"expected an arrow such as -int8->, found {row[at : at + 20].strip()!r}")
        hops.append(Hop(found[1].strip("()"), (found[2] or "raw").strip("()")))
        at = found.end()


def _unquote(word: str) -> str:
    if not word.startswith('"'):
        return word
    try:
        return str(json.loads(word))
    except json.JSONDecodeError:
        raise _error(f"cannot read the quoted name {word}") from None


def _choice(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in choices:
            raise ValueError(f"{word!r} is not one of {', '.join(choices)}")
        return word

    return read


def _whole(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise ValueError(f"{word!r} is not a whole number")
    return int(word)


_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "K": ("window", _whole),
    "batch": ("batch", _whole),
    "mode": ("mode", _choice(get_args(Mode))),
    "objective": ("objective", _choice(get_args(Objective))),
    "model": ("model", _unquote),
    "digest": ("digest", _unquote),
}


def _parse_settings(rest: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    problems: list[str] = []
    at = 0
    while at < len(rest.rstrip()):
        found = _SETTING.match(rest, at)
        if found is None:
            problems.append(f"cannot read {rest[at : at + 20].strip()!r}")
            break
        at = found.end()
        if found[1] not in _SETTINGS:
            problems.append(f"{found[1]!r} is not one of {', '.join(_SETTINGS)}")
            continue
        name, convert = _SETTINGS[found[1]]
        try:
            read[name] = convert(found[2])
        except ValueError as error:
            problems.append(f"{found[1]}: {error}")
    if problems:
        raise BadDocument("plan", problems, fix=_FIX)
    return read
