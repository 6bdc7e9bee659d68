"""From the cells of a table to its numbers, some thousand rows at a time.

Rules: a row that is wrong is told with its line, and reading goes on, so that the next wrong one is told too; what grows
is bounded while it grows; a number that is missing is refused, left out with its row, or filled in, as one was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from .data_table_head import Head, is_missing
from .data_table_rows import Faults, Row
from .data_table_wanted import DROP, MEAN
from .data_tree import LARGEST

_ROWS: Final = 4096
_MOST_CATEGORIES: Final = 65_536
# Up to so many different texts are categories, and so many whole numbers classes, whatever the number of rows; beyond,
# each must come twice on average, and classes must be without gaps: prices are not.
_FEW: Final = 32
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """A whole table: rows in their order, with the file and the line of each."""

    values: NDArray[np.float32]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32] | None
    categories: Mapping[int, tuple[str, ...]]
    of: NDArray[np.int32]
    lines: NDArray[np.int64]


class Filling:
    """A table while it is read."""

    def __init__(self, where: str, head: Head, missing: str) -> None:
        self._where, self._head, self._missing = where, head, missing
        self._faults = Faults()
        self._codes: dict[int, dict[str, int]] = {at: {} for at in self._used if at in head.words}
        self._blocks: list[Floats] = []
        self._lines: list[NDArray[np.int64]] = []
        self._of: list[NDArray[np.int32]] = []
        self._file, self._files, self._width = "", 0, 0
        self._places: tuple[int, ...] = ()
        self.count = 0

    @property
    def _used(self) -> tuple[int, ...]:
        return (*self._head.features, *self._head.answers)

    def begin(self, file: str, width: int, places: tuple[int, ...]) -> None:
        """The next file: how wide its rows are, and where each column of the head stands in it."""
        self._file, self._width, self._places = file, width, places
        self._files += 1

    def take(self, rows: Iterator[Row]) -> None:
        """All rows of the file."""
        while chunk := list(islice(rows, _ROWS)):
            for line, cells in chunk:
                if len(cells) != self._width:
                    self._fault(line, f"{len(cells)} columns, not {self._width}")
            good = [(line, cells) for line, cells in chunk if len(cells) == self._width]
            if good:
                self._block(good)

    def _block(self, rows: Sequence[Row]) -> None:
        lines = np.array([line for line, _ in rows], np.int64)
        columns = list(zip(*(cells for _, cells in rows), strict=True))
        block = np.stack(
            [
                self._coded(at, columns[self._places[at]], lines)
                if at in self._codes
                else self._number(at, columns[self._places[at]], lines)
                for at in self._used
            ],
            axis=1,
        )
        if self._missing == DROP:
            whole = ~np.isnan(block).any(axis=1)
            block, lines = block[whole], lines[whole]
        self.count += len(block)
        if (size := self.count * block.shape[1] * block.itemsize) > LARGEST:
            raise BadDocument(
                self._where,
                [f"{size} bytes of numbers are more than the {LARGEST} held at once"],
                fix="divide the table, or store it as the arrays of an npz",
            )
        self._blocks.append(block)
        self._lines.append(lines)
        self._of.append(np.full(len(lines), self._files - 1, np.int32))

    def _number(self, at: int, cells: Sequence[str], lines: NDArray[np.int64]) -> Floats:
        try:
            found = np.array(list(map(float, cells)))
        except ValueError:
            found = np.array([_number(cell) for cell in cells])
        for row in np.flatnonzero(~np.isfinite(found)):
            cell = cells[int(row)]
            if not is_missing(cell):
                self._fault(int(lines[row]), f"{self._head.headings[at]}: {cell[:40]!r} is no number")
            elif self._missing != DROP and (at in self._head.answers or not self._missing):
                self._fault(int(lines[row]), f"{self._head.headings[at]} is missing")
        return found

    def _coded(self, at: int, cells: Sequence[str], lines: NDArray[np.int64]) -> Floats:
        """Words as numbers, in the order in which they came; a missing answer is none."""
        codes, answer = self._codes[at], at in self._head.answers
        made: list[float] = []
        for cell, line in zip(cells, lines, strict=True):
            known = "" if is_missing(cell) else cell
            if answer and not known:
                made.append(np.nan)
                if self._missing != DROP:
                    self._fault(int(line), f"{self._head.headings[at]} is missing")
                continue
            made.append(codes.setdefault(known, len(codes)))
        if len(codes) > _MOST_CATEGORIES:
            raise self._no_categories(at, f"more than {_MOST_CATEGORIES} different texts")
        return np.array(made, np.float64)

    def finish(self, splits: Sequence[str]) -> Filled:
        """The table, if nothing was wrong; `splits` names the split of each file."""
        if self._faults or not self.count:
            said = "missing" in " ".join(self._faults.told)
            raise BadDocument(
                self._where,
                self._faults.told or ["has no rows"],
                fix="write one value a column in each row"
                + (", or say ?missing=drop, ?missing=mean or ?missing=0" if said else ""),
            )
        whole = np.concatenate(self._blocks)
        self._blocks.clear()
        of = np.concatenate(self._of)
        categories = {
            at: self._ordered(at, column, whole) for column, at in enumerate(self._used) if at in self._codes
        }
        features = whole[:, : len(self._head.features)]
        training = np.isin(of, [n for n, split in enumerate(splits) if split == "train"])
        self._fill_in(features, training if training.any() else np.ones(len(of), bool))
        classes, labels, targets = self._answers(whole[:, len(self._head.features) :], categories)
        lines = np.concatenate(self._lines)
        return Filled(self._narrow(features), classes, labels, targets, categories, of, lines)

    def _narrow(self, numbers: Floats) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            found = numbers.astype(np.float32)
        if not np.isfinite(found).all():
            problem = f"{np.abs(numbers).max():g} is beyond float32"
            raise BadDocument(self._where, [problem], fix="scale the column that holds it")
        return found

    def _ordered(self, at: int, column: int, whole: Floats) -> tuple[str, ...]:
        """Number a column's texts by their order instead of their first occurrence."""
        texts = tuple(sorted(self._codes[at]))
        if len(texts) > max(_FEW, len(whole) // 2):
            raise self._no_categories(at, f"{len(texts)} different texts in {len(whole)} rows")
        place = np.empty(len(texts) + 1)
        place[[self._codes[at][text] for text in texts]] = np.arange(len(texts))
        known = ~np.isnan(whole[:, column])
        whole[known, column] = place[whole[known, column].astype(np.int64)]
        return texts

    def _fill_in(self, features: Floats, training: NDArray[np.bool_]) -> None:
        """Missing numbers; a mean is that of the training rows where the data names them, so that tests stay unseen."""
        for column in np.flatnonzero(np.isnan(features).any(axis=0)):
            holes = np.isnan(features[:, column])
            known = features[training & ~holes, column]
            if self._missing == MEAN and not len(known):
                name = self._head.headings[self._head.features[column]]
                raise BadDocument(
                    self._where, [f"{name}: has no number at all"], fix=f"leave it out: ?without={name}"
                )
            features[holes, column] = known.mean() if self._missing == MEAN else float(self._missing)

    def _answers(
        self, answers: Floats, categories: Mapping[int, tuple[str, ...]]
    ) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float32] | None]:
        """Classes and labels, or numbers to predict with -1 for each label."""
        none = np.full(len(answers), -1, np.int64)
        if self._head.measured:
            if worded := [self._head.headings[at] for at in self._head.answers if at in categories]:
                raise BadDocument(
                    self._where,
                    [f"{name}: holds words, and is no number to predict" for name in worded],
                    fix="ask for classes: ?label=",
                )
            return (), none, self._narrow(answers[:, 0] if answers.shape[1] == 1 else answers)
        (at,) = self._head.answers
        if at in categories:
            return categories[at], answers[:, 0].astype(np.int64), None
        kinds, labels = np.unique(answers[:, 0], return_inverse=True)
        if _are_classes(kinds, len(answers)):
            return tuple(str(int(kind)) for kind in kinds), labels.astype(np.int64), None
        return (), none, self._narrow(answers[:, 0])

    def _fault(self, line: int, problem: str) -> None:
        self._faults.add(
            f"{self._file}: line {line}: {problem}" if self._files > 1 else f"line {line}: {problem}"
        )

    def _no_categories(self, at: int, why: str) -> BadDocument:
        name = self._head.headings[at]
        answer = at in self._head.answers
        return BadDocument(
            self._where,
            [f"{name}: {why} are no {'classes' if answer else 'categories'}"],
            fix="choose another label"
            if answer
            else f"leave the column out: ?without={name}; or is it text: ?text={name}",
        )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _are_classes(kinds: Floats, rows: int) -> bool:
    """Whether these different numbers are names of classes."""
    if not np.array_equal(kinds, np.rint(kinds)) or np.abs(kinds).max() > 2**53:
        return False
    return len(kinds) <= _FEW or (
        kinds[0] in (0, 1) and len(kinds) - 1 == kinds[-1] - kinds[0] and 2 * len(kinds) <= rows
    )
