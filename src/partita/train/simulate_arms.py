"""The arms of every simulation: what a training would be under each of the known ways, as a plan for one link.

Rules: each arm differs from `auto` in what it may choose, and in nothing else; ours are found by the planner's search,
those of the original by its own formula over one cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import Infeasible
from ..graph import Link
from ..plan import Hop, PlacedPart, Plan, Pricing, search
from .roles import CLOUD, EDGE
from .simulate_case import Case

# The window of the original's default, and the codec of its features; its gradients travel as they are.
PAPER_WINDOW, PAPER_CODEC = 5, "int8"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train. Without a plan, `what` says why it is none here."""

    name: str
    what: str
    plan: Plan | None


def arms_of(case: Case, link: Link) -> tuple[Arm, ...]:
    """All arms on one link."""
    pricing = case.pricing(link)
    lossy = PAPER_CODEC in case.question.codecs
    raw = {"codecs_up": ("raw",), "codecs_down": ("raw",)}
    return (
        Arm("edge only", "everything at the edge", edge_only(case)),
        _cloud_only(case),
        Arm("JointDNN", "the best cut, one step after the other", _paper(pricing, 0, lossy=False)),
        Arm("paper", "K = 5, int8 for the features", _paper(pricing, PAPER_WINDOW, lossy=lossy)),
        _searched(case, link, "window only", "the best cut and K, nothing compressed", raw),
        _searched(case, link, "codecs only", "the best cut and codecs both ways, K = 0", {"window": 0}),
        _searched(case, link, "auto", "cut, K and codecs both ways, all chosen", {}),
    )


def _plan(case_or: Pricing | Case, parts: tuple[PlacedPart, ...], hop: Hop | None, window: int = 0) -> Plan:
    question = case_or.question
    chain = case_or.chain if isinstance(case_or, Case) else case_or.model.chain
    hops = () if hop is None else (hop,) * (len(parts) - 1)
    return Plan(chain.name, chain.digest, parts, hops, window, question.batch, "train")


def edge_only(case: Case) -> Plan:
    """Everything at the edge."""
    return _plan(case, (PlacedPart(EDGE, 0, len(case.chain)),), None)


def _cloud_only(case: Case) -> Arm:
    question = case.question
    kept = [
        reason
        for reason, bad in (
            ("the first stages stay at the edge", question.min_front > 0),
            ("the last stages stay at the edge", question.min_tail > 0),
            ("the labels stay at the edge", question.labels_private),
        )
        if bad
    ]
    if kept:
        return Arm("cloud only", kept[0], None)
    count = len(case.chain)
    parts = (PlacedPart(EDGE, 0, 0), PlacedPart(CLOUD, 0, count))
    return Arm("cloud only", "the inputs go up, everything runs there", _plan(case, parts, Hop()))


def one_cuts(pricing: Pricing) -> tuple[tuple[PlacedPart, ...], ...]:
    """The parts of all plans with one cut that the question allows, and the edge alone."""
    question, chain = pricing.question, pricing.model.chain
    count = len(chain)
    inside = [cut.position for cut in chain.cuts[1:-1] if cut.legal]
    found: list[tuple[PlacedPart, ...]] = [(PlacedPart(EDGE, 0, count),)]
    for at in inside:
        if question.inputs_at_cloud:
            if count - at >= question.min_tail:
                found.append((PlacedPart(CLOUD, 0, at), PlacedPart(EDGE, at, count)))
        elif at >= question.min_front and not question.labels_private and not question.min_tail:
            found.append((PlacedPart(EDGE, 0, at), PlacedPart(CLOUD, at, count)))
    return tuple(found)


def _paper(pricing: Pricing, window: int, *, lossy: bool) -> Plan:
    """The best plan of the original's formula: its one cut, its fixed window, its codec or none for the features."""
    hops = [Hop(), Hop(PAPER_CODEC)] if lossy else [Hop()]
    plans = [
        _plan(pricing, parts, hop if len(parts) > 1 else None, window if len(parts) > 1 else 0)
        for parts in one_cuts(pricing)
        for hop in hops
    ]
    return min(plans, key=lambda plan: pricing.estimate(plan, simulated=False).seconds)


def _searched(case: Case, link: Link, name: str, what: str, asked: Mapping[str, Any]) -> Arm:
    question = replace(case.question, **asked)
    try:
        best = search(case.chain, case.profiles, link, question, top=1).best
    except Infeasible as error:
        return Arm(name, error.problem, None)
    plan = edge_only(case)
    if case.question.inputs_at_cloud and case.pace(plan, link) < case.pace(best, link):
        # The search for a cloud that holds the inputs does not know of an edge that has them too.
        return Arm(name, what, plan)
    return Arm(name, what, best)
