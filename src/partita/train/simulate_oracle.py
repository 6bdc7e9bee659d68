"""What the best plans would have been, by somebody who knows the whole trace: one plan kept, or plans at their times.

Rules: the search counts steps as a fluid, a move as the steps that it costs, and looks at plans that are best
somewhere in the trace; what it finds is then played like any other training, and the better of the two is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from ..graph import Link
from ..plan import Plan, Question, move_cost, search
from .simulate_case import Case
from .simulate_moments import Moment
from .simulate_run import Fixed, Played, Policy, Scripted

Numbers = NDArray[np.float64]

# Moments whose rates and factors differ by less than this share count as one: nobody would plan anew for it.
_ALIKE = 0.08
# So many conditions, those that last longest, are planned for.
_CONDITIONS = 24


def alike(moment: Moment) -> tuple[int, ...]:
    """What moments have in common that are planned for alike."""
    link = moment.link
    values = (link.up, link.down, moment.edge, moment.cloud)
    trip = round(log(1 + link.rtt * 1e3) / _ALIKE)
    return (*(round(log(value) / _ALIKE) for value in values), trip, link.shared)


def lasting(moments: Sequence[Moment], until: float) -> list[tuple[Moment, float]]:
    """The moments that begin before `until`, and how long each lasts."""
    inside = [moment for moment in moments if moment.at < until]
    ends = [*(moment.at for moment in inside[1:]), until]
    return [(moment, end - moment.at) for moment, end in zip(inside, ends, strict=True)]


def mean_moment(moments: Sequence[Moment], until: float) -> Moment:
    """One moment in place of all: rates by time, slowness by work."""
    rows = lasting(moments, until)

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=[seconds for _, seconds in rows]))

    links = [moment.link for moment, _ in rows]
    link = Link(
        mean([link.up for link in links]),
        mean([link.down for link in links]),
        mean([link.rtt for link in links]),
        links[0].shared,
    )
    edge = 1 / mean([1 / moment.edge for moment, _ in rows])
    cloud = 1 / mean([1 / moment.cloud for moment, _ in rows])
    return Moment(0.0, link, edge, cloud)


def best_plans(case: Case, moments: Sequence[Moment], until: float) -> tuple[Plan, ...]:
    """The plans that are best under some condition of the trace, for those that last longest."""
    spans: dict[tuple[int, ...], tuple[float, Moment]] = {}
    for moment, seconds in lasting(moments, until):
        known, first = spans.get(alike(moment), (0.0, moment))
        spans[alike(moment)] = (known + seconds, first)
    longest = sorted(spans.values(), key=lambda row: -row[0])[:_CONDITIONS]
    return tuple(dict.fromkeys(best_plan(case, moment) for _, moment in longest))


def best_plan(case: Case, moment: Moment, question: Question | None = None) -> Plan:
    """The best plan under one condition, without its estimate."""
    there = case.at(moment)
    found = search(there.chain, there.profiles, moment.link, question or case.question, top=1)
    return replace(found.best, estimate=None)


def best_fixed(played: Callable[[str, Policy], Played], plans: Sequence[Plan]) -> Played:
    """The one plan that, kept from start to end, is fastest."""
    return min((played("best fixed plan", Fixed(plan)) for plan in plans), key=lambda run: run.seconds)


def oracle(
    played: Callable[[str, Policy], Played],
    case: Case,
    moments: Sequence[Moment],
    plans: Sequence[Plan],
    fixed: Played,
) -> Played:
    """Plans at their times; never slower than the best fixed plan, which it also knows."""
    run = played("oracle", Scripted(_schedule(case, moments, plans, fixed.seconds)))
    return run if run.seconds < fixed.seconds else replace(fixed, name="oracle")


def _schedule(
    case: Case, moments: Sequence[Moment], plans: Sequence[Plan], until: float
) -> list[tuple[float, Plan]]:
    """Dynamic programming over the moments: the most steps that can be done until each, by the plan in force.

    A move is made just before a moment, while things are as they were, or at it, whichever costs less.
    """
    spans = lasting(moments, until)
    paces = _paces(case, [moment for moment, _ in spans], plans)
    moves = [_moves(case, moment, plans, paces[:, at]) for at, (moment, _) in enumerate(spans)]
    done = spans[0][1] / paces[:, 0]
    chosen, early = [], []
    for at in range(1, len(spans)):
        # From each plan (rows) to each (columns), in steps.
        before = done[:, None] - moves[at - 1] / paces[:, at - 1][:, None] + spans[at][1] / paces[:, at]
        after = done[:, None] + (spans[at][1] - moves[at]) / paces[:, at]
        best = np.maximum(before, after)
        chosen.append(best.argmax(axis=0))
        early.append(before > after)
        done = best.max(axis=0)
    path = [int(done.argmax())]
    times = []
    for at in reversed(range(1, len(spans))):
        old, new = int(chosen[at - 1][path[-1]]), path[-1]
        times.append(spans[at][0].at - (moves[at - 1][old, new] if early[at - 1][old, new] else 0.0))
        path.append(old)
    return list(zip([0.0, *reversed(times)], [plans[at] for at in reversed(path)], strict=True))


def _moves(case: Case, moment: Moment, plans: Sequence[Plan], paces: Numbers) -> Numbers:
    """Seconds of a move from each plan to each at a moment: the drain, round trips, and the weights over the link."""
    link, found = moment.link, np.zeros((len(plans), len(plans)))
    for i, old in enumerate(plans):
        for j, new in enumerate(plans):
            if i != j:
                cost = move_cost(case.chain, old, new, link, case.question)
                found[i, j] = cost.seconds + 2 * link.rtt + paces[i] * (old.window + 1)
    return found


def _paces(case: Case, moments: Sequence[Moment], plans: Sequence[Plan]) -> Numbers:
    """Seconds per step of each plan at each moment; moments that are alike are reckoned once."""
    known: dict[tuple[int, ...], list[float]] = {}
    for moment in moments:
        if alike(moment) not in known:
            there = case.at(moment)
            known[alike(moment)] = [there.pace(plan, moment.link) for plan in plans]
    return np.array([known[alike(moment)] for moment in moments]).T
