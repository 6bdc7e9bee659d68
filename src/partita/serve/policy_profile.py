"""Profiles as the original wrote them: a list of accuracy, flops and energy per exit; and the same with stage times.

Rules: numbers are taken as they are and their units said: flops in GFLOPs, energy in millijoules though the original
states none, times in milliseconds; every wrong field is reported at once; a profile without times stays without.
"""

from __future__ import annotations

from typing import Any

from ..errors import BadDocument
from ..graph import load
from .policy_json import Fields, json_from
from .tables import ExitCost, ExitProfile, StageTime

_FIX = "correct the fields named, or measure it again: partita serve profile"
_UNITS = "imported: no unit was stated, taken as millijoules"


def profile_from_original(text: str, *, name: str = "") -> ExitProfile:
    """A profile from the original's list, from the object with stage times, or as Partita writes it."""
    problems: list[str] = []
    what = f"exit profile {name!r}" if name else "exit profile"
    value = json_from(text, problems)
    if isinstance(value, dict) and "partita" in value:
        return load(ExitProfile, text, name=name)
    if isinstance(value, list):
        value = {"exits": value}
    read = Fields(value, "", problems) if not problems else Fields({}, "", [])
    profile = None if problems else _read(read, name)
    if profile is None or problems:
        raise BadDocument(what, problems, fix=_FIX)
    return profile


def profile_notes(profile: ExitProfile) -> tuple[str, ...]:
    """What a user should know of a profile before relying on it."""
    notes = []
    for k in profile.dominated:
        best = max(
            (j for j in range(k) if profile.exits[j].accuracy is not None),
            key=lambda j: profile.exits[j].accuracy or 0.0,
        )
        here, there = profile.exits[k], profile.exits[best]
        notes.append(
            f"exit {k} is no more accurate than exit {best} ({here.accuracy:g} against {there.accuracy:g}) and costs "
            f"{_more(here, there)}: it is not worth running"
        )
    if not profile.timed:
        notes.append("no stage times were measured: they are learned while requests run")
    if all(cost.accuracy is None for cost in profile.exits):
        notes.append("no accuracies are known: an accuracy floor cannot be judged")
    return tuple(notes)


def _more(here: ExitCost, there: ExitCost) -> str:
    if here.joules and there.joules:
        return f"{here.joules / there.joules - 1:.0%} more energy"
    if here.flops and there.flops:
        return f"{here.flops / there.flops - 1:.0%} more computation"
    return "more"


def _read(read: Fields, name: str) -> ExitProfile | None:
    # `version` is the file's own, and says nothing of the model.
    read.asked += ["version", "model", "device", "model_hash", "spans", "samples"]
    texts = {}
    for key in ("model", "device", "model_hash"):
        given = read.given.get(key, "")
        if not isinstance(given, str):
            read.note(key, "expected a text")
        texts[key] = given
    rows = read.given.get("exits")
    if not read.has("exits") or not isinstance(rows, list) or not rows:
        read.note("exits", "expected a list with one object per exit")
        rows = []
    samples = read.number("samples")
    costs, stages = [], []
    for k, row in enumerate(rows):
        inner = Fields(row, f"exits[{k}]", read.problems)
        costs.append(_cost(inner, k))
        stages.append(_times(inner, "stage_ms"))
        inner.close()
    timed = [k for k, stage in enumerate(stages) if stage is not None]
    if timed and len(timed) < len(rows):
        read.note("exits", f"stage_ms is given for {len(timed)} of {len(rows)} exits; give all or none")
    spans = _spans(read, len(rows))
    read.close()
    if read.problems:
        return None
    return ExitProfile(
        model=texts["model"] or name,
        exits=tuple(costs),
        stages=tuple(stage for stage in stages if stage is not None),
        spans=spans,
        digest=texts["model_hash"],
        device=texts["device"],
        samples=int(samples or 0),
        energy_source=_UNITS if any(cost.joules is not None for cost in costs) else "",
        source="imported from a profile of the original's form",
    )


def _cost(read: Fields, k: int) -> ExitCost:
    read.asked += ["name", "accuracy", "accuracy_ci", "flops", "energy"]
    name = read.given.get("name", f"exit{k}")
    if not isinstance(name, str):
        read.note("name", "expected a text")
    flops, joules = read.number("flops"), read.number("energy")
    low, high = _interval(read)
    return ExitCost(
        name=str(name),
        accuracy=read.number("accuracy", high=1),
        accuracy_low=low,
        accuracy_high=high,
        flops=None if flops is None else flops * 1e9,
        joules=None if joules is None else joules / 1e3,
    )


def _interval(read: Fields) -> tuple[float | None, float | None]:
    given = read.given.get("accuracy_ci")
    if given is None:
        return None, None
    if not isinstance(given, list) or len(given) != 2:
        read.note("accuracy_ci", "expected a list of two shares, low and high")
        return None, None
    ends = Fields({"low": given[0], "high": given[1]}, read.at("accuracy_ci"), read.problems)
    return ends.number("low", high=1), ends.number("high", high=1)


def _spans(read: Fields, exits: int) -> dict[str, StageTime]:
    if read.given.get("spans") is None:
        return {}
    spans: dict[str, StageTime] = {}
    given = Fields(read.given["spans"], "spans", read.problems)
    for name in given.given:
        first, _, last = name.partition("-")
        if not (first.isdecimal() and last.isdecimal() and int(first) < int(last) < exits):
            given.note(name, f"expected first-last, such as 0-{max(exits - 1, 1)}")
        elif (time := _times(given, name)) is not None:
            spans[name] = time
    return spans


def _times(read: Fields, name: str) -> StageTime | None:
    """`{"1": {"p50": 2.1, "p99": 3.4}}`: milliseconds by batch size."""
    if not read.has(name) or read.given[name] is None:
        return None
    before = len(read.problems)
    table: dict[str, dict[int, float]] = {"p50": {}, "p99": {}}
    batches = Fields(read.given[name], read.at(name), read.problems)
    if not batches.given and before == len(read.problems):
        read.note(name, "no batch size was measured")
    for batch, row in batches.given.items():
        if not batch.isdecimal() or int(batch) < 1:
            batches.note(batch, "expected a batch size")
            continue
        inner = Fields(row, batches.at(batch), read.problems)
        for key, found in table.items():
            value: Any = inner.number(key)
            if not inner.has(key) or value is None:
                inner.note(key, "expected milliseconds")
            else:
                found[int(batch)] = value / 1e3
        inner.close()
    return StageTime(**table) if len(read.problems) == before else None
