"""Policies: read from JSON, hashed, held against a network, compiled, upgraded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve import Bounds, ExitCost, ExitProfile
from partita.serve.policy import Policy, upgrade
from partita.serve.policy_condition import NEVER, Always, SingleCondition
from partita.serve.policy_read import parse_policy
from partita.serve.policy_words import Facts

# As the original ships it for 20 ms.
ORIGINAL = json.dumps([{"metric": "response_time", "op": "greater", "threshold": 0.02}] * 4)
PROFILE = ExitProfile(
    "resnet50",
    tuple(
        ExitCost(f"exit{k}", accuracy=a, flops=f * 1e9, joules=e)
        for k, (a, f, e) in enumerate(
            [(0.4354, 0.813, 0.046), (0.6803, 1.856, 0.099), (0.7675, 3.332, 0.177), (0.7657, 4.145, 0.244)]
        )
    ),
)
FULL = {
    "version": 1,
    "exits": [{"or": [{"metric": "confidence", "op": ">", "threshold": 0.9}, False]}, True, None, None],
    "slo": {
        "deadline_ms": 20.7,
        "mode": "soft",
        "accuracy_floor": 0.7,
        "energy_budget_mj": 150,
        "min_exit": 0,
        "max_exit": 3.0,
    },
    "objective": "accuracy",
    "calibration": {"max_drop": 0.01, "confidence": 0.9},
    "on_infeasible": "reject",
    "tenant": {"name": "cam", "weight": 2, "joules_per_s": 1.5},
    "rules": [
        {
            "if": {"metric": "battery", "op": "less", "threshold": 0.2},
            "then": {"objective": "energy", "slo": {"accuracy_floor": None}},
        }
    ],
    "clock": "exec",
}


def refused(document: object, **keywords: object) -> tuple[str, ...]:
    with pytest.raises(BadDocument) as caught:
        parse_policy(document, **keywords)
    return caught.value.problems


def test_conditions_of_the_original_load_unchanged() -> None:
    policy = parse_policy(ORIGINAL, profile=PROFILE)

    assert policy.exits == (SingleCondition("response_time", "greater", 0.02),) * 4
    assert policy.bounds == Bounds()


def test_the_object_form_says_everything() -> None:
    policy = parse_policy(FULL, exits=4)

    assert policy.bounds == Bounds(0.0207, 0.7, 0.15, 0, 3)
    assert (policy.mode, policy.max_drop, policy.confidence, policy.clock) == ("soft", 0.01, 0.9, "exec")
    assert policy.on_infeasible == "reject"
    assert (policy.tenant.name, policy.tenant.weight, policy.tenant.joules_per_s) == ("cam", 2.0, 1.5)
    assert policy.rules[0].then == (("accuracy_floor", None), ("objective", "energy"))


@pytest.mark.parametrize("document", [FULL, json.loads(ORIGINAL), {}])
def test_a_policy_reads_back_from_its_document_with_the_same_version(document: object) -> None:
    policy = parse_policy(document)
    again = parse_policy(json.dumps(policy.document()).encode())

    assert again == policy
    assert again.version == policy.version


def test_the_version_depends_on_what_is_said_and_not_on_how() -> None:
    listed = parse_policy(ORIGINAL, name="a file")
    worded = parse_policy(
        {"exits": [{"threshold": 0.02, "op": ">", "metric": "RESPONSE_TIME"}] * 4, "objective": "accuracy"}
    )

    assert listed.version == worded.version
    assert listed.version != parse_policy({"slo": {"deadline_ms": 20}}).version
    assert len(listed.version) == 12


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_milliseconds_keep_the_version_through_any_number_of_readings(deadline: float, energy: float) -> None:
    policy = parse_policy({"slo": {"deadline_ms": deadline, "energy_budget_mj": energy}})

    assert parse_policy(policy.document()).version == policy.version


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("[", "$: is not JSON"),
        ("[" * 100_000, "$: is not JSON"),
        (" " * 2_000_000, "$: 2000000 characters are more"),
        ("9" * 5000, "$: is not JSON that can be read"),
        ('{"slo": {}, "slo": {}}', "$: the field 'slo' is given twice"),
        ("3", "$: expected an object, got 3"),
        ([], "$: expected a list with one condition per exit, got []"),
        ({"version": 2}, "version: 2 is not 1"),
        ({"version": True}, "version: True is not 1"),
        ({"partita": "plan"}, "partita: this is a plan, not a policy"),
        ({"objectiv": "energy"}, "objectiv: is not a field here, did you mean 'objective'?"),
        ({"objective": "speed"}, 'objective: "speed" is not known, known are accuracy'),
        ({"objective": "acuracy"}, "objective: \"acuracy\" is not known, did you mean 'accuracy'?"),
        ({"objective": None}, "objective: null is not known, known are accuracy, energy, latency"),
        ({"on_infeasible": "rejct"}, "on_infeasible: \"rejct\" is not known, did you mean 'reject'?"),
        ({"clock": 4}, "clock: 4 is not known, known are arrival, exec"),
        ({"slo": {}, "bounds": {}}, "bounds: is another name of slo"),
        ({"slo": {"deadline_ms": 0}}, "slo.deadline_ms: 0 is not above 0"),
        ({"bounds": {"deadline_ms": -4}}, "bounds.deadline_ms: -4 is not above 0"),
        (
            {"slo": {"deadline_ms": "20"}},
            'slo.deadline_ms: expected a number, got "20"; write 20 without quotes',
        ),
        ({"slo": {"deadline_ms": True}}, "slo.deadline_ms: expected a number, got true"),
        ('{"slo": {"deadline_ms": NaN}}', "slo.deadline_ms: NaN is not a number"),
        ('{"slo": {"deadline_ms": Infinity}}', "slo.deadline_ms: Infinity is not above 0"),
        ({"slo": {"deadline_ms": 10**400}}, "slo.deadline_ms: 1000"),
        ({"slo": {"accuracy_floor": 70}}, "slo.accuracy_floor: 70 is not from 0 to 1; did you mean 0.7?"),
        ({"slo": {"min_exit": 1.5}}, "slo.min_exit: expected the index of an exit, got 1.5"),
        ({"slo": {"min_exit": -1}}, "slo.min_exit: -1 is not 0 or more"),
        ({"slo": {"min_exit": 2, "max_exit": 1}}, "slo.min_exit: 2 is above max_exit, 1"),
        ({"slo": {"mode": "hard"}}, 'slo.mode: "hard" is not known'),
        ({"calibration": {"max_drop": 1}}, "calibration.max_drop: 1 is not between 0 and 1"),
        ({"calibration": 0}, "calibration: expected an object, got 0"),
        ({"calibration": {"drop": 0.1}}, "calibration.drop: is not a field here"),
        ({"tenant": {}}, "tenant.name: expected the name of the tenant"),
        ({"tenant": {"name": "a", "weight": 0}}, "tenant.weight: 0 is not above 0"),
        ({"rules": {}}, "rules: expected a list"),
        ({"rules": [{}] * 33}, "rules: expected a list of at most 32"),
        ({"rules": [{"if": True}]}, "rules[0].then: is missing"),
        ({"rules": [{"then": {}}]}, "rules[0].if: is missing"),
        ({"rules": [{"if": True, "then": {"clock": "exec"}}]}, "rules[0].then.clock: is not a field here"),
        (
            {"rules": [{"if": {"metric": "margin", "op": ">", "threshold": 0.1}, "then": {}}]},
            "rules[0].if: margin is known only at an exit",
        ),
        (
            {"slo": {"max_exit": 1}, "rules": [{"if": True, "then": {"slo": {"min_exit": 2}}}]},
            "rules[0].then.slo.min_exit: 2 is above max_exit, 1",
        ),
        (
            {"exits": [True, True], "rules": [{"if": True, "then": {"exits": [True]}}]},
            "rules[0].then.exits: 1 conditions for a network with 2 exits",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(document: object, told: str) -> None:
    problems = refused(document)

    assert problems[0].startswith(told)
    assert len(problems) == 1


def test_everything_wrong_is_reported_at_once() -> None:
    problems = refused(
        {
            "exits": [{"metric": "confidense", "op": "grater", "threshold": 0.5}],
            "slo": {"deadline": 5, "accuracy_floor": 0.9},
            "clok": 1,
        },
        profile=PROFILE,
    )

    starts = (
        "exits[0].metric",
        "exits[0].op",
        "slo.deadline",
        "clok",
        "exits: 1 conditions",
        "slo.accuracy_floor",
    )
    assert sorted(problem[:18] for problem in problems) == sorted(
        next(problem[:18] for problem in problems if problem.startswith(start)) for start in starts
    )


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (json.loads(ORIGINAL)[:3], "exits: 3 conditions for a network with 4 exits"),
        ({"slo": {"max_exit": 4}}, "slo.max_exit: exit 4 is not there, the last is 3"),
        (
            {"slo": {"accuracy_floor": 0.8}},
            "slo.accuracy_floor: 0.8 is above the best exit, which has 0.7675",
        ),
        (
            {"slo": {"accuracy_floor": 0.7, "max_exit": 1}},
            "slo.accuracy_floor: 0.7 is above the best exit up to max_exit 1, which has 0.6803",
        ),
    ],
)
def test_a_policy_is_held_against_the_network(document: object, told: str) -> None:
    assert refused(document, profile=PROFILE, name="p.json") == (told,)


def test_a_profile_of_another_network_is_noticed() -> None:
    assert refused({}, exits=3, profile=PROFILE) == ("exits: the network has 3, its profile 4",)


def test_a_floor_cannot_be_judged_without_accuracies() -> None:
    unknown = ExitProfile("m", (ExitCost("a"), ExitCost("b")))

    assert parse_policy({"slo": {"accuracy_floor": 0.99}}, profile=unknown).bounds.accuracy_floor == 0.99


def test_a_problem_of_the_policy_is_not_told_again_for_its_rules() -> None:
    document = {"slo": {"accuracy_floor": 0.9}, "rules": [{"if": True, "then": {"objective": "energy"}}]}

    assert len(refused(document, profile=PROFILE)) == 1


def test_null_takes_a_setting_away() -> None:
    policy = parse_policy({"slo": {"deadline_ms": None}, "calibration": None, "tenant": None})

    assert policy == Policy()


def test_upgrading_the_original_reads_its_bound_as_a_deadline() -> None:
    policy = upgrade(parse_policy(ORIGINAL))

    assert policy.bounds.deadline == 0.02
    assert policy.exits == ()
    assert policy.mode == "firm"


def test_upgrading_keeps_other_conditions_and_the_tighter_deadline() -> None:
    sure = {"metric": "confidence", "op": ">", "threshold": 0.9}
    slow = {"metric": "response_time", "op": ">", "threshold": 0.02}
    policy = upgrade(parse_policy({"exits": [{"or": [slow, sure]}, None], "slo": {"deadline_ms": 10}}))

    assert policy.exits == (SingleCondition("confidence", ">", 0.9), NEVER)
    assert policy.bounds.deadline == 0.01


@pytest.mark.parametrize("document", [[True, True], [], [None], {"slo": {"deadline_ms": 4}}])
def test_upgrading_leaves_alone_what_has_no_bound(document: object) -> None:
    policy = parse_policy(document) if document else Policy()

    assert upgrade(policy) == policy


def test_upgrading_refuses_bounds_that_are_not_one_deadline() -> None:
    slow = [{"metric": "response_time", "op": ">", "threshold": t} for t in (0.02, 0.04)]

    with pytest.raises(BadDocument, match=r"exits\[1\]: response_time > 0.04 s"):
        upgrade(parse_policy(slow))


def test_compiling_needs_to_know_the_exits() -> None:
    with pytest.raises(BadDocument, match="how many the network has"):
        Policy().compiled()


def test_compiling_refuses_another_network() -> None:
    with pytest.raises(BadDocument, match="policy 'x': exits: 1 conditions"):
        Policy(exits=(Always(True),), name="x").compiled(2)


def test_a_document_of_a_tenant_without_budget_leaves_it_out() -> None:
    policy = parse_policy({"tenant": {"name": "a"}, "clock": "exec"})

    assert policy.document() == {"version": 1, "tenant": {"name": "a", "weight": 1.0}, "clock": "exec"}


def test_rules_read_facts_of_the_world() -> None:
    decisions = parse_policy(FULL).compiled(4, PROFILE)

    assert decisions.under(Facts(battery=0.1)).policy.objective == "energy"
    assert decisions.under(Facts(battery=0.5)) is decisions
