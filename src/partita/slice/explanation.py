"""A plan of slices in words: one line per slice, what one request costs, and what other plans would give.

Rules: every number is one of the plan's; what was not measured is left out; other plans stand in the order in which
they meet the same wish.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import BadDocument, Infeasible
from ..graph import Chain, Profile, print_size
from .costs import Costs
from .document import Preparation, SlicePlan, Transport
from .question import SliceQuestion
from .searching import UNPREPARED, best

_TRANSPORTS: tuple[Transport, ...] = ("inline", "store", "auto")


def explain(plan: SlicePlan, chain: Chain, others: Iterable[SlicePlan] = ()) -> str:
    """The plan as text."""
    plan.check(chain)
    what = _number(plan)
    wish = "as few as fit" if plan.objective == "slices" else f"for {plan.objective}"
    lines = [f"{plan.model} on {plan.platform}: {what}, {wish}, transport {plan.transport}"]
    for index, piece in enumerate(plan.slices):
        first, last = chain.stages[piece.start].name, chain.stages[piece.stop - 1].name
        parts = [f"weights {print_size(piece.weights)}", f"memory {print_size(piece.memory)}"]
        if piece.function_memory > piece.memory:
            parts.append(f"function of {print_size(piece.function_memory)}")
        parts.append(f"event {print_size(piece.payload_in)} in, {print_size(piece.payload_out)} out")
        if piece.stored_in or piece.stored_out:
            parts.append(f"store {print_size(piece.stored_in)} in, {print_size(piece.stored_out)} out")
        if piece.seconds is not None:
            parts.append(_time(piece.seconds))
        lines.append(f"  slice {index} [{piece.start}:{piece.stop}] {first} .. {last}: {', '.join(parts)}")
        lines.append(f"    ends here: {piece.reason}")
    lines += [*_totals(plan), *(f"note: {note}" for note in plan.notes)]
    lines += [f"other: {_brief(other)}" for other in others]
    return "\n".join(lines)


def _number(plan: SlicePlan) -> str:
    return "1 slice" if len(plan.slices) == 1 else f"{len(plan.slices)} slices"


def _totals(plan: SlicePlan) -> list[str]:
    totals = plan.totals
    if totals is None:
        return []
    line = (
        f"total: {print_size(totals.payload)} between slices, largest slice {print_size(totals.largest)}, "
        f"most memory {print_size(totals.memory)}"
    )
    if totals.duplicated:
        line += f", {print_size(totals.duplicated)} of weights in more than one slice"
    for name, value in (("warm", totals.warm), ("cold", totals.cold), ("slowest slice", totals.bottleneck)):
        if value is not None:
            line += f", {name} {_time(value)}"
    if totals.dollars is not None:
        line += f", ${totals.dollars * 1e6:.4g} per million requests"
    stored = [f"through the store: {', '.join(plan.stored)}"] if plan.stored else []
    return [line, *stored]


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if 0 < seconds < 1 else f"{seconds:.3g} s"


def _brief(plan: SlicePlan) -> str:
    """One line of another plan."""
    words = f"{_number(plan)}, {plan.transport}"
    return ": ".join([words, *_totals(plan)[:1]]).replace(": total: ", ": ")


def alternatives(
    chain: Chain,
    question: SliceQuestion,
    profile: Profile | None = None,
    *,
    preparation: Preparation = UNPREPARED,
) -> tuple[SlicePlan, ...]:
    """The same wish with one slice fewer, as many, one and two more, and with every transport; the best first."""
    costs = Costs.of(chain, question, profile)
    try:
        middle = len(best(costs, preparation).slices)
    except Infeasible:
        middle = question.slices or 2
    found: dict[tuple[object, ...], SlicePlan] = {}
    for transport in _TRANSPORTS:
        for number in range(max(middle - 1, 1), middle + 3):
            try:
                other = replace(question, slices=number, transport=transport)
                plan = best(replace(costs, question=other), preparation)
            except (BadDocument, Infeasible):
                continue
            found.setdefault((plan.cuts, plan.stored), plan)
    return tuple(sorted(found.values(), key=lambda plan: _worth(plan, question)))


def _worth(plan: SlicePlan, question: SliceQuestion) -> tuple[float, ...]:
    """The same order as the search prefers, from the totals of a plan."""
    totals, number = plan.totals, float(len(plan.slices))
    if totals is None:
        raise AssertionError(plan)
    wait = totals.cold if question.cold else totals.warm
    return {
        "slices": (number, totals.payload),
        "memory": (totals.memory, totals.payload),
        "throughput": (totals.bottleneck or 0.0, number),
        "payload": (totals.payload, number),
        "latency": (wait or 0.0, totals.payload),
        "cost": (totals.dollars or 0.0, totals.warm or 0.0),
    }[question.objective]
