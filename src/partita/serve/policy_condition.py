"""Conditions: when an answer leaves. As Python, as JSON, as a sentence, and as closures that run in under a microsecond.

Rules: immutable; what cannot make sense (a confidence of 80, an unknown metric) is refused where it is made, all of it
at once; an unknown fact makes a comparison neither true nor false, so that `not` of the unknown does not hold either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite, isnan
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..errors import BadDocument, NotFound
from .policy_json import brief, finite, json_from, name_in
from .policy_words import SIGNS, BooleanOperators, CompareOperators, Facts, Metrics

Threshold = float | str | tuple[float, float] | None
Test = Callable[[Facts], bool | None]

FIX = "correct the fields named; docs/policies.md has every metric and operator"
# Deeper than any sensible condition, and far from Python's own recursion limit.
DEEPEST = 32

_METRICS = {metric.value: metric for metric in Metrics}
_OPERATORS = {op.value: op for op in CompareOperators} | dict(SIGNS)
_EQUALITY = (CompareOperators.EQUAL, CompareOperators.NOT_EQUAL)


@dataclass(frozen=True)
class SingleCondition:
    """One comparison: `SingleCondition(Metrics.CONFIDENCE, CompareOperators.GREATER, 0.9)`; names are taken too."""

    metric: Metrics
    op: CompareOperators
    threshold: Threshold = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name, known, kind in (("metric", _METRICS, Metrics), ("op", _OPERATORS, CompareOperators)):
            given = getattr(self, name)
            if not isinstance(given, kind):
                object.__setattr__(self, name, name_in(known, given, name, problems))
        if not problems:
            object.__setattr__(self, "threshold", _threshold(self, problems))
        if problems:
            raise BadDocument("condition", problems, fix=FIX)

    def evaluate(self, stat: Facts) -> bool:
        """Whether it holds; what is not known does not hold."""
        return compiled(self)(stat) is True

    @staticmethod
    def load_conditions_from_json(file: str | Path) -> list[Condition]:
        """The conditions of a file, one per exit."""
        path = Path(file)
        if not path.is_file():
            raise NotFound(
                f"there is no file {str(file)!r}", fix="give a JSON file with one condition per exit"
            )
        problems: list[str] = []
        document = json_from(path.read_text(encoding="utf-8"), problems)
        found = read_conditions(document, "", problems) if not problems else ()
        if problems:
            raise BadDocument(f"conditions {path.name!r}", problems, fix=FIX)
        return list(found)

    def __str__(self) -> str:
        if self.op is CompareOperators.NULL:
            return "never"
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        if isinstance(self.threshold, tuple):
            return f"{self.metric.value} between {self.threshold[0]:g} and {self.threshold[1]:g}{unit}"
        shown = repr(self.threshold) if isinstance(self.threshold, str) else f"{self.threshold:g}"
        return f"{self.metric.value} {self.op.sign} {shown}{unit}"


@dataclass(frozen=True, init=False)
class CompoundCondition:
    """Conditions joined: `CompoundCondition(BooleanOperators.AND, first, second)`; NOT takes one."""

    op: BooleanOperators
    conditions: tuple[Condition, ...]

    def __init__(self, op: BooleanOperators | str, *conditions: Condition) -> None:
        problems: list[str] = []
        if not isinstance(op, BooleanOperators):
            op = name_in({o.value: o for o in BooleanOperators}, op, "op", problems)
        problems += [
            f"conditions[{i}]: expected a condition, got {brief(inner)}"
            for i, inner in enumerate(conditions)
            if not _is_condition(inner)
        ]
        if op is BooleanOperators.NOT and len(conditions) != 1:
            problems.append(f"conditions: not takes one, got {len(conditions)}")
        if not conditions:
            problems.append("conditions: there are none")
        if problems:
            raise BadDocument("condition", problems, fix=FIX)
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "conditions", conditions)

    def evaluate(self, stat: Facts) -> bool:
        """Whether it holds; what is not known does not hold."""
        return compiled(self)(stat) is True

    def __str__(self) -> str:
        if self.op is BooleanOperators.NOT:
            return f"not ({self.conditions[0]})"
        return f" {self.op.value} ".join(
            f"({inner})" if isinstance(inner, CompoundCondition) else str(inner) for inner in self.conditions
        )


@dataclass(frozen=True)
class Always:
    """`true` or `false` in a list of conditions; null is read as false."""

    value: bool

    def evaluate(self, stat: Facts) -> bool:  # noqa: ARG002  # the same call as on every condition
        """Its value."""
        return self.value

    def __str__(self) -> str:
        return "always" if self.value else "never"


Condition = SingleCondition | CompoundCondition | Always
NEVER = Always(value=False)


def _is_condition(value: object) -> bool:
    return isinstance(value, SingleCondition | CompoundCondition | Always)


def compiled(condition: Condition) -> Test:
    """A closure: true, false, or None where it hangs on something unknown."""
    if isinstance(condition, Always):
        value = condition.value
        return lambda _: value
    if isinstance(condition, SingleCondition):
        return _compiled_single(condition)
    tests = tuple(compiled(inner) for inner in condition.conditions)
    if condition.op is BooleanOperators.NOT:
        return _inverse(tests[0])
    # `or` is settled by the first that holds, `and` by the first that does not.
    return _joined(tests, settles=condition.op is BooleanOperators.OR)


def _compiled_single(condition: SingleCondition) -> Test:
    get, holds, threshold = attrgetter(condition.metric.value), condition.op.function, condition.threshold
    if condition.op is CompareOperators.NULL:
        return lambda _: False

    def test(facts: Facts) -> bool | None:
        value = get(facts)
        if value is None or value != value:  # noqa: PLR0124  # NaN: a network that broke is not sure of anything
            return None
        return holds(value, threshold)

    return test


def _inverse(test: Test) -> Test:
    def inverse(facts: Facts) -> bool | None:
        found = test(facts)
        return None if found is None else not found

    return inverse


def _joined(tests: tuple[Test, ...], *, settles: bool) -> Test:
    def joined(facts: Facts) -> bool | None:
        unknown = False
        for test in tests:
            found = test(facts)
            if found is settles:
                return settles
            unknown = unknown or found is None
        return None if unknown else not settles

    return joined


def response_bound(condition: Condition) -> float | None:
    """The response time above which it holds whatever else is true: `response_time > 0.02` and its disguises."""
    bound = _bound(condition, negated=False)
    return bound if isfinite(bound) and bound > 0 else None


def _bound(condition: Condition, *, negated: bool) -> float:
    """Infinite where no response time makes it hold, minus infinity where it always holds."""
    match condition:
        case Always(value):
            return inf if value is negated else -inf
        case SingleCondition(Metrics.RESPONSE_TIME, op, float(threshold)):
            above = (CompareOperators.GREATER, CompareOperators.GREATER_EQ)
            below = (CompareOperators.LESS, CompareOperators.LESS_EQ)
            return threshold if op in (below if negated else above) else inf
        case CompoundCondition(op, inner):
            if op is BooleanOperators.NOT:
                return _bound(inner[0], negated=not negated)
            bounds = [_bound(one, negated=negated) for one in inner]
            return min(bounds) if (op is BooleanOperators.OR) is not negated else max(bounds)
        case _:
            return inf


def without_response_bound(condition: Condition) -> Condition:
    """What is left of it when the response time is bounded elsewhere."""
    match condition:
        case SingleCondition():
            return NEVER if response_bound(condition) is not None else condition
        case CompoundCondition(BooleanOperators.OR, inner):
            rest = [left for one in inner if (left := without_response_bound(one)) != NEVER or left is one]
            if not rest:
                return NEVER
            return rest[0] if len(rest) == 1 else CompoundCondition(BooleanOperators.OR, *rest)
        case _:
            return condition


def singles(condition: Condition) -> Iterator[SingleCondition]:
    """Every comparison in it."""
    if isinstance(condition, SingleCondition):
        yield condition
    elif isinstance(condition, CompoundCondition):
        for inner in condition.conditions:
            yield from singles(inner)


def plain(condition: Condition) -> Any:
    """As JSON; it reads back to an equal condition."""
    if isinstance(condition, Always):
        return condition.value
    if isinstance(condition, CompoundCondition):
        inner = [plain(one) for one in condition.conditions]
        return {condition.op.value: inner[0] if condition.op is BooleanOperators.NOT else inner}
    written: dict[str, Any] = {"metric": condition.metric.value, "op": condition.op.value}
    if condition.threshold is not None:
        ends = condition.threshold
        written["threshold"] = list(ends) if isinstance(ends, tuple) else ends
    return written


def read_conditions(value: Any, path: str, problems: list[str]) -> tuple[Condition, ...]:
    """A list with one condition per exit."""
    if not isinstance(value, list) or not value:
        problems.append(f"{path or '$'}: expected a list with one condition per exit, got {brief(value)}")
        return ()
    return tuple(read_condition(one, f"{path}[{i}]", problems) for i, one in enumerate(value))


def read_condition(value: Any, path: str, problems: list[str], depth: int = 0) -> Condition:
    """One condition from JSON; what is wrong is noted under its path, and NEVER comes back."""
    if value is None or isinstance(value, bool):
        return Always(bool(value))
    if not isinstance(value, dict):
        problems.append(
            f"{path}: expected a condition such as {{'metric': 'confidence', 'op': 'greater', 'threshold': 0.9}}, "
            f"got {brief(value)}"
        )
        return NEVER
    joins = [key for key in value if key in {"and", "or", "not"}]
    if not joins:
        return _read_single(value, path, problems)
    if len(value) > 1:
        problems.append(f"{path}: {joins[0]!r} stands alone, but there is also {_others(value, joins[0])}")
        return NEVER
    if depth >= DEEPEST:
        problems.append(f"{path}: conditions are nested deeper than {DEEPEST}")
        return NEVER
    (join,) = joins
    inner = [value[join]] if join == "not" else value[join]
    if not isinstance(inner, list) or not inner:
        problems.append(f"{path}.{join}: expected a list of conditions, got {brief(inner)}")
        return NEVER
    steps = (f"{path}.{join}" if join == "not" else f"{path}.{join}[{i}]" for i in range(len(inner)))
    read = [read_condition(one, step, problems, depth + 1) for one, step in zip(inner, steps, strict=True)]
    return CompoundCondition(BooleanOperators(join), *read)


def _others(value: dict[str, Any], join: str) -> str:
    return ", ".join(repr(key) for key in value if key != join)


def _read_single(value: dict[str, Any], path: str, problems: list[str]) -> Condition:
    found: list[str] = []
    for name in value:
        if name not in {"metric", "op", "threshold"}:
            name_in(dict.fromkeys(("metric", "op", "threshold", "and", "or", "not")), name, name, found)
    found += [f"{name}: is missing" for name in ("metric", "op") if name not in value]
    try:
        if "metric" in value and "op" in value:
            # A JSON null names the operator that is never true.
            op: Any = "null" if value["op"] is None else value["op"]
            single = SingleCondition(value["metric"], op, _listed(value.get("threshold")))
            if not found:
                return single
    except BadDocument as error:
        found += error.problems
    problems += [f"{path}.{problem}" for problem in found]
    return NEVER


def _listed(threshold: Any) -> Any:
    return tuple(threshold) if isinstance(threshold, list) else threshold


def _threshold(condition: SingleCondition, problems: list[str]) -> Threshold:
    """The threshold in the form that comparisons take, or a problem."""
    metric, op, given = condition.metric, condition.op, condition.threshold
    if op is CompareOperators.NULL:
        return None
    if metric is Metrics.TENANT:
        if op not in _EQUALITY:
            problems.append(f"op: a tenant is equal or not_equal, not {op.value}")
        if not isinstance(given, str) or not given:
            problems.append(f"threshold: expected the name of a tenant, got {brief(given)}")
            return None
        return given
    if op is not CompareOperators.BETWEEN:
        return _number(metric, given, "threshold", problems)
    if not isinstance(given, tuple | list) or len(given) != 2:
        problems.append(f"threshold: between takes a list of two numbers, got {brief(given)}")
        return None
    low, high = (_number(metric, end, f"threshold[{i}]", problems) for i, end in enumerate(given))
    if low > high:
        problems.append(f"threshold: {low:g} is above {high:g}, so nothing lies between")
    return low, high


def _number(metric: Metrics, given: Any, path: str, problems: list[str]) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        hint = ""
        if isinstance(given, str) and given.strip().replace(".", "", 1).isdigit():
            hint = f"; write {given.strip()} without quotes"
        problems.append(f"{path}: expected a number, got {brief(given)}{hint}")
    elif isinstance(given, float) and isnan(given):
        problems.append(f"{path}: NaN is not a number")
    elif not metric.low <= given <= metric.high or not finite(given):
        hint = ""
        if metric.high == 1 and 1 < given <= 100:
            hint = f"; did you mean {given / 100:g}?"
        ends = "from 0 to 1" if metric.high == 1 else "zero or more" if metric.low == 0 else "finite"
        problems.append(f"{path}: {brief(given)} is not {ends}, as {metric.value} is{hint}")
    else:
        return float(given)
    return 0.0
