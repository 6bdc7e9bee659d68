"""The CSV profiles of the original research project: its TX2, Pi and Cloud, to plan for without owning them.

Rules: a table `runtime_MODEL.csv` has one row for each cut and one column for each device; `featuresize.csv` says
what crosses each cut in MiB a batch; `compresstime*.csv` what making it int8 takes. The chain is made up from the
sizes: block after block, one tensor across each cut.

What the seconds are: one whole training step of a batch (forward, replay, backward) of the blocks on one side of a
cut. They stand in `Profile.before` or `Profile.after` and, by difference, in `forward`; `backward` stays empty. So a
planner reads forward + backward as always, gets the whole step, and must add no replay of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import BadDocument, NotFound
from ..graph import Chain, CodecCost, Device, DType, Profile, Stage, StageCost, TensorSpec, Timing
from .csv_steps import Column, is_reversed, read_columns
from .csv_table import Table, read_table

_MIB: Final = 1 << 20
_FIX: Final = "correct the cells named, or leave the file away"
# The files name one model in different ways.
_ALIASES: Final = {
    "rnn": "bilstm",
    "type1resnet50imgnet": "resnet50imagenet",
    "type2resnet50imgnet": "resnet50imagenet",
}
# The codec whose cost compresstime*.csv holds: 8 bits, one scale for the tensor.
_CODEC: Final = "int8"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files do not say: rows in a batch, and the shapes of one row at the two ends."""

    batch: int = 32
    given: tuple[int, ...] = ()
    made: tuple[int, ...] = (10,)


# From the data sets: the sizes of the first cuts fit these and no others (64 channels of 32 x 32 in 8 MiB, and so on).
_KNOWN: Final = {
    "resnet50": _Known(given=(3, 32, 32)),
    "mobilenetv3large": _Known(given=(3, 32, 32)),
    "vgg19": _Known(given=(3, 32, 32)),
    "resnet50imagenet": _Known(given=(3, 224, 224), made=(20,)),
    "chair": _Known(batch=8, given=(809 + 4 + 12,)),
    "bilstm": _Known(made=(2,)),
}


@dataclass(frozen=True)
class ImportedModel:
    """One model of the original research project: its chain, and a profile for each device."""

    chain: Chain
    profiles: Mapping[str, Profile]


def import_csv(folder: str | Path) -> dict[str, ImportedModel]:
    """Every model of a folder, by the name in its runtime file; all that is wrong with the folder at once."""
    base = Path(folder)
    runtimes = sorted(base.glob("runtime*.csv"))
    if not runtimes or not (base / "featuresize.csv").is_file():
        missing = "featuresize.csv" if runtimes else "runtime_*.csv"
        raise NotFound(f"{base} has no {missing}", fix="give the folder that holds both kinds of files")
    problems: list[str] = []
    features = read_table(base / "featuresize.csv", problems, ragged=True)
    codecs = {
        _plain(path.stem.removeprefix("compresstime")): read_table(path, problems, ragged=True)
        for path in sorted(base.glob("compresstime*.csv"))
    }
    models = {}
    for path in runtimes:
        table = read_table(path, problems)
        name = path.stem.removeprefix("runtime").strip("_").lower()
        _check_sizes(name, table, features, problems)
        # With a problem anywhere nothing is built: all files are read first, to name everything at once.
        if not problems:
            models[name] = _model(name, table, features, codecs)
    if problems:
        raise BadDocument(f"profiles in {base}", problems, fix=_FIX)
    return models


