"""The schema accepts what the parser accepts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve.policy_grammar import policy_schema
from partita.serve.policy_read import parse_policy
from partita.serve.policy_words import CompareOperators, Metrics

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = jsonschema.Draft202012Validator(policy_schema())

SURE = {"metric": "Confidence", "op": "GREATER", "threshold": 0.9}
WHOLE = {
    "partita": "policy",
    "version": 1,
    "exits": [SURE, {"and": [{"not": SURE}, {"or": [True, None]}]}],
    "slo": {"deadline_ms": 20, "mode": "firm", "accuracy_floor": 0.7, "energy_budget_mj": 5, "min_exit": 0},
    "objective": "accuracy",
    "calibration": {"max_drop": 0.01, "confidence": 0.95},
    "on_infeasible": "degrade",
    "tenant": {"name": "cam", "weight": 2, "joules_per_s": 1.5},
    "rules": [{"if": {"metric": "battery", "op": "<", "threshold": 0.2}, "then": {"objective": "energy"}}],
    "clock": "arrival",
}


def parses(document: object) -> bool:
    try:
        parse_policy(document)
    except BadDocument:
        return False
    return True


def one(**fields: object) -> list[object]:
    return [fields]


CORPUS: list[object] = [
    [], {}, 3, None, "x", True, [True], [None, False], [3], [[]], [{}], WHOLE,
    one(metric="confidence", op="<=", threshold=0.5),
    one(metric="confidence", op="between", threshold=[0.1, 0.2]),
    one(metric="confidence", op="between", threshold=[0.1]),
    one(metric="confidence", op="less", threshold=[0.1, 0.2]),
    one(metric="confidence", op="less", threshold=2),
    one(metric="confidence", op="less", threshold=True),
    one(metric="confidence", op="less"),
    one(metric="confidence", op=None),
    one(metric="confidence", op="null", threshold="whatever"),
    one(metric="nothing", op="null"),
    one(metric="slack", op="<", threshold=-3),
    one(metric="energy", op="<", threshold=-3),
    one(metric="tenant", op="<", threshold="a"),
    one(metric="tenant", op="!=", threshold="a"),
    one(metric="tenant", op="==", threshold=""),
    one(metric="tenant", op="==", threshold=4),
    one(metric="energy", op="<", threshold="3"),
    one(metric="energy", op="<", threshold=3, more=1),
    one(op="<", threshold=3),
    [{"and": [True]}], [{"and": []}], [{"and": True}], [{"not": True}], [{"not": []}],
    [{"and": [True], "or": [True]}], [{"not": {"not": SURE}}],
    {"version": 2}, {"version": True}, {"partita": "plan"}, {"unknown": 1}, {"exits": []}, {"exits": [True]},
    {"slo": {}}, {"slo": None}, {"bounds": {"max_exit": 1.0}}, {"bounds": {"max_exit": 1.5}},
    {"slo": {}, "bounds": {}}, {"slo": {"max_exit": -1}}, {"slo": {"deadline_ms": 0}}, {"slo": {"deadline_ms": None}},
    {"slo": {"accuracy_floor": 1}}, {"slo": {"accuracy_floor": 1.1}}, {"slo": {"mode": "hard"}},
    {"slo": {"deadline": 3}}, {"slo": {"deadline_ms": "3"}},
    {"objective": "energy"}, {"objective": "Energy"}, {"objective": None},
    {"calibration": None}, {"calibration": {}}, {"calibration": 0}, {"calibration": {"max_drop": 0}},
    {"calibration": {"max_drop": None}}, {"calibration": {"confidence": 1}},
    {"tenant": None}, {"tenant": {}}, {"tenant": "a"}, {"tenant": {"name": ""}}, {"tenant": {"name": "a", "weight": None}},
    {"rules": []}, {"rules": None}, {"rules": [{}]}, {"rules": [{"if": True, "then": {}}]},
    {"rules": [{"if": SURE, "then": {}}]}, {"rules": [{"if": {"not": SURE}, "then": {}}]},
    {"rules": [{"if": True, "then": {"slo": {}, "bounds": {}}}]}, {"rules": [{"if": True, "then": {"rules": []}}]},
    {"rules": [{"if": True, "then": {}}] * 33}, {"clock": "exec"}, {"clock": "wall"},
]  # fmt: skip


@pytest.mark.parametrize("document", CORPUS, ids=str)
def test_the_schema_accepts_exactly_what_the_parser_accepts(document: object) -> None:
    assert SCHEMA.is_valid(document) is parses(document)


@pytest.mark.parametrize("metric", Metrics, ids=lambda m: m.value)
def test_schema_and_parser_agree_on_every_metric_and_operator(metric: Metrics) -> None:
    for op in CompareOperators:
        for threshold in (-1, 0, 0.5, 2, [0, 1], "a", None):
            document = [{"metric": metric.value, "op": op.value, "threshold": threshold}]
            assert SCHEMA.is_valid(document) is parses(document), document


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@given(
    st.sampled_from(places(WHOLE)[1:]),
    st.sampled_from(
        [None, True, -1, 0, 0.5, 7, "x", [], {}, [0.5], {"metric": "load", "op": "<", "threshold": 1}]
    ),
)
def test_schema_and_parser_agree_wherever_a_document_is_broken(place: tuple[Any, ...], value: object) -> None:
    document: Any = copy.deepcopy(WHOLE)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    if parse_only(document):
        return
    assert SCHEMA.is_valid(document) is parses(document)


def parse_only(document: Any) -> bool:
    """Fields that contradict each other: exits beyond the conditions that are there."""
    slo = document["slo"]
    return isinstance(slo, dict) and slo.get("min_exit") == 7


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(policy_schema())


def test_with_a_number_of_exits_only_conditions_for_them_pass() -> None:
    schema = jsonschema.Draft202012Validator(policy_schema(exits=2))

    assert schema.is_valid([True, True])
    assert not schema.is_valid([True])
    assert not schema.is_valid({"slo": {"max_exit": 2}})
