"""Folders that hold a class each: which files there are, of which class, in which split.

    images/<class>/*, meta/train.txt, meta/test.txt, meta/classes.txt     Food-101
    train/<class>/*, val/<class>/*, test/<class>/*                        split folders
    train/<class>/images/*, val/images/*, val/val_annotations.txt         Tiny-ImageNet
    <class>/*, testing_list.txt, validation_list.txt                      Speech Commands
    <class>/*                                                             plain

Rules: files count by the suffixes of their kind, other files are left alone; classes are sorted unless the data brings
their order; an empty class, an unknown class and a listed file that is missing are refused, all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadDocument, BadReference
from .data_source import Listing
from .data_tree import Tree

# What people call the three splits.
ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# A class folder that is none: background noise of Speech Commands begins with _, IMDB's `unsup` has no labels.
_NO_CLASS = ("_", "unsup")
_LISTED = {"testing_list.txt": "test", "validation_list.txt": "val"}
_FEW = 5


@dataclass(frozen=True)
class Filed:
    """A listing and the file of each sample."""

    listing: Listing
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    split: str = ""


def filed(tree: Tree, suffixes: Sequence[str], what: str) -> Filed:
    """The files of a tree of class folders. `what` is the word for one file in errors."""
    # Dot alone would take every file.
    wanted = {n for n in tree.names if n.lower().endswith(tuple(suffixes))}
    layout, rows, classes = _rows(tree, wanted, what)
    if not rows:
        raise BadReference(
            f"{tree.where} holds no {what} in folders of classes",
            fix=f"put {what} files ({', '.join(suffixes)}) into one folder a class, also below train/, val/ and test/",
        )
    _check(tree, rows, classes, what)
    number = {name: at for at, name in enumerate(classes)}
    listing = Listing(
        tree.where,
        layout,
        tuple(classes),
        np.array([number[row.label] for row in rows], np.int64),
        {
            split: np.array([at for at, row in enumerate(rows) if row.split == split], np.int64)
            for split in sorted({row.split for row in rows} - {""})
        },
    )
    return Filed(listing, tuple(row.file for row in rows))


def _rows(tree: Tree, wanted: set[str], what: str) -> tuple[str, list[_Row], list[str]]:
    if any(folder in ALIASES for folder in tree.top_folders):
        return _split_folders(tree, wanted)
    if "images" in tree.top_folders and any(n.count("/") >= 2 and n.startswith("images/") for n in wanted):
        return _food(tree, wanted)
    classes = _class_folders(tree.top_folders)
    rows = [_Row(n, n.split("/")[0]) for n in sorted(wanted) if n.split("/")[0] in set(classes) and "/" in n]
    lists = {name: split for name, split in _LISTED.items() if name in tree.sizes}
    if lists:
        return "Speech Commands", _listed(tree, rows, lists, what), classes
    return "class folders", rows, classes


def _class_folders(names: Iterable[str]) -> list[str]:
    return sorted(n for n in names if not n.startswith(_NO_CLASS))


def _split_folders(tree: Tree, wanted: set[str]) -> tuple[str, list[_Row], list[str]]:
    rows: list[_Row] = []
    classes: set[str] = set()
    layout = "split folders"
    for folder in (f for f in tree.top_folders if f in ALIASES):
        split, below = ALIASES[folder], tree.below(folder)
        mine = sorted(n for n in wanted if n.startswith(f"{folder}/"))
        notes = f"{folder}/{folder}_annotations.txt"
        if notes in tree.sizes:
            rows += _annotated(tree, notes, folder, set(mine), split)
            layout = "Tiny-ImageNet"
        elif set(below.top_folders) != {"images"} or any(n.count("/") >= 3 for n in mine):
            found = _class_folders(below.top_folders)
            classes.update(found)
            rows += [_Row(n, n.split("/")[1], split) for n in mine if n.split("/")[1] in set(found)]
    return layout, rows, sorted(classes or {row.label for row in rows})


def _annotated(tree: Tree, notes: str, folder: str, mine: set[str], split: str) -> list[_Row]:
    """Files whose classes stand in a table: name, class, and more that is not needed."""
    rows, problems = [], []
    for number, line in enumerate(tree.text(notes).splitlines(), 1):
        name, _, rest = line.partition("\t")
        file = f"{folder}/images/{name}"
        if not name.strip():
            continue
        if not rest or file not in mine:
            problems.append(
                f"line {number}: no class for {name!r}" if not rest else f"line {number}: no file {file}"
            )
        rows.append(_Row(file, rest.split("\t")[0].strip(), split))
    if problems:
        raise BadDocument(tree.title(notes), _few(problems), fix="fetch the data set again")
    return rows


def _food(tree: Tree, wanted: set[str]) -> tuple[str, list[_Row], list[str]]:
    images = tree.below("images")
    classes = _class_folders(images.top_folders)
    if "meta/classes.txt" in tree.sizes:
        classes = tree.lines("meta/classes.txt")
    files = sorted(n for n in wanted if n.startswith("images/") and n.count("/") >= 2)
    rows = [_Row(n, n.split("/")[1]) for n in files]
    lists = {f"meta/{s}.txt": s for s in ("train", "val", "test") if f"meta/{s}.txt" in tree.sizes}
    if not lists:
        return "Food-101", rows, classes
    # The lists name files without folder and suffix; what no list names takes no part.
    stems = {row.file.removeprefix("images/").rpartition(".")[0]: row for row in rows}
    chosen, problems = [], []
    for name, split in lists.items():
        for line in tree.lines(name):
            row = stems.pop(line, None)
            if row is None:
                problems.append(f"{name}: {line!r} is no file below images/, or listed twice")
            else:
                chosen.append(_Row(row.file, row.label, split))
    if problems:
        raise BadDocument(tree.where, _few(problems), fix="fetch the data set again, or shorten its lists")
    return "Food-101", sorted(chosen, key=lambda row: row.file), classes


def _listed(tree: Tree, rows: list[_Row], lists: Mapping[str, str], what: str) -> list[_Row]:
    place: dict[str, str] = {}
    problems = []
    known = {row.file.rpartition(".")[0] for row in rows}
    for name, split in lists.items():
        for line in tree.lines(name):
            # A preprocessed copy keeps the lists of the original: the suffix may differ.
            stem = line.rpartition(".")[0]
            if stem not in known:
                problems.append(f"{name}: there is no {what} {line!r}")
            place[stem] = split
    if problems:
        raise BadDocument(tree.where, _few(problems), fix="fetch the data set again, or shorten its lists")
    return [_Row(row.file, row.label, place.get(row.file.rpartition(".")[0], "train")) for row in rows]


def _check(tree: Tree, rows: Sequence[_Row], classes: Sequence[str], what: str) -> None:
    train = {row.label for row in rows if row.split in ("", "train")} or {row.label for row in rows}
    problems = [f"class {name!r} holds no {what}" for name in classes if name not in train]
    problems += [
        f"class {name!r} of {split} is not among the {len(classes)} classes"
        for name, split in sorted({(row.label, row.split) for row in rows})
        if name not in set(classes)
    ]
    if problems:
        raise BadDocument(tree.where, _few(problems), fix="remove the empty folders, or fill them")


def _few(problems: Sequence[str]) -> list[str]:
    """The first of many problems, and how many more there are."""
    rest = len(problems) - _FEW
    return [*problems[:_FEW], *([f"and {rest} more like these"] if rest > 0 else [])]
