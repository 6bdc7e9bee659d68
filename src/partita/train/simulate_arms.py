"""The arms of a case on one link: the known ways to train, and why some of them are none here.

Rules: the arms are those of every comparison; where the cloud holds the inputs the edge may have them too, and trains
alone if that is faster.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph import Link
from ..plan import Question
from .baselines import Arm, arms_asked
from .simulate_case import Case

EDGE_ONLY = "edge only"


def case_arms(case: Case, link: Link) -> tuple[Arm, ...]:
    """All arms on one link, `auto` last."""
    arms = arms_asked(case.chain, case.profiles, link, case.question)
    if not case.question.inputs_at_cloud:
        return arms
    (alone,) = (arm.plan for arm in arms if arm.name == EDGE_ONLY)
    limit = case.pace(alone, link)
    return tuple(replace(arm, plan=alone) if case.pace(arm.plan, link) > limit else arm for arm in arms)


def forbidden(question: Question) -> dict[str, str]:
    """The arms that a question rules out, with the reason."""
    if question.inputs_at_cloud:
        return {"cloud only": "the loss stays at the edge"}
    if question.min_front:
        return {"cloud only": "the first stages stay at the edge, and with them the raw inputs"}
    if question.min_tail:
        return {"cloud only": "the last stages stay at the edge"}
    return {}
