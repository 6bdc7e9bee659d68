"""The bench on which the parts of one model are timed, one batch size after the other.

Rules: parts are made once and fed with the values they would really get; the whole, the longer pieces and every
span go round together; what a training step changes (buffers, gradients, modes) is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np

from ..engine import Array, Captured, Learner, Mode, Part, Values
from ..errors import PartFailed, PartitaError, UserError
from ..graph import Chain, Energy, Timing, Work
from .calibrate import Calibration, calibrate, handover
from .energy import Meter
from .memory import live_bytes
from .rounds import LEAST_RUNS, Effort, Job, run_rounds, timing
from .spans import Span, pieces, shares, smallest_spans

# A training step is about three forward passes; it decides only how the budget is divided.
_STEP_WEIGHT = 3.0
# Long enough for a counter that moves once in a millisecond, and for a sampled meter to see a few values.
_METERED_SECONDS = 1.0
_METERED_RUNS = 10_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a measurement is: which batch size and work, and the share done of everything, from 0 to 1."""

    batch: int
    work: Work
    done: float


Listener = Callable[[Progress], None]


@dataclass(slots=True)
class Taken:
    """Everything found at one batch size."""

    batch: int
    peaks: tuple[int, ...]
    whole: dict[Work, Timing] = field(default_factory=dict)
    stages: dict[Work, list[Timing]] = field(default_factory=dict)
    energy: Energy | None = None
    calibrations: list[Calibration] = field(default_factory=list)


class Bench:
    """The parts of one model, made once, and timed at one batch size after the other."""

    def __init__(
        self,
        model: Captured,
        effort: Effort,
        batches: list[int],
        backward: bool,
        meter: Meter | None,
        progress: Listener | None,
    ) -> None:
        self.model, self.effort, self.batches, self.meter = model, effort, batches, meter
        self.chain = model.chain
        if not len(self.chain):
            raise UserError(f"{self.chain.name!r} has no stages to measure", fix="capture a model with one")
        self.spans = smallest_spans(self.chain, effort.spans)
        self.parts: dict[Span, Part] = {}
        self.listener = progress or (lambda _: None)
        self.works: tuple[Work, ...] = ("forward", "backward") if backward else ("forward",)
        if backward:
            self._need_learner()
        weights = [size * _weight(work) for size in batches for work in self.works]
        self.left = sum(weights)
        self.all = self.left
        self.end = effort.clock() + effort.budget

    @property
    def whole(self) -> Span:
        return Span(0, len(self.chain))

    def part(self, span: Span) -> Part:
        """The part of a span, made once."""
        if span not in self.parts:
            self.parts[span] = self.model.part(span.start, span.stop)
        return self.parts[span]

    def _need_learner(self) -> None:
        if not isinstance(self.part(self.whole), Learner):
            raise UserError(
                f"{self.chain.name!r} runs on {self.chain.engine}, whose parts have no backward pass",
                fix="measure it without --backward, or capture the PyTorch module it came from",
            )

    def batch(self, size: int) -> Taken:
        """All that is measured at one batch size."""
        values, first = self._walk(size)
        chain = self.chain
        taken = Taken(size, live_bytes(chain, {name: array.nbytes for name, array in values.items()}))
        groups = pieces(first)
        for work in self.works:
            self._time(taken, work, groups, values)
        if self.meter is not None:
            taken.energy = _metered(self.meter, self._forward(self.whole, values), self.effort)
        return taken

    def _walk(self, size: int) -> tuple[Values, list[float]]:
        """The real values at every boundary, and the seconds each span took the second time it ran."""
        values = dict(self.model.example(size))
        seconds = []
        for span in self.spans:
            run = self._forward(span, values)
            made = cast("Values", run())
            start = self.effort.clock()
            run()
            seconds.append(self.effort.clock() - start)
            values.update(made)
        return values, seconds

    def _time(
        self, taken: Taken, work: Work, groups: tuple[tuple[int, int], ...], values: Mapping[str, Array]
    ) -> None:
        """Rounds over the whole, the longer pieces and every span; calibrated into `taken`."""
        longer = [Span(self.spans[a].start, self.spans[b - 1].stop) for a, b in groups]
        wanted = list(dict.fromkeys([self.whole, *longer, *self.spans]))
        samples = self._rounds(taken.batch, work, wanted, values)
        found = {span: timing(row, self.effort.quantile) for span, row in zip(wanted, samples, strict=True)}
        alone = [found[span].median for span in self.spans]
        together = [found[span].median for span in longer]
        total = found[self.whole]
        inside = calibrate(alone, groups, together, total.median)
        taken.calibrations.append(
            Calibration(
                taken.batch,
                work,
                total.median,
                sum(alone),
                sum(together) if together else total.median,
                handover(alone, groups, together, total.median),
            )
        )
        rows = [_rescaled(found[span], seconds) for span, seconds in zip(self.spans, inside, strict=True)]
        stages = [
            _rescaled(row, row.median * share)
            for span, row in zip(self.spans, rows, strict=True)
            for share in shares(self.chain, span)
        ]
        if work == "backward":
            total, stages = _beyond(taken.whole["forward"], taken.stages["forward"], total, stages)
        taken.whole[work], taken.stages[work] = total, stages

    def _rounds(
        self, batch: int, work: Work, spans: Sequence[Span], values: Mapping[str, Array]
    ) -> list[list[float]]:
        weight = batch * _weight(work)
        now = self.effort.clock()
        until = now + max(0.0, self.end - now) * weight / self.left
        before = self.all - self.left

        def heard(share: float) -> None:
            self.listener(Progress(batch, work, min(1.0, (before + share * weight) / self.all)))

        try:
            if work == "forward":
                return run_rounds([self._forward(s, values) for s in spans], self.effort, until, heard)
            with _trained([cast("Learner", self.part(span)) for span in spans]):
                return run_rounds([self._step(s, values) for s in spans], self.effort, until, heard)
        finally:
            self.left -= weight

    def _forward(self, span: Span, values: Mapping[str, Array]) -> Job:
        part = self.part(span)
        inputs = {name: values[name] for name in part.inputs}
        return _named(span, self.chain, lambda: part.forward(inputs))

    def _step(self, span: Span, values: Mapping[str, Array]) -> Job:
        part = cast("Learner", self.part(span))
        inputs = {name: values[name] for name in part.inputs}
        tensors = self.chain.tensors
        ones = {n: np.ones_like(values[n]) for n in part.outputs if tensors[n].dtype.is_float}

        def step() -> None:
            part.forward_kept(inputs)
            part.backward(ones)

        return _named(span, self.chain, step)


