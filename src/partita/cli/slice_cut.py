"""`partita slice cut` and `partita slice verify`: the slices as files, and the evidence that they are the model."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import BadDocument, LocalError
from ..graph import dump, print_size
from ..slice import Exactness, Manifest, SlicePlan, prepare, read_manifest
from ..slice import cut as cut_model
from ..slice import plan as plan_model
from ..slice import verify as verify_slices
from .files import read_noun
from .render import Column, Screen
from .slice_options import SliceOptions, read_inputs

DEFAULTS = SliceOptions()


def cut(
    model: Path,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    plan: Path | None = None,
    options: SliceOptions = DEFAULTS,
    exactness: Exactness = "exact",
    json: bool = False,
) -> int:
    """Write the slices of a model into a folder, as a plan says or as is best for a platform.

    Parameters
    ----------
    model
        An .onnx file; its weights go from file to file and are never loaded.
    output
        The folder for the slices; an older folder of slices is replaced.
    plan
        A plan that `partita slice plan -o` wrote; made now from the other options if not given.
    exactness
        exact: equal to the whole bit for bit; fast: ONNX Runtime optimises each slice once more, within a tolerance.
    json
        Print the manifest as JSON.
    """
    screen = Screen(as_json=json)
    if plan is not None:
        _alone(options)
        found = read_noun(SlicePlan, plan, fix="write one: partita slice plan MODEL.onnx -o plan.json")
        captured = prepare(model, found.preparation, batch=found.batch, dims=found.dims)
    else:
        if options.slices is None and options.platform == DEFAULTS.platform:
            raise BadDocument(
                "slice cut",
                ["neither --plan, --slices nor --platform says how to cut"],
                fix="give one, such as --platform aws-lambda or --slices 5",
            )
        question = options.question()
        ready, found = plan_model(options.capture(model), question, profile=options.clock())
        captured = ready.model
    manifest = cut_model(captured, found, output, exactness=exactness, prepack=not options.no_prepack)
    show_slices(screen, manifest)
    for note in found.notes:
        screen.say(f"note: {note}")
    screen.say(f"written to {output}; check them: partita slice verify {model} {output}")
    screen.result(dump(manifest, indent=None))
    return 0


def _alone(options: SliceOptions) -> None:
    """Refuse to cut by a plan and by wishes at the same time: one of them would be ignored."""
    given = [f.name for f in fields(options) if getattr(options, f.name) != getattr(DEFAULTS, f.name)]
    if given:
        raise BadDocument(
            "slice cut",
            [f"--{name}: the plan says this already" for name in given],
            fix="leave it out, or plan anew: leave --plan out",
        )


def show_slices(screen: Screen, manifest: Manifest) -> None:
    """The slices of a folder as a table."""
    plan = manifest.plan
    columns = [
        Column("slice", right=True),
        Column("stages"),
        Column("file"),
        Column("bytes", right=True),
        Column("memory", right=True),
        Column("in", right=True),
        Column("out", right=True),
    ]
    rows = [
        (
            index,
            f"[{piece.start}:{piece.stop}]",
            file.path,
            print_size(file.bytes),
            print_size(piece.memory) if piece.memory else "-",
            print_size(piece.payload_in + piece.stored_in),
            print_size(piece.payload_out + piece.stored_out),
        )
        for index, (piece, file) in enumerate(zip(plan.slices, manifest.files, strict=True))
    ]
    total = sum(file.bytes for file in manifest.files)
    title = (
        f"{plan.model} in {_counted(len(rows), 'slice')} for {plan.platform}, {print_size(total)}, "
        f"{manifest.exactness}"
    )
    screen.table(title, columns, rows)


def verify(
    model: Path,
    slices: Path,
    *,
    input: Annotated[Path | None, Parameter(alias="-i")] = None,  # noqa: A002 - the option's name
    seeds: int = 3,
    batch: Annotated[int | None, Parameter(alias="-b")] = None,
    tolerance: float = 1e-3,
    threads: int = 0,
    json: bool = False,
) -> int:
    """Run a model whole and in slices on the same inputs, and compare every output bit for bit.

    Parameters
    ----------
    model
        The .onnx file that the slices were cut from.
    slices
        The folder of slices.
    input
        Inputs: .npz by name, or .npy; made from seeds if not given.
    seeds
        How many made-up inputs to try.
    batch
        The batch size of made-up inputs; the plan's if not given.
    tolerance
        For fast slices: the largest difference allowed, relative to the largest value of an output.
    threads
        How many threads ONNX Runtime may use; all with 0.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    if seeds < 1:
        raise BadDocument("slice verify", [f"--seeds: {seeds} is below 1"], fix="try at least one input")
    values = read_inputs(input, read_manifest(slices, check=False).inputs)
    found = verify_slices(
        model, slices, values, seeds=seeds, batch=batch, tolerance=tolerance, threads=threads
    )
    rows = [
        (name, "equal bit for bit" if gap == 0 else f"{gap:.3g}", f"{found.relative[name]:.3g}")
        for name, gap in found.absolute.items()
    ]
    columns = [Column("output"), Column("largest difference", right=True), Column("relative", right=True)]
    title = (
        f"{found.model} in {_counted(found.slices, 'slice')} ({found.exactness}) against the whole "
        f"at {found.level}, {_counted(found.runs, 'input')}"
    )
    screen.table(title, columns, rows)
    verdict = (
        "equal bit for bit"
        if found.equal
        else "within the tolerance"
        if found.passed
        else "NOT the same numbers"
    )
    screen.say(verdict)
    screen.result(
        {
            "model": found.model,
            "slices": found.slices,
            "exactness": found.exactness,
            "level": found.level,
            "inputs": found.runs,
            "absolute": dict(found.absolute),
            "relative": dict(found.relative),
            "tolerance": found.tolerance,
            "equal": found.equal,
            "passed": found.passed,
        }
    )
    return 0 if found.passed else LocalError.exit_code


def _counted(number: int, noun: str) -> str:
    """`1 slice`, `2 slices`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
