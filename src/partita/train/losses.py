"""What a training makes small: losses by name, a loss of the user's own, and how many answers were right.

    cross_entropy          classes, or shares of classes; token by token where every token has a label (-100: none)
    nll                    the same from log-probabilities
    binary_cross_entropy   yes or no for every number, from logits
    mse, l1, smooth_l1     numbers
    given                  the model's own output is the loss, as networks from Hugging Face give it

Rules: a loss is a mean; it reads the output called `logits` or else the first of floating point, and the target called
`label` or else the only one; what does not fit is refused before torch computes, which on a GPU would be the end of
the process; a loss that is not finite is reported as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from ..errors import BadDocument, PartFailed

Tensors = Mapping[str, torch.Tensor]
LABEL: Final = "label"
# torch's own mark for a token without a label.
_IGNORED = -100
_CLASSES: Final = ("cross_entropy", "nll")
_NUMBERS: Final[Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
}
GIVEN: Final = "given"
LOSSES: Final = tuple(sorted((*_CLASSES, *_NUMBERS, GIVEN)))


class Loss(Protocol):
    """The mean loss of a batch, as a tensor without dimensions, from outputs and targets by name."""

    def __call__(self, outputs: Tensors, targets: Tensors, /) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class NamedLoss:
    """A loss of the table. `outputs` are the names the model gives, in order."""

    name: str
    outputs: tuple[str, ...]

    def __call__(self, outputs: Tensors, targets: Tensors, /) -> torch.Tensor:
        answer = self.answer(outputs)
        if self.name == GIVEN:
            return answer
        target = self.target(targets)
        if self.name in _NUMBERS:
            return _NUMBERS[self.name](answer, _shaped(target, answer).to(answer.dtype))
        rows, labels = _rows(answer, target)
        if self.name == "nll":
            return F.nll_loss(rows, labels)
        return F.cross_entropy(rows, labels)

    def answer(self, outputs: Tensors) -> torch.Tensor:
        """The output that is judged."""
        floating = [name for name in self.outputs if outputs[name].is_floating_point()]
        wish = "loss" if self.name == GIVEN else "logits"
        if self.name == GIVEN:
            floating = [name for name in floating if outputs[name].numel() == 1]
        name = wish if wish in floating else next(iter(floating), None)
        if name is None:
            kind = "of one number" if self.name == GIVEN else "of floating point"
            raise BadDocument(
                "loss",
                [f"{self.name}: none of the outputs {', '.join(self.outputs)} is {kind}"],
                fix="bring a loss of your own: a function of the model's answer and the targets",
            )
        found = outputs[name]
        return found.reshape(()) if self.name == GIVEN else found

    @staticmethod
    def target(targets: Tensors) -> torch.Tensor:
        """The target it is compared to."""
        if LABEL in targets:
            return targets[LABEL]
        if len(targets) == 1:
            return next(iter(targets.values()))
        raise BadDocument(
            "targets",
            [f"there are {len(targets)} ({', '.join(targets) or 'none'}) and a loss by name takes one"],
            fix="give one target per sample, or bring a loss of your own",
        )


def named_loss(name: str, outputs: Sequence[str]) -> NamedLoss:
    """A loss of the table, for a model that gives these outputs."""
    if name not in LOSSES:
        raise BadDocument(
            "loss",
            [f"{name!r} is not one of {', '.join(LOSSES)}"],
            fix="choose one, or bring a function of the model's answer and the targets",
        )
    return NamedLoss(name, tuple(outputs))


def _rows(answer: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and labels as torch takes them: classes along axis 1, or one row per token."""
    if target.is_floating_point():
        if target.shape != answer.shape:
            raise _misfit(target, answer, f"shares of classes would be {list(answer.shape)}")
        return answer, target.to(answer.dtype)
    if answer.ndim < 2:
        raise _misfit(target, answer, "scores need an axis of classes")
    # With three axes the classes may be the second, as torch has it, or the last, as language models have it:
    # where sizes do not tell, it is a language model.
    last = target.shape == answer.shape[:-1] and answer.ndim == 3
    if not last and target.shape != answer.shape[:1] + answer.shape[2:]:
        raise _misfit(target, answer, f"labels would be {list(answer.shape[:1] + answer.shape[2:])}")
    labels = target.long()
    classes = answer.shape[-1 if last else 1]
    wrong = labels[(labels != _IGNORED) & ((labels < 0) | (labels >= classes))]
    if wrong.numel():
        raise BadDocument(
            "targets",
            [f"label {int(wrong[0])} is not among the model's {classes} classes"],
            fix=f"number the classes from 0 to {classes - 1}; {_IGNORED} is no label",
        )
    return (answer.flatten(0, 1), labels.flatten()) if last else (answer, labels)


