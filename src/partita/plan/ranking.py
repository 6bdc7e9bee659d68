"""What a search answers: plans from best to worst, with everything needed to explain them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..graph import Chain, Link
from .estimate import Pricing
from .explain import explain
from .placement import Estimate, Plan
from .question import Question


@dataclass(frozen=True)
class Alternative:
    """A plan with its score; lower is better. `baseline` says that it is listed for comparison whatever its rank."""

    plan: Plan
    score: float
    baseline: bool = False

    @property
    def estimate(self) -> Estimate:
        """The predicted costs: a ranked plan always has them."""
        if self.plan.estimate is None:  # pragma: no cover - the search fills it in
            raise AssertionError(self.plan)
        return self.plan.estimate


@dataclass(frozen=True)
class Ranking:
    """The answer to one question: plans from best to worst, what was left out, and what it was computed from."""

    alternatives: tuple[Alternative, ...]
    considered: int
    notes: tuple[str, ...]
    pricing: Pricing = field(repr=False, compare=False)
    # The same question over another link, for what-if sentences: its best plan alone, not simulated.
    again: Callable[[Link], Alternative] = field(repr=False, compare=False)

    @property
    def best(self) -> Plan:
        """The winner."""
        return self.alternatives[0].plan

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.pricing.question

    @property
    def chain(self) -> Chain:
        """The model."""
        return self.pricing.model.chain

    @property
    def explanation(self) -> str:
        """Why the winner won, in sentences."""
        return explain(self)
