"""Why no plan fits: the limit that is hardest to meet, by how much it is missed, where, and the smallest way out.

Rules: every plan is looked at, with the window that asks least; a single limit that could be raised is proposed
before several; figures are those of a plan that would then run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..errors import Infeasible
from ..graph import print_seconds, print_size
from .candidates import Candidates, Choice
from .limits import Limits
from .placement import Plan

Miss = tuple[str, str]
# Sizes are printed in three digits: this much more, and what is printed is enough.
_ROUNDED_UP = 1.01


@dataclass(frozen=True, slots=True)
class _Closest:
    """The plan that misses by least, and by how much it misses what."""

    ratio: float
    plan: Plan
    over: Mapping[Miss, float]


def amount(name: str, value: float) -> str:
    """A limit as people write it."""
    if name == "seconds":
        return print_seconds(float(f"{value:.3g}"))
    return f"{value:.3g}J" if name == "joules" else print_size(value)


def misses(over: Mapping[Miss, float], limits: Mapping[str, Limits]) -> str:
    """`memory at edge takes 140 MB of 100 MB (1.4x)`, the worst first."""
    words = []
    for (place, name), ratio in sorted(over.items(), key=lambda item: -item[1]):
        limit = limits[place].bounds[name]
        words.append(
            f"{name} at {place} takes {amount(name, limit * ratio)} of {amount(name, limit)} ({ratio:.3g}x)"
        )
    return ", ".join(words)


def refuse(field: Candidates) -> Infeasible:
    """The error for a question without an answer."""
    if not len(field.space.a):
        return Infeasible(
            "no pair of legal cuts keeps as many first and last stages private as asked",
            fix="lower min_front or min_tail; `partita inspect` lists the legal cuts",
        )
    closest, single = _closest(field)
    place, name = max(closest.over, key=lambda miss: closest.over[miss])
    where = _stage(field, closest.plan, place, name)
    problem = (
        f"no plan fits the limits; the hardest to meet is {name} at {place}. The closest plan, {closest.plan}, "
        f"misses: {misses(closest.over, field.limits)}; {where}"
    )
    way_out = single or closest
    raised = ", ".join(
        f"{limit} at {at} to {amount(limit, field.limits[at].bounds[limit] * ratio * _ROUNDED_UP)}"
        for (at, limit), ratio in way_out.over.items()
    )
    return Infeasible(problem, fix=f"raise {raised}: then {way_out.plan} fits")


def _closest(field: Candidates) -> tuple[_Closest, _Closest | None]:
    """The plan whose worst miss is smallest, and the one with the smallest miss among those that miss one limit."""
    index, least = np.arange(len(field.space.a)), field.windows[:1]
    best: list[tuple[float, Choice, dict[Miss, float]] | None] = [None, None]
    for up, down in product(field.ups.tolist(), field.downs.tolist()):
        _, needs = field.terms(index, np.full(1, up), np.full(1, down), least)
        ratios = field.ratios(needs, index)
        table = np.array(list(ratios.values()))
        worst, count = table.max(axis=0), (table > 1).sum(axis=0)
        for slot, values in enumerate((worst, np.where(count == 1, worst, np.inf))):
            at = int(values.argmin())
            known = best[slot]
            if np.isfinite(values[at]) and (known is None or values[at] < known[0]):
                over = {miss: float(row[at]) for miss, row in ratios.items() if row[at] > 1}
                best[slot] = (float(values[at]), Choice(at, up, down, int(least[0]), ()), over)
    closest, single = (
        None if found is None else _Closest(found[0], field.plan(found[1]), found[2]) for found in best
    )
    if closest is None:  # pragma: no cover - somebody is always closest
        raise AssertionError(field)
    return closest, single


def _stage(field: Candidates, plan: Plan, place: str, name: str) -> str:
    """The stage, or the cut, that weighs most in what is missed."""
    chain, cost = field.pricing.model.chain, field.pricing.places[place]
    if name.startswith("payload"):
        cuts = [chain.cuts[p.start if p.start else p.stop] for p in plan.parts if p.place == place]
        heaviest = max(cuts, key=lambda cut: sum(field.pricing.model.size[t.name] for t in cut.tensors))
        return (
            f"the largest message crosses cut {heaviest.position} (after {heaviest.after or 'the inputs'!r})"
        )
    weights = np.array([sum(chain.params[n] for n in stage.params) for stage in chain.stages], float)
    by_stage = {
        "memory": weights + cost.active,
        "seconds": np.diff(cost.ahead) + np.diff(cost.backward),
        "joules": np.diff(cost.ahead),
    }.get(name, weights)
    mine = [i for part in plan.parts if part.place == place for i in range(part.start, part.stop)]
    if not mine:
        return "nothing runs there: it is what a place takes that only gives or takes tensors"
    stage = max(mine, key=lambda i: by_stage[i])
    return f"the stage that weighs most there is {stage} ({chain.stages[stage].name!r})"