def _shaped(target: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """[n] beside [n, 1] is the same numbers; torch would spread them over [n, n]."""
    if [n for n in target.shape if n != 1] != [n for n in answer.shape if n != 1]:
        raise _misfit(target, answer, f"targets would be {list(answer.shape)}")
    return target.reshape(answer.shape)


def _misfit(target: torch.Tensor, answer: torch.Tensor, expected: str) -> BadDocument:
    return BadDocument(
        "targets",
        [f"shape {list(target.shape)} does not fit the model's answer {list(answer.shape)}: {expected}"],
        fix="look at one batch of the data set, or bring a loss of your own",
    )


@dataclass(frozen=True, slots=True)
class CustomLoss:
    """A function of the user's, called with his own structures."""

    function: Callable[[Any, Any], torch.Tensor]
    unflatten: Callable[[Tensors], Any]
    build_targets: Callable[[Tensors], Any]

    def __call__(self, outputs: Tensors, targets: Tensors, /) -> torch.Tensor:
        return self.function(self.unflatten(outputs), self.build_targets(targets))


def custom_loss(
    function: Callable[[Any, Any], torch.Tensor],
    unflatten: Callable[[Tensors], Any],
    build_targets: Callable[[Tensors], Any],
) -> CustomLoss:
    """A loss of the user's own: `unflatten` gives the model's answer as he knows it, `build_targets` his targets."""
    learns = isinstance(function, torch.nn.Module) and any(p.requires_grad for p in function.parameters())
    if learns:
        raise BadDocument(
            "loss",
            [f"{type(function).__name__} has parameters of its own, which nobody would train"],
            fix="put them into the model, and give a loss without parameters",
        )
    return CustomLoss(function, unflatten, build_targets)


def computed(loss: Loss, outputs: Tensors, targets: Tensors) -> torch.Tensor:
    """The loss as one number, or a sentence about what went wrong."""
    try:
        value: Any = loss(outputs, targets)  # what a user's function gives may be anything
    except (RuntimeError, IndexError, ValueError, KeyError, TypeError, AttributeError) as problem:
        first = next(iter(str(problem).splitlines()), "")
        raise PartFailed(
            f"the loss failed: {type(problem).__name__}: {first}",
            fix="call the model and the loss on one batch without Partita to see where",
        ) from problem
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        seen = f"shape {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise BadDocument("loss", [f"it gives {seen}, not one number"], fix="return the mean over the batch")
    return value.reshape(())


def count_right(loss: Loss, outputs: Tensors, targets: Tensors) -> tuple[int, int]:
    """How many answers are right (-1: no question here), and over how many the loss is a mean."""
    if isinstance(loss, NamedLoss) and loss.name in (*_CLASSES, "binary_cross_entropy"):
        answer, target = loss.answer(outputs).detach(), loss.target(targets)
        if loss.name == "binary_cross_entropy":
            return int(((answer > 0) == (_shaped(target, answer) > 0.5)).sum()), answer.numel()
        rows, labels = _rows(answer, target)
        if labels.is_floating_point():
            labels = labels.argmax(1)
        asked = labels != _IGNORED
        return int(((rows.argmax(1) == labels) & asked).sum()), int(asked.sum())
    rows_of = (t.shape[0] for t in (*targets.values(), *outputs.values()) if t.ndim)
    return -1, int(next(rows_of, 1))
