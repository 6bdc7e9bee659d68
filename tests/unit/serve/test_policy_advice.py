"""Notes on policies that no device here can keep."""

from __future__ import annotations

import pytest

from partita.serve import Calibration, ExitCost, ExitProfile, StageTime
from partita.serve.policy_advice import policy_notes
from partita.serve.policy_read import parse_policy

STAGE = StageTime({1: 0.010}, {1: 0.012})
PROFILE = ExitProfile(
    "m", (ExitCost("a", accuracy=0.5, joules=0.1), ExitCost("b", accuracy=0.8, joules=0.2)), (STAGE, STAGE)
)
BARE = ExitProfile("m", (ExitCost("a"), ExitCost("b")))


def calibration(**changes: object) -> Calibration:
    worth = (((0.5, 0.8),),) * 2
    fields = {
        "edges": (),
        "worth": worth,
        "accuracy": (0.5, 0.8),
        "thresholds": (0.9, 0.0),
        "stays": (0.4, 0.0),
    }
    return Calibration(**{**fields, "samples": 100, "max_drop": 0.01, "confidence": 0.95, **changes})


@pytest.mark.parametrize(
    ("document", "profile", "told"),
    [
        (
            {"exits": [{"metric": "accuracy", "op": ">", "threshold": 0.6}, None]},
            PROFILE,
            "exits[0] never holds on this",
        ),
        (
            {"slo": {"deadline_ms": 5}},
            PROFILE,
            "slo.deadline_ms: 5 ms are less than exit 0 takes, 12 ms (p99)",
        ),
        (
            {"slo": {"deadline_ms": 20, "min_exit": 1}},
            PROFILE,
            "slo.deadline_ms: 20 ms are less than exit 1 takes, 24 ms",
        ),
        (
            {"slo": {"energy_budget_mj": 5}},
            PROFILE,
            "slo.energy_budget_mj: 5 mJ are less than exit 0 takes, 100 mJ",
        ),
        ({"slo": {"energy_budget_mj": 5}}, BARE, "slo.energy_budget_mj cannot be judged"),
        ({"slo": {"accuracy_floor": 0.5}}, BARE, "slo.accuracy_floor cannot be judged"),
        ({"calibration": {"max_drop": 0.01}}, PROFILE, "calibration.max_drop has no effect"),
    ],
)
def test_what_cannot_work_here_is_told(document: object, profile: ExitProfile, told: str) -> None:
    (note,) = policy_notes(parse_policy(document), profile)

    assert note.startswith(told)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [None, None],
        [{"metric": "confidence", "op": ">", "threshold": 0.5}, None],
        {"slo": {"deadline_ms": 30}},
    ],
)
def test_a_policy_that_fits_needs_no_note(document: object) -> None:
    assert policy_notes(parse_policy(document), PROFILE) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_drop": None}, "calibration.max_drop has no effect"),
        ({"max_drop": 0.05}, "calibration.max_drop: 0.01 is asked for, the calibration allows 0.05"),
        ({"labelled": False}, "the calibration knows no labels"),
    ],
)
def test_a_calibration_that_does_not_give_what_is_asked_is_told(
    changes: dict[str, object], told: str
) -> None:
    (note,) = policy_notes(parse_policy({"calibration": {"max_drop": 0.01}}), PROFILE, calibration(**changes))

    assert note.startswith(told)


def test_a_calibration_that_fits_needs_no_note() -> None:
    assert policy_notes(parse_policy({"calibration": {"max_drop": 0.01}}), PROFILE, calibration()) == ()
