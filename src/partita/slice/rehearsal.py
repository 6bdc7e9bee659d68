"""The slices as functions, on this machine: each in a process of its own, under the limits of its platform.

Rules: a broken limit stops the run and names the slice, the limit and the bytes; one slice is in memory at a time
unless runs are asked for at the same time; whatever happens, no process and no file of a rehearsal is left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..engine import Array, Values
from ..errors import BadDocument
from ..plan import Platform
from .document import Exactness
from .event import Event, answer, first_event, new_run
from .inputs import check_inputs, made_inputs
from .manifest import Manifest, read_manifest
from .rehearse_functions import Functions, Terms
from .rehearse_report import Rehearsal, RehearsedSlice
from .rehearse_together import together
from .stage import remarks

Given = Mapping[str, Array] | Sequence[Mapping[str, Array]] | None


def rehearse(  # noqa: PLR0913 - each is a wish of its own, and all but three have a default
    folder: str | Path,
    values: Given,
    platform: Platform,
    *,
    runs: int = 1,
    concurrency: int = 1,
    environments: int = 1,
    memory: int | None = None,
    enforce: bool = True,
    threads: int = 0,
    exactness: Exactness | None = None,
    seed: int = 0,
    listen: Callable[[RehearsedSlice], None] | None = None,
) -> Rehearsal:
    """Run the slices of a folder as functions of a platform.

    Every slice is started, called once cold and `runs` times warm. With `concurrency` above 1, so many runs then go
    through all slices at the same time, every slice in up to `environments` processes; several sets of `values`
    are taken in turn, and without any they are made from `seed`. `memory` is what every function may hold; without
    it, what the plan orders for it, or what the platform allows. Without `enforce` nothing is stopped, only
    measured. `listen` hears of every slice when it is through.
    """
    counts = (("runs", runs, 0), ("concurrency", concurrency, 1), ("environments", environments, 1))
    wrong = [f"{name}: {count} is below {least}" for name, count, least in counts if count < least]
    if wrong:
        raise BadDocument("rehearsal", wrong, fix="leave them out, or ask for more")
    manifest = read_manifest(Path(folder))
    given = _given(manifest, values, concurrency, seed)
    with tempfile.TemporaryDirectory(prefix="partita-rehearsal-") as scratch:
        functions = Functions(
            Path(folder).resolve(),
            manifest,
            platform,
            Path(scratch),
            Terms(memory, enforce, threads, exactness),
        )
        found, outputs = _one_by_one(functions, given[0], runs, listen)
        answers = together(functions, given, environments) if concurrency > 1 else [outputs]
    return Rehearsal(platform, manifest, tuple(found), tuple(answers), remarks(manifest))


def _given(manifest: Manifest, values: Given, count: int, seed: int) -> list[Mapping[str, Array]]:
    if values is None:
        return [made_inputs(manifest, seed + index) for index in range(count)]
    several = [values] if isinstance(values, Mapping) else list(values)
    if not several:
        raise BadDocument("inputs", ["no set of inputs was given"], fix="give one, or None to make them up")
    for each in several:
        check_inputs(manifest, each)
    return [several[index % len(several)] for index in range(count)]


def _one_by_one(
    functions: Functions,
    values: Mapping[str, Array],
    runs: int,
    listen: Callable[[RehearsedSlice], None] | None,
) -> tuple[list[RehearsedSlice], Values]:
    """One request, slice after slice; each leaves before the next is started."""
    event = first_event(functions.manifest, values, functions.store, run=new_run())
    found = []
    for index in range(len(functions.manifest.files)):
        process = functions.start(index)
        try:
            functions.ready(process)
            sent = event.pieces()
            calls = [functions.call(process, sent) for _ in range(1 + runs)]
            found.append(functions.measured(process, sum(map(len, sent)), calls))
        finally:
            functions.end(process)
        if listen is not None:
            listen(found[-1])
        event = Event.unpack(calls[-1].event)
    outputs = answer(functions.manifest, event, functions.store)
    functions.store.forget(event.run)
    return found, outputs