def _weight(work: Work) -> float:
    return 1.0 if work == "forward" else _STEP_WEIGHT


def _named(span: Span, chain: Chain, job: Callable[[], _T]) -> Callable[[], _T]:
    """A job whose failure says which stages failed."""

    def run() -> _T:
        try:
            return job()
        except PartitaError:
            raise
        except Exception as error:
            first, last = chain.stages[span.start].name, chain.stages[span.stop - 1].name
            where = f"stage {first!r}" if first == last else f"the stages from {first!r} to {last!r}"
            raise PartFailed(
                f"{where} raised {type(error).__name__} while it was measured: {error}",
                fix="run the model whole with the same inputs; give others with --input if they do not fit",
            ) from error

    return run


@contextmanager
def _trained(parts: Sequence[Learner]) -> Iterator[None]:
    """Parts in train mode, for steps that leave no trace: buffers and gradients are put back as they were."""
    whole = parts[0]
    kept = {name: np.array(value) for name, value in whole.state().items()}
    modes: list[Mode] = [getattr(part, "mode", "eval") for part in parts]
    for part in parts:
        part.set_mode("train")
    try:
        yield
    finally:
        whole.load_state(kept)
        for part, mode in zip(parts, modes, strict=True):
            part.zero_gradients()
            part.set_mode(mode)


def _metered(meter: Meter, job: Job, effort: Effort) -> Energy | None:
    """Joules of one repetition, over as many as fill the time that a meter needs."""
    meter.start()
    try:
        begun, runs = effort.clock(), 0
        while runs < LEAST_RUNS or (runs < _METERED_RUNS and effort.clock() - begun < _METERED_SECONDS):
            job()
            runs += 1
    finally:
        spent = meter.stop()
    return Energy(spent.joules / runs, spent.source, spent.measured) if spent else None


def _rescaled(found: Timing, seconds: float) -> Timing:
    """The same measurement with another median; the spread follows in proportion."""
    factor = seconds / found.median if found.median else 0.0
    return Timing(seconds, found.spread * factor, found.runs)


def _beyond(
    forward: Timing, forwards: Sequence[Timing], step: Timing, steps: Sequence[Timing]
) -> tuple[Timing, list[Timing]]:
    """Training steps less their forward passes, the stages again adding up to the whole."""
    total = max(0.0, step.median - forward.median)
    rest = [max(0.0, s.median - f.median) for s, f in zip(steps, forwards, strict=True)]
    factor = total / sum(rest) if sum(rest) else 0.0
    rows = [Timing(value * factor, s.spread, s.runs) for value, s in zip(rest, steps, strict=True)]
    return Timing(total, step.spread, step.runs), rows
