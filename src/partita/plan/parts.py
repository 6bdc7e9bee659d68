"""The best way to lay a chain over a row of places, or over as many equal places as it takes: exact, by dynamic programming.

Rules: a row is filled in order and a place may be left out; feasibility of every span is decided before anything is
optimised; what adds up along the row is minimised with its ties in turn, what is a maximum in two passes: first the
smallest possible maximum, then the fewest parts and bytes that reach it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, Infeasible
from ..graph import Chain, Link, Profile
from .diagnose import amount
from .estimate import Pricing
from .limits import Limits
from .objective import TIE
from .place_cost import Numbers, need_energy
from .placement import Estimate, Hop, PlacedPart, Plan
from .question import Question
from .spans import Spans, Transport, spans, traffic

_NO_LIMITS = Limits()
# A span of a row: the place's index, where it starts and stops.
Chosen = list[tuple[int, int, int]]


@dataclass(frozen=True)
class _Row:
    """The places in order with their spans; `endless` says that there are as many as it takes of the only one."""

    pricing: Pricing
    spans: list[Spans]
    legal: NDArray[np.bool_]
    endless: bool
    longest: int


def search_parts(
    chain: Chain,
    profiles: Mapping[str, Profile],
    link: Link,
    question: Question | None = None,
    *,
    limits: Mapping[str, Limits] | None = None,
    transport: Transport = "chain",
    max_parts: int | None = None,
) -> Plan:
    """The best plan over a row of places in the order of `profiles`; one profile alone is supplied without end.

    The first admitted codec is used between all parts. Raises Infeasible with the span that is hardest to fit.
    """
    asked = question or Question(codecs=("raw",))
    problems = []
    if asked.mode != "infer":
        problems.append("mode: a row of places is planned for inference only")
    if max_parts is not None and max_parts < 1:
        problems.append(f"max_parts: {max_parts!r} is below 1")
    problems += [
        f"limits: {place!r} is no place with a profile" for place in limits or {} if place not in profiles
    ]
    if problems or not profiles:
        raise BadDocument("parts", problems or ["profiles: there are none"], fix="`partita plan --help`")
    pricing = Pricing.of(chain, profiles, link, asked)
    codec, option = next(iter(asked.admitted().items()))
    moved = traffic(pricing, option, transport)
    bounds = limits or {}
    for place, cost in pricing.places.items():
        if asked.objective == "energy" or bounds.get(place, _NO_LIMITS).joules is not None:
            need_energy(cost)
    table = [
        spans(pricing, cost, moved, codec, bounds.get(place, _NO_LIMITS), transport)
        for place, cost in pricing.places.items()
    ]
    legal = np.array([cut.legal for cut in chain.cuts])
    endless = len(table) == 1
    longest = min(max_parts or len(chain), len(chain)) if endless else len(table)
    row = _Row(pricing, table, legal, endless and max_parts is None, longest)
    chosen = _best(row)
    if chosen is None:
        raise _refuse(row, bounds, list(profiles))
    return _plan(row, chosen, codec, transport)


def _layers(row: _Row) -> list[int]:
    """The place of every layer of the row."""
    return [0] * row.longest if len(row.spans) == 1 else list(range(len(row.spans)))


def _best(row: _Row) -> Chosen | None:
    objective = row.pricing.question.objective
    fits = [s.ratio <= 1 for s in row.spans]
    one = [np.ones_like(s.ratio) for s in row.spans]
    seconds = [s.compute + s.travel for s in row.spans]
    wires, joules = [s.wire for s in row.spans], [s.joules for s in row.spans]
    if objective in ("memory", "throughput"):
        peak = [s.memory if objective == "memory" else np.maximum(s.compute, s.travel) for s in row.spans]
        least = smallest_maximum(
            row.legal, [np.where(f, p, np.inf) for f, p in zip(fits, peak, strict=True)], row
        )
        if not np.isfinite(least):
            return None
        fits = [f & (p <= least * (1 + TIE)) for f, p in zip(fits, peak, strict=True)]
        order = [one, wires, seconds]
    else:
        order = {
            "parts": [one, wires, seconds],
            "latency": [seconds, one, wires],
            "bytes": [wires, one, seconds],
            "energy": [joules, one, seconds],
        }[objective]
    costs = [np.array([key[i] for key in order]) for i in range(len(row.spans))]
    return _smallest_sum(row, [np.where(f, c, np.inf) for f, c in zip(fits, costs, strict=True)])


def smallest_maximum(legal: NDArray[np.bool_], values: Sequence[Numbers], row: _Row) -> float:
    """The least maximum of any way to lay the row; infinite where there is none."""
    count = len(legal) - 1
    reached = np.full(count + 1, np.inf)
    reached[0] = 0.0
    usable = np.where(legal, 0.0, np.inf)
    if row.endless:
        for b in range(1, count + 1):
            reached[b] = np.maximum(reached[:b], values[0][:b, b]).min() + usable[b]
        return float(reached[-1])
    for place in _layers(row):
        grid = np.maximum(reached[:, None], values[place])
        grid[np.tril_indices(count + 1)] = np.inf
        reached = np.minimum(reached, grid.min(axis=0) + usable)
    return float(reached[-1])


def _smallest_sum(row: _Row, costs: Sequence[Numbers]) -> Chosen | None:
    """The way with the least sums, key by key: costs are keys x a x b."""
    count = len(row.legal) - 1
    sums = np.full((costs[0].shape[0], count + 1), np.inf)
    sums[:, 0] = 0.0
    # For every end, the spans that lead there.
    ways: list[Chosen] = [[] for _ in range(count + 1)]
    if row.endless:
        for b in np.flatnonzero(row.legal)[1:]:
            at, best = _least(sums[:, :b] + costs[0][:, :b, b])
            sums[:, b] = best
            ways[b] = [*ways[at], (0, at, int(b))]
        return ways[-1] if np.isfinite(sums[0, -1]) else None
    for place in _layers(row):
        after, ways_after = sums.copy(), list(ways)
        for b in np.flatnonzero(row.legal)[1:]:
            # The last choice leaves the place out.
            options = np.concatenate((sums[:, :b] + costs[place][:, :b, b], sums[:, b : b + 1]), axis=1)
            at, best = _least(options)
            if at < b:
                after[:, b] = best
                ways_after[b] = [*ways[at], (place, at, int(b))]
        sums, ways = after, ways_after
    return ways[-1] if np.isfinite(sums[0, -1]) else None


def _least(options: Numbers) -> tuple[int, Numbers]:
    """The column that comes first by the keys in turn."""
    left = np.ones(options.shape[1], bool)
    for key in options:
        masked = np.where(left, key, np.inf)
        least = masked.min()
        left &= masked <= (least + TIE * abs(least) if np.isfinite(least) else least)
    at = int(left.argmax())
    return at, options[:, at]


def _plan(row: _Row, chosen: Chosen, codec: str, transport: Transport) -> Plan:
    pricing = row.pricing
    chain, question, names = pricing.model.chain, pricing.question, list(pricing.places)
    single = len(names) == 1
    parts = tuple(
        PlacedPart(f"{names[0]}-{i}" if single else names[place], a, b)
        for i, (place, a, b) in enumerate(chosen, 1)
    )
    plan = Plan(
        model=chain.name,
        digest=chain.digest,
        parts=parts,
        hops=tuple(Hop(codec) for _ in parts[1:]),
        window=len(parts) - 1 if question.objective == "throughput" else 0,
        batch=question.batch,
        objective=question.objective,
    )
    return replace(plan, estimate=_estimate(row, chosen, plan, transport))


def _estimate(row: _Row, chosen: Chosen, plan: Plan, transport: Transport) -> Estimate:
    """The costs of the spans chosen, summed."""
    busy: dict[str, float] = {}
    memory, joules = {}, {}
    wire = 0.0
    for (place, a, b), part in zip(chosen, plan.parts, strict=True):
        costs = row.spans[place]
        busy[f"{part.place} compute"] = float(costs.compute[a, b])
        if transport == "store" or b < plan.stages:
            busy[f"{part.place} transfer"] = float(costs.travel[a, b])
        memory[part.place] = round(float(costs.memory[a, b]))
        wire += float(costs.wire[a, b])
        if list(row.pricing.places.values())[place].joules is not None:
            joules[part.place] = float(costs.joules[a, b])
    latency = sum(busy.values())
    bottleneck = max(busy, key=lambda name: busy[name])
    return Estimate(
        seconds=max(busy[bottleneck], latency / (plan.window + 1)),
        latency=latency,
        busy=busy,
        bottleneck=bottleneck,
        bytes_up=round(wire),
        memory=memory,
        joules=joules,
    )


def _refuse(row: _Row, limits: Mapping[str, Limits], names: list[str]) -> Infeasible:
    """The smallest factor on all limits with which the row fits, and the span that asks for it."""
    least = smallest_maximum(row.legal, [s.ratio for s in row.spans], row)
    chain = row.pricing.model.chain
    hardest = [
        (float(s.ratio[a, b]), names[i], s.names[s.worst[a, b]], a, b)
        for i, s in enumerate(row.spans)
        for a, b in zip(*np.nonzero(np.isclose(s.ratio, least, rtol=TIE, atol=0.0)), strict=True)
        if a < b and row.legal[a] and row.legal[b]
    ]
    # The shortest span says most about where the trouble is.
    ratio, place, name, a, b = min(hardest, key=lambda found: found[4] - found[3])
    bound = limits[place].bounds[name]
    span = repr(chain.stages[a].name) + (f" to {chain.stages[b - 1].name!r}" if b - a > 1 else "")
    return Infeasible(
        f"no way to lay {len(chain)} stages over at most {row.longest} parts fits; the hardest to meet is {name} at "
        f"{place}: {span} takes {amount(name, bound * ratio)} of {amount(name, bound)} ({ratio:.3g}x)",
        fix=f"raise every limit that is below its need by {ratio * 1.005:.3g} times, or choose a larger platform",
    )
