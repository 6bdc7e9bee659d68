"""`partita train compare`: the same training under every baseline, over links of every kind, with real steps.

Rules: two processes, each on a core of its own where there are two; every arm from the same weights on the same
batches; the table says what was measured, and beside it what was predicted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import BadDocument
from ..graph import parse_seconds, print_size
from .chart import Axis, Panel, Table, page
from .files import check_writable, write_text
from .render import Column, Screen, milliseconds
from .train_options import CutOptions, LearnOptions, order_of

if TYPE_CHECKING:
    from ..train import Cell, Row

LEARN = LearnOptions(batch_size=64)
CUT = CutOptions(slow=8.0)


def compare(
    *,
    model: Annotated[str, Parameter(alias="-m")],
    data: str,
    bandwidth: str = "2,10,50,200",
    rtt: str = "0",
    steps: int = 40,
    warmup: int = 8,
    blocks: int = 3,
    target: float | None = None,
    arms: tuple[str, ...] = (),
    inputs_private: bool = False,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    learn: LearnOptions = LEARN,
    cut: CutOptions = CUT,
    json: bool = False,
) -> int:
    """Train under every baseline: edge only, cloud only, a fixed split, JointDNN, the paper's, windows only, codecs only, auto.

    Parameters
    ----------
    model
        A model reference, as for `partita train edge`.
    data
        A folder or file of samples, or made:digits.
    bandwidth
        Rates of the link in Mbit/s, the same both ways, like 2,10,50,200.
    rtt
        Round trips of the link, like 0,40ms; plain numbers are milliseconds.
    steps
        How many steps to time in every cell.
    warmup
        How many steps to take before.
    blocks
        In how many turns to take them: arms take turns, and the median of their turns is what counts.
    target
        Train to this held-out accuracy instead, like 0.97, for --epochs epochs at most, and compare the seconds.
    arms
        The arms to run, like auto and JointDNN; all if not given.
    inputs_private
        Let no input leave as it is, as trainings do by default: then there is no cloud only.
    output
        Write the table and its pictures as one HTML page.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    order = order_of(model, data, learn, cut)
    rates, trips = _numbers("--bandwidth", bandwidth), _trips(rtt)
    _check_counts(steps, warmup, blocks)
    if output is not None:
        check_writable(output)
    from ..train import Cell, Contest, local_cloud
    from ..train import compare as compare_all
    from .train_job import prepare

    material = prepare(order)
    contest = Contest(
        material.model.module,
        material.data,
        material.held_out if target is not None else None,
        replace(order.settings, inputs_private=inputs_private),
        slow=cut.slow,
        steps=steps,
        warmup=warmup,
        target=target,
        arms=arms,
        threads=learn.threads or 1,
        blocks=blocks,
    )
    cells = [Cell(rate, trip) for trip in trips for rate in rates]
    screen.say(
        f"{len(cells)} links; this side on one core, pretended {cut.slow:g} times slower; the cloud on another"
    )
    with pinned() as core, local_cloud(threads=1, cpu=core, link=cells[0].shape) as cloud:
        rows = compare_all(contest, cloud, cells, on_row=lambda row: _tell(screen, row))
    _show(screen, rows, target)
    if output is not None:
        write_text(output, _page(model, rows, target))
        screen.say(f"the page is {output}")
    screen.result({"rows": [asdict(row) | {"overlap": row.overlap} for row in rows]})
    return 0


def _check_counts(steps: int, warmup: int, blocks: int) -> None:
    problems = [f"--steps: {steps} is below 1"] if steps < 1 else []
    problems += [f"--warmup: {warmup} is below 0"] if warmup < 0 else []
    problems += [f"--blocks: {blocks} is below 1"] if blocks < 1 else []
    if problems:
        raise BadDocument("train compare", problems, fix="give --steps 40 --warmup 8 --blocks 3")


def _numbers(option: str, text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) <= 0:
        raise BadDocument(
            option, [f"{text!r} is no list of numbers above 0"], fix=f"write it like {option} 2,10,50"
        )
    return found


