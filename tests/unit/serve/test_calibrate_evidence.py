"""What is evidence and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from partita.errors import BadDocument
from partita.serve.calibrate_evidence import (
    evidence_of_answers,
    evidence_of_logits,
    evidence_of_losses,
    evidence_of_truth,
)

LOGITS = [np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0.0], [5.0, 0.0]])]


def test_confidence_is_the_largest_softmax() -> None:
    """Without a temperature, in double precision."""
    found = evidence_of_logits(LOGITS)

    assert found.confidence[0] == pytest.approx([1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(-1.0))])


def test_huge_logits_do_not_overflow() -> None:
    """Half precision and a thousand are fine."""
    found = evidence_of_logits([np.array([[1000.0, -1000.0]], np.float16)])

    assert found.confidence.tolist() == [[1.0]]


def test_labels_tell_right_from_wrong() -> None:
    """One row an exit."""
    assert evidence_of_logits(LOGITS, [0, 1]).worth.tolist() == [[1, 1], [1, 0]]


def test_without_labels_the_last_exit_is_taken_for_the_truth() -> None:
    """And the evidence says so."""
    found = evidence_of_logits(LOGITS)

    assert found.worth.tolist() == [[1, 0], [1, 1]]
    assert not found.labelled


def test_answers_serve_as_well_as_logits() -> None:
    """Who has confidence and classes needs no logits."""
    found = evidence_of_answers([[0.9, 0.6], [0.8, 0.7]], [[3, 1], [3, 2]], [3, 2])

    assert found.worth.tolist() == [[1, 0], [1, 1]]
    assert (found.exits, found.samples, found.binary) == (2, 2, True)


def test_losses_serve_tasks_without_classes() -> None:
    """Worth is what a loss leaves of 1."""
    found = evidence_of_losses([[0.9, 0.6], [0.8, 0.7]], [[0.5, 0.0], [0.25, 0.5]])

    assert found.worth.tolist() == [[0.5, 1.0], [0.75, 0.5]]
    assert not found.binary


def test_only_what_the_last_exit_does_better_is_lost() -> None:
    """An early answer that is better loses nothing."""
    found = evidence_of_losses([[0.9, 0.6], [0.8, 0.7]], [[0.5, 0.0], [0.25, 0.5]])

    assert found.lost(np.array([0, 0])).tolist() == [0.25, 0.0]
    assert found.contradicted(np.array([0, 0])).tolist() == [True, False]


def test_an_answer_is_contradicted_where_the_class_differs_even_if_both_are_wrong() -> None:
    """Contradiction needs no labels."""
    found = evidence_of_answers([[0.9, 0.6], [0.8, 0.7]], [[3, 1], [3, 2]], [0, 0])

    assert found.contradicted(np.array([0, 0])).tolist() == [False, True]
    assert found.lost(np.array([0, 0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("logits", "named"),
    [
        ([], "no exits"),
        ([np.zeros((2, 2)), np.zeros(3)], r"logits\[1\]: float64 of shape \(3,\)"),
        ([np.zeros((2, 2), complex)], r"logits\[0\]: complex128"),
        ([np.zeros((0, 2))], r"logits\[0\]: empty"),
        ([np.zeros((2, 2)), np.zeros((3, 2))], r"logits\[1\]: shape \(3, 2\), but logits\[0\] has \(2, 2\)"),
        ([np.array([[np.nan, 0.0], [0.0, 1.0]])], r"logits\[0\]: 1 of 2 samples are NaN"),
        ([np.array([[np.inf, 0.0], [-np.inf, -np.inf]])], r"logits\[0\]: 2 of 2 samples are NaN or infinite"),
    ],
)
def test_logits_that_are_none_are_refused(logits: list[Any], named: str) -> None:
    """With the exit and what is wrong with it."""
    with pytest.raises(BadDocument, match=named):
        evidence_of_logits(logits)


def test_every_bad_exit_is_named_at_once() -> None:
    """Nobody mends one at a time."""
    with pytest.raises(BadDocument) as refusal:
        evidence_of_logits([np.zeros(3), np.array([[np.nan]])])

    assert len(refusal.value.problems) == 2


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([0, 2], "1 are no class, the first is 2; classes are 0 to 1"),
        ([-1, 0], "the first is -1"),
        ([0], r"int64 of shape \(1,\), not 2 whole numbers"),
        ([0.0, 1.0], "float64"),
    ],
)
def test_labels_that_are_no_class_are_refused(labels: list[Any], named: str) -> None:
    """With the first of them and the classes there are."""
    with pytest.raises(BadDocument, match=named):
        evidence_of_logits(LOGITS, labels)


def test_labels_of_answers_have_no_upper_end_but_are_never_negative() -> None:
    """How many classes there are is not known then."""
    with pytest.raises(BadDocument, match="classes are 0 or more"):
        evidence_of_answers([[0.9]], [[3]], [-1])


@pytest.mark.parametrize(
    ("confidence", "answers", "named"),
    [
        ([[1.5, np.nan]], [[0, 1]], "confidence: 2 of 2 values are not between 0 and 1"),
        ([0.5], [[0]], r"confidence: float64 of shape \(1,\)"),
        ([[0.5]], [[0.5]], "answers: float64"),
        ([[0.5]], [[0, 1]], r"answers: shape \(1, 2\), but confidence has \(1, 1\)"),
    ],
)
def test_answers_that_do_not_fit_are_refused(confidence: Any, answers: Any, named: str) -> None:
    """Shape, kind and range."""
    with pytest.raises(BadDocument, match=named):
        evidence_of_answers(confidence, answers)


@pytest.mark.parametrize(
    ("losses", "named"), [([[2.0]], "losses: 1 of 1"), ([[0.5, 0.5]], r"losses: shape \(1, 2\)")]
)
def test_losses_that_do_not_fit_are_refused(losses: Any, named: str) -> None:
    """A loss lies between 0 and 1, or no bound would hold."""
    with pytest.raises(BadDocument, match=named):
        evidence_of_losses([[0.5]], losses)


def test_a_truth_file_serves_with_its_logits() -> None:
    """Samples come first there."""
    logits = np.stack(LOGITS, axis=1)
    found = evidence_of_truth({"logits": logits, "labels": [0, 1]})

    assert found.worth.tolist() == evidence_of_logits(LOGITS, [0, 1]).worth.tolist()
    assert not evidence_of_truth({"logits": logits, "labels": [0, 0], "labelled": False}).labelled


def test_a_truth_file_serves_without_logits() -> None:
    """How sure and whether right are enough."""
    found = evidence_of_truth({"confidence": [[0.5, 0.9]], "correct": [[False, True]], "labelled": False})

    assert found.worth.tolist() == [[0], [1]]
    assert not found.labelled


@pytest.mark.parametrize(
    ("truth", "named"),
    [
        ({"logits": np.zeros((2, 2)), "labels": [0, 0]}, r"logits: shape \(2, 2\)"),
        ({"labels": [0]}, "confidence: is missing; correct: is missing"),
    ],
)
def test_a_truth_file_that_says_too_little_is_refused(truth: dict[str, Any], named: str) -> None:
    """With what is missing."""
    with pytest.raises(BadDocument, match=named):
        evidence_of_truth(truth)
