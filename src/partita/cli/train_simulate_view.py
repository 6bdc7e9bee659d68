"""What `partita train simulate` shows: tables for people, one document for programs, a page with pictures.

Rules: every number says whose profile it is from, and that the link is modelled; an arm that is not possible is named
with the reason; the picture and the table hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..graph import Link, print_size
from ..plan import Plan
from ..train import Length, Played, Replay, Sweep
from .chart import Axis, Panel, Table, page
from .files import write_text
from .render import Column, Screen, milliseconds

_STEP = Axis("seconds per step", "seconds")
_BASELINE, _OURS = "JointDNN", "auto"
# Beyond this ratio small values disappear on a linear axis.
_LOGARITHMIC = 20
# So many moves are listed; JSON has them all.
_MOVES = 20


def show_sweeps(screen: Screen, sweeps: Sequence[Sweep], output: Path | None) -> None:
    """Seconds per step against bandwidth, a table and a picture for each case."""
    tables = []
    for sweep in sweeps:
        columns, rows = _sweep_table(sweep)
        title = f"{sweep.case.name}: seconds per step of {sweep.case.question.batch} rows"
        right = frozenset(columns[:-1])
        screen.table(title, [Column(name, right=name in right) for name in columns], rows)
        _say_missing(screen, sweep.missing)
        _say_sources(screen, sweep.case.sources)
        tables.append(Table(title, columns, rows, right))
    _say_notes(screen, [note for sweep in sweeps for note in sweep.case.notes])
    if output is not None:
        panels = [_sweep_panel(sweep) for sweep in sweeps]
        write_text(output, page("A training simulated, against bandwidth", panels, tables))
        screen.say(f"pictures written to {output}")
    screen.result({"cases": [_sweep_document(sweep) for sweep in sweeps]})


def _say_missing(screen: Screen, missing: Mapping[str, str]) -> None:
    for arm, reason in missing.items():
        screen.say(f"{arm}: not possible, {reason}")


def _say_sources(screen: Screen, sources: dict[str, str]) -> None:
    for place, source in sources.items():
        screen.say(f"{place}: {source}")


def _say_notes(screen: Screen, notes: Sequence[str]) -> None:
    for note in dict.fromkeys(notes):
        screen.say(f"note: {note}")


def mbit(link: Link) -> str:
    """The rates of a link, as people write them."""
    up, down = f"{link.up / 1e6:.3g}", f"{link.down / 1e6:.3g}"
    return up if up == down else f"{up} up, {down} down"


def short(plan: Plan) -> str:
    """A plan without what is the same in all of them."""
    return str(plan).partition(" | ")[0] + (f" K={plan.window}" if plan.window else "")


def _sweep_table(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    arms = sweep.arms
    columns = ["Mbit/s", *arms, f"to {_BASELINE}", "bottleneck", f"plan of {_OURS}"]
    rows = []
    for ours in sweep.of(_OURS):
        points = {point.arm: point.seconds for point in sweep.points if point.link == ours.link}
        times = [milliseconds(points[arm]) if arm in points else "-" for arm in arms]
        ratio = f"{points[_BASELINE] / ours.seconds:.1f}x"
        rows.append([mbit(ours.link), *times, ratio, ours.bottleneck, short(ours.plan)])
    return columns, rows


def _sweep_panel(sweep: Sweep) -> Panel:
    series = {arm: [(p.link.up / 1e6, p.seconds) for p in sweep.of(arm)] for arm in sweep.arms}
    return Panel(sweep.case.name, series, Axis("Mbit/s", "", log=True), _axis(series))


def _axis(series: dict[str, list[tuple[float, float]]]) -> Axis:
    values = [y for points in series.values() for _, y in points]
    log = min(values) > 0 and max(values) / min(values) > _LOGARITHMIC
    return Axis(_STEP.name, _STEP.unit, log=log)


def _sweep_document(sweep: Sweep) -> dict[str, Any]:
    return {
        "case": sweep.case.name,
        "batch": sweep.case.question.batch,
        "sources": sweep.case.sources,
        "notes": list(sweep.case.notes),
        "missing": dict(sweep.missing),
        "points": [
            {
                "arm": point.arm,
                "link": str(point.link),
                "seconds": point.seconds,
                "plan": str(point.plan),
                "bottleneck": point.bottleneck,
            }
            for point in sweep.points
        ],
    }


def show_replays(screen: Screen, replays: Sequence[Replay], length: Length, output: Path | None) -> None:
    """One training over the trace: everybody's time, and what the live planner did when."""
    tables, panels = [], []
    for told in replays:
        columns, rows = _replay_table(told)
        title = f"{told.case.name}: {length.epochs * length.steps} steps over the trace"
        right = frozenset(columns[1:-1])
        screen.table(title, [Column(name, right=name in right) for name in columns], rows)
        tables.append(Table(title, columns, rows, right))
        heads, moves = _moves_table(told)
        if moves:
            screen.table("what the live planner did", [Column(name) for name in heads], moves[:_MOVES])
            tables.append(Table(f"{told.case.name}: what the live planner did", heads, moves))
        if len(moves) > _MOVES:
            screen.say(f"and {len(moves) - _MOVES} more moves; --json has them all")
        _say_missing(screen, told.missing)
        _say_sources(screen, told.case.sources)
        panels += _replay_panels(told)
    _say_notes(screen, [note for told in replays for note in told.case.notes])
    if output is not None:
        write_text(output, page("A training simulated, over a trace", panels, tables))
        screen.say(f"pictures written to {output}")
    screen.result({"cases": [_replay_document(told) for told in replays]})


