"""How link and devices change over time, as rows: read from a trace, or from `edge=4@60s..120s`.

Rules: a trace is CSV, `seconds,mbit`, `seconds,mbit_up,mbit_down` or `seconds,mbit_up,mbit_down,rtt_ms`, with or
without a header; times count from the first row; what a row says holds until the next one, and the last for good;
every bad row is reported at once. A link of nothing is taken as one of `FLOOR`, so that time goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Final, Literal

from ..errors import BadDocument
from ..graph import Link, parse_seconds

Place = Literal["edge", "cloud"]
# Bits per second: with less than this no step of any network would ever end.
FLOOR: Final = 1e3
# A day at one row a second, with room; more is not a trace of a training that somebody wants to watch.
MOST_ROWS: Final = 200_000
_COLUMNS: Final = ("seconds", "mbit_up", "mbit_down", "rtt_ms")
_NAMES: Final = {"mbit": "mbit_up", "time": "seconds", "rtt": "rtt_ms"}
# So many bad rows are named; a file of another kind would fill the screen.
_NAMED: Final = 20
_FIX: Final = "write rows like `0,50` or `0,20,80,30`: seconds, Mbit/s up, Mbit/s down, round trip in ms"


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds from a second on. `edge` and `cloud` are how many times slower the devices are than their profiles."""

    at: float
    link: Link
    edge: float = 1.0
    cloud: float = 1.0


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A device that takes `factor` times as long, from `since` until `until`."""

    place: Place
    factor: float
    since: float = 0.0
    until: float = inf

    @property
    def always(self) -> bool:
        """Whether the device is never faster: then it is another device."""
        return self.since <= 0 and self.until == inf


def read_moments(
    text: str, *, name: str = "trace", rtt: float = 0.0, shared: bool = False
) -> tuple[Moment, ...]:
    """The rows of a trace. `rtt` is the round trip where the trace has no column for it."""
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(io.StringIO(text)), start=1)
        if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")
    ]
    if len(rows) > MOST_ROWS:
        raise BadDocument(f"trace {name!r}", [f"{len(rows)} rows are more than {MOST_ROWS}"], fix=_FIX)
    problems: list[str] = []
    columns = _header(rows, problems)
    found: list[Moment] = []
    for number, row in rows:
        values = _row(number, row, columns, problems)
        if values is None:
            continue
        if found and values["seconds"] <= found[-1].at:
            problems.append(f"line {number}: {values['seconds']:g} s does not come after {found[-1].at:g} s")
            continue
        up, down = values["mbit_up"] * 1e6, values.get("mbit_down", values["mbit_up"]) * 1e6
        link = Link(max(up, FLOOR), max(down, FLOOR), values.get("rtt_ms", rtt * 1e3) / 1e3, shared)
        found.append(Moment(values["seconds"], link))
    if not rows and not problems:
        problems.append("there is not a single row")
    if problems:
        more = [f"and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        raise BadDocument(f"trace {name!r}", [*problems[:_NAMED], *more], fix=_FIX)
    return tuple(replace(moment, at=moment.at - found[0].at) for moment in found)


def _header(rows: list[tuple[int, list[str]]], problems: list[str]) -> tuple[str, ...]:
    """The columns by name if the first row names them, which is then taken away; else by position."""
    if not rows or _number(rows[0][1][0]) is not None:
        return _COLUMNS
    number, names = rows.pop(0)
    columns = tuple(_NAMES.get(name.lower(), name.lower()) for name in names)
    problems += [
        f"line {number}: {name!r} is not one of {', '.join((*_COLUMNS, 'mbit'))}"
        for name, column in zip(names, columns, strict=True)
        if column not in _COLUMNS
    ]
    problems += [
        f"line {number}: there is no column {name}" for name in ("seconds", "mbit_up") if name not in columns
    ]
    problems += [f"line {number}: {name} is there twice" for name in set(columns) if columns.count(name) > 1]
    if problems:
        rows.clear()
    return columns


def _row(
    number: int, row: list[str], columns: tuple[str, ...], problems: list[str]
) -> dict[str, float] | None:
    """The numbers of one row by name."""
    if not 2 <= len(row) <= len(columns):
        problems.append(f"line {number}: has {len(row)} cells, not 2 to {len(columns)}")
        return None
    values = {name: _number(cell) for name, cell in zip(columns, row, strict=False)}
    bad = [
        f"line {number}: {name} {cell!r} is not a number of zero or more"
        for (name, value), cell in zip(values.items(), row, strict=True)
        if value is None or value < 0
    ]
    problems += bad
    return None if bad else {name: value for name, value in values.items() if value is not None}


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if isfinite(value) else None


def parse_slowdowns(texts: Sequence[str]) -> tuple[Slowdown, ...]:
    """`edge=4` for the whole time, `edge=4@60s` from a second on, `cloud=2@60s..120s` for a while."""
    found, problems = [], []
    for text in texts:
        place, _, rest = text.partition("=")
        word, _, span = rest.partition("@")
        since, _, until = span.partition("..")
        factor = _number(word)
        try:
            times = (parse_seconds(since) if since else 0.0, parse_seconds(until) if until else inf)
        except BadDocument as error:
            problems.append(f"{text!r}: {'; '.join(error.problems)}")
            continue
        if place not in ("edge", "cloud") or factor is None or factor <= 0:
            problems.append(f"{text!r} is not edge=FACTOR or cloud=FACTOR with a factor above 0")
        elif times[0] >= times[1]:
            problems.append(f"{text!r} ends before it begins")
        else:
            found.append(Slowdown("edge" if place == "edge" else "cloud", factor, *times))
    if problems:
        raise BadDocument("--slow", problems, fix="write it like --slow edge=4@60s..120s, or --slow edge=8")
    return tuple(found)


def slowed(moments: Sequence[Moment], slowdowns: Sequence[Slowdown]) -> tuple[Moment, ...]:
    """The same moments with devices that take longer for a while; slow-downs of one device multiply."""
    edges = {time for slow in slowdowns for time in (slow.since, slow.until) if isfinite(time)}
    times = sorted({moment.at for moment in moments} | edges)
    rows = []
    at = 0
    for time in times:
        while at + 1 < len(moments) and moments[at + 1].at <= time:
            at += 1
        factors = {"edge": moments[at].edge, "cloud": moments[at].cloud}
        for slow in slowdowns:
            if slow.since <= time < slow.until:
                factors[slow.place] *= slow.factor
        rows.append(Moment(time, moments[at].link, factors["edge"], factors["cloud"]))
    return tuple(rows)
