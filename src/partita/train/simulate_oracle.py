"""What the best plans would have been, by somebody who knows the whole trace: one plan kept, or plans at their times.

Rules: the search counts steps as a fluid, a move as the steps that it costs, and looks at plans that are best
somewhere in the trace; what it finds is then played like any other training, and the better of the two is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

import numpy as np

from ..graph import Link
from ..plan import Plan, Question, move_cost, search
from .simulate_case import Case
from .simulate_moments import Moment
from .simulate_run import Fixed, Played, Policy, Scripted

# Moments whose rates and factors differ by less than this share count as one: nobody would plan anew for it.
_ALIKE = 0.08
# So many conditions, those that last longest, are planned for.
_CONDITIONS = 24
_NOMINAL = Link(1e9, 1e9)


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
    """Dynamic programming over the moments: the most steps that can be done until each, by the plan in force."""
    spans = lasting(moments, until)
    paces = _paces(case, [moment for moment, _ in spans], plans)
    up, down = _bytes(case, plans)
    done = np.zeros(len(plans))
    chosen = []
    for at, (moment, seconds) in enumerate(spans):
        pace = paces[:, at]
        # From each plan (rows) to each (columns): one step's latency for the drain, then the weights over the link.
        move = (up * 8 / moment.link.up + down * 8 / moment.link.down) + 2 * moment.link.rtt
        move += np.array([pace[i] * (plan.window + 1) for i, plan in enumerate(plans)])[:, None]
        np.fill_diagonal(move, 0.0)
        if not at:
            move[:] = 0.0
        total = done[:, None] + (seconds - move) / pace[None, :]
        chosen.append(total.argmax(axis=0))
        done = total.max(axis=0)
    path = [int(done.argmax())]
    for row in reversed(chosen[1:]):
        path.append(int(row[path[-1]]))
    path.reverse()
    return [(moment.at, plans[at]) for (moment, _), at in zip(spans, path, strict=True)]


def _paces(case: Case, moments: Sequence[Moment], plans: Sequence[Plan]) -> np.ndarray:
    """Seconds per step of each plan at each moment; moments that are alike are reckoned once."""
    known: dict[tuple[int, ...], list[float]] = {}
    for moment in moments:
        if alike(moment) not in known:
            there = case.at(moment)
            known[alike(moment)] = [there.pace(plan, moment.link) for plan in plans]
    return np.array([known[alike(moment)] for moment in moments]).T


def _bytes(case: Case, plans: Sequence[Plan]) -> tuple[np.ndarray, np.ndarray]:
    moves = [[move_cost(case.chain, old, new, _NOMINAL, case.question) for new in plans] for old in plans]
    up = np.array([[move.bytes_up for move in row] for row in moves], dtype=float)
    down = np.array([[move.bytes_down for move in row] for row in moves], dtype=float)
    return up, down
