"""`partita profile`: what each stage costs here, what a link carries, and the profiles of others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..engine import Captured
from ..errors import BadDocument, NotFound
from ..graph import Chain, Profile, dump, print_size
from ..profile import (
    Effort,
    Meter,
    PowerModel,
    find_meters,
    import_csv,
    measure,
    measure_codecs,
    measure_link,
)
from ..profile import Progress as Moment
from ..wire import parse_codec
from .access import AccessOptions, connect_to
from .files import check_writable, write_text
from .model import ModelOptions
from .render import PLAIN, Column, Screen, milliseconds

app = App(
    name="profile",
    help="Measure what each stage of a model costs here; `profile link` measures a connection.",
    default_parameter=PLAIN,
)

DEFAULTS = ModelOptions()
NO_ACCESS = AccessOptions()
# The codecs a plan may choose from without being asked for others; measuring one takes a moment.
CODECS = "raw,fp16,int8,int4"
# A bar with more steps than this looks the same.
BAR = 1000


def numbers(text: str, name: str) -> tuple[int, ...]:
    """`1,8` as numbers."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise BadDocument(
            name, [f"{text!r} is not a list of positive numbers"], fix=f"write it like {name} 1,8"
        )
    return tuple(int(word) for word in words)


@app.default
def profile(
    model: str,
    *,
    options: ModelOptions = DEFAULTS,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    batches: str = "1,8",
    backward: bool = False,
    runs: int = 8,
    seconds: float = 40.0,
    codecs: str = CODECS,
    watts: float | None = None,
    json: bool = False,
) -> int:
    """Measure what each stage of a model costs on this machine, and the whole.

    Parameters
    ----------
    model
        A model reference, as for `partita inspect`.
    output
        Write the profile as JSON to this file.
    batches
        The batch sizes to measure, like 1,8.
    backward
        Measure training steps too: keeping what a backward pass needs, and the pass itself.
    runs
        How many rounds over all stages at least.
    seconds
        How long measuring may take, all in all.
    codecs
        The codecs to measure, like raw,int8; none with an empty text.
    watts
        The power this machine draws per busy core, for modelled joules where there is no meter.
    json
        Print the profile as JSON instead of a table.
    """
    screen = Screen(as_json=json)
    sizes, names = numbers(batches, "--batches"), codec_names(codecs)
    effort = Effort(runs=runs, budget=seconds)
    check_writable(output)
    captured = options.capture(model)
    with screen.progress("measuring") as bar:

        def show(moment: Moment) -> None:
            bar(round(moment.done * BAR), BAR, f"{moment.work}, batch {moment.batch}")

        taken = measure(
            captured,
            batches=sizes,
            effort=effort,
            threads=options.threads,
            backward=backward,
            meter=_meter(watts),
            progress=show,
        )
    taken = _with_codecs(taken, names)
    if taken.batches != tuple(sorted(set(sizes))):
        screen.remark(f"the batch of this model is fixed: measured at {', '.join(map(str, taken.batches))}")
    if output is not None:
        write_text(output, dump(taken))
    show_profile(screen, captured.chain, taken)
    if output is not None:
        screen.say(f"written to {output}")
    screen.result(dump(taken, indent=None))
    return 0


