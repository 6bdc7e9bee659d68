"""The policy language as JSON Schema (draft 2020-12), for editors and for other programs.

Rules: built from the words that the parser knows, so that the two cannot drift apart; what a schema cannot say (fields
that contradict each other, the network's own exits and accuracies, a key given twice) is left to the parser.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from .policy import CLOCKS, FORMAT, INFEASIBLE, MODES, MOST_RULES, OBJECTIVES
from .policy_words import KNOWN_BEFORE, SIGNS, CompareOperators, Metrics

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema(exits: int | None = None) -> dict[str, Any]:
    """The schema; with `exits` only conditions for a network with so many exits pass."""
    size = {"minItems": exits or 1} | ({"maxItems": exits} if exits else {})
    last: dict[str, Any] = {"maximum": exits - 1} if exits else {}
    index = {"type": ["integer", "null"], "minimum": 0, **last}
    slo = _object(
        {
            "deadline_ms": _positive("milliseconds from arrival"),
            "mode": {"enum": list(MODES)},
            "accuracy_floor": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "energy_budget_mj": _positive("millijoules"),
            "min_exit": index,
            "max_exit": index,
        }
    )
    settings: dict[str, Any] = {
        "exits": {"type": "array", "items": {"$ref": "#/$defs/condition"}, **size},
        "slo": {"$ref": "#/$defs/slo"},
        "bounds": {"$ref": "#/$defs/slo"},
        "objective": {"enum": list(OBJECTIVES)},
        "calibration": {"anyOf": [{"type": "null"}, _object({"max_drop": _share(), "confidence": _share()})]},
        "on_infeasible": {"enum": list(INFEASIBLE)},
    }
    either = {"not": {"required": ["slo", "bounds"]}}
    rule = _object(
        {"if": {"$ref": "#/$defs/before"}, "then": {**_object(settings), **either}}, required=["if", "then"]
    )
    tenant = _object(
        {
            "name": {"type": "string", "minLength": 1},
            "weight": _positive("against other tenants"),
            "joules_per_s": _positive("joules per second"),
        },
        required=["name"],
    )
    document = _object(
        {
            "partita": {"const": "policy"},
            "version": {"const": FORMAT},
            **settings,
            "tenant": {"anyOf": [{"type": "null"}, tenant]},
            "rules": {"type": "array", "maxItems": MOST_RULES, "items": rule},
            "clock": {"enum": list(CLOCKS)},
        }
    )
    return {
        "$schema": _DRAFT,
        "title": "Partita policy",
        "anyOf": [settings["exits"], {**document, **either}],
        "$defs": {
            "slo": slo,
            "condition": _condition("condition", tuple(Metrics)),
            "before": _condition("before", KNOWN_BEFORE),
        },
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": required} if required else {})


def _positive(what: str) -> dict[str, Any]:
    return {"type": ["number", "null"], "exclusiveMinimum": 0, "description": what}


def _share() -> dict[str, Any]:
    return {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _anycase(words: list[str]) -> dict[str, Any]:
    """One of the words, upper and lower case alike: a schema knows no case-insensitive pattern."""
    spelt = ["".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in word) for word in words]
    return {"type": "string", "pattern": f"^(?:{'|'.join(spelt)})$"}


def _operator(*ops: CompareOperators) -> dict[str, Any]:
    return _anycase([op.value for op in ops] + [sign for sign, op in SIGNS.items() if op in ops])


def _condition(name: str, metrics: tuple[Metrics, ...]) -> dict[str, Any]:
    """One condition over some metrics; joined conditions refer to themselves under their name."""
    inner = {"$ref": f"#/$defs/{name}"}
    many = {"type": "array", "minItems": 1, "items": inner}
    joined = [_object({key: many}, [key]) for key in ("and", "or")] + [_object({"not": inner}, ["not"])]
    return {
        "anyOf": [
            {"type": ["boolean", "null"]},
            *joined,
            *_comparisons(metrics),
            _object(
                {
                    "metric": _anycase([metric.value for metric in metrics]),
                    "op": {"anyOf": [{"type": "null"}, _operator(CompareOperators.NULL)]},
                    "threshold": {},
                },
                ["metric", "op"],
            ),
        ]
    }


def _comparisons(metrics: tuple[Metrics, ...]) -> list[dict[str, Any]]:
    """Comparisons of metrics, those with the same range together; a tenant is a name and not a number."""
    equality = (CompareOperators.EQUAL, CompareOperators.NOT_EQUAL)
    special = (CompareOperators.NULL, CompareOperators.BETWEEN)
    order = tuple(op for op in CompareOperators if op not in special)
    ranges: dict[tuple[float, float], list[str]] = {}
    for metric in metrics:
        if metric is not Metrics.TENANT:
            ranges.setdefault((metric.low, metric.high), []).append(metric.value)
    made = [_comparison([Metrics.TENANT.value], equality, {"type": "string", "minLength": 1})]
    for (low, high), names in ranges.items():
        number: dict[str, Any] = {"type": "number"}
        number |= {"minimum": low} if isfinite(low) else {}
        number |= {"maximum": high} if isfinite(high) else {}
        ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        made += [
            _comparison(names, order, number),
            _comparison(names, (CompareOperators.BETWEEN,), ends),
        ]
    return made


def _comparison(
    names: list[str], ops: tuple[CompareOperators, ...], threshold: dict[str, Any]
) -> dict[str, Any]:
    return _object(
        {"metric": _anycase(names), "op": _operator(*ops), "threshold": threshold},
        ["metric", "op", "threshold"],
    )
