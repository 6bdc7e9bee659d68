"""What the first thousand rows of a table say: its heading, which columns hold numbers, which one is the label.

Rules: a column holds numbers where most of its cells do, so that a stray word in it is told as wrong; the first row is a
heading where it names the label, where a word stands above numbers, or where none of its words comes again; the label is
the column asked for, or headed label, target, class, y; row numbers and columns without a heading are not learnt from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final

from ..errors import BadDocument, BadReference
from .data_table_rows import read_rows
from .data_table_wanted import Wanted
from .data_text import MARKS, TEXTS
from .data_tree import Tree

_SAMPLE: Final = 1000
_NUMBERS_OF_ROWS: Final = ("", "id", "idx", "index", "unnamed: 0")
_MISSING: Final = frozenset(("", "na", "n/a", "nan", "null", "none", "?"))
# A column this wide is no table of ours: 65,536 are 256 pixels square.
_WIDEST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Head:
    """Headings, the columns to learn from, those of them that hold words, and the answers: by position."""

    headings: tuple[str, ...]
    headed: bool
    features: tuple[int, ...]
    words: frozenset[int]
    answers: tuple[int, ...]
    # Whether the answers are numbers to predict whatever they are; else their values decide.
    measured: bool


def is_missing(cell: str) -> bool:
    """Whether a cell says that nothing is known."""
    return cell.lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def holds_texts(tree: Tree, name: str, wanted: Wanted) -> bool:
    """Whether a table is one of texts: a column is headed so or asked for, or one of two holds several words a row."""
    if wanted.text:
        return True
    if wanted.targets or wanted.columns or wanted.without or wanted.categories or wanted.missing:
        return False
    rows = _sample(tree, name)
    if not rows or set(map(str.lower, rows[0])) & set(TEXTS):
        return True
    width = len(rows[0])
    body = [row for row in rows[1:] if len(row) == width] or rows[:1]
    headed = _is_headed(rows, MARKS if not wanted.label else (wanted.label.lower(),))
    return (width == 2 or not headed) and any(_is_prose([row[at] for row in body]) for at in range(width))


def read_head(tree: Tree, name: str, wanted: Wanted) -> Head:
    """The head of a table of numbers."""
    rows = _sample(tree, name)
    if not rows:
        raise BadDocument(tree.title(name), ["is empty"], fix="give a file with rows")
    asked = (wanted.label, *wanted.targets)
    headed = _is_headed(rows, [word.lower() for word in asked if word] or MARKS)
    width = len(rows[0])
    headings = tuple(rows[0]) if headed else tuple(f"column {n}" for n in range(1, width + 1))
    _check_headings(tree.title(name), headings)
    body = [row for row in rows[headed:] if len(row) == width]
    words = frozenset(at for at in range(width) if not _holds_numbers([row[at] for row in body]))
    find = _Finder(tree.title(name), headings, headed)
    if wanted.targets:
        answers = find.all("targets", wanted.targets)
    elif wanted.label:
        answers = find.all("label", (wanted.label,))
    else:
        answers = (_guessed(tree.title(name), headings, headed, words),)
    chosen = find.all("columns", wanted.columns) or tuple(
        at for at in range(width) if not headed or headings[at].lower() not in _NUMBERS_OF_ROWS
    )
    gone = {*find.all("without", wanted.without), *answers}
    named = find.all("categories", wanted.categories)
    find.refuse()
    features = tuple(at for at in chosen if at not in gone)
    if not features:
        raise BadDocument(tree.title(name), ["has no column to learn from"], fix="add one, or choose others")
    return Head(headings, headed, features, words | set(named), answers, bool(wanted.targets))


class _Finder:
    """Columns by heading or number; what is not there is told at once."""

    def __init__(self, title: str, headings: Sequence[str], headed: bool) -> None:
        self._title, self._headings, self._headed = title, headings, headed
        self._problems: list[str] = []

    def all(self, option: str, names: Iterable[str]) -> tuple[int, ...]:
        """The positions of these columns."""
        found = [(name, self._one(name)) for name in names]
        self._problems += [f"{option}: there is no column {name!r}" for name, at in found if at is None]
        return tuple(dict.fromkeys(at for _, at in found if at is not None))

    def _one(self, name: str) -> int | None:
        small = [heading.lower() for heading in self._headings]
        if self._headed and name.lower() in small:
            exact = name if name in self._headings else None
            return self._headings.index(exact) if exact else small.index(name.lower())
        if name.lstrip("-").isdecimal() and 1 <= abs(int(name)) <= len(small):
            return int(name) - 1 if int(name) > 0 else len(small) + int(name)
        return None

    def refuse(self) -> None:
        """Raise what was collected."""
        if not self._problems:
            return
        missing = self._problems[0].rpartition("column ")[2].strip("'")
        near = get_close_matches(missing, self._headings, n=3)
        there = ", ".join(self._headings[:20]) if self._headed else f"1 to {len(self._headings)}"
        raise BadReference(
            f"{self._title}: {'; '.join(self._problems)}",
            fix=f"did you mean {', '.join(near)}?" if near else f"it has {there}",
        )


def _sample(tree: Tree, name: str) -> list[list[str]]:
    return [cells for _, cells in islice(read_rows(tree, name), _SAMPLE)]


def _check_headings(title: str, headings: Sequence[str]) -> None:
    if len(headings) > _WIDEST:
        raise BadDocument(
            title, [f"{len(headings)} columns are more than {_WIDEST}"], fix="store arrays: an npz"
        )
    small = [heading.lower() for heading in headings if heading]
    if twice := sorted(
        {heading for heading in small if small.count(heading) > 1} if len(small) < 500 else ()
    ):
        raise BadDocument(
            title,
            [f"line 1: two columns are headed {heading!r}" for heading in twice],
            fix="give every column a heading of its own",
        )


def _is_headed(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
    first = [cell.lower() for cell in rows[0]]
    if set(first) & set(labels):
        return True
    columns = [[row[at].lower() for row in rows[1:] if len(row) == len(first)] for at in range(len(first))]
    if any(
        _holds_numbers(column) and cell and not is_number(cell) and not is_missing(cell)
        for cell, column in zip(first, columns, strict=True)
        if column
    ):
        return True
    if any(map(is_number, first)) or not all(first):
        return False
    return len(set(first)) == len(first) and not any(
        cell in column for cell, column in zip(first, columns, strict=True)
    )


def _holds_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(map(is_number, known)) > len(known) or not known


def _is_prose(cells: Sequence[str]) -> bool:
    return not _holds_numbers(cells) and sum(len(cell.split()) for cell in cells) >= 2 * len(cells)


def _guessed(title: str, headings: Sequence[str], headed: bool, words: frozenset[int]) -> int:
    """The label where nobody named it."""
    if headed:
        small = [heading.lower() for heading in headings]
        found = next((small.index(word) for word in MARKS if word in small), None)
    else:
        # Of values alone, only a column of words is sure to be no measurement; one in the middle may be a category.
        found = next(iter(words)) if len(words) == 1 and words & {0, len(headings) - 1} else None
    if found is None:
        there = f"it has {', '.join(headings[:20])}" if headed else f"it has {len(headings)} columns"
        raise BadDocument(
            title,
            ["no column is the label by its heading" if headed else "no column is the label by its values"],
            fix=f"name it: ?label={headings[-1] if headed else '-1'} for classes, ?targets= for numbers; {there}",
        )
    return found
