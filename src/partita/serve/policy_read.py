"""Policies from JSON: the original's bare list of conditions, and the object form with everything else.

Rules: whatever is wrong is reported at once, with its path and the nearest that is right; null means not set; a field
that is not known is refused, so that a typing error is not silently ignored.
"""

from __future__ import annotations

from typing import Any

from ..errors import BadDocument
from .policy import (
    BOUND_FIELDS,
    CLOCKS,
    FORMAT,
    INFEASIBLE,
    MODES,
    MOST_RULES,
    OBJECTIVES,
    POLICY_FIX,
    Policy,
    Rule,
    TenantShare,
    misfits,
    policy_called,
)
from .policy_condition import NEVER, Condition, read_condition, read_conditions, singles
from .policy_json import Fields, json_from
from .policy_words import KNOWN_BEFORE
from .tables import Bounds, ExitProfile


def parse_policy(
    document: Any, *, exits: int | None = None, profile: ExitProfile | None = None, name: str = ""
) -> Policy:
    """A policy from JSON text or from what JSON becomes: a list with one condition per exit, or the object form.

    With `exits` or a `profile` it is also held against the network: the number of conditions, exits that are not there,
    an accuracy floor that no exit reaches.
    """
    problems: list[str] = []
    if isinstance(document, bytes):
        document = document.decode("utf-8", errors="replace")
    if isinstance(document, str):
        document = json_from(document, problems)
    policy = Policy(name=name)
    if not problems:
        policy = _read_policy(document, name, problems)
        problems += misfits(policy, exits, profile)
    if problems:
        raise BadDocument(policy_called(name), dict.fromkeys(problems), fix=POLICY_FIX)
    return policy


def _read_policy(document: Any, name: str, problems: list[str]) -> Policy:
    if isinstance(document, list):
        return Policy(exits=read_conditions(document, "", problems), name=name)
    read = Fields(document, "", problems)
    if read.has("partita") and read.given["partita"] != "policy":
        read.note("partita", f"this is a {read.given['partita']}, not a policy")
    version = read.given.get("version")
    if read.has("version") and (isinstance(version, bool) or version != FORMAT):
        read.note("version", f"{version!r} is not {FORMAT}; update Partita on this machine")
    settings = _read_settings(read)
    bounds = Bounds(**{name: settings.pop(name) for name, *_ in BOUND_FIELDS if name in settings})
    if read.has("clock"):
        settings["clock"] = read.word("clock", CLOCKS) or "arrival"
    if read.has("tenant") and read.given["tenant"] is not None:
        settings["tenant"] = _read_tenant(Fields(read.given["tenant"], "tenant", problems))
    if read.has("rules"):
        settings["rules"] = _read_rules(read.given["rules"], problems)
    read.close()
    return Policy(**settings, bounds=bounds, name=name)


def _read_settings(read: Fields) -> dict[str, Any]:
    """What a policy says and a rule may change."""
    settings: dict[str, Any] = {}
    if read.has("exits"):
        settings["exits"] = read_conditions(read.given["exits"], read.at("exits"), read.problems)
    if read.has("slo") and read.has("bounds"):
        read.note("bounds", "is another name of slo; give one of the two")
    for name in ("slo", "bounds"):
        if read.has(name):
            settings |= _read_bounds(Fields(read.given[name], read.at(name), read.problems))
    for name, words in (("objective", OBJECTIVES), ("on_infeasible", INFEASIBLE)):
        if read.has(name):
            settings[name] = read.word(name, words) or words[0]
    if read.has("calibration"):
        settings |= _read_calibration(read)
    return settings


def _read_calibration(read: Fields) -> dict[str, Any]:
    given = read.given["calibration"]
    if given is None:
        return {"max_drop": None}
    inner = Fields(given, read.at("calibration"), read.problems)
    settings: dict[str, Any] = {}
    if inner.has("max_drop"):
        settings["max_drop"] = inner.number("max_drop", high=1, open_=True)
    if inner.has("confidence"):
        settings["confidence"] = inner.number("confidence", high=1, open_=True) or 0.95
    inner.close()
    return settings


def _read_bounds(read: Fields) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, key, factor in BOUND_FIELDS:
        if read.has(key):
            if factor is None:
                settings[name] = read.exit(key)
            else:
                value = read.number(key, high=1 if factor == 1 else None, open_=factor != 1)
                settings[name] = None if value is None else value / factor
    if read.has("mode"):
        settings["mode"] = read.word("mode", MODES) or "firm"
    read.close()
    return settings


def _read_tenant(read: Fields) -> TenantShare:
    name = read.given.get("name")
    if not read.has("name") or not isinstance(name, str) or not name:
        read.note("name", "expected the name of the tenant")
    read.asked += ["weight", "joules_per_s"]
    weight, joules = read.number("weight", open_=True), read.number("joules_per_s", open_=True)
    read.close()
    return TenantShare(str(name), 1.0 if weight is None else weight, joules)


def _read_rules(value: Any, problems: list[str]) -> tuple[Rule, ...]:
    if not isinstance(value, list) or len(value) > MOST_RULES:
        problems.append(f"rules: expected a list of at most {MOST_RULES} rules")
        return ()
    rules = []
    for i, one in enumerate(value):
        read = Fields(one, f"rules[{i}]", problems)
        when: Condition = NEVER
        if not read.has("if"):
            read.note("if", "is missing")
        else:
            when = read_condition(read.given["if"], read.at("if"), problems)
        for single in singles(when):
            if single.metric not in KNOWN_BEFORE:
                known = ", ".join(metric.value for metric in KNOWN_BEFORE)
                read.note("if", f"{single.metric.value} is known only at an exit; a rule can see {known}")
        if not read.has("then"):
            read.note("then", "is missing")
            then = Fields({}, read.at("then"), problems)
        else:
            then = Fields(read.given["then"], read.at("then"), problems)
        settings = _read_settings(then)
        then.close()
        read.close()
        rules.append(Rule(when, tuple(sorted(settings.items(), key=lambda item: item[0]))))
    return tuple(rules)