def _trips(text: str) -> list[float]:
    words = text.split(",")
    return [
        float(word) / 1e3 if word.replace(".", "", 1).isdigit() else parse_seconds(word) for word in words
    ]


@contextmanager
def pinned() -> Iterator[int | None]:
    """This process on one core, and the number of another for the cloud; as it was afterwards."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield None
        return
    before = os.sched_getaffinity(0)
    mine, other, *_ = sorted(before)
    os.sched_setaffinity(0, {mine})
    try:
        yield other
    finally:
        os.sched_setaffinity(0, before)


def _tell(screen: Screen, row: Row) -> None:
    took = "-" if row.step_seconds is None else milliseconds(row.step_seconds)
    screen.remark(f"{row.cell}: {row.arm}: {row.problem or took}")


def _speed(row: Row, rows: Sequence[Row]) -> str:
    """How many times faster than JointDNN over the same link."""
    other = next((r for r in rows if r.arm == "JointDNN" and r.cell == row.cell), None)
    if other is None or other.step_seconds is None or row.step_seconds is None:
        return "-"
    return f"{other.step_seconds / row.step_seconds:.2f}x"


_COLUMNS = ("arm", "a step", "spread", "predicted", "to JointDNN", "up", "down", "moves", "plan")


def _cells(row: Row, rows: Sequence[Row], target: float | None) -> list[str]:
    took = "-" if row.step_seconds is None else milliseconds(row.step_seconds)
    cells = [
        row.arm,
        took,
        "-" if row.step_seconds is None else f"{row.spread:.0%}",
        "-" if row.predicted is None else milliseconds(row.predicted),
        _speed(row, rows),
        print_size(row.bytes_up),
        print_size(row.bytes_down),
        str(row.moves),
        row.problem or row.plan,
    ]
    if target is not None:
        reached = "not reached" if row.to_target is None else f"{row.to_target:.1f} s"
        accuracy = "-" if row.accuracy is None else f"{row.accuracy:.1%}"
        cells[1:1] = [reached, accuracy]
    return cells


def _titles(target: float | None) -> tuple[str, ...]:
    if target is None:
        return _COLUMNS
    return (_COLUMNS[0], f"to {target:.0%}", "accuracy", *_COLUMNS[1:])


def _by_cell(rows: Sequence[Row]) -> dict[Cell, list[Row]]:
    found: dict[Cell, list[Row]] = {}
    for row in rows:
        found.setdefault(row.cell, []).append(row)
    return found


def _best(rows: Sequence[Row]) -> int | None:
    timed = [i for i, row in enumerate(rows) if row.step_seconds is not None]
    return min(timed, key=lambda i: rows[i].step_seconds or 0.0, default=None)


def _show(screen: Screen, rows: Sequence[Row], target: float | None) -> None:
    titles = _titles(target)
    columns = [Column(title, right=title not in ("arm", "plan")) for title in titles]
    for cell, mine in _by_cell(rows).items():
        best = _best(mine)
        marks = () if best is None else (best,)
        screen.table(str(cell), columns, [_cells(row, rows, target) for row in mine], marks=marks)


def _page(model: str, rows: Sequence[Row], target: float | None) -> str:
    panels = []
    for trip in dict.fromkeys(row.cell.rtt for row in rows):
        series: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row.cell.rtt == trip and row.step_seconds is not None:
                series.setdefault(row.arm, []).append((row.cell.mbit, row.step_seconds))
        if series:
            title = f"Seconds per step, round trip {trip * 1e3:g} ms"
            panels.append(
                Panel(
                    title, series, Axis("Mbit/s each way", "", log=True), Axis("a step", "seconds", log=True)
                )
            )
    titles = _titles(target)
    right = frozenset(titles) - {"arm", "plan"}
    tables = [
        Table(str(cell), titles, [_cells(row, rows, target) for row in mine], right, _best(mine))
        for cell, mine in _by_cell(rows).items()
    ]
    return page(f"Training {model} under every baseline", panels, tables)
