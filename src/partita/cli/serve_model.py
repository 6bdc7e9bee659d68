"""`partita serve export`, `profile` and `calibrate`: a trained network as subnetworks, what they cost, when to trust them."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ..errors import BadDocument, NotFound
from ..graph import dump, print_size
from ..profile import find_meters
from ..serve import (
    Calibration,
    Examination,
    ExitModel,
    ExitProfile,
    Measuring,
    Truth,
    collect,
    evidence_of_truth,
    examine,
    load_profile,
    profile_model,
    profile_notes,
    save_profile,
    with_accuracy,
)
from ..serve import export as export_model
from .files import write_text
from .profile import numbers
from .render import Column, Screen, milliseconds

if TYPE_CHECKING:
    from ..engine import Array

TRUTH, CALIBRATION = "truth.npz", "calibration.json"
BAR = 1000


def export(
    run: Path,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    granularity: Annotated[Literal["exit", "block", "model"], Parameter(alias="-g")] = "exit",
    optimize: Literal["none", "basic", "extended"] = "extended",
    no_spans: bool = False,
    exits: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    json: bool = False,
) -> int:
    """Write a network with exits as ONNX subnetworks, and prove that their chain equals the whole at every exit.

    Parameters
    ----------
    run
        The folder of a training run, or an .onnx file with an output for every exit.
    output
        The model folder to write.
    granularity
        One file for each exit's stage, several for each (block), or only the whole up to each exit (model).
    optimize
        How far ONNX Runtime optimises the whole network once, before it is divided.
    no_spans
        Leave out the files that run several stages as one, without the exits between.
    exits
        Of an .onnx file: the outputs that are exits, shallow to deep; all if not given.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    done = export_model(
        run, output, granularity=granularity, optimize=optimize, spans=not no_spans, exits=exits
    )
    rows = [
        (key, ", ".join(file.name for file in files), print_size(sum(file.bytes for file in files)))
        for key, files in done.spans.items()
    ]
    screen.table(
        f"{done.model}: {len(done.exits)} exits",
        [Column("stages"), Column("files"), Column("bytes", right=True)],
        rows,
    )
    parity = done.parity
    chain = "equal bit for bit" if not parity.chain else f"differs by up to {parity.chain:.3g}"
    screen.say(f"the chain of subnetworks against the whole, at every exit: {chain}")
    if parity.torch is not None:
        screen.say(f"against PyTorch: {parity.torch:.3g}")
    screen.say(f"written to {output}; go on: partita serve profile {output}")
    screen.result(dump(done, indent=None))
    return 0


def profile(
    model: Path,
    *,
    data: str = "",
    split: str = "test",
    size: int | None = None,
    limit: int | None = None,
    batches: str = "1,2,4,8,16",
    runs: int = 100,
    seconds: float = 60.0,
    watts: float | None = None,
    threads: int = 1,
    json: bool = False,
) -> int:
    """Measure stage times by batch size, energy, and the accuracy of every exit; write profile.json and truth.npz.

    Parameters
    ----------
    model
        A model folder that `partita serve export` wrote.
    data
        Held-out samples for accuracy; what was collected before if not given, unknown without either.
    split
        Which part of the data.
    size
        Height and width of images, values of a sound, words of a text.
    limit
        Take so many samples only.
    batches
        The batch sizes to measure.
    runs
        How many runs of every part at every batch size.
    seconds
        How long measuring may take.
    watts
        The power of a busy core, for modelled joules where there is no meter.
    threads
        How many threads one run may use.
    json
        Print the profile as JSON.
    """
    screen = Screen(as_json=json)
    sizes = numbers(batches, "--batches")
    check_threads(threads)
    if watts is not None and not 0 < watts < inf:
        # Before anything is measured: a minute of work is not thrown away for a sign.
        raise BadDocument("serve profile", [f"--watts: {watts:g} is not above 0"], fix="give --watts 6")
    opened = ExitModel.open(model, threads=threads)
    truth = _truth(opened, data, split, size, limit) if data else _collected(opened, model)
    meters = find_meters() if watts is None else []
    with screen.progress("measuring") as bar:
        taken = profile_model(
            opened,
            batches=sizes,
            measuring=Measuring(runs=runs, seconds=seconds),
            truth=truth,
            meter=meters[0] if meters else None,
            watts=watts,
            progress=lambda share: bar(round(share * BAR), BAR, ""),
        )
    save_profile(model, taken)
    if truth is not None and data:
        truth.save(model / TRUTH)
    show_profile(screen, taken)
    for note in profile_notes(taken):
        screen.say(f"note: {note}")
    screen.say(f"written to {model}; go on: partita serve calibrate {model}")
    screen.result(dump(taken, indent=None))
    return 0


def _truth(model: ExitModel, data: str, split: str, size: int | None, limit: int | None) -> Truth:
    """What every exit says of held-out samples."""
    inputs, labels = held_out(data, split, size, limit)
    return collect(model, inputs, labels)


def _collected(model: ExitModel, folder: Path) -> Truth | None:
    """What was collected of this very network before: measuring times again must not forget accuracies."""
    if not (folder / TRUTH).is_file():
        return None
    truth = Truth.load(folder / TRUTH)
    return truth if truth.digest == model.digest else None