def codec_names(text: str) -> tuple[str, ...]:
    """`raw,int8` as codecs that the wire knows."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        parse_codec(name)
    return names


def _with_codecs(taken: Profile, names: Sequence[str]) -> Profile:
    return replace(taken, codecs=measure_codecs(names)) if names else taken


def _meter(watts: float | None) -> Meter | None:
    """The best meter of this machine; else a stated model; else nothing."""
    meters = find_meters()
    if meters:
        return meters[0]
    return PowerModel(watts) if watts is not None else None


def show_profile(screen: Screen, chain: Chain, profile: Profile) -> None:
    """A profile as a table: one row a stage, one column for each batch size and kind of work."""
    columns = [Column("stage", right=True), Column("name")]
    for batch in profile.batches:
        columns.append(Column(f"forward b{batch}", right=True))
        if profile.trained:
            columns.append(Column(f"backward b{batch}", right=True))
    columns += [Column("params", right=True), Column("crosses after", right=True)]
    rows = []
    for index, stage in enumerate((*profile.stages, profile.whole)):
        whole = index == len(chain)
        row: list[object] = ["" if whole else index, "whole model" if whole else stage.name]
        for batch in profile.batches:
            row.append(milliseconds(stage.forward[batch].median))
            if profile.trained:
                row.append(milliseconds(stage.backward[batch].median))
        cut = chain.cuts[min(index + 1, len(chain))]
        row += [print_size(stage.param_bytes), cut.formula if cut.legal else "no cut"]
        rows.append(row)
    device = profile.device
    screen.table(f"{profile.model} on {device.name}", columns, rows, marks=[len(chain)])
    screen.say(f"{device.processor}, {device.threads} threads, {device.runtime}; {profile.source}")
    screen.say(
        "a stage's time is its share of a longer part, so that stages add up to the whole; alone it takes longer"
    )
    _show_energy(screen, profile)


def _show_energy(screen: Screen, profile: Profile) -> None:
    if not profile.whole.energy:
        screen.say("energy: no meter here; give --watts for a modelled value")
    for batch, energy in profile.whole.energy.items():
        kind = "measured" if energy.measured else "modelled"
        screen.say(f"energy at batch {batch}: {energy.joules:.3g} J ({kind}: {energy.source})")


@app.command
def link(url: str, *, access: AccessOptions = NO_ACCESS, seconds: float = 3.0, json: bool = False) -> int:
    """Measure the connection to a place: bandwidth each way by the receiver's clock, and the round trip.

    Parameters
    ----------
    url
        Where `partita run-parts --listen` runs, like ws://host:7700.
    seconds
        How long to measure.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)

    async def probe() -> None:
        async with connect_to(url, access) as connection:
            found = await measure_link(connection, seconds=seconds)
        screen.say(f"{url}: {found}")
        screen.say(f"as a link: {found.link}")
        screen.result({"link": str(found.link), **asdict(found)})

    asyncio.run(probe())
    return 0


@app.command(name="import")
def import_profiles(folder: Path, *, output: Path | None = None, json: bool = False) -> int:
    """Read CSV profiles (runtime_*.csv, featuresize.csv, compresstime*.csv) and write them as chains and profiles.

    Parameters
    ----------
    folder
        The folder that holds the CSV files.
    output
        Write MODEL.chain.json and MODEL.DEVICE.json into this folder.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    if not folder.is_dir():
        raise NotFound(
            f"{folder} is not a folder", fix="give the folder that holds runtime_*.csv and featuresize.csv"
        )
    models = import_csv(folder)
    rows = []
    for name, model in models.items():
        for device, taken in model.profiles.items():
            rows.append(
                (
                    name,
                    device,
                    len(model.chain),
                    f"{taken.batches[0]}",
                    milliseconds(taken.whole.seconds(taken.batches[0])),
                )
            )
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            write_text(output / f"{name}.chain.json", dump(model.chain))
            for device, taken in model.profiles.items():
                write_text(output / f"{name}.{device}.json", dump(taken))
    columns = [
        Column("model"),
        Column("device"),
        Column("stages", right=True),
        Column("batch", right=True),
        Column("whole step", right=True),
    ]
    screen.table(f"profiles in {folder}", columns, rows)
    if output is not None:
        screen.say(
            f"written to {output}; plan with: partita plan CHAIN.chain.json --profile edge=... --profile cloud=..."
        )
    screen.result(
        {
            "models": {
                name: {"stages": len(m.chain), "devices": sorted(m.profiles)} for name, m in models.items()
            }
        }
    )
    return 0


def measured_here(
    captured: Captured, batch: int, *, seconds: float, backward: bool, codecs: Sequence[str]
) -> Profile:
    """A quick profile of this machine, for verbs that need one and were given none."""
    taken = measure(captured, batches=(batch,), effort=Effort(runs=5, budget=seconds), backward=backward)
    return _with_codecs(taken, codecs)
