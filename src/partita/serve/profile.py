"""What a network with exits costs on this device: seconds of every stage and span by batch size, accuracy, joules.

Rules: all parts take turns, so that a noisy moment does not fall on one alone; the median and what 99 of 100 runs
stay below are kept; accuracy comes with its interval; what nobody measured is None, and energy says where it is from.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from ..errors import BadDocument, NotFound, ProfileMismatch
from ..graph import dump, load
from ..profile import Meter, PowerModel, steady_heap, this_device
from .model import ExitModel, Given
from .profile_energy import Joules, measure_joules
from .profile_truth import Truth, collect
from .tables import ExitCost, ExitProfile, StageTime

PROFILE = "profile.json"
Clock = Callable[[], float]
Listener = Callable[[float], None]
Job = Callable[[], object]
# The first runs of a session allocate and rearrange.
_WARM_UP = 2
# With fewer, what 99 of 100 stay below is only the slowest of a handful.
_LEAST_RUNS = 5
# The two-sided 95% point of the normal distribution.
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Measuring:
    """How much to measure: `runs` of every part at every batch size, but no more rounds once `seconds` are over."""

    runs: int = 100
    seconds: float = 60.0
    clock: Clock = time.perf_counter

    def __post_init__(self) -> None:
        problems = [f"runs: {self.runs!r} is less than 1"] if self.runs < 1 else []
        problems += [f"seconds: {self.seconds!r} is less than 0"] if not self.seconds >= 0 else []
        if problems:
            raise BadDocument("measuring", problems, fix="give larger numbers, or none for the defaults")


def profile_model(  # noqa: PLR0913  # the public door: all but one have defaults
    model: ExitModel,
    *,
    batches: Sequence[int] = (1, 2, 4, 8, 16),
    measuring: Measuring | None = None,
    data: tuple[Given, Sequence[int]] | None = None,
    truth: Truth | None = None,
    meter: Meter | None = None,
    watts: float | None = None,
    progress: Listener | None = None,
) -> ExitProfile:
    """Measure a network here.

    `data` is held-out inputs and their classes, or `truth` what was already collected of them; without, accuracy
    stays unknown. Energy is metered with `meter`, or modelled from `watts` of a busy core, or left out.
    """
    effort = measuring or Measuring()
    if not batches or any(batch < 1 for batch in batches):
        raise BadDocument(
            "batches", [f"{tuple(batches)!r}: sizes are 1 or more"], fix="give --batch 1,2,4,8,16"
        )
    if meter is not None and watts is not None:
        raise BadDocument(
            "energy", ["there are a meter and watts for a model of one"], fix="give one of them"
        )
    if data is not None:
        truth = collect(model, *data)
    if truth is not None and truth.digest not in ("", model.digest):
        raise ProfileMismatch("truth was collected from another network", fix="collect it from this one")
    steady_heap()
    times = _times(model, batches, effort, progress or (lambda _: None))
    source = PowerModel(watts) if watts is not None else meter
    joules = measure_joules(model, source, effort.clock) if source is not None else Joules()
    manifest = model.manifest
    stages = tuple(times[f"{k}-{k}"] for k in range(len(model.exits))) if manifest.stages else ()
    spans = {key: time for key, time in times.items() if not stages or not _single(key)}
    return ExitProfile(
        model=manifest.model,
        exits=tuple(_cost(model, k, truth, joules) for k in range(len(model.exits))),
        stages=stages,
        spans=spans,
        digest=model.digest,
        device=_device(model),
        samples=0 if truth is None else len(truth),
        energy_source=joules.source,
    )


def notes(profile: ExitProfile) -> tuple[str, ...]:
    """What a reader of the profile should know: exits that are not worth their cost, and what was not measured."""
    found = []
    for k in profile.dominated:
        better = max(range(k), key=lambda j: profile.exits[j].accuracy or 0.0)
        mine, other = profile.exits[k], profile.exits[better]
        found.append(
            f"exit {k} ({mine.name}) is dominated: {mine.accuracy:.4f} right, and exit {better} ({other.name}) before it "
            f"has {other.accuracy:.4f}; no request gains by going there"
        )
    if profile.samples and profile.samples < 2000:
        found.append(f"accuracy is from {profile.samples} samples: 2000 or more make its interval useful")
    if any(cost.accuracy is None for cost in profile.exits):
        found.append("accuracy is unknown: give held-out data")
    if profile.timed:
        total = sum(stage.seconds(1) for stage in profile.stages)
        whole = profile.span(0, len(profile.exits) - 1)
        if whole is not None and whole.seconds(1) < total:
            share = total / whole.seconds(1) - 1 if whole.seconds(1) else 0.0
            found.append(f"stage by stage costs {share:.1%} more than all stages as one, at batch 1")
    if not profile.energy_source:
        found.append("energy is unknown: no meter was given, and no watts for a model of one")
    return tuple(found)


def save_profile(folder: str | Path, profile: ExitProfile) -> Path:
    """Write `profile.json` beside the network, whole or not at all."""
    path = Path(folder) / PROFILE
    beside = path.with_suffix(".json.new")
    beside.write_text(dump(profile) + "\n", encoding="utf-8")
    return beside.replace(path)


def load_profile(model: ExitModel) -> ExitProfile:
    """The profile in the folder of a network; refuses one of another network."""
    path = model.folder / PROFILE
    if not path.is_file():
        raise NotFound(
            f"{model.folder} has no {PROFILE}", fix=f"measure it: partita serve profile {model.folder}"
        )
    profile = load(ExitProfile, path.read_text(encoding="utf-8"), name=str(path))
    if profile.digest and profile.digest != model.digest:
        raise ProfileMismatch(
            f"{path} was measured on another network than the one in {model.folder}",
            fix=f"measure it again: partita serve profile {model.folder}",
        )
    return profile


def interval(right: int, samples: int) -> tuple[float, float]:
    """The 95% confidence interval of a share (Wilson's, which holds near 0 and 1 too)."""
    share, squared = right / samples, _Z95 * _Z95
    middle = (share + squared / (2 * samples)) / (1 + squared / samples)
    reach = _Z95 / (1 + squared / samples) * sqrt(share * (1 - share) / samples + squared / (4 * samples**2))
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def _cost(model: ExitModel, k: int, truth: Truth | None, joules: Joules) -> ExitCost:
    flops = model.manifest.flops[k] if model.manifest.flops else None
    energy = joules.exits[k] if joules.exits else None
    if truth is None or not truth.labelled or not len(truth):
        return ExitCost(model.exits[k], flops=flops, joules=energy)
    right = int(truth.correct[:, k].sum())
    low, high = interval(right, len(truth))
    return ExitCost(model.exits[k], right / len(truth), low, high, flops=flops, joules=energy)


def _single(key: str) -> bool:
    first, _, last = key.partition("-")
    return first == last


def _device(model: ExitModel) -> str:
    device = this_device(threads=model.settings.threads or None, engine="onnx")
    plural = "" if device.threads == 1 else "s"
    where = ", ".join(name.removesuffix("ExecutionProvider") for name in model.providers)
    return f"{device.processor}; {device.threads} thread{plural} a run; {device.runtime} on {where}, {model.speed}"


def _times(
    model: ExitModel, batches: Sequence[int], effort: Measuring, progress: Listener
) -> dict[str, StageTime]:
    """Every span that was written, at every batch size, in rounds over all of them."""
    sizes = [model.manifest.batch] if model.manifest.batch else sorted(set(batches))
    jobs: dict[tuple[str, int], Job] = {}
    for batch in sizes:
        for (first, last), features in model.made_up(batch).items():
            jobs[f"{first}-{last}", batch] = _job(model, first, last, features)
    samples = rounds(list(jobs.values()), effort, progress)
    rows = dict(zip(jobs, samples, strict=True))
    keys = dict.fromkeys(key for key, _ in jobs)
    return {
        key: StageTime(
            p50={batch: float(np.median(rows[key, batch])) for batch in sizes},
            p99={batch: float(np.quantile(rows[key, batch], 0.99, method="higher")) for batch in sizes},
        )
        for key in keys
    }


def _job(model: ExitModel, first: int, last: int, features: object) -> Job:
    def run() -> object:
        return model.run_span(first, last, features)  # type: ignore[arg-type]  # Features, from made_up

    return run


def rounds(jobs: Sequence[Job], effort: Measuring, progress: Listener = lambda _: None) -> list[list[float]]:
    """Seconds of each job, one per round; every second round runs backwards, so that no job always follows another."""
    samples: list[list[float]] = [[] for _ in jobs]
    clock = effort.clock
    for job in jobs:
        for _ in range(_WARM_UP):
            job()
    with _no_collection():
        begun = clock()
        for done in range(effort.runs):
            order = range(len(jobs)) if done % 2 == 0 else range(len(jobs) - 1, -1, -1)
            for index in order:
                start = clock()
                jobs[index]()
                samples[index].append(clock() - start)
            progress((done + 1) / effort.runs)
            if clock() - begun >= effort.seconds and done + 1 >= _LEAST_RUNS:
                progress(1.0)
                break
    return samples


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection in the middle of a run."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
