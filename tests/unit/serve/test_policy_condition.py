"""Conditions: what holds, what is unknown, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, NotFound
from partita.serve.policy_condition import (
    DEEPEST,
    NEVER,
    Always,
    CompoundCondition,
    Condition,
    SingleCondition,
    compiled,
    plain,
    read_condition,
    response_bound,
    singles,
    without_response_bound,
)
from partita.serve.policy_words import BooleanOperators, CompareOperators, Facts, Metrics

SURE = SingleCondition(Metrics.CONFIDENCE, CompareOperators.GREATER, 0.9)
SLOW = SingleCondition(Metrics.RESPONSE_TIME, CompareOperators.GREATER, 0.02)
AND, OR, NOT = BooleanOperators


def read(value: object) -> tuple[Condition, list[str]]:
    problems: list[str] = []
    return read_condition(value, "$", problems), problems


shares = st.floats(0, 1)
single = st.builds(
    SingleCondition, st.just(Metrics.CONFIDENCE), st.sampled_from(["<", ">", "less_eq"]), shares
)
slow = st.builds(
    SingleCondition, st.just(Metrics.RESPONSE_TIME), st.sampled_from(["<", ">"]), st.floats(0.001, 9)
)
conditions = st.recursive(
    single | slow | st.builds(Always, st.booleans()),
    lambda inner: (
        st.builds(
            lambda op, many: CompoundCondition(op, *many),
            st.sampled_from([AND, OR]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda one: CompoundCondition(NOT, one), inner)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("op", "threshold", "value", "holds"),
    [
        ("less", 0.5, 0.4, True),
        ("less_eq", 0.5, 0.5, True),
        ("equal", 0.5, 0.5, True),
        ("greater", 0.5, 0.5, False),
        ("greater_eq", 0.5, 0.5, True),
        ("null", None, 0.5, False),
        ("not_equal", 0.5, 0.4, True),
        ("between", (0.4, 0.6), 0.5, True),
        ("between", (0.4, 0.6), 0.7, False),
    ],
)
def test_an_operator_compares_as_its_name_says(op: str, threshold: object, value: float, holds: bool) -> None:
    assert SingleCondition("CONFIDENCE", op, threshold).evaluate(Facts(confidence=value)) is holds


def test_operators_can_be_called_as_in_the_original() -> None:
    assert CompareOperators.LESS(1, 2)
    assert not CompareOperators.NULL(1, 2)


@pytest.mark.parametrize("sign", ["<", "<=", "==", "!=", ">", ">="])
def test_a_sign_is_another_spelling_of_an_operator(sign: str) -> None:
    assert SingleCondition("margin", sign, 0.5).op.sign == sign


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_is_not_known_makes_neither_a_condition_nor_its_opposite_hold(value: float | None) -> None:
    facts = Facts(confidence=value)

    assert not SURE.evaluate(facts)
    assert not CompoundCondition(NOT, SURE).evaluate(facts)


def test_and_or_and_not_join_conditions() -> None:
    sure_and_slow = Facts(confidence=0.95, response_time=0.03)
    sure = Facts(confidence=0.95, response_time=0.01)

    assert CompoundCondition(AND, SURE, SLOW).evaluate(sure_and_slow)
    assert not CompoundCondition(AND, SURE, SLOW).evaluate(sure)
    assert CompoundCondition("or", SURE, SLOW).evaluate(sure)
    assert CompoundCondition("NOT", SLOW).evaluate(sure)


def test_or_holds_when_one_side_holds_and_the_other_is_unknown() -> None:
    facts = Facts(response_time=0.03)

    assert compiled(CompoundCondition(OR, SURE, SLOW))(facts) is True
    assert compiled(CompoundCondition(AND, SURE, SLOW))(facts) is None


def test_constants_hold_always_or_never() -> None:
    assert Always(True).evaluate(Facts())
    assert compiled(NEVER)(Facts()) is False


def test_a_tenant_is_compared_by_name() -> None:
    assert SingleCondition("tenant", "==", "cam").evaluate(Facts(tenant="cam"))


@pytest.mark.parametrize(
    ("metric", "op", "threshold", "told"),
    [
        ("confidense", "greater", 0.9, "did you mean 'confidence'"),
        ("confidence", "grater", 0.9, "did you mean 'greater'"),
        ("confidence", "zzz", 0.9, "known are less"),
        (7, "less", 0.9, "metric: expected one of"),
        ("confidence", ">", 85, "did you mean 0.85"),
        ("confidence", ">", "0.9", "write 0.9 without quotes"),
        ("confidence", ">", True, "expected a number"),
        ("confidence", ">", None, "expected a number, got null"),
        ("energy", ">", -1, "zero or more"),
        ("slack", "<", float("inf"), "finite"),
        ("energy", ">", 10**400, "zero or more"),
        ("energy", ">", float("nan"), "NaN is not a number"),
        ("energy", "between", 3, "takes a list of two numbers"),
        ("energy", "between", [3, 1], "3 is above 1"),
        ("tenant", "less", "cam", "equal or not_equal"),
        ("tenant", "==", 4, "the name of a tenant"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(
    metric: object, op: str, threshold: object, told: str
) -> None:
    with pytest.raises(BadDocument, match=told):
        SingleCondition(metric, op, threshold)


def test_slack_and_temperature_may_be_negative() -> None:
    assert SingleCondition("slack", "<", -0.01).evaluate(Facts(slack=-0.02))
    assert SingleCondition("temperature", "<", -5).evaluate(Facts(temperature=-10.0))


@pytest.mark.parametrize(
    ("op", "inner", "told"),
    [
        ("nand", [SURE], "did you mean 'and'"),
        ("and", [], "there are none"),
        ("not", [SURE, SLOW], "not takes one, got 2"),
        ("or", [True], r"conditions\[0\]: expected a condition"),
    ],
)
def test_joining_refuses_what_cannot_be_joined(op: str, inner: list[Condition], told: str) -> None:
    with pytest.raises(BadDocument, match=told):
        CompoundCondition(op, *inner)


@given(conditions)
def test_a_condition_reads_back_from_its_json(condition: Condition) -> None:
    assert read(json.loads(json.dumps(plain(condition)))) == (condition, [])


@given(conditions, st.floats(0, 1), st.floats(0, 20))
def test_above_its_response_bound_a_condition_always_holds(
    condition: Condition, sure: float, more: float
) -> None:
    bound = response_bound(condition)
    if bound is not None:
        late = bound + more + 1e-9
        assert compiled(condition)(Facts(confidence=sure, response_time=late)) is True


@given(conditions, st.floats(0, 1), st.floats(0, 20))
def test_without_its_bound_a_condition_says_the_same_below_it(
    condition: Condition, sure: float, response: float
) -> None:
    bound = response_bound(condition)
    if bound is not None and response < bound:
        facts = Facts(confidence=sure, response_time=response)
        assert without_response_bound(condition).evaluate(facts) is condition.evaluate(facts)


def test_a_bound_inside_an_or_counts_and_can_be_taken_out() -> None:
    joined = CompoundCondition(OR, SURE, SLOW)

    assert response_bound(joined) == 0.02
    assert without_response_bound(joined) == SURE
    assert without_response_bound(CompoundCondition(OR, SLOW, SLOW)) == NEVER
    assert without_response_bound(CompoundCondition(OR, SURE, SURE, SLOW)) == CompoundCondition(
        OR, SURE, SURE
    )
    assert without_response_bound(NEVER) == NEVER


def test_other_metrics_bound_no_response_time() -> None:
    assert response_bound(SURE) is None
    assert response_bound(SingleCondition("response_time", "between", [0.1, 0.2])) is None


def test_json_null_reads_as_never_and_a_null_operator_never_holds() -> None:
    assert read(None) == (NEVER, [])
    found, problems = read({"metric": "energy", "op": None})
    assert not problems
    assert not found.evaluate(Facts(energy=5.0))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (4, ["$: expected a condition such as"]),
        ({"and": []}, ["$.and: expected a list"]),
        ({"or": {}}, ["$.or: expected a list"]),
        ({"not": 3}, ["$.not: expected a condition"]),
        ({"and": [True], "or": [True]}, ["$: 'and' stands alone, but there is also 'or'"]),
        ({"metric": "energy"}, ["$.op: is missing"]),
        ({}, ["$.metric: is missing", "$.op: is missing"]),
        (
            {"metric": "exitt", "op": "<", "treshold": 2},
            [
                '$.treshold: "treshold" is not known, did you mean',
                '$.metric: "exitt" is not known, did you mean',
            ],
        ),
        ({"and": [{"metric": "x", "op": "<", "threshold": 1}]}, ['$.and[0].metric: "x" is not known']),
    ],
)
def test_reading_notes_every_problem_under_its_path(value: object, told: list[str]) -> None:
    found, problems = read(value)

    assert len(problems) == len(told)
    assert all(problem.startswith(start) for problem, start in zip(problems, told, strict=True))
    assert found in {NEVER, CompoundCondition(AND, NEVER), CompoundCondition(NOT, NEVER)}


def test_a_condition_that_is_never_true_is_written_without_a_threshold() -> None:
    assert plain(SingleCondition("energy", "null", 5)) == {"metric": "energy", "op": "null"}


def test_nesting_is_bounded() -> None:
    value: object = True
    for _ in range(DEEPEST + 1):
        value = {"not": value}

    assert "nested deeper" in read(value)[1][0]


def test_every_comparison_inside_is_found() -> None:
    assert list(singles(CompoundCondition(AND, SURE, CompoundCondition(NOT, SLOW), NEVER))) == [SURE, SLOW]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (SURE, "confidence > 0.9"),
        (SLOW, "response_time > 0.02 s"),
        (SingleCondition("energy", "between", (1, 2)), "energy between 1 and 2 mJ"),
        (SingleCondition("tenant", "!=", "cam"), "tenant != 'cam'"),
        (SingleCondition("energy", "null"), "never"),
        (Always(True), "always"),
        (NEVER, "never"),
        (CompoundCondition(NOT, SURE), "not (confidence > 0.9)"),
        (
            CompoundCondition(OR, SURE, CompoundCondition(AND, SLOW, SURE)),
            "confidence > 0.9 or (response_time > 0.02 s and confidence > 0.9)",
        ),
    ],
)
def test_a_condition_reads_as_a_sentence(condition: Condition, text: str) -> None:
    assert str(condition) == text


def test_a_file_of_the_original_loads(tmp_path: Path) -> None:
    file = tmp_path / "conditions.json"
    file.write_text('[{"metric": "Response_Time", "op": "GREATER", "threshold": 0.02}, null]')

    assert SingleCondition.load_conditions_from_json(file) == [SLOW, NEVER]


@pytest.mark.parametrize("text", ["{}", "[]", "[", '[{"metric": "x", "op": "<", "threshold": 1}]'])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "conditions.json"
    file.write_text(text)

    with pytest.raises(BadDocument, match=r"conditions 'conditions\.json'"):
        SingleCondition.load_conditions_from_json(file)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SingleCondition.load_conditions_from_json(tmp_path / "nothing.json")
