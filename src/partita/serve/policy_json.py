"""JSON as people write policies, read with every problem named: duplicate keys, wrong types, words nearly right.

Rules: a problem is `path: what is wrong, and the nearest that is right`; reading never raises, it notes and goes on;
sizes are bounded before anything is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any, TypeVar

from .policy_words import nearest

# A policy for 64 exits with long conditions is 50 kB.
LARGEST = 1024 * 1024

_T = TypeVar("_T")


def brief(value: object) -> str:
    """A value in an error: as JSON, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def json_from(text: str, problems: list[str]) -> Any:
    """The value of a JSON text; keys given twice are a problem, for one of the two would be lost."""
    if len(text) > LARGEST:
        problems.append(f"$: {len(text)} characters are more than the {LARGEST} accepted")
        return None
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        once = dict(found)
        if len(once) < len(found):
            names = [name for name, _ in found]
            twice.extend(f"$: the field {name!r} is given twice" for name in once if names.count(name) > 1)
        return once

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        problems.append(f"$: is not JSON: {error}")
        return None
    except (RecursionError, ValueError) as error:
        problems.append(f"$: is not JSON that can be read: {error}")
        return None
    problems += twice
    return value


def name_in(known: Mapping[str, _T], given: Any, path: str, problems: list[str]) -> Any:
    """What a name stands for, upper and lower case alike; otherwise a problem with the nearest name."""
    if not isinstance(given, str):
        problems.append(f"{path}: expected one of {', '.join(known)}, got {brief(given)}")
        return None
    if given.lower() not in known:
        problems.append(f"{path}: {brief(given)} is not known, {nearest(given, list(known))}")
        return None
    return known[given.lower()]


class Fields:
    """One JSON object being read: each field once, and at the end whatever was not asked for is a problem."""

    def __init__(self, value: Any, path: str, problems: list[str]) -> None:
        self.path, self.problems = path, problems
        self.asked: list[str] = []
        self.given: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            problems.append(f"{path or '$'}: expected an object, got {brief(value)}")

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        self.asked.append(name)
        return name in self.given

    def note(self, name: str, problem: str) -> None:
        """A problem with a field."""
        self.problems.append(f"{self.at(name)}: {problem}")

    def number(self, name: str, *, low: float = 0.0, high: float | None = None, open_: bool = False) -> Any:
        """A finite number within its ends (`open_`: not the ends themselves), or None where it is null or wrong."""
        given = self.given.get(name)
        if given is None:
            return None
        if isinstance(given, bool) or not isinstance(given, int | float):
            hint = ""
            if isinstance(given, str) and given.strip().replace(".", "", 1).isdigit():
                hint = f"; write {given.strip()} without quotes"
            self.note(name, f"expected a number, got {brief(given)}{hint}")
            return None
        if isinstance(given, float) and isnan(given):
            self.note(name, "NaN is not a number")
            return None
        inside = low < given if open_ else low <= given
        if high is not None:
            inside = inside and (given < high if open_ else given <= high)
        if not inside or not finite(given):
            ends = f"above {low:g}" if open_ else f"{low:g} or more"
            if high is not None:
                ends = f"between {low:g} and {high:g}" if open_ else f"from {low:g} to {high:g}"
            hint = f"; did you mean {given / 100:g}?" if high == 1 and 1 < given < 100 else ""
            self.note(name, f"{brief(given)} is not {ends}{hint}")
            return None
        return float(given)

    def exit(self, name: str) -> int | None:
        """The index of an exit, or None where it is null or wrong."""
        value = self.number(name)
        if value is not None and value != int(value):
            self.note(name, f"expected the index of an exit, got {brief(self.given[name])}")
            return None
        return None if value is None else int(value)

    def word(self, name: str, words: tuple[str, ...]) -> Any:
        """One of the words, as it is written."""
        given = self.given.get(name)
        if isinstance(given, str) and given in words:
            return given
        hint = (
            f", {nearest(given, list(words))}"
            if isinstance(given, str)
            else f", known are {', '.join(words)}"
        )
        self.note(name, f"{brief(given)} is not known{hint}")
        return None

    def close(self) -> None:
        """Every field that was not asked for is a problem."""
        for name in self.given:
            if name not in self.asked:
                self.note(name, f"is not a field here, {nearest(name, self.asked)}")


def finite(value: float) -> bool:
    """Whether it fits into a float, and is not without end."""
    try:
        return isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False
