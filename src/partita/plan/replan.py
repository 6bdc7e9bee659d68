"""When a new plan is worth its move: hysteresis over a stream of estimates, no clock of its own.

A move pays if what it saves while the new plan lasts outweighs it:

    dwell x (1 - new / now) > (1 + margin) x move,   and   1 - new / now >= gain,   `confirm` estimates in a row

Rules: the state is a value; an event and a state give a decision and the next state; `dwell`, how long a plan usually
lasts, is learned from how long the plans before it did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from ..errors import BadDocument
from ..graph import Chain, Link, print_seconds, print_size
from .placement import PlacedPart, Plan
from .question import Question

# How much the latest dwell counts for the expected one, as in the original research project's running average.
_NEWEST = 0.2


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """What makes a move: the share of time it must save, its safety margin, how often it must be confirmed."""

    gain: float = 0.10
    margin: float = 0.25
    confirm: int = 3

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not zero or more"
            for name, value in (("gain", self.gain), ("margin", self.margin), ("confirm", self.confirm))
            if not (isfinite(value) and value >= 0)
        ]
        if problems:
            raise BadDocument("hysteresis", problems, fix="give a gain such as 0.1 and a margin such as 0.25")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the session stands: the plan, since when it holds, how long one usually does, and what was confirmed."""

    plan: Plan
    since: float
    dwell: float
    rival: tuple[PlacedPart, ...] = ()
    streak: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """One estimate: what the present plan takes per step by now, which plan would be best, and what its move costs."""

    at: float
    now: float
    plan: Plan
    new: float
    move: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to move, and why or why not."""

    move: bool
    reason: str


def decide(standing: Standing, offer: Offer, rule: Hysteresis | None = None) -> tuple[Decision, Standing]:
    """The decision on one estimate, and the state after it. The caller moves, and then calls `moved`."""
    rule = rule or Hysteresis()
    stay = replace(standing, rival=(), streak=0)
    if (offer.plan.parts, offer.plan.hops, offer.plan.window) == (
        standing.plan.parts,
        standing.plan.hops,
        standing.plan.window,
    ):
        return Decision(False, "the present plan is still the best"), stay
    gain = 1 - offer.new / offer.now if offer.now > 0 else 0.0
    if gain < rule.gain:
        return Decision(False, f"it would save {gain:.0%} of a step, less than {rule.gain:.0%}"), stay
    saved, needed = standing.dwell * gain, (1 + rule.margin) * offer.move
    sums = (
        f"it would save {_rough(saved)} in the {_rough(standing.dwell)} a plan usually lasts, and "
        f"{_rough(needed)} is what its move must save"
    )
    if saved <= needed:
        return Decision(False, sums), stay
    streak = standing.streak + 1 if standing.rival == offer.plan.parts else 1
    seen = replace(standing, rival=offer.plan.parts, streak=streak)
    if streak < rule.confirm:
        return Decision(False, f"{sums}: confirmed {streak} of {rule.confirm} times"), seen
    return Decision(True, f"{sums}: confirmed {streak} times"), seen


def _rough(seconds: float) -> str:
    return print_seconds(float(f"{seconds:.3g}"))


def moved(standing: Standing, plan: Plan, at: float) -> Standing:
    """The state after a move: how long the last plan held is learned."""
    lasted = max(at - standing.since, 0.0)
    return Standing(plan, at, (1 - _NEWEST) * standing.dwell + _NEWEST * lasted)


@dataclass(frozen=True, slots=True)
class Move:
    """What changing plans costs: bytes of weights each way, and seconds with the drain of steps under way."""

    bytes_up: int
    bytes_down: int
    seconds: float

    def __str__(self) -> str:
        sizes = f"{print_size(self.bytes_up)} up and {print_size(self.bytes_down)} down"
        return f"{sizes} in {print_seconds(float(f'{self.seconds:.3g}'))}"


def move_cost(chain: Chain, old: Plan, new: Plan, link: Link, question: Question) -> Move:
    """The weights (in training with the optimizer's copies) that a place lacks, over the link, and one drain."""
    home = old.parts[0].place
    held, wanted = _params(chain, old), _params(chain, new)
    frozen = set(chain.part_params(0, question.frozen))
    up = down = 0
    for place, names in wanted.items():
        lacking = names - held.get(place, frozenset())
        size = sum(chain.params[name] for name in lacking)
        if new.mode == "train":
            size += question.optimizer_copies * sum(chain.params[name] for name in lacking - frozen)
        if place == home:
            down += size
        else:
            up += size
    drain = old.estimate.latency if old.estimate else 0.0
    seconds = drain + up * 8 / link.up + down * 8 / link.down
    return Move(up, down, seconds)


def _params(chain: Chain, plan: Plan) -> dict[str, frozenset[str]]:
    held: dict[str, frozenset[str]] = {}
    for part in plan.parts:
        names = frozenset(chain.part_params(part.start, part.stop))
        held[part.place] = held.get(part.place, frozenset()) | names
    return held
