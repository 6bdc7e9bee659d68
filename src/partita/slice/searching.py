"""The best slices of a chain for a platform: exact for the order its stages are in.

Rules: what must hold is decided before anything is optimised; everything travels in the events where the wish allows
it, and only what must goes through the store; the figures of a plan are those of the very tensors that it stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadDocument, Infeasible
from ..graph import Chain, Profile
from ..plan import Platform
from .costs import Costs
from .document import Preparation, Slice, SlicePlan, Totals
from .grid import Index, Numbers
from .question import SliceQuestion
from .reasons import reasons, refuse
from .room import oversized
from .rows import cheapest, fewest, smallest_maximum
from .table import Table, table
from .transport import Choice, choices

__all__ = ["best", "oversized", "score", "search", "smallest_platform"]

# How many tensors are moved between store and events once the cuts are known.
_MOST_MOVES = 48
UNPREPARED = Preparation()


@dataclass(frozen=True)
class Row:
    """Where the slices end, and how tensors travel: `at` are indices into the table's positions."""

    table: Table
    at: list[int]

    @property
    def positions(self) -> Index:
        """The ends as positions of the chain."""
        return self.table.costs.positions[self.at]


def search(
    chain: Chain,
    question: SliceQuestion,
    *,
    preparation: Preparation = UNPREPARED,
    profile: Profile | None = None,
) -> SlicePlan:
    """The best plan. Raises Infeasible with the limit, the stage and the way out where there is none."""
    return best(Costs.of(chain, question, profile), preparation)


def best(costs: Costs, preparation: Preparation = UNPREPARED) -> SlicePlan:
    """The best plan from tables that are built already."""
    question = costs.question
    most = len(costs.positions) - 1
    if question.slices is not None and question.slices > most:
        raise BadDocument(
            "slice question",
            [f"slices: {question.slices} are more than {costs.chain.name!r} can be cut into, {most}"],
            fix=f"ask for at most {most}; `partita inspect` lists where it can be cut",
        )
    row = _fewest_row(costs) if question.objective == "slices" else _best_row(costs)
    return _plan(row, preparation)


def _best_row(costs: Costs) -> Row:
    """The best of all ways to divide tensors between events and store; of equals, the one that stores least."""
    found: list[tuple[tuple[float, ...], Row]] = []
    options = choices(costs.tensors, costs.positions, costs.question)
    for choice in options:
        spans = table(costs, choice)
        at = _solve(spans)
        if at is not None:
            row = Row(spans, at)
            found.append((score(table(costs.at(row.positions), choice)), row))
    if not found:
        raise refuse(table(costs, options[-1]))
    return min(found, key=lambda pair: pair[0])[1]


def _fewest_row(costs: Costs) -> Row:
    """The fewest slices, the heaviest within the slack of the best; then what stores least; then fewest bytes.

    The more is stored, the more is allowed: the first choice as good as the last is found by halving.
    """
    options = choices(costs.tensors, costs.positions, costs.question)
    tables = {at: table(costs, options[at]) for at in sorted({0, len(options) - 1})}
    numbers = [found for spans in tables.values() if (found := fewest(spans.fits)) is not None]
    number = costs.question.slices or min(numbers, default=None)
    heaviest = [_heaviest(spans, number) for spans in tables.values()]
    if not np.isfinite(min(heaviest)):
        raise refuse(tables[len(options) - 1])
    most = min(heaviest) * (1 + costs.question.slack)
    low, high = 0, len(options) - 1
    if heaviest[0] <= most:
        high = 0
    while high - low > 1:
        middle = (low + high) // 2
        tables[middle] = table(costs, options[middle])
        low, high = (low, middle) if _heaviest(tables[middle], number) <= most else (middle, high)
    spans = tables[high]
    balance = (costs.weights / max(costs.distinct, 1.0)) ** 2
    payload = np.where(spans.fits & (costs.weights <= most), spans.moved.payload, np.inf)
    at = cheapest([payload, balance], number)
    if at is None:
        raise AssertionError(most)
    return Row(spans, at)


def _heaviest(spans: Table, number: int | None) -> float:
    """The least that the heaviest of so many slices can weigh; infinite where they do not fit."""
    return smallest_maximum(np.where(spans.fits, spans.costs.weights, np.inf), number)


def _solve(spans: Table) -> list[int] | None:
    """The best row of one table."""
    costs = spans.costs
    question, number = costs.question, costs.question.slices
    payload = spans.moved.payload
    # Where the number of slices is given, all rows have as many.
    one = [np.ones_like(costs.weights)] if number is None else []
    balance = (costs.weights / max(costs.distinct, 1.0)) ** 2
    match question.objective:
        case "memory":
            return _within(spans, spans.memory, [payload, *one], number)
        case "throughput":
            return _within(spans, spans.seconds, [*one, payload], number)
        case "payload":
            return _least(spans, [payload, *one, balance], number)
        case "latency":
            return _least(spans, [_wait(spans), payload], number)
        case _:  # cost
            return _least(spans, [_dollars(spans), spans.seconds], number)


def _wait(spans: Table) -> Numbers:
    """What one request waits for a slice."""
    return spans.seconds + spans.cold if spans.costs.question.cold else spans.seconds


def _dollars(spans: Table) -> Numbers:
    if spans.dollars is None:
        raise AssertionError(spans)
    return spans.dollars


def _within(spans: Table, peak: Numbers, keys: list[Numbers], number: int | None) -> list[int] | None:
    """First the smallest possible maximum, then the least of the keys among the rows that stay within it."""
    least = smallest_maximum(np.where(spans.fits, peak, np.inf), number)
    first = np.where(spans.fits & (peak <= least), keys[0], np.inf)
    return cheapest([first, *keys[1:]], number)


