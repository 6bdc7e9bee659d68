"""Requests over time: drawn from rates with bursts and mixed deadlines, or read from a trace.

Rules: a seed gives the same arrivals every time, stream by stream, so that adding a tenant does not move another's
requests; times are seconds from the start, ascending; a trace file is read whole or refused with every bad field named.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite, nan
from zlib import crc32

import numpy as np

from ..errors import BadDocument
from .tables import Bounds

# A trace is text that people write; beyond this it is something else.
LARGEST_TRACE = 64 << 20
# The columns of a trace; only the first is required.
COLUMNS = (
    "time",
    "tenant",
    "deadline_ms",
    "accuracy_floor",
    "energy_budget_mj",
    "min_exit",
    "max_exit",
    "sample",
)

# What a cell may hold: anything a person could mean, and nothing that overflows later.
_LEAST, _MOST = 1e-9, 1e15


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that comes at `time`. `sample` is the row of held-out data that it asks about, None for any."""

    time: float
    tenant: str = "default"
    bounds: Bounds = field(default_factory=Bounds)
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Burst:
    """From `start`, for `seconds`, requests come `factor` times as often."""

    start: float
    seconds: float
    factor: float


@dataclass(frozen=True, slots=True)
class Stream:
    """What one tenant sends: `rate` requests per second, each with one of `deadlines` (seconds, equally likely) put
    into `bounds`."""

    rate: float
    tenant: str = "default"
    deadlines: tuple[float, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    bursts: tuple[Burst, ...] = ()


def draw(streams: Iterable[Stream], seconds: float, *, seed: int = 0) -> tuple[Arrival, ...]:
    """Poisson arrivals of all streams over a time, in order."""
    listed = list(streams)
    _check(listed, seconds)
    found: list[Arrival] = []
    for stream in listed:
        # The name and not the position decides the draw: see the rules.
        random = np.random.default_rng([seed, crc32(stream.tenant.encode())])
        for time in _times(stream, seconds, random):
            bounds = stream.bounds
            if stream.deadlines:
                bounds = replace(bounds, deadline=float(random.choice(stream.deadlines)))
            found.append(Arrival(float(time), stream.tenant, bounds))
    return tuple(sorted(found, key=lambda arrival: arrival.time))


def _times(
    stream: Stream, seconds: float, random: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Arrival times: between the borders of bursts the rate is constant, and a Poisson process is uniform given its count."""
    borders = {0.0, seconds}
    for burst in stream.bursts:
        borders |= {t for t in (burst.start, burst.start + burst.seconds) if 0 < t < seconds}
    edges = sorted(borders)
    pieces = []
    for low, high in pairwise(edges):
        rate = stream.rate
        for burst in stream.bursts:
            if burst.start <= low < burst.start + burst.seconds:
                rate *= burst.factor
        pieces.append(np.sort(random.uniform(low, high, random.poisson(rate * (high - low)))))
    return np.concatenate(pieces)


def _check(streams: list[Stream], seconds: float) -> None:
    problems = [] if seconds > 0 and isfinite(seconds) else [f"seconds: {seconds!r} is not a time above 0"]
    for i, stream in enumerate(streams):
        if not (stream.rate >= 0 and isfinite(stream.rate)):
            problems.append(f"streams[{i}].rate: {stream.rate!r} requests per second")
        problems += [f"streams[{i}].deadlines: {d!r} is not above 0" for d in stream.deadlines if not d > 0]
        problems += [
            f"streams[{i}].bursts[{j}]: {burst.factor!r} times for {burst.seconds!r} s"
            for j, burst in enumerate(stream.bursts)
            if not (burst.factor >= 0 and burst.seconds > 0)
        ]
    if problems:
        raise BadDocument("arrivals", problems, fix="give rates from 0, times above 0 and deadlines above 0")


def read_trace(text: str, *, name: str = "") -> tuple[Arrival, ...]:
    """Arrivals from CSV with a header: `time` in seconds, and whichever other columns there are. Empty means not asked."""
    what, fix = (
        f"trace {name!r}" if name else "trace",
        f"columns are {','.join(COLUMNS)}; only time is required",
    )
    if len(text) > LARGEST_TRACE:
        raise BadDocument(
            what, [f"{len(text)} characters are more than the {LARGEST_TRACE} accepted"], fix=fix
        )
    rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, restkey="(more)", restval="")
    header = [column.strip() for column in rows.fieldnames or ()]
    rows.fieldnames = header
    problems = [f"column {column!r} is unknown" for column in header if column not in COLUMNS]
    if "time" not in header:
        problems.append("column 'time' is missing")
    if problems:
        raise BadDocument(what, problems, fix=fix)
    found = [_arrival(row, f"line {rows.line_num}", problems) for row in rows]
    if problems:
        raise BadDocument(what, problems, fix=fix)
    return tuple(sorted(found, key=lambda arrival: arrival.time))


def write_trace(arrivals: Iterable[Arrival]) -> str:
    """Arrivals as the CSV that `read_trace` reads."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for a in arrivals:
        b = a.bounds
        # Repr keeps every digit of a float; a factor of 1000 is undone by dividing again.
        cells = (
            a.time,
            a.tenant,
            None if b.deadline is None else b.deadline * 1e3,
            b.accuracy_floor,
            None if b.energy_budget is None else b.energy_budget * 1e3,
            b.min_exit,
            b.max_exit,
            a.sample,
        )
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def _arrival(row: dict[str, str], where: str, problems: list[str]) -> Arrival:
    if "(more)" in row:
        problems.append(f"{where}: more cells than columns")

    def read(column: str, low: float, high: float) -> float | None:
        cell = (row.get(column) or "").strip()
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            value = nan
        # Written so that nan is refused too.
        if not low <= value <= high:
            problems.append(f"{where}: {column} is {cell!r}")
            return None
        return value

    def whole(column: str) -> int | None:
        value = read(column, 0, _MOST)
        if value is not None and value != int(value):
            problems.append(f"{where}: {column} is {value:g}, and has to be a whole number")
        return None if value is None else int(value)

    time = read("time", 0, _MOST)
    if not (row.get("time") or "").strip():
        problems.append(f"{where}: time is empty")
    deadline = read("deadline_ms", _LEAST, _MOST)
    floor = read("accuracy_floor", 0, 1)
    energy = read("energy_budget_mj", _LEAST, _MOST)
    bounds = Bounds(
        None if deadline is None else deadline / 1e3,
        floor,
        None if energy is None else energy / 1e3,
        whole("min_exit"),
        whole("max_exit"),
    )
    tenant = (row.get("tenant") or "").strip() or "default"
    return Arrival(time or 0.0, tenant, bounds, whole("sample"))
