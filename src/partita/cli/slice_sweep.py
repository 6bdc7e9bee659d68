"""`partita slice sweep`: latency, memory, payload and cost by the number of slices, as a table and a picture."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import BadDocument, Infeasible
from ..graph import dump, print_size
from ..slice import Point, Rehearsal
from ..slice import sweep as sweep_model
from .chart import Axis, Panel, Table, page
from .chart_scale import Unit
from .files import check_writable, write_text
from .render import Column, Screen, milliseconds
from .slice_options import SliceOptions, counts, read_inputs

DEFAULTS = SliceOptions()
# Title, unit, and the totals of a plan by the name of their curve.
PANELS: tuple[tuple[str, Unit, dict[str, str]], ...] = (
    ("Latency of one request", "seconds", {"warm": "warm", "cold": "cold"}),
    ("Memory of the largest slice", "bytes", {"memory": "memory", "weights": "largest"}),
    ("Bytes between slices", "bytes", {"payload": "payload"}),
    ("Dollars for a million requests", "dollars", {"cost": "dollars"}),
)


def sweep(
    model: Path,
    *,
    slices: str = "1..12",
    options: SliceOptions = DEFAULTS,
    rehearse: bool = False,
    runs: int = 5,
    input: Annotated[Path | None, Parameter(alias="-i")] = None,  # noqa: A002 - the option's name
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: bool = False,
) -> int:
    """Plan a model in many numbers of slices, and show what each would take.

    Parameters
    ----------
    model
        An .onnx file.
    slices
        The numbers of slices, like 1..12 or 1,2,5.
    rehearse
        Cut and run each of them in fresh processes under the platform's limits, beside the prediction.
    runs
        How many warm calls each rehearsal measures.
    input
        Inputs for the rehearsals: .npz by name, or .npy.
    output
        Write pictures and table as one HTML page.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    check_writable(output)
    wanted = counts(slices)
    prepared = replace(options, measure=True).capture(model)
    values = read_inputs(input, prepared.chain.inputs)
    with screen.progress("planning") as bar:
        points = sweep_model(
            prepared,
            replace(options, slices=None).question(),
            wanted,
            profile=replace(options, measure=True).clock(),
            runs=runs if rehearse else None,
            values=values,
            progress=bar,
        )
    if not any(point.plan for point in points):
        raise Infeasible(
            f"none of these numbers of slices is possible: {points[-1].problem}",
            fix=f"see what is: partita slice check {model} --platform {options.platform}",
        )
    columns, rows = _table(points, rehearsed=rehearse)
    title = f"{prepared.chain.name} on {options.platform}, by the number of slices"
    screen.table(title, [Column(name, right=True) for name in columns], rows)
    for point in points:
        if point.problem:
            screen.say(f"in {point.slices}: {point.problem}")
    if output is not None:
        write_text(
            output, page(title, _panels(points), [Table("All figures", columns, rows, frozenset(columns))])
        )
        screen.say(f"pictures written to {output}")
    screen.result(
        {"model": prepared.chain.name, "platform": options.platform, "points": [_document(p) for p in points]}
    )
    return 0


def _table(points: Sequence[Point], *, rehearsed: bool) -> tuple[list[str], list[list[str]]]:
    columns = ["slices", "largest", "memory", "payload", "again", "warm", "cold", "cost of 1M"]
    if rehearsed:
        columns += ["warm, measured", "cold, measured", "memory, measured"]
    rows = []
    for point in points:
        row = [str(point.slices), *_figures(point)]
        if rehearsed:
            row += _measured(point.rehearsal)
        rows.append(row)
    return columns, rows


def _figures(point: Point) -> list[str]:
    if point.plan is None or (totals := point.plan.totals) is None:
        return ["-"] * 7
    return [
        print_size(totals.largest),
        print_size(totals.memory),
        print_size(totals.payload),
        print_size(totals.duplicated),
        milliseconds(totals.warm) if totals.warm is not None else "-",
        milliseconds(totals.cold) if totals.cold is not None else "-",
        f"${totals.dollars * 1e6:.2f}" if totals.dollars else "-",
    ]


def _measured(done: Rehearsal | None) -> list[str]:
    if done is None:
        return ["-"] * 3
    return [
        milliseconds(done.warm) if done.warm is not None else "-",
        milliseconds(done.cold),
        print_size(done.peak),
    ]


def _panels(points: Sequence[Point]) -> list[Panel]:
    """Latency, memory, payload and cost, each over the number of slices; what nobody charges is not drawn."""
    x = Axis("slices", "count")
    made: list[Panel] = []
    for title, unit, curves in PANELS:
        series: dict[str, list[tuple[float, float]]] = {}
        for name, field in curves.items():
            scale = 1e6 if field == "dollars" else 1.0
            drawn = [
                (float(p.slices), scale * float(value))
                for p in points
                if p.plan is not None and (value := getattr(p.plan.totals, field, None)) is not None
            ]
            if any(y for _, y in drawn):
                series[name] = drawn
        series |= _seen(points, title)
        if series:
            made.append(Panel(title, series, x, Axis("", unit)))
    if not made:
        raise BadDocument("slice sweep", ["there is nothing to draw"], fix="give more numbers of slices")
    return made


def _seen(points: Sequence[Point], title: str) -> dict[str, list[tuple[float, float]]]:
    """What the rehearsals measured, beside what was predicted."""
    done = [(float(p.slices), p.rehearsal) for p in points if p.rehearsal is not None]
    if not done:
        return {}
    if title.startswith("Latency"):
        warm = [(x, r.warm) for x, r in done if r.warm is not None]
        return {"warm, measured": warm, "cold, measured": [(x, r.cold) for x, r in done]}
    if title.startswith("Memory"):
        return {"memory, measured": [(x, float(r.peak)) for x, r in done]}
    return {}


def _document(point: Point) -> dict[str, Any]:
    done = point.rehearsal
    return {
        "slices": point.slices,
        "problem": point.problem,
        "plan": json_text.loads(dump(point.plan)) if point.plan is not None else None,
        "measured": None if done is None else {"warm": done.warm, "cold": done.cold, "peak": done.peak},
    }
