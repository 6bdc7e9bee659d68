"""A CSV file of numbers under names, read with every bad cell reported at once.

Rules: a header names the columns; every cell is a finite number of zero or more; in a ragged table a column may end
early, padded with blanks, but has no holes. What is wrong is named by file, line and column.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final

# The largest of these tables has 20 lines; a file of many megabytes is not one of them.
LARGEST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one file, by name, in their order."""

    file: str
    columns: dict[str, tuple[float, ...]]


def read_table(path: Path, problems: list[str], *, ragged: bool = False) -> Table:
    """The table in a file. What is wrong is added to `problems`, and what could be read comes back."""
    text = _text(path, problems)
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(io.StringIO(text)), start=1)
        if any(cell.strip() for cell in row)
    ]
    if not rows:
        problems.append(f"{path.name}: is empty")
        return Table(path.name, {})
    (_, header), body = rows[0], rows[1:]
    problems += [
        f"{path.name} line 1 column {at}: has no name" for at, name in enumerate(header, 1) if not name
    ]
    problems += [
        f"{path.name} line 1: {name!r} twice"
        for at, name in enumerate(header)
        if name and name in header[:at]
    ]
    problems += [
        f"{path.name} line {number}: has {len(row)} cells, the header {len(header)}"
        for number, row in body
        if len(row) > len(header) or (len(row) < len(header) and not ragged)
    ]
    columns = {
        name: _column(
            path.name, name, [(n, row[at] if at < len(row) else "") for n, row in body], problems, ragged
        )
        for at, name in enumerate(header)
    }
    return Table(path.name, columns)


def _text(path: Path, problems: list[str]) -> str:
    if path.stat().st_size > LARGEST_BYTES:
        problems.append(
            f"{path.name}: {path.stat().st_size} bytes are more than the {LARGEST_BYTES} accepted"
        )
        return ""
    try:
        # Spreadsheets write a byte order mark.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{path.name}: is not text in UTF-8")
        return ""


def _column(
    file: str, name: str, cells: list[tuple[int, str]], problems: list[str], ragged: bool
) -> tuple[float, ...]:
    while ragged and cells and not cells[-1][1]:
        cells = cells[:-1]
    values = []
    for number, cell in cells:
        try:
            value = float(cell)
        except ValueError:
            value = float("nan")
        if not (isfinite(value) and value >= 0):
            problems.append(f"{file} line {number} column {name!r}: {cell!r} is not a number of zero or more")
            continue
        values.append(value)
    return tuple(values)
