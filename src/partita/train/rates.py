"""How the learning rate changes over a training, as a line of text: `cosine`, `step:30,60@0.1`, `linear+warmup:100`.

    constant             the rate as it is
    linear               down to nothing at the end, in a straight line
    cosine               the same along half a cosine
    step:30,60@0.1       times 0.1 after 30 epochs, and again after 60
    onecycle             up along a cosine for the first 30%, then down to next to nothing
    ...+warmup:100       and besides, rising from nothing over the first 100 steps

Rules: a rate depends on the step and the length of the training alone, so that a resumed training goes on as if
nothing had happened and neither side keeps count; it is never negative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import cos, pi
from typing import Final, Literal, get_args

from ..errors import BadDocument

Shape = Literal["constant", "linear", "cosine", "step", "onecycle"]
# The shape of one cycle, as torch.optim.lr_scheduler.OneCycleLR has it: how much of it rises, and its ends.
_RISE, _START, _END = 0.3, 1 / 25, 1e-4 / 25
_STEPS = re.compile(r"step:(\d{1,9}(?:,\d{1,9})*)@(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\Z")
_WARMUP = re.compile(r"warmup:(\d{1,9})\Z")
_FIX: Final = (
    "write constant, linear, cosine, onecycle or step:30,60@0.1, and +warmup:100 behind it if you like"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as data. `epochs` and `factor` are those of `step`; `warmup` is a number of steps."""

    shape: Shape = "constant"
    epochs: tuple[int, ...] = ()
    factor: float = 1.0
    warmup: int = 0

    def __str__(self) -> str:
        rows = f":{','.join(map(str, self.epochs))}@{self.factor!r}" if self.shape == "step" else ""
        return f"{self.shape}{rows}" + (f"+warmup:{self.warmup}" if self.warmup else "")

    @property
    def needs_length(self) -> bool:
        """Whether one must know how many steps an epoch has."""
        return self.shape != "constant"

    def rate_at(self, step: int, steps_per_epoch: int | None, epochs: int, peak: float = 1.0) -> float:
        """The rate of a step (the first is 0), where `peak` is the rate that the optimizer was given."""
        if self.needs_length and not steps_per_epoch:
            raise BadDocument(
                "schedule",
                [f"{self}: nobody knows how many steps an epoch has"],
                fix="give data of a known length, or the schedule constant",
            )
        per_epoch = steps_per_epoch or 1
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return peak * rise * self._share(step, per_epoch, per_epoch * epochs)

    def _share(self, step: int, per_epoch: int, total: int) -> float:
        done = min(1.0, step / total) if total else 1.0
        match self.shape:
            case "constant":
                return 1.0
            case "linear":
                return 1.0 - done
            case "cosine":
                return _between(1.0, 0.0, done)
            case "step":
                return self.factor ** sum(step // per_epoch >= epoch for epoch in self.epochs)
        top = max(1.0, _RISE * total - 1)
        if step <= top:
            return _between(_START, 1.0, step / top)
        return _between(1.0, _END, min(1.0, (step - top) / max(1.0, total - 1 - top)))


def _between(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + cos(pi * share)) / 2


def parse_schedule(text: str) -> Schedule:
    """A schedule from its text."""
    shape, _, extra = text.partition("+")
    warmup = _WARMUP.match(extra)
    problems = [] if warmup or not extra else [f"{extra!r} is not like warmup:100"]
    rows = _STEPS.match(shape)
    if rows:
        epochs, factor = tuple(map(int, rows[1].split(","))), float(rows[2])
        if list(epochs) != sorted(set(epochs)):
            problems.append(f"{shape!r}: the epochs do not rise")
        if factor > 1:
            problems.append(f"{shape!r}: the factor is above 1")
    elif shape not in get_args(Shape) or shape == "step":
        problems.append(f"{shape!r} is no schedule")
    if problems:
        raise BadDocument("schedule", problems, fix=_FIX)
    steps = int(warmup[1]) if warmup else 0
    if rows:
        return Schedule("step", epochs, factor, steps)
    return Schedule(shape, warmup=steps)  # type: ignore[arg-type]  # it is one of them, as just checked
