"""Decisions: whether an answer leaves, whose bounds hold, which rules apply."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.serve import Bounds, ExitCost, ExitProfile
from partita.serve.policy import Policy
from partita.serve.policy_read import parse_policy
from partita.serve.policy_words import Facts

ACCURACIES = (0.4, 0.7, 0.8, 0.75)
PROFILE = ExitProfile(
    "m", tuple(ExitCost(f"e{k}", accuracy=a, flops=k * 1e9, joules=k / 10) for k, a in enumerate(ACCURACIES))
)
UNKNOWN = ExitProfile("m", tuple(ExitCost(f"e{k}") for k in range(4)))


def decide(document: object, profile: ExitProfile | None = PROFILE):
    return parse_policy(document).compiled(4, profile)


def slow(*seconds: float | None):
    return [s and {"metric": "response_time", "op": ">", "threshold": s} for s in seconds]


def test_an_answer_leaves_when_its_condition_holds() -> None:
    decisions = decide(slow(0.02, 0.02, 0.02, 0.02))

    assert decisions.should_exit(1, Facts(response_time=0.03))
    assert not decisions.should_exit(1, Facts(response_time=0.01))


def test_the_last_exit_always_answers() -> None:
    assert decide([None] * 4).should_exit(3, Facts())


def test_without_conditions_only_the_last_exit_answers() -> None:
    assert [decide({}).should_exit(k, Facts()) for k in range(4)] == [False, False, False, True]


def test_a_condition_on_something_unknown_is_neither_true_nor_false() -> None:
    assert decide([{"metric": "load", "op": ">", "threshold": 1}] * 4).certain(0, Facts()) is None


def test_an_exit_without_a_bound_inherits_that_of_the_exit_before() -> None:
    decisions = decide(slow(0.02, None, None, None))

    assert [decisions.limit(k) for k in range(4)] == [0.02, 0.02, None, None]


def test_an_answer_is_due_at_the_tighter_of_condition_and_deadline() -> None:
    decisions = decide({"exits": slow(0.02, 0.04, 0.04, 0.04), "slo": {"deadline_ms": 30}})

    assert [decisions.due(k) for k in range(4)] == [0.02, 0.03, 0.03, 0.03]
    assert decide({}).due(3) is None


def test_the_request_goes_before_the_tenant_and_the_tenant_before_the_policy() -> None:
    decisions = decide({"slo": {"deadline_ms": 30, "energy_budget_mj": 5, "min_exit": 1}})
    bounds = decisions.bounds(Bounds(deadline=0.01), Bounds(deadline=0.02, energy_budget=0.002))

    assert bounds == Bounds(deadline=0.01, energy_budget=0.002, min_exit=1)
    assert decisions.bounds() is decisions.policy.bounds


@pytest.mark.parametrize(
    ("request_", "policy", "kept"),
    [
        (Bounds(max_exit=0), {"min_exit": 2}, (0, 0)),
        (Bounds(min_exit=3), {"max_exit": 1}, (3, 3)),
    ],
)
def test_inherited_exits_give_way_to_those_of_the_request(request_, policy, kept) -> None:
    bounds = decide({"slo": policy}).bounds(request_)

    assert (bounds.min_exit, bounds.max_exit) == kept


def test_a_request_that_asks_for_nonsense_hears_all_of_it() -> None:
    nonsense = Bounds(deadline=-1, accuracy_floor=0.9, energy_budget=float("nan"), min_exit=3, max_exit=2)
    with pytest.raises(BadDocument) as caught:
        decide({}).bounds(nonsense)

    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "deadline",
        "energy_budget",
        "min_exit",
        "accuracy_floor",
    ]


def test_a_request_cannot_name_an_exit_that_is_not_there() -> None:
    with pytest.raises(BadDocument, match="exit 4 is not there, exits are 0 to 3"):
        decide({}, None).bounds(Bounds(max_exit=4))


def test_a_floor_that_is_no_share_is_refused_without_a_profile_too() -> None:
    with pytest.raises(BadDocument, match="a share lies between 0 and 1"):
        decide({}, None).bounds(Bounds(accuracy_floor=1.2))


@pytest.mark.parametrize(
    ("document", "profile", "depths"),
    [
        ({}, PROFILE, (0, 2)),  # exit 3 is no more accurate than exit 2
        ([None] * 4, PROFILE, (0, 3)),  # whoever writes conditions decides
        ({}, UNKNOWN, (0, 3)),
        ({}, None, (0, 3)),
        ({"slo": {"max_exit": 1}}, PROFILE, (0, 1)),
        ({"slo": {"min_exit": 3}}, PROFILE, (3, 3)),
        ({"slo": {"accuracy_floor": 0.7}}, PROFILE, (1, 2)),
        ({"slo": {"accuracy_floor": 0.7}}, UNKNOWN, (0, 3)),
        ({"objective": "energy"}, PROFILE, (0, 0)),
        ({"objective": "energy", "slo": {"accuracy_floor": 0.7}}, PROFILE, (1, 1)),
        ({"objective": "latency", "calibration": {"max_drop": 0.02}}, PROFILE, (0, 2)),
        ({"objective": "latency", "calibration": {"max_drop": 0.2}}, PROFILE, (0, 1)),
        ({"objective": "latency", "calibration": {"max_drop": 0.2}}, UNKNOWN, (0, 0)),
    ],
)
def test_the_objective_says_how_deep_is_worth_running(document, profile, depths) -> None:
    decisions = decide(document, profile)

    assert decisions.depths(decisions.bounds()) == depths


def test_a_floor_that_no_allowed_exit_keeps_ends_at_the_deepest_allowed() -> None:
    assert decide({}).depths(Bounds(accuracy_floor=0.8, max_exit=1)) == (1, 1)
    assert decide({}).depths(Bounds(accuracy_floor=0.8, min_exit=3)) == (3, 3)


def test_the_later_rule_wins_and_answers_report_the_policy_that_was_given() -> None:
    low = {"metric": "battery", "op": "<", "threshold": 0.5}
    decisions = decide(
        {
            "slo": {"deadline_ms": 9},
            "rules": [
                {"if": low, "then": {"objective": "latency", "slo": {"deadline_ms": None}}},
                {"if": {"metric": "load", "op": ">", "threshold": 2}, "then": {"objective": "energy"}},
            ],
        }
    )
    both = decisions.under(Facts(battery=0.1, load=3.0))

    assert (both.policy.objective, both.policy.bounds.deadline, both.fired) == ("energy", None, (0, 1))
    assert both.version == decisions.version
    assert decisions.under(Facts(battery=0.2, load=9.0)) is both
    assert decisions.under(Facts()) is decisions


def test_rules_can_change_the_conditions() -> None:
    decisions = decide({"rules": [{"if": True, "then": {"exits": [True] * 4}}]})

    assert decisions.under(Facts()).should_exit(0, Facts())


def test_what_the_profile_knows_is_written_into_the_facts() -> None:
    facts = Facts()
    decide({}).describe(1, facts)

    assert (facts.exit, facts.accuracy, facts.energy, facts.computation) == (1, 0.7, 100.0, 1.0)
    assert facts.predicted_energy == 200.0


@pytest.mark.parametrize("profile", [None, UNKNOWN])
def test_without_figures_only_the_exit_is_known(profile) -> None:
    facts = Facts()
    decide({}, profile).describe(2, facts)

    assert facts == Facts(exit=2)


def test_a_policy_of_no_conditions_compiles_for_any_network() -> None:
    assert Policy().compiled(7).exits == 7
