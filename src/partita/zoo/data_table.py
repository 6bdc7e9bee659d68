"""Tables: CSV and TSV files of numbers and categories with a label, or of texts with one.

    numbers       float32 as they stand                     categories    0, 1, ... in the order of their texts
    label         words, or whole numbers that are few or without gaps: classes; other numbers: targets

Rules: read in a stream, so that memory is what the numbers take; wrong rows are told with their lines, twenty at once; a
missing category is a category of its own and comes first; a missing number is refused unless one says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from .data_source import Kind, Listing, Source
from .data_table_fill import Filling
from .data_table_head import Head, holds_texts, read_head
from .data_table_rows import read_rows
from .data_table_wanted import Wanted
from .data_text import open_sentences, parts_of, split_of, where_of
from .data_tree import Tree

_OPTIONS = ("label", "targets", "text", "columns", "without", "categories", "missing")


@dataclass(frozen=True, slots=True)
class Column:
    """A column to learn from. `categories` are the texts behind the numbers 0, 1, ...; empty for a number."""

    name: str
    categories: tuple[str, ...] = ()


# Compared by identity: arrays have no one truth value.
@dataclass(frozen=True, eq=False)
class Table:
    """A source of rows of numbers. `lines` says where each row began, in the file at the same place of `of`."""

    listing: Listing
    values: NDArray[np.float32]
    columns: tuple[Column, ...]
    files: tuple[str, ...]
    of: NDArray[np.int32]
    lines: NDArray[np.int64]
    kind: Kind = field(default="table", init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """As many numbers as columns."""
        return (self.values.shape[1],)

    def name(self, index: int) -> str:
        """File and line."""
        return f"{self.files[self.of[index]]}:{self.lines[index]}"

    def load(self, index: int) -> NDArray[Any]:
        """One row."""
        row: NDArray[Any] = self.values[index]
        return row

    def stamp(self) -> str:
        """All values, the headings and the categories."""
        digest = sha256(repr(self.columns).encode())
        digest.update(np.ascontiguousarray(self.values).data)
        if self.listing.targets is not None:
            digest.update(np.ascontiguousarray(self.listing.targets).data)
        return digest.hexdigest()


def open_table(tree: Tree, names: Sequence[str], wanted: Wanted) -> Source:
    """The rows of one file, or of a file for each split."""
    # What a table is, its training rows say.
    ordered = sorted(names, key=lambda name: (split_of(name, len(names)) != "train", name))
    if holds_texts(tree, ordered[0], wanted):
        wanted.refuse(f"{where_of(tree, names)}, a table of texts,", ("label", "text"))
        return open_sentences(tree, names, wanted.text, wanted.label)
    wanted.refuse(where_of(tree, names), _OPTIONS)
    head = read_head(tree, ordered[0], wanted)
    filling = Filling(where_of(tree, names), head, wanted.missing)
    used = [name for name in ordered if _fill(tree, name, head, filling)]
    filled = filling.finish([split_of(name, len(names)) for name in used])
    listing = Listing(
        where_of(tree, names),
        "table",
        filled.classes,
        filled.labels,
        parts_of([split_of(used[n], len(names)) for n in filled.of]),
        filled.targets,
    )
    columns = tuple(Column(head.headings[at], filled.categories.get(at, ())) for at in head.features)
    return Table(listing, filled.values, columns, tuple(used), filled.of, filled.lines)


def _fill(tree: Tree, name: str, head: Head, filling: Filling) -> bool:
    """Read one file; False for one without labels, as tests of competitions are."""
    rows = read_rows(tree, name)
    places: tuple[int, ...] = tuple(range(len(head.headings)))
    if head.headed:
        line, own = next(rows, (1, []))
        small = [heading.lower() for heading in own]
        asked = [head.headings[at].lower() for at in head.answers]
        if not set(asked) <= set(small) and filling.count:
            return False
        missing = [
            head.headings[at]
            for at in (*head.features, *head.answers)
            if head.headings[at].lower() not in small
        ]
        if missing:
            raise BadDocument(
                tree.title(name),
                [f"line {line}: there is no column {heading!r}" for heading in missing[:20]],
                fix="give the files of all splits the same headings",
            )
        places = tuple(
            small.index(heading.lower()) if heading.lower() in small else -1 for heading in head.headings
        )
        filling.begin(name, len(own), places)
    else:
        filling.begin(name, len(head.headings), places)
    filling.take(rows)
    return True
