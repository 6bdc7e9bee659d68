"""A ranking in words: why the winner won, what holds each alternative back, what would change the decision.

Rules: every sentence states figures of the ranking or of a new search; a break-even is found by searching again, not
by extrapolation; the table is data, which a terminal, a page and a log print each in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

from ..graph import Link, print_rate, print_seconds, print_size
from .objective import keys_of
from .placement import Estimate, Plan

if TYPE_CHECKING:  # a ranking explains itself, so it imports this module
    from .ranking import Alternative, Ranking

# How far a what-if looks, as factors up and down, and how closely it finds the point where the decision turns.
_REACH = (1.5, 3.0, 6.0, 12.0, 24.0)
_CLOSE = 1.03
# A decision has turned only if staying with the old plan would cost this share more: near ties are no news.
_GAIN = 1.005

COLUMNS = ("rank", "plan", "K", "step", "latency", "bottleneck", "up", "down", "memory", "joules", "score")


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of circumstances after which another plan wins."""

    when: str
    factor: float
    plan: Plan


def seconds_text(seconds: float) -> str:
    """A time for reading, in three digits."""
    return print_seconds(float(f"{seconds:.3g}"))


def _score(ranking: Ranking, score: float) -> str:
    match ranking.question.objective:
        case "throughput" | "latency":
            return seconds_text(score)
        case "memory" | "bytes":
            return print_size(score)
        case "energy":
            return f"{score:.3g}J"
        case _:
            return f"{score:.0f}"


def _where(plan: Plan) -> str:
    """The placing alone, as in the text form."""
    return str(plan).partition(" | ")[0]


def rows(ranking: Ranking) -> list[dict[str, str]]:
    """The ranking as rows of texts under COLUMNS."""
    table = []
    for rank, alternative in enumerate(ranking.alternatives, 1):
        cost = alternative.estimate
        memory = ", ".join(f"{place} {print_size(size)}" for place, size in cost.memory.items())
        joules = ", ".join(f"{place} {value:.3g}J" for place, value in cost.joules.items())
        table.append(
            {
                "rank": str(rank),
                "plan": _where(alternative.plan),
                "K": str(alternative.plan.window),
                "step": seconds_text(cost.seconds),
                "latency": seconds_text(cost.latency),
                "bottleneck": f"{cost.bottleneck} ({_share(cost):.0%})",
                "up": print_size(cost.bytes_up),
                "down": print_size(cost.bytes_down),
                "memory": memory,
                "joules": joules or "not measured",
                "score": _score(ranking, alternative.score),
            }
        )
    return table


def _share(cost: Estimate) -> float:
    """How much of a step the bottleneck is busy."""
    return min(cost.busy[cost.bottleneck] / cost.seconds, 1.0) if cost.seconds else 0.0


def print_table(ranking: Ranking) -> str:
    """The table as plain text, for logs."""
    table = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows(ranking)]
    widths = {name: max(len(row[name]) for row in table) for name in COLUMNS}
    return "".join("  ".join(f"{row[n]:<{widths[n]}}" for n in COLUMNS).rstrip() + "\n" for row in table)


_WORDS = {
    "throughput": "the least time per step",
    "latency": "the shortest step from start to end",
    "memory": "the smallest peak memory",
    "energy": "the least energy at the first place",
    "bytes": "the fewest bytes across the link",
    "parts": "the fewest parts",
}


def explain(ranking: Ranking, *, what_if: bool = True) -> str:
    """The decision in sentences, one a line."""
    winner, question = ranking.alternatives[0], ranking.question
    cost = winner.estimate
    lines = [
        f"{winner.plan} wins: {_WORDS[question.objective]} ({_score(ranking, winner.score)}) "
        f"of {ranking.considered:,} plans over {ranking.pricing.link}.",
        f"It takes {seconds_text(cost.seconds)} per step and {seconds_text(cost.latency)} for one step alone; "
        f"{cost.bottleneck} is the bottleneck, busy {_share(cost):.0%} of the time. {_window(winner)}",
    ]
    lines += [_compared(ranking, winner, other) for other in _worth_telling(ranking)]
    lines += [f"{note[0].upper()}{note[1:]}." for note in ranking.notes]
    if what_if:
        lines += [f"{turn.when}, {_where(turn.plan)} wins." for turn in turns(ranking)]
    return "\n".join(lines) + "\n"


