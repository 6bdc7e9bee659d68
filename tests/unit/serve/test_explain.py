"""What would be done with a request, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve import Bounds, Calibration, ExitCost, ExitProfile, StageTime
from partita.serve.explain import explain_request, reason_request
from partita.serve.policy_read import parse_policy
from partita.serve.policy_words import Facts

TIMES = ((8, 9.1), (8, 9.1), (12, 13.1), (12, 13.1))
WORTH = ((0.4354, 0.813, 46), (0.6803, 1.856, 99.3), (0.7675, 3.332, 176.8), (0.7657, 4.145, 243.6))
PROFILE = ExitProfile(
    "resnet50",
    tuple(ExitCost(f"e{k}", accuracy=a, flops=f * 1e9, joules=e / 1e3) for k, (a, f, e) in enumerate(WORTH)),
    tuple(StageTime({1: p50 / 1e3, 8: p50 / 500}, {1: p99 / 1e3, 8: p99 / 500}) for p50, p99 in TIMES),
)
UNTIMED = replace(PROFILE, stages=())
BARE = ExitProfile("m", (ExitCost("a"), ExitCost("b")))
CALIBRATION = Calibration(
    edges=(),
    worth=(((0.4, 0.7, 0.8, 0.8),),) * 4,
    accuracy=(0.41, 0.71, 0.81, 0.82),
    thresholds=(0.9, 0.8, 1.1, 0.0),
    stays=(0.5, 0.5, 1.0, 0.0),
    samples=1000,
    max_drop=0.01,
    confidence=0.95,
)


def reason(document: object = None, bounds: Bounds | None = None, profile: ExitProfile = PROFILE, **keywords):
    calibration = keywords.pop("calibration", None)
    return reason_request(profile, calibration, parse_policy(document or {}), bounds or Bounds(), **keywords)


def test_each_exit_has_its_time_worth_and_energy_from_the_input_on() -> None:
    verdict = reason().exits[1]

    assert (verdict.p50, verdict.p99) == pytest.approx((0.016, 0.0182))
    assert (verdict.accuracy, verdict.joules, verdict.work) == (0.6803, 0.0993, pytest.approx(0.4))


def test_without_bounds_the_most_accurate_exit_is_chosen() -> None:
    found = reason()

    assert (found.chosen, found.outcome) == (2, "answer")
    assert "no deeper exit that is allowed is more accurate" in found.why


def test_a_deadline_rules_out_what_ends_after_it_and_says_from_when_it_would_not() -> None:
    found = reason({"slo": {"deadline_ms": 20}})

    assert found.chosen == 1
    assert found.exits[2].too_deep == ("deadline 20 ms, needs 31.3 ms",)
    assert "exit 2 is ruled out by deadline 20 ms" in found.why
    assert [str(turn) for turn in found.turns] == [
        "Exit 2 becomes possible with a deadline of 31.3 ms or more, expected accuracy 0.7675."
    ]


@given(st.floats(0.001, 0.08))
def test_the_deadline_named_is_the_one_at_which_the_choice_turns(deadline: float) -> None:
    for turn in reason(bounds=Bounds(deadline=deadline)).turns:
        assert turn.deadline is not None
        assert reason(bounds=Bounds(deadline=turn.deadline)).chosen == turn.exit
        assert reason(bounds=Bounds(deadline=turn.deadline - 1e-6)).chosen != turn.exit


def test_a_soft_deadline_is_judged_by_the_median() -> None:
    found = reason({"slo": {"deadline_ms": 30, "mode": "soft"}})

    assert found.chosen == 2
    assert "28 ms (p50) of 30 ms" in found.why


def test_time_spent_waiting_counts() -> None:
    assert reason({"slo": {"deadline_ms": 20}}, around=Facts(queue_time=0.005)).chosen == 0


def test_energy_load_and_depth_rule_exits_out() -> None:
    found = reason({"slo": {"energy_budget_mj": 100, "max_exit": 2}}, load=2.0)

    assert found.chosen == 1
    assert found.exits[2].too_deep == ("energy budget 100 mJ, needs 177 mJ", "load 2, sustainable up to 1.42")
    assert "max_exit 2" in found.exits[3].too_deep
    assert "an energy budget of 177 mJ or more and a load of 1.42 or less" in str(found.turns[0])


def test_conditions_on_the_response_time_count_as_a_bound() -> None:
    slow = {"metric": "response_time", "op": ">", "threshold": 0.02}
    found = reason([slow] * 4)

    assert found.chosen == 1
    assert found.exits[2].too_deep == ("response_time 20 ms, needs 31.3 ms",)
    assert not found.turns


def test_a_condition_that_is_sure_to_hold_ends_the_request_there() -> None:
    good = {"metric": "accuracy", "op": ">", "threshold": 0.6}
    found = reason([good] * 4)

    assert found.chosen == 1
    assert found.exits[2].too_deep == ("exit 1 answers: accuracy > 0.6",)
    assert any("exits[0] never holds" in note for note in found.notes)


def test_a_condition_that_hangs_on_the_answer_is_shown_with_its_exit() -> None:
    sure = {"metric": "confidence", "op": ">", "threshold": 0.9}
    text = explain_request(PROFILE, None, parse_policy([sure, None, None, None]))

    assert "allowed; leaves here when confidence > 0.9" in text


def test_calibrated_thresholds_lower_the_expected_work_and_are_shown() -> None:
    on = {"exits": [{"metric": "margin", "op": ">", "threshold": 0.5}] * 4, "calibration": {"max_drop": 0.01}}
    found = reason(on, calibration=CALIBRATION)

    assert found.exits[3].work == pytest.approx((8 + 0.5 * 8 + 0.25 * 12 + 0.25 * 12) / 40)
    assert found.exits[0].leaves == "margin > 0.5, or confidence >= 0.9"
    assert found.exits[2].leaves == "margin > 0.5"
    assert reason(calibration=CALIBRATION).exits[3].work == 1.0
    assert (
        reason({"calibration": {"max_drop": 0.01}}, calibration=CALIBRATION).exits[0].leaves
        == "confidence >= 0.9"
    )


def test_a_fused_span_is_the_time_where_nothing_can_leave_between() -> None:
    fused = replace(PROFILE, spans={"0-2": StageTime({1: 0.020}, {1: 0.022})})

    assert reason(profile=fused).exits[2].p99 == 0.022
    assert reason([None] * 4, profile=fused).exits[2].p99 == pytest.approx(0.0313)


def test_accuracies_come_from_the_calibration_where_the_profile_has_none() -> None:
    bare = ExitProfile("m", tuple(ExitCost(f"e{k}") for k in range(4)))

    assert reason(profile=bare, calibration=CALIBRATION).exits[3].accuracy == 0.82


def test_a_calibration_of_another_network_is_refused() -> None:
    with pytest.raises(BadDocument, match="4 exits, the profile has 2"):
        reason(profile=BARE, calibration=CALIBRATION)


INFEASIBLE = {"deadline_ms": 20, "accuracy_floor": 0.7}


@pytest.mark.parametrize(
    ("what", "chosen", "outcome", "told"),
    [
        ("degrade", 1, "degraded", "Exit 1 answers, degraded"),
        ("reject", None, "reject", "The request is refused: exit 2, the first good enough"),
        ("best_effort", 2, "late", "Exit 2 answers, though not within the bounds: deadline 20 ms"),
    ],
)
def test_what_becomes_of_a_request_that_cannot_be_kept(
    what: str, chosen: int, outcome: str, told: str
) -> None:
    found = reason({"slo": INFEASIBLE, "on_infeasible": what})

    assert (found.chosen, found.outcome) == (chosen, outcome)
    assert told in found.why
    assert found.exits[1].too_poor == ("accuracy floor 0.7",)


def test_when_nothing_is_in_time_the_first_exit_answers() -> None:
    found = reason({"slo": {"deadline_ms": 1}})

    assert (found.chosen, found.outcome) == (0, "degraded")


def test_min_exit_is_named() -> None:
    assert reason({"slo": {"min_exit": 2}}).exits[0].too_poor == ("min_exit 2",)


def test_the_objective_of_energy_takes_the_first_exit_that_is_good_enough() -> None:
    found = reason({"objective": "energy", "slo": {"accuracy_floor": 0.6}})

    assert found.chosen == 1
    assert "for the objective is energy" in found.why


def test_rules_that_hold_are_told() -> None:
    low = {"if": {"metric": "battery", "op": "<", "threshold": 0.2}, "then": {"slo": {"max_exit": 0}}}
    found = reason({"rules": [low]}, around=Facts(battery=0.1))

    assert found.chosen == 0
    assert found.notes[0] == "rule 0 holds and changes the policy"


def test_a_profile_without_times_judges_load_by_computation_and_no_deadline() -> None:
    found = reason({"slo": {"deadline_ms": 1}}, profile=UNTIMED, load=2.0)

    assert found.chosen == 1
    assert found.exits[1].p99 is None
    assert found.exits[1].work == pytest.approx(1.856 / 4.145)


def test_what_is_unknown_is_called_unknown() -> None:
    text = explain_request(BARE, None, parse_policy({}), load=3.0)

    assert "1     b     unknown  unknown  unknown   unknown  unknown  CHOSEN" in text
    assert "nothing rules out the last exit" in text
    assert "Note: no accuracies are known" in text


def test_the_text_has_the_table_the_reason_the_turns_and_the_notes() -> None:
    text = explain_request(PROFILE, None, parse_policy({"slo": INFEASIBLE}))

    assert text.splitlines()[0].split() == [
        "exit",
        "name",
        "p50",
        "p99",
        "accuracy",
        "energy",
        "work",
        "verdict",
    ]
    assert "CHOSEN (degraded)" in text
    assert "Exit 2 becomes possible with a deadline of 31.3 ms or more" in text
    assert "Note: exit 3 is no more accurate than exit 2" in text


def test_a_refused_request_hears_what_it_would_take() -> None:
    found = reason({"slo": INFEASIBLE, "on_infeasible": "reject"})

    assert [turn.exit for turn in found.turns] == [2]


def test_free_stages_need_nothing() -> None:
    free = ExitProfile("m", (ExitCost("a"),), (StageTime({1: 0.0}, {1: 0.0}),))

    assert "0 ms (p99)" in reason({"slo": {"deadline_ms": 4}}, profile=free).why
