"""`partita slice check` and `partita slice plan`: does it fit, and where to cut it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import PlatformError
from ..graph import dump
from ..slice import Report, Row, amount, explain, neighbours, read_manifest, rehearse
from ..slice import check as check_model
from ..slice import plan as plan_model
from .files import check_writable, write_text
from .render import Column, Screen
from .slice_options import SliceOptions, read_inputs

DEFAULTS = SliceOptions()


def check(
    model: Path,
    *,
    options: SliceOptions = DEFAULTS,
    input: Annotated[Path | None, Parameter(alias="-i")] = None,  # noqa: A002 - the option's name
    seed: int = 0,
    json: bool = False,
) -> int:
    """Hold a model against every limit of a platform before anything is built, or a folder of slices after.

    Parameters
    ----------
    model
        An .onnx file; or a folder of slices, which then run in fresh processes and are measured.
    input
        Inputs for the slices of a folder: .npz by name, or .npy.
    seed
        The seed of made-up inputs.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    report = _measured(model, options, input, seed) if model.is_dir() else _estimated(screen, model, options)
    show_report(screen, report)
    screen.result(_document(report))
    return 0 if report.passed else PlatformError.exit_code


def _estimated(screen: Screen, model: Path, options: SliceOptions) -> Report:
    question = options.question()
    prepared = options.capture(model)
    for note in prepared.notes:
        screen.remark(f"note: {note}")
    return check_model(prepared, question, profile=options.clock())


def _measured(folder: Path, options: SliceOptions, path: Path | None, seed: int) -> Report:
    manifest = read_manifest(folder)
    if options.platform == DEFAULTS.platform:
        options = replace(options, platform=manifest.plan.platform)
    platform = options.place()
    values = read_inputs(path, manifest.inputs)
    rehearsal = rehearse(folder, values, platform, enforce=False, seed=seed)
    return Report(manifest.plan.model, platform.name, tuple(rehearsal.rows), manifest.plan)


def show_report(screen: Screen, report: Report) -> None:
    """The checks as a table, then what would help."""
    columns = [
        Column("check"),
        Column("where"),
        Column("need", right=True),
        Column("limit", right=True),
        Column("headroom", right=True),
        Column("result"),
        Column("source"),
    ]
    rows = [
        (
            row.check,
            row.where or "-",
            amount(row, row.need),
            amount(row, row.bound) if row.bound is not None else "none",
            "-" if row.headroom is None or row.status == "avoided" else f"{row.headroom:.0%}",
            row.status,
            row.source,
        )
        for row in report.rows
    ]
    count = ""
    if report.plan is not None:
        number = len(report.plan.slices)
        count = f", {number} slice{'s' if number > 1 else ''}"
    screen.table(f"{report.model} on {report.platform}{count}", columns, rows)
    for row in report.rows:
        if row.fix:
            screen.say(_sentence(row))
    if report.problem:
        screen.say(f"fail: {report.problem}")
    if report.advice:
        screen.say(f"  fix: {report.advice}")
    screen.say("everything fits" if report.passed else "it does not fit as asked")


def _sentence(row: Row) -> str:
    where = f"{row.where}: " if row.where else ""
    if row.failed:
        return f"fail: {where}{row.check} {amount(row, row.need)} over {amount(row, row.bound)}: {row.fix}"
    return f"note: {where}{row.fix}"


def _document(report: Report) -> dict[str, Any]:
    import json

    return {
        "model": report.model,
        "platform": report.platform,
        "passed": report.passed,
        "slices": len(report.plan.slices) if report.plan is not None else None,
        "rows": [
            {
                "check": row.check,
                "where": row.where,
                "need": row.need,
                "limit": row.bound,
                "headroom": row.headroom,
                "status": row.status,
                "source": row.source,
                "fix": row.fix,
            }
            for row in report.rows
        ],
        "problem": report.problem,
        "advice": report.advice,
        "plan": json.loads(dump(report.plan)) if report.plan is not None else None,
    }


def plan(
    model: Path,
    *,
    options: SliceOptions = DEFAULTS,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: bool = False,
) -> int:
    """Find where to cut a model for a platform, and say which limit or wish made each cut.

    Parameters
    ----------
    model
        An .onnx file; its weights are not loaded.
    output
        Write the plan as JSON to this file, for `partita slice cut --plan`.
    json
        Print the plan as JSON.
    """
    screen = Screen(as_json=json)
    check_writable(output)
    question, clock = options.question(), options.clock()
    # The other plans are judged by the same measurement.
    once = cache(clock) if clock is not None else None
    ready, found = plan_model(options.capture(model), question, profile=once)
    others = (
        [] if json else neighbours(ready, question, found, once(ready.model) if once is not None else None)
    )
    if output is not None:
        write_text(output, dump(found) + "\n")
    screen.say(explain(found, ready.chain, others))
    if output is not None:
        screen.say(f"plan written to {output}")
    screen.result(dump(found, indent=None))
    return 0