def _least(spans: Table, keys: list[Numbers], number: int | None) -> list[int] | None:
    return cheapest([np.where(spans.fits, keys[0], np.inf), *keys[1:]], number)


def _along(values: Numbers) -> Numbers:
    """What a table over the ends of the slices alone says of each slice."""
    return np.diagonal(values, 1)


def score(spans: Table) -> tuple[float, ...]:
    """How good a row is, from a table over its ends alone; the smaller the better."""
    payload, number = float(_along(spans.moved.payload).sum()), float(len(spans.costs.positions) - 1)
    match spans.costs.question.objective:
        case "slices":
            return number, payload, float(_along(spans.costs.weights).max())
        case "memory":
            return float(_along(spans.memory).max()), payload, number
        case "throughput":
            return float(_along(spans.seconds).max()), number, payload
        case "payload":
            return payload, number
        case "latency":
            return float(_along(_wait(spans)).sum()), payload
        case _:  # cost
            return float(_along(_dollars(spans)).sum()), float(_along(spans.seconds).sum())


def _refined(row: Row) -> Table:
    """With the cuts known, take back into the events what fits there and does no harm: a table over the ends alone."""
    costs = row.table.costs.at(row.positions)
    spans = table(costs, row.table.choice)
    tensors = costs.tensors
    stored = spans.choice.stored(tensors, costs.positions) & (tensors.size > 0)
    if costs.question.transport == "store" or not stored.any():
        return spans
    known = score(spans)
    for at in sorted(np.flatnonzero(stored), key=lambda i: (tensors.size[i], i))[:_MOST_MOVES]:
        crossing, always = spans.choice.crossing.copy(), spans.choice.always.copy()
        crossing[at] = always[at] = False
        other = table(costs, Choice(crossing, always))
        if np.diagonal(other.fits, 1).all() and (better := score(other)) <= known:
            spans, known = other, better
    return spans


def _plan(row: Row, preparation: Preparation) -> SlicePlan:
    """The plan as a document, with the figures of every slice."""
    spans = _refined(row)
    costs, question = spans.costs, spans.costs.question
    chain, ends = costs.chain, costs.positions
    timed = spans.compute is not None
    why = reasons(row.table, row.at)
    slices = tuple(
        Slice(
            start=int(ends[k]),
            stop=int(ends[k + 1]),
            weights=int(costs.weights[k, k + 1]),
            memory=int(np.ceil(spans.memory[k, k + 1])),
            function_memory=int(np.ceil(spans.function[k, k + 1])),
            payload_in=int(spans.moved.event_in[k, k + 1]),
            payload_out=int(spans.moved.event_out[k, k + 1]),
            stored_in=int(spans.moved.stored_in[k, k + 1]),
            stored_out=int(spans.moved.stored_out[k, k + 1]),
            seconds=None if spans.compute is None else float(spans.compute[k, k + 1]),
            cold=float(spans.cold[k, k + 1]) if timed else None,
            reason=why[k],
        )
        for k in range(len(ends) - 1)
    )
    stored = spans.choice.stored(costs.tensors, ends)
    return SlicePlan(
        model=chain.name,
        digest=chain.digest,
        stages=len(chain),
        preparation=preparation,
        platform=question.platform.name,
        objective=question.objective,
        transport=question.transport,
        batch=question.batch,
        dims=dict(question.dims),
        slices=slices,
        stored=tuple(costs.tensors.names[i] for i in np.flatnonzero(stored & costs.tensors.travels)),
        totals=_totals(spans, slices),
        notes=_notes(row.table, slices),
    )


def _totals(spans: Table, slices: tuple[Slice, ...]) -> Totals:
    weights = sum(piece.weights for piece in slices)
    timed = spans.compute is not None
    warm = float(_along(spans.seconds).sum())
    return Totals(
        payload=int(_along(spans.moved.payload).sum()),
        weights=weights,
        duplicated=weights - int(spans.costs.distinct),
        largest=max(piece.weights for piece in slices),
        memory=max(piece.memory for piece in slices),
        warm=warm if timed else None,
        cold=warm + float(_along(spans.cold).sum()) if timed else None,
        bottleneck=float(_along(spans.seconds).max()) if timed else None,
        dollars=None if spans.dollars is None else float(_along(spans.dollars).sum()),
    )


def _notes(spans: Table, slices: tuple[Slice, ...]) -> tuple[str, ...]:
    costs, notes = spans.costs, []
    if len(slices) == 1 and costs.question.slices is None and len(costs.positions) > 2:
        notes.append("one slice holds the whole model, and nothing has to cross")
    if costs.compute is None and costs.question.platform.limits.seconds is not None:
        notes.append("the time limit was not looked at, because nothing was measured")
    if costs.thinned:
        notes.append(
            f"of all places to cut, the {len(costs.positions)} where the fewest bytes cross were looked at"
        )
    return tuple(notes)


def smallest_platform(chain: Chain, question: SliceQuestion, platforms: Iterable[Platform]) -> str:
    """The name of the smallest platform that would take the model, as one asks; empty if none does."""

    def size(platform: Platform) -> tuple[float, float]:
        limits = platform.limits
        most = (limits.memory, limits.package)
        memory, package = (float("inf") if limit is None else float(limit) for limit in most)
        return memory, package

    for platform in sorted(platforms, key=size):
        transport = "auto" if question.transport == "store" else question.transport
        wish = replace(
            question, platform=platform, objective="slices", function_memory=None, transport=transport
        )
        try:
            search(chain, wish)
        except (Infeasible, BadDocument):
            continue
        return platform.name
    return ""
