"""The known ways to train across a cut, each as a plan of the one engine: what a comparison runs, and why each is there.

Rules: an arm differs from `auto` in what it may choose and in nothing else; what an arm may choose it chooses as well
as the planner can, so that it loses for its idea and not for its tuning; an arm that the settings forbid is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Unpack

from ..errors import BadDocument, Infeasible
from ..graph import Chain, Link, Profile
from ..plan import Hop, PlacedPart, Plan, Pricing, Question, search
from .planner import Facts, question_of
from .roles import CLOUD, EDGE
from .settings import Settings

# What the original paper's code does by default: five steps under way, bytes going up, full precision coming down.
PAPER_WINDOW: Final = 5
_PAPER_CODEC: Final = "int8"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: its name, what it may choose, and the plan that comes of it."""

    name: str
    what: str
    plan: Plan


def arms_of(
    chain: Chain, profiles: Mapping[str, Profile], link: Link, settings: Settings, **facts: Unpack[Facts]
) -> tuple[Arm, ...]:
    """All arms on one link, `auto` last."""
    return arms_asked(chain, profiles, link, question_of(settings, **facts))


def arms_asked(chain: Chain, profiles: Mapping[str, Profile], link: Link, asked: Question) -> tuple[Arm, ...]:
    """The same for a question as it is; `auto` is what it allows."""
    places = {EDGE: profiles[EDGE], CLOUD: profiles[CLOUD]}
    pricing = Pricing.of(chain, places, link, asked)
    raw = replace(asked, codecs_up=("raw",), codecs_down=("raw",))
    # Features are compressed or not, whichever way they go; gradients never are.
    both, paper = ("raw", _PAPER_CODEC), replace(raw, window=PAPER_WINDOW)
    paper = replace(paper, codecs_down=both) if asked.inputs_at_cloud else replace(paper, codecs_up=both)
    searched = (
        ("JointDNN", "the best cut, one step after the other, nothing compressed", replace(raw, window=0)),
        (
            "paper",
            f"the best cut, K = {PAPER_WINDOW}, {_PAPER_CODEC} or raw for features, raw for gradients",
            paper,
        ),
        ("window only", "the best cut and K, nothing compressed", raw),
        (
            "codecs only",
            "the best cut and codecs both ways, one step after the other",
            replace(asked, window=0),
        ),
        ("auto", "cut, K and codecs both ways", asked),
    )
    found = _fixed(chain, pricing)
    for name, what, question in searched:
        try:
            found.append(Arm(name, what, search(chain, places, link, question, top=1).best))
        except (Infeasible, BadDocument):
            continue  # forbidden by the settings, or with a codec that nobody measured
    return tuple(found)


def _fixed(chain: Chain, pricing: Pricing) -> list[Arm]:
    """The arms that choose nothing."""
    count, question = len(chain), pricing.question
    found = [Arm("edge only", "the original model, at the edge", _plan(pricing, count))]
    if question.inputs_at_cloud:
        return found  # the other two give the inputs from the edge
    if not (question.min_front or question.min_tail):
        found.append(Arm("cloud only", "the inputs go up, and the whole model is there", _plan(pricing, 0)))
    middle = _middle(chain, question)
    if middle is not None:
        what = "a cut in the middle, one step after the other, nothing compressed"
        found.append(Arm("vanilla split", what, _plan(pricing, middle)))
    return found


def _middle(chain: Chain, question: Question) -> int | None:
    """The position nearest the middle at which a training can be cut."""
    fine = [
        cut.position
        for cut in chain.cuts[1:-1]
        if question.cuttable(cut)
        and cut.position >= question.min_front
        and len(chain) - cut.position >= question.min_tail
        and set(cut.shared) <= question.constant
    ]
    return min(fine, key=lambda at: (abs(2 * at - len(chain)), at), default=None)


def _plan(pricing: Pricing, at: int) -> Plan:
    """So many stages at the edge and the rest in the cloud; the loss stays with the labels if they are private."""
    chain, question = pricing.model.chain, pricing.question
    count = len(chain)
    parts = [PlacedPart(EDGE, 0, at)]
    if at < count:
        parts.append(PlacedPart(CLOUD, at, count))
        if question.labels_private:
            parts.append(PlacedPart(EDGE, count, count))
    hops = (Hop(),) * (len(parts) - 1)
    plan = Plan(chain.name, chain.digest, tuple(parts), hops, 0, question.batch, "train")
    return replace(plan, estimate=pricing.estimate(plan))
