"""What held-out samples say: how sure each exit was of each sample, and whether it was right.

Rules: arrays are exits by samples; whatever cannot be evidence (NaN, other shapes, labels that are no class) is refused
with every fault named at once; without labels the last exit's answers stand for the truth, and the evidence says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadDocument

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FIX: Final = "give one array for each exit, all of the same held-out samples in the same order"


@dataclass(frozen=True, eq=False)
class Evidence:
    """Held-out samples seen by every exit, each array exits by samples.

    `confidence` is between 0 and 1; `worth` is 1 for a right answer and 0 for a wrong one, or 1 less a loss between 0
    and 1; `answers` are the classes, where the task has classes.
    """

    confidence: Floats
    worth: Floats
    labelled: bool = True
    answers: Integers | None = None

    @property
    def exits(self) -> int:
        """How many exits there are."""
        return int(self.confidence.shape[0])

    @property
    def samples(self) -> int:
        """How many samples they were shown."""
        return int(self.confidence.shape[1])

    @property
    def binary(self) -> bool:
        """Whether every answer is either right or wrong, so that losses can be counted."""
        return bool(np.all((self.worth == 0) | (self.worth == 1)))

    def part(self, chosen: NDArray[Any]) -> Evidence:
        """Some of the samples."""
        answers = None if self.answers is None else self.answers[:, chosen]
        return Evidence(self.confidence[:, chosen], self.worth[:, chosen], self.labelled, answers)

    def lost(self, taken: Integers) -> Floats:
        """What each sample loses by answering at the exit it took: 1 where the last exit is right and that one wrong."""
        early = self.worth[taken, np.arange(self.samples)]
        lost: Floats = np.maximum(self.worth[-1] - early, 0.0)
        return lost

    def contradicted(self, taken: Integers) -> NDArray[np.bool_]:
        """Where the last exit would answer otherwise; for tasks without classes, where something is lost."""
        changed: NDArray[np.bool_] = self.lost(taken) > 0
        if self.answers is not None:
            changed = self.answers[taken, np.arange(self.samples)] != self.answers[-1]
        return changed


def evidence_of_logits(logits: Sequence[ArrayLike], labels: ArrayLike | None = None) -> Evidence:
    """From the logits of every exit, samples by classes. Confidence is the largest softmax, without a temperature."""
    arrays = [np.asarray(one) for one in logits]
    problems = [] if arrays else ["logits: there are no exits"]
    for k, one in enumerate(arrays):
        if one.ndim != 2 or one.dtype.kind not in "fiu":
            problems.append(
                f"logits[{k}]: {one.dtype} of shape {one.shape}, not numbers of samples x classes"
            )
        elif 0 in one.shape:
            problems.append(f"logits[{k}]: empty, of shape {one.shape}")
        elif one.shape != arrays[0].shape:
            problems.append(f"logits[{k}]: shape {one.shape}, but logits[0] has {arrays[0].shape}")
        elif bad := int(np.count_nonzero(~np.isfinite(one.max(axis=1)))):
            problems.append(f"logits[{k}]: {bad} of {len(one)} samples are NaN or infinite")
    if problems:
        raise BadDocument("logits", problems, fix=_FIX)
    answers = np.stack([one.argmax(axis=1) for one in arrays]).astype(np.int64)
    confidence = np.stack([_largest_softmax(one) for one in arrays])
    return _of_classes(confidence, answers, labels, classes=arrays[0].shape[1])


def evidence_of_answers(
    confidence: ArrayLike, answers: ArrayLike, labels: ArrayLike | None = None
) -> Evidence:
    """From the confidence and the class that every exit gave each sample, both exits by samples."""
    sure, problems = _shares("confidence", confidence)
    given, more = _classes("answers", answers)
    problems += more
    if not problems and sure.shape != given.shape:
        problems.append(f"answers: shape {given.shape}, but confidence has {sure.shape}")
    if problems:
        raise BadDocument("answers", problems, fix=_FIX)
    return _of_classes(sure, given, labels, classes=None)


def evidence_of_losses(confidence: ArrayLike, losses: ArrayLike) -> Evidence:
    """For tasks without classes: a confidence and a loss, both between 0 and 1, of every exit for each sample."""
    sure, problems = _shares("confidence", confidence)
    loss, more = _shares("losses", losses)
    problems += more
    if not problems and sure.shape != loss.shape:
        problems.append(f"losses: shape {loss.shape}, but confidence has {sure.shape}")
    if problems:
        raise BadDocument("losses", problems, fix=f"{_FIX}, and scale losses to lie between 0 and 1")
    return Evidence(sure, 1.0 - loss)


def evidence_of_truth(truth: Mapping[str, ArrayLike]) -> Evidence:
    """From the arrays of a truth file, which are samples by exits: `confidence` and `correct`, better `logits` and `labels`.

    Only logits tell where exits differ and both are wrong. `labelled` is false where labels are the last exit's answers.
    """
    labelled = bool(truth.get("labelled", True))
    if "logits" in truth and "labels" in truth:
        logits = np.asarray(truth["logits"])
        if logits.ndim != 3:
            problem = f"logits: shape {logits.shape}, not samples x exits x classes"
            raise BadDocument(
                "truth", [problem], fix="collect it again: partita serve profile MODEL --data HELD_OUT"
            )
        return evidence_of_logits(list(logits.swapaxes(0, 1)), truth["labels"] if labelled else None)
    missing = [f"{name}: is missing" for name in ("confidence", "correct") if name not in truth]
    if missing:
        raise BadDocument("truth", missing, fix="give confidence and correct, or logits and labels")
    wrong = 1.0 - np.asarray(truth["correct"], float)
    return replace(evidence_of_losses(np.asarray(truth["confidence"]).T, wrong.T), labelled=labelled)


def _of_classes(
    confidence: Floats, answers: Integers, labels: ArrayLike | None, *, classes: int | None
) -> Evidence:
    if labels is None:
        return Evidence(confidence, (answers == answers[-1]).astype(float), False, answers)
    truth = np.asarray(labels)
    samples = answers.shape[1]
    problems = []
    if truth.dtype.kind not in "iu" or truth.shape != (samples,):
        problems.append(f"labels: {truth.dtype} of shape {truth.shape}, not {samples} whole numbers")
    else:
        outside = truth < 0 if classes is None else (truth < 0) | (truth >= classes)
        if np.any(outside):
            known = "0 or more" if classes is None else f"0 to {classes - 1}"
            problems.append(
                f"labels: {np.count_nonzero(outside)} are no class, the first is {truth[outside][0]}; "
                f"classes are {known}"
            )
    if problems:
        raise BadDocument("labels", problems, fix="give the class of each sample as a whole number from 0")
    return Evidence(confidence, (answers == truth).astype(float), True, answers)


def _largest_softmax(logits: NDArray[Any]) -> Floats:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    largest: Floats = 1.0 / np.exp(shifted).sum(axis=1)
    return largest


def _shares(name: str, given: ArrayLike) -> tuple[Floats, list[str]]:
    values = np.asarray(given)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
        return np.empty((0, 0)), [f"{name}: {values.dtype} of shape {values.shape}, not exits x samples"]
    values = values.astype(np.float64)
    bad = np.count_nonzero(~((values >= 0) & (values <= 1)))  # NaN is neither
    return values, [f"{name}: {bad} of {values.size} values are not between 0 and 1"] if bad else []


def _classes(name: str, given: ArrayLike) -> tuple[Integers, list[str]]:
    values = np.asarray(given)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iu":
        problem = f"{name}: {values.dtype} of shape {values.shape}, not whole numbers of exits x samples"
        return np.empty((0, 0), np.int64), [problem]
    return values.astype(np.int64), []
