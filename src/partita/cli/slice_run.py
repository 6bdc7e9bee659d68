"""`partita slice run`: inputs through all slices, here in one process or rehearsed as functions under their limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..engine import Values
from ..errors import BadDocument
from ..graph import parse_size, print_size
from ..plan import Platform
from ..slice import (
    Exactness,
    Hooks,
    Manifest,
    Rehearsal,
    RehearsedSlice,
    load_hooks,
    made_inputs,
    open_slices,
    read_manifest,
    rehearse,
)
from .files import check_writable
from .render import Column, Screen, milliseconds
from .slice_options import SliceOptions, read_inputs


@dataclass(frozen=True)
class How:
    """How slices run: warm calls to measure, requests at the same time, threads, exact or fast."""

    runs: int
    concurrency: int
    threads: int
    exactness: Exactness | None

    def __post_init__(self) -> None:
        problems = [
            f"--{name}: {value} is below {least}"
            for name, value, least in (
                ("runs", self.runs, 0),
                ("concurrency", self.concurrency, 1),
                ("threads", self.threads, 0),
            )
            if value < least
        ]
        if problems:
            raise BadDocument("slice run", problems, fix="leave it out, or give a larger one")


def run(
    slices: Path,
    *,
    input: Annotated[Path | None, Parameter(alias="-i")] = None,  # noqa: A002 - the option's name
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    hooks: Path | None = None,
    rehearse: bool = False,
    platform: str = "",
    platforms: Path | None = None,
    memory: str = "",
    runs: int = 5,
    concurrency: int = 1,
    threads: int = 0,
    exactness: Exactness | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Run a folder of slices; neither the model nor the onnx package is needed for it.

    Parameters
    ----------
    slices
        The folder of slices.
    input
        Inputs: .npz by name, or .npy; whatever `preprocess` of --hooks takes; made from the seed if not given.
    output
        Write the outputs to this .npz file.
    hooks
        A Python file with preprocess(input) -> dict of arrays, postprocess(outputs) -> anything, or both.
    rehearse
        Run every slice in a process of its own, stopped where it breaks a limit of its platform.
    platform
        Whose limits to rehearse under; those that the slices were planned for if not given.
    platforms
        A TOML file with platforms of your own.
    memory
        The memory of every function while rehearsing, like 512MiB; what the plan orders if not given.
    runs
        How many warm calls to measure.
    concurrency
        How many requests at the same time, after the measured ones.
    threads
        How many threads ONNX Runtime may use; all with 0.
    exactness
        exact or fast, instead of what the slices were cut for.
    seed
        The seed of made-up inputs.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    check_writable(output)
    how = How(runs, concurrency, threads, exactness)
    steps = load_hooks(hooks) if hooks is not None else Hooks()
    manifest = read_manifest(slices)
    values = _inputs(manifest, input, steps, seed)
    if rehearse:
        place = SliceOptions(platform=platform or manifest.plan.platform, platforms=platforms).place()
        limit = parse_size(memory) if memory else None
        done = _rehearse(screen, slices, values, place, limit, how)
        outputs, document = done.outputs, _rehearsed(done)
    else:
        outputs, document = _here(screen, slices, values, how)
    if output is not None:
        _write(output, outputs)
        screen.say(f"outputs written to {output}")
    shown = steps.postprocess(outputs)
    if steps.after is not None:
        screen.say(str(shown))
    else:
        for name, value in outputs.items():
            screen.say(f"{name}: {value.dtype}{list(value.shape)} {_brief(value)}")
    screen.result(document)
    return 0


def _inputs(manifest: Manifest, path: Path | None, steps: Hooks, seed: int) -> Values:
    if steps.before is not None:
        return steps.preprocess(str(path) if path is not None else None)
    values = read_inputs(path, manifest.inputs)
    return made_inputs(manifest, seed) if values is None else values


def _here(screen: Screen, folder: Path, values: Values, how: How) -> tuple[Values, dict[str, Any]]:
    """In this process, with sessions that stay."""
    from concurrent.futures import ThreadPoolExecutor
    from statistics import median

    with open_slices(folder, threads=how.threads, exactness=how.exactness, check=False) as slices:
        for note in slices.notes:
            screen.remark(f"note: {note}")
        first = slices.run(values)
        timed = [slices.run(values) for _ in range(how.runs)] or [first]
        if how.concurrency > 1:
            with ThreadPoolExecutor(how.concurrency) as pool:
                list(pool.map(lambda _: slices.run(values), range(how.concurrency)))
    seconds = [median(row) for row in zip(*(one.seconds for one in timed), strict=True)]
    columns = [
        Column("slice", right=True),
        Column("time", right=True),
        Column("in", right=True),
        Column("out", right=True),
    ]
    rows = [
        (index, milliseconds(spent), print_size(first.bytes_in[index]), print_size(first.bytes_out[index]))
        for index, spent in enumerate(seconds)
    ]
    what = (
        f"median of {len(timed)} run{'s' if len(timed) > 1 else ''}"
        if how.runs
        else "the first run, loading included"
    )
    screen.table(f"{folder}: {what}, in one process", columns, rows)
    screen.say(f"all slices: {milliseconds(sum(seconds))}")
    return first.outputs, {
        "seconds": seconds,
        "bytes_in": list(first.bytes_in),
        "bytes_out": list(first.bytes_out),
    }


def _rehearse(
    screen: Screen, folder: Path, values: Values, place: Platform, memory: int | None, how: How
) -> Rehearsal:
    count = len(read_manifest(folder, check=False).files)
    with screen.progress("rehearsing") as bar:

        def heard(piece: RehearsedSlice) -> None:
            bar(piece.index + 1, count, f"slice {piece.index}")

        done = rehearse(
            folder,
            values,
            place,
            runs=how.runs,
            concurrency=how.concurrency,
            memory=memory,
            threads=how.threads,
            exactness=how.exactness,
            listen=heard,
        )
    show_rehearsal(screen, done)
    return done


def show_rehearsal(screen: Screen, done: Rehearsal) -> None:
    """What every slice took, as a table."""
    columns = [
        Column("slice", right=True),
        *(
            Column(title, right=True)
            for title in ("package", "memory", "of", "in", "out", "store", "cold", "warm")
        ),
    ]
    rows = [
        (
            piece.index,
            print_size(piece.package),
            print_size(piece.peak),
            print_size(piece.memory) if piece.memory is not None else "no limit",
            print_size(piece.payload_in),
            print_size(piece.payload_out),
            print_size(piece.stored_in + piece.stored_out),
            milliseconds(piece.cold + piece.first),
            milliseconds(piece.warm) if piece.warm is not None else "-",
        )
        for piece in done.slices
    ]
    plan = done.manifest.plan
    screen.table(
        f"{plan.model}: every slice in a process of its own, under the limits of {done.platform.name}",
        columns,
        rows,
    )
    for note in done.notes:
        screen.remark(f"note: {note}")
    warm = f", warm {milliseconds(done.warm)}" if done.warm is not None else ""
    more = f"; {len(done.answers) - 1} more requests at the same time" if len(done.answers) > 1 else ""
    screen.say(
        f"one request cold {milliseconds(done.cold)}{warm}; largest slice {print_size(done.peak)}{more}"
    )


def _rehearsed(done: Rehearsal) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "platform": done.platform.name,
        "cold": done.cold,
        "warm": done.warm,
        "peak": done.peak,
        "slices": [asdict(piece) for piece in done.slices],
        "requests": len(done.answers),
        "notes": list(done.notes),
    }


def _write(path: Path, outputs: Values) -> None:
    import numpy as np

    try:
        with path.open("wb") as file:
            np.savez(file, **outputs)  # type: ignore[arg-type] # names are the model's own
    except OSError as error:
        raise BadDocument(
            "output", [f"{path}: {error.strerror}"], fix="name a file that you may write"
        ) from None


def _brief(value: Any) -> str:
    """The first values of an array, on one line."""
    import numpy as np

    return np.array2string(value.ravel()[:5], precision=5, separator=", ", threshold=5)[:-1] + (
        ", ...]" if value.size > 5 else "]"
    )
