"""The rows of a CSV or TSV file, one after the other: a file of many gigabytes is never held whole.

    tab, semicolon or comma    whichever the first line shows; a tab wins
    quotes                     as spreadsheets write them; none where tabs separate sentences

Rules: a row is told with the line it begins on; empty rows do not count; what is no UTF-8, a line without end and a
quote that is never closed are told in words, not as exceptions of a library.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, Literal, TextIO

from ..errors import BadDocument
from .data_tree import Tree

Row = tuple[int, list[str]]
SEPARATORS: Final = ("\t", ";", ",")
# Characters of one line: a table with 65,536 columns of numbers has lines of a megabyte.
_LONGEST: Final = 16 * 1024**2
# Wrong rows that an error lists; the others are counted.
_LISTED: Final = 20


class Faults:
    """What is wrong with a table: the first twenty with their lines, and how many more there are."""

    def __init__(self) -> None:
        self._listed: list[str] = []
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._listed)

    def add(self, problem: str) -> None:
        """One more."""
        if len(self._listed) < _LISTED:
            self._listed.append(problem)
        else:
            self._more += 1

    @property
    def told(self) -> list[str]:
        """All of them, in as many words as fit a screen."""
        return [*self._listed, *([f"and {self._more} more"] if self._more else [])]


def is_separated(tree: Tree, name: str) -> bool:
    """Whether the first line of a text file has two columns: a tab, or commas where the name says so."""
    head = first_line(tree, name)
    return "\t" in head.strip() or (name.lower().endswith(".csv") and ("," in head or ";" in head))


def first_line(tree: Tree, name: str) -> str:
    """The beginning of a file, to its first line break."""
    return tree.read(name, 65536).decode("utf-8-sig", "replace").partition("\n")[0]


def separator(head: str) -> str:
    """What separates the columns of a first line."""
    if "\t" in head.strip():
        return "\t"
    return ";" if head.count(";") > head.count(",") else ","


def read_rows(tree: Tree, name: str, *, quotes: bool = True) -> Iterator[Row]:
    """Line and cells of each row that is not empty; blanks around cells are gone."""
    apart = separator(first_line(tree, name))
    how: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes or apart != "\t" else csv.QUOTE_NONE
    with _opened(tree, name) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        lines = _Lines(tree, name, text)
        line = 1
        for cells in _guarded(tree, name, csv.reader(lines, delimiter=apart, quoting=how), lines):
            found = [cell.strip() for cell in cells]
            if any(found):
                yield line, found
            line = lines.count + 1


class _Lines:
    """Lines of a text file, bounded."""

    def __init__(self, tree: Tree, name: str, text: TextIO) -> None:
        self._tree, self._name, self._text = tree, name, text
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_LONGEST)
        if not line:
            raise StopIteration
        self.count += 1
        if len(line) == _LONGEST and not line.endswith("\n"):
            raise BadDocument(
                self._tree.title(self._name),
                [f"line {self.count} is longer than {_LONGEST} characters"],
                fix="is it a table? Write one row a line",
            )
        return line


def _guarded(tree: Tree, name: str, reader: Iterable[list[str]], lines: _Lines) -> Iterator[list[str]]:
    try:
        yield from reader
    except UnicodeDecodeError as problem:
        raise BadDocument(
            tree.title(name),
            [f"is no UTF-8 text: {problem}, after line {lines.count}"],
            fix="save it as UTF-8",
        ) from None
    except csv.Error as problem:
        raise BadDocument(
            tree.title(name),
            [f"line {lines.count}: {problem}"],
            fix="is a quote open that is never closed? Write it twice where it belongs to a cell",
        ) from None


def _opened(tree: Tree, name: str) -> BinaryIO:
    """The file as a stream; where it lies in a zip, its bytes."""
    place = tree.path(name)
    return io.BytesIO(tree.read(name)) if place is None else place.open("rb")