def _window(winner: Alternative) -> str:
    plan, cost = winner.plan, winner.estimate
    if not plan.window:
        return "Steps follow one another (K=0)."
    how = "simulated" if cost.simulated else "exact for this shape"
    return f"K={plan.window} keeps {plan.window + 1} steps under way, which hides {_hidden(cost):.0%} of a step's time ({how})."


def _hidden(cost: Estimate) -> float:
    return max(1 - cost.seconds / cost.latency, 0.0) if cost.latency else 0.0


def _worth_telling(ranking: Ranking) -> list[Alternative]:
    """The runner-up, and every other plan that everybody would compare with."""
    rest = ranking.alternatives[1:]
    return [a for i, a in enumerate(rest) if i == 0 or a.baseline]


def _compared(ranking: Ranking, winner: Alternative, other: Alternative) -> str:
    if winner.score > 0:
        worse = other.score / winner.score
        margin = "ties with it" if worse < 1 + 5e-4 else f"scores {worse:.3g} times as much"
    else:
        margin = "ties with it" if other.score == winner.score else "scores more"
    cost = other.estimate
    return (
        f"{_where(other.plan)} {margin} ({_score(ranking, other.score)}): {cost.bottleneck} takes "
        f"{seconds_text(cost.busy[cost.bottleneck])} of a step of {seconds_text(cost.seconds)}."
    )


def turns(ranking: Ranking) -> list[Turn]:
    """The nearest changes of bandwidth, up and down, after which another plan wins."""
    link = ranking.pricing.link
    found = []
    for sign, words in ((1, "or more"), (-1, "or less")):
        turn = _turn(ranking, partial(_scaled, link, sign))
        if turn is not None:
            factor, plan = turn
            rate = print_rate(float(f"{link.up * factor**sign:.3g}"))
            found.append(Turn(f"With an uplink of {rate} {words}", factor**sign, plan))
    return found


def _scaled(link: Link, sign: int, step: float) -> Link:
    factor = step**sign
    return replace(link, up=link.up * factor, down=link.down * factor)


def _turn(ranking: Ranking, link_at: Callable[[float], Link]) -> tuple[float, Plan] | None:
    """The smallest factor, closely enough, at which another plan wins; None within reach."""
    low, high, plan = 1.0, 0.0, None
    for step in _REACH:
        plan = _other(ranking, link_at(step))
        if plan is not None:
            high = step
            break
        low = step
    if plan is None:
        return None
    while high / low > _CLOSE:
        middle = sqrt(low * high)
        found = _other(ranking, link_at(middle))
        if found is None:
            low = middle
        else:
            high, plan = middle, found
    return high, plan


def _other(ranking: Ranking, link: Link) -> Plan | None:
    """Who wins over another link, if it is not the same cuts, and by more than a near tie."""
    again = ranking.again(link)
    plan = again.plan
    if plan.parts == ranking.best.parts:
        return None
    stay = replace(ranking.pricing, link=link, _sent={}).estimate(ranking.best, simulated=False)
    gain = _worth(ranking, stay, again.estimate)
    return plan if gain > _GAIN else None


def _worth(ranking: Ranking, stay: Estimate, move: Estimate) -> float:
    """How many times as much staying costs, by the objective."""
    home = next(iter(ranking.pricing.places))
    old, new = (keys_of(ranking.question, home, ranking.best, cost)[0] for cost in (stay, move))
    return old / new if new > 0 else (_GAIN * 2 if old > 0 else 1.0)
