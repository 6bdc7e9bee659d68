"""Samples of several arrays, for models that take several inputs: a record each, its fields under the arrays' names.

    user, item, y                    every array with as many rows as the labels is an input
    user_train, item_train, y_train  the same for each split
    set.npz?inputs=user,item         some of them, whatever they are called

Rules: a field keeps its name and its type; a sample is a numpy structured scalar, a batch an array of them, so that
`batch["user"]` has one row a sample; arrays that have another number of rows are no inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from .data_source import Kind, Listing
from .data_table_wanted import Wanted
from .data_tree import Tree

_Found = dict[str, NDArray[Any]]
_Split = tuple[str, str]
_SIMPLE = "biuf"


# Compared by identity: arrays have no one truth value.
@dataclass(frozen=True, eq=False)
class Records:
    """A source of records. Each block holds the fields of some samples, from the file in `origins`."""

    listing: Listing
    blocks: tuple[_Found, ...]
    origins: tuple[str, ...]
    dtype: np.dtype[Any]
    kind: Kind = field(default="record", init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """A record is one thing; its fields have shapes."""
        return ()

    def name(self, index: int) -> str:
        """File and row."""
        block, row = self._place(index)
        return f"{self.origins[block]}#{row}"

    def load(self, index: int) -> NDArray[Any]:
        """One record."""
        block, row = self._place(index)
        record = np.zeros((), self.dtype)
        for name, array in self.blocks[block].items():
            record[name] = array[row]
        return record

    def stamp(self) -> str:
        """All bytes of all fields."""
        digest = sha256(repr(self.dtype).encode())
        for block in self.blocks:
            for name in sorted(block):
                digest.update(np.ascontiguousarray(block[name]).data)
        return digest.hexdigest()

    def _place(self, index: int) -> tuple[int, int]:
        block = 0
        while index >= (rows := len(next(iter(self.blocks[block].values())))):
            index -= rows
            block += 1
        return block, index


def open_records(
    tree: Tree,
    files: Iterable[tuple[str, str, _Found]],
    wanted: Wanted,
    labels: Sequence[str],
    words: Callable[[str], _Split],
) -> Records:
    """The records of npz files, each with the split that its name states."""
    asked = wanted.targets or ((wanted.label,) if wanted.label else ())
    problems: list[str] = []
    blocks: list[_Found] = []
    marks: list[NDArray[Any]] = []
    origins: list[str] = []
    splits: list[str] = []
    for file, of_file, found in files:
        for split in sorted({words(key)[0] for key in found}):
            own = {words(key)[1]: array for key, array in found.items() if words(key)[0] == split}
            answer = next((k for k in own if k in asked or (not asked and k.lower() in labels)), None)
            if answer is None:
                continue
            made, problem = answers(own.pop(answer), None, measured=bool(wanted.targets))
            fields, more = _fields(own, len(made), wanted.inputs)
            problems += [
                *([f"{file}: {answer}: {problem}"] if problem else []),
                *(f"{file}: {p}" for p in more),
            ]
            blocks.append(fields)
            marks.append(made)
            origins.append(f"{file}:{split}" if split else file)
            splits.append(split or of_file)
        if not blocks:
            problems.append(
                f"{file}: the arrays {', '.join(sorted(found)) or '(none)'} are none that we know: which are labels?"
            )
    dtypes = {np.dtype([(k, a.dtype, a.shape[1:]) for k, a in sorted(block.items())]) for block in blocks}
    if not problems and len(dtypes) > 1:
        problems.append("the splits hold arrays of several names, shapes or types")
    if not problems and not wanted.targets and min(int(m.min()) for m in marks) < 0:
        problems.append("labels: there are negative ones")
    if problems:
        raise BadDocument(
            tree.where,
            problems,
            fix="store arrays with one row a sample, and name the answers labels or y, or say ?label=NAME, ?targets=NAME",
        )
    return Records(_listing(tree, marks, splits, wanted), tuple(blocks), tuple(origins), dtypes.pop())


def _fields(own: _Found, rows: int, inputs: Sequence[str]) -> tuple[_Found, list[str]]:
    """The arrays that are inputs, and what is wrong with those that should be."""
    if not inputs:
        fields = {k: a for k, a in own.items() if a.ndim and len(a) == rows and a.dtype.kind in _SIMPLE}
        return fields, [] if fields else ["no array has as many rows as the labels"]
    problems = [f"there is no array {name!r}" for name in inputs if name not in own]
    chosen = {name: own[name] for name in inputs if name in own}
    problems += [
        f"{name}: {a.dtype} {a.shape} is no input of {rows} samples"
        for name, a in chosen.items()
        if not a.ndim or len(a) != rows or a.dtype.kind not in _SIMPLE
    ]
    return chosen, problems


def answers(marks: NDArray[Any], rows: int | None, *, measured: bool) -> tuple[NDArray[Any], str]:
    """Labels as int64, or targets as float32 where they are `measured`; and what is wrong with them, if anything."""
    marks = marks[:, 0] if marks.ndim == 2 and marks.shape[1] == 1 else marks
    kinds, dimensions = ("iuf", (1, 2)) if measured else ("iu", (1,))
    if marks.ndim not in dimensions or marks.dtype.kind not in kinds:
        wanted = "numbers to predict" if measured else "labels: one whole number a sample"
        return np.zeros(0, np.int64), f"{marks.dtype} {marks.shape} are no {wanted}"
    if not len(marks) or (rows is not None and len(marks) != rows):
        return marks, f"{len(marks)} labels for {rows if rows is not None else 'any'} samples"
    if measured and not np.isfinite(marks).all():
        return marks, "some are not finite"
    return marks.astype(np.float32 if measured else np.int64), ""


def _listing(tree: Tree, marks: Sequence[NDArray[Any]], splits: Sequence[str], wanted: Wanted) -> Listing:
    of = np.repeat(np.array(splits), [len(found) for found in marks])
    parts = {split: np.flatnonzero(of == split) for split in sorted(set(splits) - {""})}
    whole = np.concatenate(marks)
    if wanted.targets:
        return Listing(tree.where, "npz", (), np.full(len(whole), -1, np.int64), parts, whole)
    return Listing(tree.where, "npz", tuple(str(n) for n in range(int(whole.max()) + 1)), whole, parts)
