"""Curves for people: one picture of lines, several side by side, and a page that holds them with their tables.

Rules: plain SVG and HTML written here, no script, nothing fetched; readable in light and in dark, and without colour
(every line has a marker and a dash of its own); every text that comes from outside is escaped; a value that is not
finite is a gap in its line, and a picture without a single value is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import isfinite
from typing import Literal

from ..errors import BadDocument
from .chart_scale import Scale, Unit, written
from .chart_style import PAGE, PICTURE

Point = tuple[float, float]

_WIDTH, _PLOT_HEIGHT = 720, 250
_LEFT, _RIGHT, _BELOW = 82, 26, 52
_TITLE, _LEGEND_LINE = 34, 20
# A character of 12 px system text is about this wide: good enough to wrap a legend.
_CHARACTER = 6.8
# Line styles repeat after this many; nobody tells more apart.
_STYLES = 6
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 2")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# More points than this are a curve, and markers would only hide it.
_MOST_MARKERS = 60


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows. Its unit decides how numbers are written; `log` spaces them by ratio."""

    name: str
    unit: Unit = ""
    log: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that stands out: a limit across the picture (`y`), or a choice on its floor (`x`)."""

    axis: Literal["x", "y"]
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: curves by name, each a row of (x, y)."""

    title: str
    series: Mapping[str, Sequence[Point]]
    x: Axis
    y: Axis
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a picture. Columns named in `right` hold numbers; `best` is the row that stands out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    right: frozenset[str] = frozenset()
    best: int | None = None


def lines(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
) -> str:
    """One picture as an SVG document of its own."""
    return picture(Panel(title, series, x, y, marks))


def picture(panel: Panel) -> str:
    """The same from a panel."""
    _check(panel)
    legend, rows = _legend(panel)
    top = _TITLE + rows * _LEGEND_LINE + 12
    height = top + _PLOT_HEIGHT + _BELOW
    points = [p for values in panel.series.values() for p in values if _drawn(p)]
    across = [p[0] for p in points] + [m.value for m in panel.marks if m.axis == "x"]
    upward = [p[1] for p in points] + [m.value for m in panel.marks if m.axis == "y"]
    # Numbers of slices, epochs and the like stay short, and each of a dozen has its place.
    most = 12 if max(map(abs, across)) < 100 else 8
    horizontal = Scale.over(across, _LEFT, _WIDTH - _RIGHT, log=panel.x.log, unit=panel.x.unit, most=most)
    vertical = Scale.over(
        upward, top + _PLOT_HEIGHT, top, log=panel.y.log, unit=panel.y.unit, from_zero=True, most=6
    )
    body = [
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="8"/>',
        f'<text class="title" x="{_LEFT}" y="24">{_text(panel.title)}</text>',
        legend,
        _grid(panel, horizontal, vertical, top),
        _marks(panel, horizontal, vertical, top),
        *(_curve(i, n, panel, horizontal, vertical) for i, n in enumerate(panel.series)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{_text(panel.title)}"><style>{PICTURE}</style>{"".join(body)}</svg>'
    )


def page(title: str, panels: Sequence[Panel], tables: Sequence[Table] = ()) -> str:
    """Pictures side by side with their tables, as one HTML page."""
    figures = "".join(f"<figure>{picture(panel)}</figure>" for panel in panels)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"/><style>{PAGE}</style></head><body><main>'
        f'<h1>{_text(title)}</h1><div class="panels">{figures}</div>{"".join(map(_table, tables))}</main></body></html>\n'
    )


def _check(panel: Panel) -> None:
    problems = []
    if not any(_drawn(point) for values in panel.series.values() for point in values):
        problems.append("series: there is not a single value to draw")
    for axis, at, of in ((panel.x, 0, "x"), (panel.y, 1, "y")):
        if not axis.log:
            continue
        low = [
            f"{name!r} has {p[at]:g} on the logarithmic axis {axis.name!r}"
            for name, values in panel.series.items()
            for p in values
            if _drawn(p) and p[at] <= 0
        ]
        low += [
            f"mark {m.label!r} is {m.value:g} on the logarithmic axis {axis.name!r}"
            for m in panel.marks
            if m.axis == of and m.value <= 0
        ]
        problems += low[:1]
    problems += [f"mark {m.label!r}: {m.value} is not finite" for m in panel.marks if not isfinite(m.value)]
    if problems:
        raise BadDocument(
            f"picture {panel.title!r}",
            problems,
            fix="give finite values; a logarithmic axis takes those above 0",
        )


def _text(text: str) -> str:
    """Text as markup; what XML has no place for, such as control characters, becomes a question mark."""
    return escape("".join(c if c in "\t\n" or _FORBIDDEN.match(c) is None else "?" for c in text))


def _drawn(point: Point) -> bool:
    return isfinite(point[0]) and isfinite(point[1])


