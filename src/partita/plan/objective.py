"""What "best" means: one formula per objective, lower is better, and the order in which ties are broken.

    throughput   seconds per step x (1 + alpha K) (1 + beta error), with the window full; in training, a window above 0
                 counts (1 + worth) besides, so that it must save as much
    latency      seconds of one step from start to end x (1 + alpha K) (1 + beta error)
    memory       the largest peak memory of any place, or that of one place
    energy       joules of one step at the first place, its radio included
    bytes        bytes that cross per step, both ways
    parts        parts that run something

Rules: a formula never falls when one of its terms grows, so that a bound on the terms bounds the score; what ties
is decided by seconds per step, then the smaller window, then latency, bytes and codec error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .placement import Estimate, Plan
from .question import Question

Numbers = NDArray[np.float64]

# Two scores closer than this are a tie: sums in another order differ by less.
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Terms:
    """What the objectives are made of: numbers, or arrays over many plans that broadcast together."""

    seconds: Any
    latency: Any
    memory: Any
    joules: Any
    bytes: Any
    parts: Any
    window: Any
    error: Any


def score(question: Question, terms: Terms) -> Any:
    """The value of the objective."""
    weight = (1 + question.alpha * terms.window) * (1 + question.beta * terms.error)
    match question.objective:
        case "throughput":
            held = 1 + question.worth * (terms.window > 0) if question.mode == "train" else 1.0
            return terms.seconds * weight * held
        case "latency":
            return terms.latency * weight
        case "memory":
            return terms.memory
        case "energy":
            return terms.joules
        case "bytes":
            return terms.bytes
        case _:
            return terms.parts


def keys(question: Question, terms: Terms) -> tuple[Any, ...]:
    """The objective and, after it, what decides a tie."""
    return (
        score(question, terms),
        terms.seconds,
        terms.window,
        terms.latency,
        terms.bytes,
        terms.error,
    )


def rounded(value: float) -> float:
    """A score in so many digits that sums in another order come out equal."""
    return float(f"{value:.9g}")


def keys_of(question: Question, home: str, plan: Plan, cost: Estimate) -> tuple[float, ...]:
    """The keys of one plan from its estimate; `home` is the place whose energy counts."""
    terms = Terms(
        seconds=cost.seconds,
        latency=cost.latency,
        memory=max(cost.memory.values()),
        joules=cost.joules.get(home, 0.0),
        bytes=cost.bytes,
        parts=sum(not part.empty for part in plan.parts),
        window=plan.window,
        error=cost.error,
    )
    return tuple(map(float, keys(question, terms)))
