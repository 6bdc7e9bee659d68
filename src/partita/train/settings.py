"""What a training is asked to do, as data: both sides read the same document, and a checkpoint carries it.

Rules: nothing here depends on a model, a device or a link; every bad field is reported at once; what says `auto` is
decided by the planner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Literal, get_args

from ..errors import BadDocument

Feedback = Literal["none", "residual", "delta", "taylor"]
Order = Literal["fixed", "eager"]
AUTO = "auto"
# One window, or windows by epoch: `0,2@3,4@8` is K = 0, from the third epoch on 2, from the eighth on 4.
_WINDOWS = re.compile(r"\d+(,\d+@\d+)*\Z")


@dataclass(frozen=True)
class Optimizing:
    """An optimizer as data: the name of a class of torch.optim in small letters, its rate and its other numbers.

    `clip` bounds every value of a gradient; a bound on the norm would need the gradients of both sides at once.
    """

    name: str = "sgd"
    rate: float = 0.05
    options: Mapping[str, float] = field(default_factory=dict)
    clip: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        problems = [
            f"{name}: {value!r} is not zero or more"
            for name, value in (("rate", self.rate), ("clip", self.clip))
            if not (isfinite(value) and value >= 0)
        ]
        problems += [
            f"options.{n}: {v!r} is not a finite number" for n, v in self.options.items() if not isfinite(v)
        ]
        if problems:
            raise BadDocument(
                "optimizer", problems, fix="give for example sgd with rate 0.05 and momentum 0.9"
            )

    def __str__(self) -> str:
        extras = "".join(f",{name}={value:g}" for name, value in self.options.items())
        clip = f",clip={self.clip:g}" if self.clip else ""
        return f"{self.name}:{self.rate:g}{extras}{clip}"


@dataclass(frozen=True)
class Settings:
    """One training. `window` is `auto`, K, or K by epoch; `codec_up` and `codec_down` are `auto` or a codec's name.

    `feedback` (going up) and `feedback_down` are what is done about what a codec loses: nothing, a memory of it at the sender (`residual`), a memory
    of the tensor at both ends (`delta`), or the correction of the original paper (`taylor`). `order` is `fixed`, where
    the weights depend on seed and window only, or `eager`, where whatever arrives is used at once. `calm` divides the
    learning rate of parts with stale gradients by K + 1. `labels_private` keeps the loss at the edge, `inputs_private`
    everything up to the first stage that has weights: no input leaves as it is. `checkpoint` is the number of steps between two checkpoints,
    0 for the ends of epochs. `loss` names a loss, or is empty where the caller brings one.
    """

    epochs: int = 1
    batch: int = 32
    seed: int = 0
    loss: str = "cross_entropy"
    optimizer: Optimizing = field(default_factory=Optimizing)
    schedule: str = "constant"
    window: str = AUTO
    max_window: int = 4
    codec_up: str = AUTO
    codec_down: str = AUTO
    max_error: float | None = None
    feedback: Feedback = "none"
    feedback_down: Feedback = "none"
    order: Order = "fixed"
    calm: bool = False
    labels_private: bool = False
    inputs_private: bool = True
    min_front: int = 0
    checkpoint: int = 0
    guard: bool = True

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {getattr(self, name)!r} is not one of {', '.join(get_args(kind))}"
            for name, kind in (("feedback", Feedback), ("feedback_down", Feedback), ("order", Order))
            if getattr(self, name) not in get_args(kind)
        ]
        problems += [
            f"{name}: {getattr(self, name)!r} is below {least}"
            for name, least in (
                ("epochs", 0), ("batch", 1), ("seed", 0), ("max_window", 0), ("min_front", 0), ("checkpoint", 0)
            )
            if getattr(self, name) < least
        ]  # fmt: skip
        if self.window != AUTO and not _WINDOWS.match(self.window):
            problems.append(f"window: {self.window!r} is not auto, a number, or numbers by epoch like 0,2@3")
        if problems:
            raise BadDocument("training", problems, fix="`partita train edge --help` lists what can be asked")

    @property
    def fixed_window(self) -> bool:
        """Whether the caller chose the window, now or by epoch."""
        return self.window != AUTO

    def window_at(self, epoch: int) -> int | None:
        """K in an epoch (the first is 1); None where the planner chooses."""
        if not self.fixed_window:
            return None
        first, *later = self.window.split(",")
        found = int(first)
        for rule in later:
            window, _, since = rule.partition("@")
            if epoch >= int(since):
                found = int(window)
        return found