def _plain(name: str) -> str:
    """A name without case and marks, by which columns and files find each other."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _ALIASES.get(plain, plain)


def _find(table: Table, name: str) -> tuple[float, ...]:
    return next((values for column, values in table.columns.items() if _plain(column) == _plain(name)), ())


def _check_sizes(name: str, table: Table, features: Table, problems: list[str]) -> None:
    """Whether there is a size for each cut of a runtime table."""
    rows = min(map(len, table.columns.values()), default=0)
    if rows < 2 and table.columns:
        problems.append(f"{table.file}: {rows} rows are too few: two cuts are the least")
    sizes = _find(features, name)
    known = ", ".join(features.columns)
    if not sizes:
        problems.append(f"{features.file}: no column for {table.file} (it has {known})")
    elif len(sizes) < rows - 1:
        problems.append(
            f"{features.file}: {len(sizes)} sizes are too few for the {rows} rows of {table.file}"
        )


def _model(name: str, table: Table, features: Table, hosts: Mapping[str, Table]) -> ImportedModel:
    known = _KNOWN.get(_plain(name), _Known())
    columns = list(table.columns.values())
    chain = _chain(name, len(columns[0]), _find(features, name), known)
    what = (
        "row i: the cloud holds the first i blocks" if is_reversed(columns) else "row i: a cut after block i"
    )
    profiles = {}
    for device, column in zip(table.columns, read_columns(columns), strict=True):
        # The file without a host in its name is that of the host that has no file of its own.
        host = hosts.get(_plain(device), None if _plain(device) in hosts else hosts.get(""))
        codecs, borrowed = _codecs(host, name, features)
        source = _source(f"{table.file}, column {device}", what, known.batch, column, codecs, borrowed)
        profiles[device] = _profile(chain, device, column, known.batch, codecs, source)
    return ImportedModel(chain, profiles)


def _chain(name: str, count: int, sizes: Sequence[float], known: _Known) -> Chain:
    names = ["x", *(f"h{at}" for at in range(1, count + 1))]
    # A tensor's elements in one row, from MiB a batch; rounded sizes must not become nothing.
    rows = [max(1, round(size * _MIB / 4 / known.batch)) for size in sizes]
    shapes: list[tuple[int, ...]] = [known.given or (rows[0],), *((row,) for row in rows[:count])]
    if len(shapes) == count:
        shapes.append(known.made)
    tensors = {
        tensor: TensorSpec(tensor, DType.FLOAT32, ("batch", *shape))
        for tensor, shape in zip(names, shapes, strict=True)
    }
    stages = tuple(Stage(f"block{at}", (names[at],), (names[at + 1],)) for at in range(count))
    return Chain(name, "csv", stages, tensors, ("x",), (names[-1],))


def _codecs(host: Table | None, name: str, features: Table) -> tuple[dict[str, CodecCost], bool]:
    """Seconds for each raw byte: all cuts together, so that the small ones do not speak for a call's own cost.

    A network that the host's table lacks takes those of the others there: a byte costs the same in all of them.
    """
    columns = host.columns if host else {}
    own = [column for column in columns if _plain(column) == _plain(name)]
    seconds = raw = 0.0
    for column in own or columns:
        spent = columns[column]
        seconds += sum(spent)
        raw += sum(_find(features, column)[: len(spent)]) * _MIB
    cost = seconds / raw if raw else 0.0
    return ({_CODEC: CodecCost(cost, cost)} if raw else {}), not own


def _source(
    where: str, what: str, batch: int, column: Column, codecs: Mapping[str, CodecCost], borrowed: bool
) -> str:
    parts = [
        f"imported from {where} ({what})",
        f"seconds of a whole training step of {batch} rows, replay and backward included",
        "stages by difference",
    ]
    if codecs:
        parts.append(f"decode of {_CODEC} taken to cost what encode does")
        if borrowed:
            parts.append(f"a byte of {_CODEC} taken to cost what it does in the other networks")
    if column.modelled:
        parts.append(f"{column.modelled} modelled")
    return "; ".join(parts)


def _profile(
    chain: Chain,
    device: str,
    column: Column,
    batch: int,
    codecs: dict[str, CodecCost],
    source: str,
) -> Profile:
    return Profile(
        model=chain.name,
        digest=chain.digest,
        device=Device(device),
        stages=tuple(
            StageCost(stage.name, {batch: Timing(seconds)})
            for stage, seconds in zip(chain.stages, column.stages, strict=True)
        ),
        whole=StageCost(chain.name, {batch: Timing(column.whole)}),
        codecs=codecs,
        before={batch: column.before} if column.before else {},
        after={batch: column.after} if column.after else {},
        source=source,
    )
