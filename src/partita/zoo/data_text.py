"""Texts: tables of sentence and label, folders of texts by class, plain lines.

Rules: a table is read as a whole, so that a wrong row is told when it is opened, with its line; the column of labels is
found by its heading, or by its values where there is none; plain lines carry the label -1, which stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, BadReference
from .data_folders import ALIASES, Filed
from .data_source import Kind, Listing
from .data_table_rows import Faults, read_rows
from .data_tree import Tree

TABLES = (".tsv", ".csv")
TEXTS = ("sentence", "text", "review", "content", "phrase")
MARKS = ("label", "labels", "sentiment", "class", "target", "polarity", "y")
# Without a heading, labels are one word each: longer values, or more different ones, are texts.
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Texts:
    """A source of texts. Their words become numbers once a vocabulary is known: see `Encoded`."""

    listing: Listing
    names: tuple[str, ...]
    # The texts themselves, or nothing where each is a file.
    known: tuple[str, ...] = ()
    tree: Tree | None = None
    kind: Kind = field(default="text", init=False)

    def name(self, index: int) -> str:
        """File, and line where it holds several."""
        return self.names[index]

    def text(self, index: int) -> str:
        """One text."""
        if self.tree is None:
            return self.known[index]
        # IMDB's reviews came from web pages: their line breaks are marks, not words.
        return self.tree.text(self.names[index]).replace("<br />", " ").strip()

    @property
    def shape(self) -> tuple[int, ...]:
        """Open, until a vocabulary is known."""
        return ()

    def load(self, index: int) -> NDArray[Any]:
        """Refused: numbers need a vocabulary."""
        raise BadReference(f"{self.name(index)} is text without a vocabulary", fix="call encoded(vocabulary)")

    def stamp(self) -> str:
        """The texts where they are known, else names and sizes of their files."""
        if self.tree is not None:
            sizes = self.tree.sizes
            return sha256("\n".join(f"{n} {sizes[n]}" for n in self.names).encode()).hexdigest()
        return sha256("\n".join(self.known).encode()).hexdigest()


def open_texts(tree: Tree, filed: Filed) -> Texts:
    """Texts that are a file each."""
    return Texts(filed.listing, filed.files, tree=tree)


def open_lines(tree: Tree, names: Sequence[str]) -> Texts:
    """Plain text: every line that is not empty is a sample, without label."""
    rows = [(f"{name}:{n}", line.strip(), name) for name in names for n, line in _numbered(tree, name)]
    if not rows:
        raise BadReference(f"{tree.title(names[0])} holds no text", fix="give a file with text in it")
    splits = [split_of(name, len(names)) for _, _, name in rows]
    listing = Listing(where_of(tree, names), "lines", (), np.full(len(rows), -1, np.int64), parts_of(splits))
    return Texts(listing, tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def open_sentences(tree: Tree, names: Sequence[str], text: str = "", label: str = "") -> Texts:
    """Rows of text and label, in one file or a file for each split; the columns by their headings, if given."""
    found: list[tuple[str, str, str, str]] = []
    bare: list[str] = []
    for name in names:
        rows = _table(tree, name, text.lower(), label.lower())
        if rows is None:
            bare.append(name)
            continue
        split = split_of(name, len(names))
        found += [(f"{name}:{line}", words, mark, split) for line, words, mark in rows]
    if not found:
        raise BadDocument(
            tree.title(bare[0]), ["has no column of labels"], fix="head the columns with sentence and label"
        )
    marks = {mark for _, _, mark, _ in found}
    whole = all(_is_whole(m) for m in marks)
    classes = tuple(sorted(marks, key=int)) if whole else tuple(sorted(marks))
    number = {mark: at for at, mark in enumerate(classes)}
    listing = Listing(
        where_of(tree, names),
        "table",
        classes,
        np.array([number[mark] for _, _, mark, _ in found], np.int64),
        parts_of([row[3] for row in found]),
    )
    return Texts(listing, tuple(row[0] for row in found), tuple(row[1] for row in found))


def _table(tree: Tree, name: str, text_name: str, mark_name: str) -> list[tuple[int, str, str]] | None:
    """Line, text and label of each row; None where the heading states no labels."""
    # Tabs separate without quotes: a sentence may hold a single one.
    rows = list(read_rows(tree, name, quotes=False))
    if not rows:
        raise BadDocument(tree.title(name), ["is empty"], fix="give a file with rows of text and label")
    heading = [cell.lower() for cell in rows[0][1]]
    text = _headed(heading, (text_name,) if text_name else TEXTS)
    mark = _headed(heading, (mark_name,) if mark_name else MARKS)
    if text is None and mark is not None and mark_name and len(heading) == 2:
        text = 1 - mark
    if text is not None:
        if mark is None:
            return None
        rows = rows[1:]
    elif text_name or mark_name:
        asked = text_name or mark_name
        raise BadDocument(
            tree.title(name),
            [f"has no column of texts headed {asked!r}; it has {', '.join(map(repr, rows[0][1]))}"],
            fix="name the column of texts with text= and that of labels with label=",
        )
    else:
        text, mark = _columns(tree, name, rows)
    width, faults = max(text, mark) + 1, Faults()
    for line, row in rows:
        if not width <= len(row) <= len(heading):
            faults.add(f"line {line}: {len(row)} columns, not {len(heading)}")
        elif not row[text] or not row[mark]:
            faults.add(f"line {line}: a text or label is empty")
    if faults or not rows:
        raise BadDocument(
            tree.title(name),
            faults.told or ["has no rows"],
            fix="write sentence, separator, label in each row",
        )
    return [(line, row[text], row[mark]) for line, row in rows]


def _headed(heading: Sequence[str], words: Sequence[str]) -> int | None:
    return next((heading.index(word) for word in words if word in heading), None)


def _columns(tree: Tree, name: str, rows: Sequence[tuple[int, list[str]]]) -> tuple[int, int]:
    """Which column holds texts and which labels, by their values: labels are short and repeat."""
    width = len(rows[0][1])
    columns = [[row[at] for _, row in rows if len(row) == width] for at in range(width)]
    if width >= 2:
        text = max(range(width), key=lambda at: sum(map(len, columns[at])))
        others = [at for at in range(width) if at != text]
        marks = [at for at in others if all(map(_is_whole, columns[at]))] or others
        mark = min(marks, key=lambda at: len(set(columns[at])))
        values = set(columns[mark])
        short = all(len(value) <= _LONGEST_LABEL and len(value.split()) <= 1 for value in values)
        if short and len(values) <= max(2, len(rows) // 2):
            return text, mark
    raise BadDocument(
        tree.title(name),
        [f"line {rows[0][0]}: none of its {width} columns looks like labels"],
        fix="head the columns with sentence and label",
    )


def _is_whole(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def _numbered(tree: Tree, name: str) -> list[tuple[int, str]]:
    return [(n, line) for n, line in enumerate(tree.text(name).splitlines(), 1) if line.strip()]


def split_of(name: str, files: int) -> str:
    """The split that a file name states; one file alone is not a split of anything."""
    return ALIASES.get(name.rpartition("/")[2].rpartition(".")[0].lower(), "train") if files > 1 else ""


def parts_of(splits: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The positions of each split; an empty name is no split."""
    of = np.array(splits)
    return {split: np.flatnonzero(of == split) for split in sorted(set(splits) - {""})}


def where_of(tree: Tree, names: Sequence[str]) -> str:
    """What an error calls one file, or the folder of several."""
    return tree.where if len(names) > 1 else tree.title(names[0])
