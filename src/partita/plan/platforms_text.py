"""Platforms as people write them: TOML with sizes, times, rates and money, each figure with its source.

Rules: text in, platforms out, nothing is read or written here; a platform may start from another with `like`; every
bad field of every platform is reported at once, unknown ones with the nearest known name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from ..errors import BadDocument
from .figures import KINDS, NONE, BadFigure
from .limits import Limits
from .platforms import Note, Platform, Prices

# What a table holds beside its figures.
_WORDS = ("title", "like", "source", "date")
_NOTE = ("value", "source", "date", "assumed")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_LIMITS = {field.name for field in fields(Limits)}
_FIX = "correct the fields named; docs/platforms.md shows every one of them"


def load_platforms(
    text: str, *, name: str = "", known: Mapping[str, Platform] | None = None
) -> dict[str, Platform]:
    """The platforms of a TOML document. `known` are those that `like` may name besides its own."""
    import tomllib

    what = f"platforms {name!r}" if name else "platforms"
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadDocument(what, [f"is not TOML: {error}"], fix="correct the line named") from None
    reader = _Reader(tables, dict(known or {}), f"given in {name}" if name else "given by the user")
    for key in tables:
        reader.platform(key)
    if reader.problems:
        raise BadDocument(what, reader.problems, fix=_FIX)
    return reader.found


def nearest(name: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    """`, did you mean 'aws-lambda'?`, or nothing where no name is near."""
    near = get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


class _Reader:
    """One document. `found` grows in the order of the tables, those that others start from first."""

    def __init__(self, tables: dict[str, Any], known: dict[str, Platform], source: str) -> None:
        self.tables = tables
        self.known = known
        self.source = source
        self.found: dict[str, Platform] = {}
        self.problems: list[str] = []
        self._open: set[str] = set()
        self._bad: set[str] = set()

    def platform(self, name: str) -> Platform | None:
        """The platform of one table, read once; None where it has a problem."""
        if name in self.found or name in self._bad:
            return self.found.get(name)
        table = self.tables[name]
        before = len(self.problems)
        self._open.add(name)
        if not isinstance(table, dict):
            self.problems.append(f"{name}: is {table!r}, not a table [{name}]")
        elif not _NAME.match(name):
            self.problems.append(f"{name!r}: is no name of small letters, digits, '-', '.' and '_'")
        else:
            self._read(name, table)
        self._open.discard(name)
        if len(self.problems) > before:
            self._bad.add(name)
            self.found.pop(name, None)
        return self.found.get(name)

    def _read(self, name: str, table: dict[str, Any]) -> None:
        words = {word: self._word(name, table, word) for word in _WORDS}
        if "title" not in table:
            self.problems.append(f"{name}.title: is missing")
        parent = self._parent(name, words["like"]) if words["like"] else None
        note = Note(words["source"] or self.source, words["date"])
        before = len(self.problems)
        figures = self._figures(name, table, note)
        if len(self.problems) == before:
            self._build(name, words, parent, figures)

    def _word(self, name: str, table: dict[str, Any], word: str) -> str:
        value = table.get(word, "")
        if isinstance(value, str) and (value.strip() or word not in table):
            return value
        self.problems.append(f"{name}.{word}: is {value!r}, not a text")
        return ""

    def _parent(self, name: str, like: str) -> Platform | None:
        if like in self._open:
            self.problems.append(f"{name}.like: {like!r} starts from {name!r} in turn")
            return None
        if like in self.tables:
            found = self.platform(like)
            if found is None:
                self.problems.append(f"{name}.like: {like!r} has problems of its own")
            return found
        if like not in self.known:
            names = {**self.tables, **self.known}
            self.problems.append(f"{name}.like: {like!r} is not a known platform{nearest(like, names)}")
        return self.known.get(like)

    def _figures(self, name: str, table: dict[str, Any], note: Note) -> dict[str, tuple[Any, Note]]:
        """The figures of a table by their names, those of prices as `prices.request`."""
        flat = {key: value for key, value in table.items() if key not in (*_WORDS, "prices")}
        prices = table.get("prices", {})
        if isinstance(prices, dict):
            flat |= {f"prices.{key}": value for key, value in prices.items()}
        else:
            self.problems.append(f"{name}.prices: is {prices!r}, not a table [{name}.prices]")
        found = {}
        for key, value in flat.items():
            if key not in KINDS:
                near = nearest(key, (*KINDS, *_WORDS))
                self.problems.append(f"{name}.{key}: is not a field{near}")
                continue
            try:
                found[key] = self._figure(key, value, note)
            except BadFigure as error:
                self.problems.append(f"{name}.{key}: {error}")
        return found

    def _figure(self, key: str, value: Any, note: Note) -> tuple[Any, Note]:
        if isinstance(value, dict) and "value" in value:
            if odd := [word for word in value if word not in _NOTE]:
                raise BadFigure(f"{odd[0]!r} is not one of {', '.join(_NOTE)}{nearest(odd[0], _NOTE)}")
            words = {word: value.get(word, getattr(note, word)) for word in ("source", "date")}
            assumed = value.get("assumed", False)
            if not all(isinstance(word, str) for word in words.values()) or not isinstance(assumed, bool):
                raise BadFigure("source and date are texts, assumed is true or false")
            value, note = value["value"], Note(words["source"], words["date"], assumed)
        return KINDS[key](value), note

    def _build(
        self, name: str, words: dict[str, str], parent: Platform | None, figures: dict[str, tuple[Any, Note]]
    ) -> None:
        notes = dict(parent.notes) if parent else {}
        limits, prices, own = _values(parent)
        for key, (value, note) in figures.items():
            group, _, field = key.rpartition(".")
            (prices if group else limits if key in _LIMITS else own)[field] = None if value is NONE else value
            notes[key] = note
        # What has no bound any more has no figure.
        notes = {key: note for key, note in notes.items() if figures.get(key, ("",))[0] is not NONE}
        if words["source"] or "source" not in limits:
            limits["source"], limits["date"] = words["source"] or self.source, words["date"]
        try:
            self.found[name] = Platform(
                name, words["title"], Limits(**limits), prices=Prices(**prices), notes=notes, **own
            )
        except BadDocument as error:
            self.problems += [f"{name}.{problem}" for problem in error.problems]


def _values(parent: Platform | None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The fields of a parent: of its limits, of its prices, and its own."""
    if parent is None:
        return {}, {}, {}
    given = ("name", "title", "limits", "prices", "notes")
    return (
        {field.name: getattr(parent.limits, field.name) for field in fields(Limits)},
        {field.name: getattr(parent.prices, field.name) for field in fields(Prices)},
        {field.name: getattr(parent, field.name) for field in fields(Platform) if field.name not in given},
    )
