"""What a verb shows: tables and progress for people, one JSON document for programs.

Rules: results go to stdout, progress and remarks to stderr; with --json stdout holds exactly one document;
nothing is coloured when the output is no terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cyclopts import Parameter

# A switch has one name: no `--no-json` beside `--json`.
PLAIN = Parameter(negative=())
# Tables that are piped into a file or a pager should not be folded at 80 columns.
WIDE = 160
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Numbers stand at the right."""

    title: str
    right: bool = False


class Screen:
    """Where one verb writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            sys.stdout.write(text + "\n")

    def remark(self, text: str) -> None:
        """A line beside the result."""
        sys.stderr.write(text + "\n")

    def table(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[object]],
        *,
        marks: Collection[int] = (),
    ) -> None:
        """A table for people; the rows in `marks` stand out."""
        if self.as_json:
            return
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, title_style="bold"
        )
        for column in columns:
            table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
        for index, row in enumerate(rows):
            table.add_row(*(Text(str(cell)) for cell in row), style="bold green" if index in marks else None)
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        Console(file=sys.stdout, width=width, highlight=False).print(table)

    def result(self, document: Mapping[str, Any] | str) -> None:
        """The document for programs."""
        if self.as_json:
            text = (
                document
                if isinstance(document, str)
                else json.dumps(document, ensure_ascii=False, allow_nan=False)
            )
            sys.stdout.write(text + "\n")

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A bar on a terminal's stderr; silent where nobody watches."""
        if not sys.stderr.isatty():
            yield _silent
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[label]}"),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None, label="")
            yield lambda done, total, label: bar.update(task, completed=done, total=total, label=label)


def milliseconds(seconds: float) -> str:
    """Seconds for a table: `12.3 ms`, with three figures that mean something."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _silent(done: int, total: int, label: str) -> None:
    """Progress where nobody watches."""