def _replay_table(told: Replay) -> tuple[list[str], list[list[str]]]:
    columns = ["who", "time", "per step", "of the oracle", "moves", "moving", "edge waits", "plan"]
    rows = []
    for run in told.runs:
        plans = list(dict.fromkeys(short(plan) for _, plan in run.plans))
        rows.append(
            [
                run.name,
                f"{run.seconds:.1f} s",
                milliseconds(run.per_step),
                f"{told.oracle.seconds / run.seconds:.0%}",
                str(len(run.moves)),
                milliseconds(sum(move.drain + move.seconds for move in run.moves)),
                f"{run.waited / run.seconds:.0%}",
                plans[0] if len(plans) == 1 else f"{len(plans)} plans",
            ]
        )
    return columns, rows


def _moves_table(told: Replay) -> tuple[list[str], list[list[str]]]:
    columns = ["at", "step", "to", "drain", "move", "state moved", "why"]
    rows = [
        [
            f"{move.at:.1f} s",
            str(move.step),
            short(move.new),
            milliseconds(move.drain),
            milliseconds(move.seconds),
            print_size(move.bytes_up + move.bytes_down),
            move.reason,
        ]
        for move in told.live.moves
    ]
    return columns, rows


def _replay_panels(told: Replay) -> list[Panel]:
    seconds = Axis("seconds", "")
    series = {run.name: list(run.pace()) for run in told.runs if run in (told.live, *told.runs[-2:])}
    until = told.live.seconds
    moments = [moment for moment in told.moments if moment.at < until]
    link: dict[str, list[tuple[float, float]]] = {"up": [], "down": []}
    for moment, end in zip(moments, [*(m.at for m in moments[1:]), until], strict=True):
        for name, rate in (("up", moment.link.up), ("down", moment.link.down)):
            link[name] += [(moment.at, rate / 1e6), (end, rate / 1e6)]
    if link["up"] == link["down"]:
        link = {"both ways": link["up"]}
    return [
        Panel(told.case.name, series, seconds, _axis(series)),
        Panel("Mbit/s of the trace", link, seconds, Axis("Mbit/s", "")),
    ]


def _run_document(run: Played) -> dict[str, Any]:
    return {
        "who": run.name,
        "seconds": run.seconds,
        "steps": len(run.ends),
        "waited": run.waited,
        "plans": [{"step": step, "plan": str(plan)} for step, plan in run.plans],
        "pace": [list(point) for point in run.pace()],
        "moves": [
            {
                "at": move.at,
                "step": move.step,
                "old": str(move.old),
                "new": str(move.new),
                "reason": move.reason,
                "drain": move.drain,
                "seconds": move.seconds,
                "bytes_up": move.bytes_up,
                "bytes_down": move.bytes_down,
            }
            for move in run.moves
        ],
    }


def _replay_document(told: Replay) -> dict[str, Any]:
    return {
        "case": told.case.name,
        "batch": told.case.question.batch,
        "sources": told.case.sources,
        "notes": list(told.case.notes),
        "missing": dict(told.missing),
        "runs": [_run_document(run) for run in told.runs],
    }
