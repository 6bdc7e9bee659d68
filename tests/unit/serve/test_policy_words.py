"""The words of the policy language."""

from __future__ import annotations

from dataclasses import fields

import pytest

from partita.serve.policy_words import (
    KNOWN_BEFORE,
    CompareOperators,
    Facts,
    Metrics,
    Status,
    Task,
    TaskState,
    nearest,
)


def test_the_names_of_the_original_are_kept() -> None:
    assert {"RESPONSE_TIME", "CONFIDENCE", "ACCURACY", "ENERGY", "COMPUTATION", "EXIT"} <= set(
        Metrics.__members__
    )
    assert {"LESS", "LESS_EQ", "EQUAL", "GREATER", "GREATER_EQ", "NULL"} <= set(CompareOperators.__members__)
    assert f"{TaskState.FINISHED}" == "TaskState.FINISHED"
    assert Status().exit == -1


def test_every_metric_is_a_fact() -> None:
    assert {metric.value for metric in Metrics} == {field.name for field in fields(Facts)}


def test_tasks_do_not_share_a_status() -> None:
    assert Task(None).status is not Task(None).status


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [("battery", 0, 1), ("energy", 0, float("inf")), ("slack", -float("inf"), float("inf"))],
)
def test_a_metric_knows_its_range(metric: str, low: float, high: float) -> None:
    assert (Metrics(metric).low, Metrics(metric).high) == (low, high)


def test_what_an_exit_says_is_not_known_before_the_first_stage() -> None:
    assert Metrics.CONFIDENCE not in KNOWN_BEFORE


def test_an_operator_without_a_sign_is_shown_by_name() -> None:
    assert CompareOperators.BETWEEN.sign == "between"


def test_the_nearest_word_is_suggested_and_otherwise_all() -> None:
    assert nearest("Confidense", ["confidence", "load"]) == "did you mean 'confidence'?"
    assert nearest("zzz", ["confidence", "load"]) == "known are confidence, load"