def check_threads(threads: int) -> None:
    """Refuse what ONNX Runtime would take for another number."""
    if threads < 1:
        raise BadDocument("threads", [f"--threads: {threads} is not above 0"], fix="give --threads 1")


def held_out(data: str, split: str, size: int | None, limit: int | None) -> tuple[list[Array], Array]:
    """Held-out samples as arrays by input, and their labels."""
    import numpy as np

    from ..zoo import open_data

    samples = open_data(data, split=split, size=size, limit=limit)
    rows, labels = zip(*samples.batches(256, shuffle=False), strict=True)
    return [np.concatenate(rows)], np.concatenate(labels)


def show_profile(screen: Screen, taken: ExitProfile) -> None:
    """Exits by cost and worth."""
    columns = [Column("#", right=True), Column("exit")]
    columns += [
        Column(t, right=True) for t in ("right", "95 of 100 times", "p50", "p99", "of the whole", "energy")
    ]
    total = sum(stage.seconds(1) for stage in taken.stages)
    rows, spent, tail = [], 0.0, 0.0
    for k, cost in enumerate(taken.exits):
        if taken.stages:
            spent, tail = spent + taken.stages[k].seconds(1), tail + taken.stages[k].seconds(1, tail=True)
        known = cost.accuracy_low is not None and cost.accuracy_high is not None
        rows.append(
            (
                k,
                cost.name,
                "-" if cost.accuracy is None else f"{cost.accuracy:.4f}",
                f"{cost.accuracy_low:.4f} to {cost.accuracy_high:.4f}" if known else "-",
                milliseconds(spent) if taken.stages else "-",
                milliseconds(tail) if taken.stages else "-",
                f"{spent / total:.0%}" if total else "-",
                "-" if cost.joules is None else f"{cost.joules * 1e3:.3g} mJ",
            )
        )
    screen.table(f"{taken.model} on {taken.device}, one sample, from the input to each exit", columns, rows)


def calibrate(
    model: Path,
    *,
    data: str = "",
    split: str = "test",
    size: int | None = None,
    limit: int | None = None,
    max_drop: float | None = None,
    confidence: float = 0.95,
    bins: int = 20,
    unlabelled: bool = False,
    json: bool = False,
) -> int:
    """Find out when an early answer can be trusted; write calibration.json.

    Parameters
    ----------
    model
        A model folder.
    data
        Held-out samples; what `partita serve profile --data` collected if not given.
    split
        Which part of the data.
    size
        Height and width of images, values of a sound, words of a text.
    limit
        Take so many samples only.
    max_drop
        Set thresholds under which accuracy drops by at most this share; off if not given.
    confidence
        How sure that bound is, over the draw of the samples.
    bins
        Into how many bins of confidence answers are sorted.
    unlabelled
        Take the last exit's answers for the truth.
    json
        Print the calibration as JSON.
    """
    screen = Screen(as_json=json)
    opened = ExitModel.open(model)
    if data:
        inputs, labels = held_out(data, split, size, limit)
        truth = collect(opened, inputs, None if unlabelled else labels)
        truth.save(model / TRUTH)
    elif (model / TRUTH).is_file():
        truth = Truth.load(model / TRUTH)
    else:
        raise NotFound(
            f"{model} has no {TRUTH}, and no data was given",
            fix=f"give held-out samples: partita serve calibrate {model} --data FOLDER",
        )
    import numpy as np

    with np.load(model / TRUTH, allow_pickle=False) as held:
        evidence = evidence_of_truth({name: held[name] for name in held.files})
    known = _known(opened)
    costs = (
        None if known is None else np.cumsum([stage.seconds(1) for stage in known.stages]).tolist() or None
    )
    found = examine(
        evidence, max_drop=max_drop, confidence=confidence, bins=bins, costs=costs, digest=opened.digest
    )
    calibration = replace(found.calibration, contradicted=found.contradicted, notes=found.notes)
    write_text(model / CALIBRATION, dump(calibration) + "\n")
    if known is not None:
        save_profile(model, with_accuracy(known, found))
    show_calibration(screen, opened, found, calibration)
    screen.say(f"written to {model / CALIBRATION}")
    screen.result(dump(calibration, indent=None))
    return 0


def _known(model: ExitModel) -> ExitProfile | None:
    try:
        return load_profile(model)
    except NotFound:
        return None


def show_calibration(screen: Screen, model: ExitModel, found: Examination, calibration: Calibration) -> None:
    """Exits, their thresholds, who leaves there."""
    rows = [
        (
            k,
            name,
            f"{calibration.accuracy[k]:.4f}",
            "never" if calibration.thresholds[k] > 1 else f"{calibration.thresholds[k]:.4f}",
            f"{found.answered[k]:.1%}",
        )
        for k, name in enumerate(model.exits)
    ]
    columns = [Column("#", right=True), Column("exit")]
    columns += [Column(title, right=True) for title in (found.measure, "leaves from", "of all leave here")]
    screen.table(f"{model.manifest.model}, {calibration.samples} samples", columns, rows)
    if calibration.max_drop is not None and found.loss is not None:
        screen.say(
            f"{found.measure} drops by at most {calibration.max_drop:.2%} with probability "
            f"{calibration.confidence or 0:.0%}; seen here {found.drop:.2%}; {found.saved:.1%} of the cost saved"
        )
    for note in found.notes:
        screen.say(f"note: {note}")
