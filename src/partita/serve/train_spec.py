"""What a training was asked for, and what came of it: the documents of a run folder.

Rules: pure data, without torch; a specification and its data give the same weights again; all wrong fields are told at
once, those of the exits by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..errors import BadDocument

Loss = Literal["weighted_sum", "residual"]
Evaluation = Literal["independent", "residual"]
Optimizer = Literal["sgd", "adam", "adamw"]
Argument = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class TrainSpec:
    """A training. Where the original has an option, the field has its meaning; `dataset`, `dataset_dir` and `input_type`
    say where the samples came from.

    `weights` weigh the losses of the exits, evenly when left away. The loss `residual` is that of the sum of all
    logits; the evaluation `residual` lets each exit answer with the sum up to it, and then serving sums too.
    `augment` names changes of the samples, like `crop,flip`. `distill` is the share of what the early exits learn from the last exit instead of from the labels.
    """

    model: str
    dataset: str = ""
    dataset_dir: str = ""
    input_type: str = ""
    exits: int | None = None
    cuts: tuple[int | str, ...] = ()
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    pretrained: str = ""
    frozen: bool = False
    weights: tuple[float, ...] = ()
    loss_fn: Loss = "weighted_sum"
    eval_fn: Evaluation = "independent"
    distill: float = 0.0
    temperature: float = 2.0
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 32
    epochs: int = 50
    one_cycle: bool = False
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        for name in ("cuts", "weights"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if problems := [*self._choices(), *self._numbers()]:
            raise BadDocument("training", problems, fix="correct the fields named")

    def __hash__(self) -> int:
        return hash(tuple(str(getattr(self, f.name)) for f in fields(self)))

    def _choices(self) -> list[str]:
        allowed = {
            "loss_fn": ("weighted_sum", "residual"),
            "eval_fn": ("independent", "residual"),
            "optimizer": ("sgd", "adam", "adamw"),
            "input_type": ("", "image", "audio", "text"),
        }
        return [
            f"{name}: {getattr(self, name)!r} is none of {', '.join(filter(None, choices))}"
            for name, choices in allowed.items()
            if getattr(self, name) not in choices
        ]

    def _numbers(self) -> list[str]:
        problems = [
            f"{name}: {value} is not positive"
            for name in ("learning_rate", "batch_size", "epochs", "temperature")
            if not (isfinite(value := getattr(self, name)) and value > 0)
        ]
        problems += [
            f"{name}: {value} does not lie between 0 and 1"
            for name in ("distill", "momentum", "label_smoothing")
            if not 0 <= (value := getattr(self, name)) <= 1
        ]
        if not (isfinite(self.weight_decay) and self.weight_decay >= 0):
            problems.append(f"weight_decay: {self.weight_decay} is negative or no number")
        if any(not isfinite(w) or w < 0 for w in self.weights):
            problems.append(f"weights: {_row(self.weights)} has one that is negative or no number")
        elif self.weights and not any(self.weights):
            problems.append("weights: all are zero, so nothing would be learned")
        if self.weights and self.loss_fn == "residual":
            problems.append("weights: the residual loss is that of one sum, and has none")
        if self.distill and self.loss_fn == "residual":
            problems.append("distill: the residual loss trains one sum, which has nobody to learn from")
        return problems

    def exit_weights(self, names: Sequence[str]) -> tuple[float, ...]:
        """The weight of each exit's loss; refused where there is not one for every exit."""
        if not self.weights:
            return (1 / len(names),) * len(names)
        if len(self.weights) != len(names):
            raise BadDocument(
                "training",
                [
                    f"weights: {len(self.weights)} ({_row(self.weights)}) for {len(names)} exits: {', '.join(names)}"
                ],
                fix="give one weight for every exit, or none for even ones",
            )
        return self.weights


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself. Numbers are there once the training is through.

    `accuracy`, its interval and `loss` are by exit on held-out samples, each counted once; `flops` (2 x MAC) count from
    the input to each exit for one sample, without the heads before it. `vocabulary` is that of texts.
    """

    spec: TrainSpec
    exits: tuple[str, ...]
    classes: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    flops: tuple[float, ...]
    finished: bool = False
    accuracy: tuple[float, ...] = ()
    accuracy_low: tuple[float, ...] = ()
    accuracy_high: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    samples: int = 0
    trained_on: int = 0
    seconds: float = 0.0
    vocabulary: int = 0
    data_digest: str = ""
    # What was taken from the file of pretrained weights, and what was not, by name.
    pretrained: str = ""
    device: str = ""


@dataclass(frozen=True)
class RunResult:
    """A finished run: where it lies, what it says, and the trace, one row an epoch."""

    folder: Path
    run: Run
    trace: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Progress:
    """Where a training stands. `accuracy` by exit is there at the end of an epoch; epochs and steps count from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    accuracy: tuple[float, ...] = ()


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
