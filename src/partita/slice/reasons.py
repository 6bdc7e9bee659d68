"""Why a plan is as it is, in words: which limit or wish ended each slice, and why there is no plan at all.

Rules: a sentence names the limit, the stage, what it would take and what there is; a limit is only named where no
longer slice could have kept it; the way out is one that was tried or that changes the very limit named.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..errors import Infeasible
from ..graph import print_seconds
from .costs import Costs
from .question import ACTIVATIONS, SliceQuestion
from .rows import cheapest, counts, fewest, smallest_maximum
from .table import Limit, Table

_END = "the model ends here"
_PAYLOAD = ("payload_in", "payload_out", "event")


def amount(name: str, value: float) -> str:
    """A value of a limit, exact enough to tell 251.3 MB from 250 MB."""
    if name == "seconds":
        return print_seconds(float(f"{value:.4g}"))
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:g} B"


def reasons(table: Table, row: list[int]) -> tuple[str, ...]:
    """One sentence for every slice of a row of positions."""
    wish = _wish(table, len(row) - 1)
    side = len(table.costs.positions)
    words = []
    for a, b in pairwise(row):
        if b == side - 1:
            words.append(_END)
        elif table.fits[a, b + 1 :].any():
            words.append(wish)
        else:
            words.append(_forced(table, a, b))
    return tuple(words)


def _forced(table: Table, a: int, b: int) -> str:
    """The limit that a longer slice would break: one that grows with it where there is one."""
    costs = table.costs
    stage = costs.chain.stages[int(costs.positions[b])].name
    broken = [limit for limit in table.limits if not limit.kept[a, b + 1]]
    limit = min(broken, key=lambda each: each.name in _PAYLOAD)
    value = amount(limit.name, limit.taken(a, b + 1))
    return f"{limit.name}: with {stage!r} it would be {value} of {amount(limit.name, limit.bound)}"


def _wish(table: Table, number: int) -> str:
    question = table.costs.question
    slices = f"{number} slices"
    match question.objective:
        case "slices":
            return f"fewest bytes cross here of the places that keep {slices} balanced"
        case "memory":
            return "cutting here keeps the memory of the largest slice smallest"
        case "payload":
            return "fewest bytes cross here"
        case "latency":
            return f"a {'cold' if question.cold else 'warm'} request is fastest when cut here"
        case "cost":
            return "a request is cheapest when cut here"
        case _:  # throughput
            return "cutting here keeps the slowest slice fastest"


def refuse(table: Table) -> Infeasible:
    """The error for a question without an answer."""
    question = table.costs.question
    model, place = repr(table.costs.chain.name), question.platform.name
    least = fewest(table.fits)
    wanted = None if least is None else question.slices
    a, b, limit = _closest(table, wanted)
    what = f"{_what(table, limit, a, b)} ({limit.ratio[a, b]:.3g}x)"
    if least is None or wanted is None:
        return Infeasible(f"no slices of {model} fit {place}: {what}", fix=_way_out(table.costs, limit, a, b))
    possible = [least] if wanted < least else counts(table.fits, wanted)
    number = min(possible, key=lambda n: (abs(n - wanted), n))
    return Infeasible(
        f"{wanted} slices of {model} do not fit {place}: at best, {what}",
        fix=f"use --slices {number}, the nearest number that fits",
    )


def _closest(table: Table, number: int | None) -> tuple[int, int, Limit]:
    """The span and the limit that keep the row that misses by least from fitting."""
    ratios = np.array([limit.ratio for limit in table.limits])
    worst = np.where(table.valid, ratios.max(axis=0), np.inf)
    least = smallest_maximum(worst, number)
    row = cheapest([np.where(worst <= least, 1.0, np.inf)], number)
    if row is None:  # pragma: no cover - every row misses by something
        raise AssertionError(number)
    a, b = max(pairwise(row), key=lambda span: worst[span])
    return a, b, table.limits[int(ratios[:, a, b].argmax())]


def _what(table: Table, limit: Limit, a: int, b: int) -> str:
    """What breaks a limit: `'fc6' takes 521 MB of 262 MB package`."""
    costs = table.costs
    chain = costs.chain
    start, stop = int(costs.positions[a]), int(costs.positions[b])
    first, last = chain.stages[start].name, chain.stages[stop - 1].name
    value, most = amount(limit.name, limit.taken(a, b)), amount(limit.name, limit.bound)
    if limit.name in _PAYLOAD:
        flow = table.moved
        out = limit.name != "payload_in" and (
            limit.name == "payload_out" or bool(flow.event_out[a, b] > flow.event_in[a, b])
        )
        where = f"after {last!r}" if out else f"before {first!r}"
        return f"the event {where} holds {value} of {most} {limit.name}{_heaviest(table, b if out else a)}"
    who = f"{first!r} alone" if stop - start == 1 else f"the slice from {first!r} to {last!r}"
    if limit.name == "memory":
        weights, active = costs.weights[a, b], costs.active[a, b]
        events = table.moved.event_in[a, b] + table.moved.event_out[a, b]
        return (
            f"{who} takes {value} of {most} memory "
            f"(weights {amount('', weights)}, activations {amount('', active)}, "
            f"events {amount('', events)})"
        )
    return f"{who} takes {value} of {most} {limit.name}"


def _heaviest(table: Table, at: int) -> str:
    """The largest tensor in an event."""
    tensors, position = table.costs.tensors, int(table.costs.positions[at])
    there = (tensors.made < position) & (tensors.last >= position)
    size = np.where(there & ~table.choice.always, tensors.size, 0.0)
    heaviest = int(size.argmax())
    return f", most of all {tensors.names[heaviest]!r} with {amount('', size[heaviest])}"


def _way_out(costs: Costs, limit: Limit, a: int, b: int) -> str:
    question, place = costs.question, costs.question.platform.name
    if limit.name in _PAYLOAD:
        return _carry(question)
    if limit.name == "seconds":
        return f"choose a place that is faster than {place} or allows more time, or a smaller batch"
    if limit.name == "memory" and question.function_memory is not None:
        return f"order larger functions: at least {amount('', float(np.ceil(limit.taken(a, b))))} each"
    weights = question.weight_copies * costs.weights[a, b]
    if limit.name == "memory" and ACTIVATIONS * costs.active[a, b] > weights:
        return f"choose a smaller batch or smaller dims, or a place with more memory than {place}"
    return f"divide it into pieces, or choose a place with more {limit.name} than {place}"


def _carry(question: SliceQuestion) -> str:
    place = question.platform.name
    if question.platform.has_store and question.transport == "inline":
        return "let large tensors travel through the store: --transport auto"
    return f"choose a smaller batch or smaller dims, or a place with a larger payload than {place}"