def _legend(panel: Panel) -> tuple[str, int]:
    """The names of the curves in as many rows as they need; a single one needs none beside the title."""
    if len(panel.series) < 2:
        return "", 0
    found, x, row = [], float(_LEFT), 1
    for index, name in enumerate(panel.series):
        needed = 44 + _CHARACTER * len(name)
        if x > _LEFT and x + needed > _WIDTH - _RIGHT:
            x, row = float(_LEFT), row + 1
        y = _TITLE + row * _LEGEND_LINE - 8
        found.append(
            f'<line class="curve c{index % _STYLES}" x1="{x:.0f}" x2="{x + 24:.0f}" y1="{y}" y2="{y}"'
            f"{_dash(index)}/>{_marker(index, x + 12, y)}"
            f'<text class="key" x="{x + 30:.0f}" y="{y + 4}">{_text(name)}</text>'
        )
        x += needed
    return "".join(found), row


def _grid(panel: Panel, horizontal: Scale, vertical: Scale, top: float) -> str:
    floor = top + _PLOT_HEIGHT
    found = []
    for value, text in vertical.labels:
        y = vertical.at(value)
        found.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick end" x="{_LEFT - 8}" y="{y + 4:.1f}">{_text(text)}</text>'
        )
    for value, text in horizontal.labels:
        x = horizontal.at(value)
        found.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{floor:.1f}" y2="{floor + 5:.1f}"/>'
            f'<text class="tick middle" x="{x:.1f}" y="{floor + 19:.1f}">{_text(text)}</text>'
        )
    middle = top + _PLOT_HEIGHT / 2
    found.append(
        f'<line class="floor" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor:.1f}" y2="{floor:.1f}"/>'
        f'<text class="axis middle" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{floor + 40:.1f}">'
        f"{_text(panel.x.name)}</text>"
        f'<text class="axis middle" transform="translate(16,{middle:.0f}) rotate(-90)">{_text(panel.y.name)}</text>'
    )
    return "".join(found)


def _marks(panel: Panel, horizontal: Scale, vertical: Scale, top: float) -> str:
    found = []
    for mark in panel.marks:
        text = _text(mark.label)
        if mark.axis == "y":
            y = vertical.at(mark.value)
            found.append(
                f'<line class="mark" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="marked end" x="{_WIDTH - _RIGHT}" y="{max(y - 6, top + 10):.1f}">{text}</text>'
            )
            continue
        x = horizontal.at(mark.value)
        right = x > (_LEFT + _WIDTH) / 2
        found.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + _PLOT_HEIGHT}"/>'
            f'<text class="marked{" end" if right else ""}" x="{x + (-6 if right else 6):.1f}" y="{top + 11}">{text}</text>'
        )
    return "".join(found)


def _curve(index: int, name: str, panel: Panel, horizontal: Scale, vertical: Scale) -> str:
    """The line of one series, broken where a value is missing, and a marker with its numbers at every point."""
    values = panel.series[name]
    style = f"c{index % _STYLES}"
    pieces: list[str] = []
    for left, right in pairwise((None, *values)):
        if right is None or not _drawn(right):
            continue
        goes_on = left is not None and _drawn(left)
        pieces.append(f"{'L' if goes_on else 'M'}{horizontal.at(right[0]):.1f},{vertical.at(right[1]):.1f}")
    found = [f'<path class="curve {style}" d="{"".join(pieces)}"{_dash(index)}/>'] if len(pieces) > 1 else []
    if len(pieces) <= _MOST_MARKERS:
        for point in filter(_drawn, values):
            tip = f"{name}: {written(point[0], panel.x.unit)}, {written(point[1], panel.y.unit)}"
            found.append(
                _marker(index, horizontal.at(point[0]), vertical.at(point[1]), f"<title>{_text(tip)}</title>")
            )
    return "".join(found)


def _dash(index: int) -> str:
    dash = _DASHES[index % _STYLES]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _marker(index: int, x: float, y: float, inside: str = "") -> str:
    style = f'class="dot c{index % _STYLES}"'
    match index % 4:
        case 0:
            return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="4">{inside}</circle>'
        case 1:
            return (
                f'<rect {style} x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2">{inside}</rect>'
            )
        case 2:
            return f'<path {style} d="M{x:.1f},{y - 5:.1f}l4.6,8h-9.2z">{inside}</path>'
        case _:
            return f'<path {style} d="M{x:.1f},{y - 5:.1f}l5,5l-5,5l-5,-5z">{inside}</path>'


def _table(table: Table) -> str:
    """Numbers stand right, the best row stands out."""
    kind = [' class="n"' if name in table.right else "" for name in table.columns]
    head = "".join(f"<th{k}>{_text(name)}</th>" for k, name in zip(kind, table.columns, strict=True))
    best = ' class="best"'
    body = "".join(
        f"<tr{best if at == table.best else ''}>"
        + "".join(f"<td{k}>{_text(str(cell))}</td>" for k, cell in zip(kind, row, strict=True))
        + "</tr>"
        for at, row in enumerate(table.rows)
    )
    return (
        f'<h2>{_text(table.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
