"""The best plan of two places, exactly: every legal pair of cuts, every codec each way, every window.

Rules: pairs are visited in the order of a bound that no codec or window can beat, and the search stops when the
bound passes the worst plan still wanted, so that the answer equals that of trying everything; limits are filters,
never penalties; the leading plans are simulated afterwards where the closed form is a bound only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import BadDocument
from ..graph import Chain, Link, Profile
from .candidates import Candidates, Choice
from .codec_option import RAW, CodecOption
from .diagnose import misses, refuse
from .estimate import Pricing, excess
from .limits import Limits
from .objective import keys_of, rounded
from .place_cost import need_energy
from .placement import Plan
from .question import Question, Way
from .ranking import Alternative, Ranking
from .schedule import bound

# A larger window is taken only if the simulation says that it saves more than this share of the time.
_WORTH = 0.005
# How far beyond the window of the closed form the simulation looks: an edge visited twice asks for one or two more.
_FURTHER = 2


def search(
    chain: Chain,
    profiles: Mapping[str, Profile],
    link: Link,
    question: Question | None = None,
    *,
    limits: Mapping[str, Limits] | None = None,
    top: int = 10,
) -> Ranking:
    """Rank the plans of two places: the first in `profiles` holds the inputs and wants the answer.

    Raises Infeasible, with the limit that is hardest to meet, where no plan fits.
    """
    asked, bounds = question or Question(), dict(limits or {})
    if len(profiles) != 2:
        raise BadDocument(
            "profiles",
            [f"there are {len(profiles)} places, and this search places a model on two"],
            fix="give one profile for the edge and one for the cloud; search_parts plans for more places",
        )
    _check_limits(bounds, profiles)
    pricing = Pricing.of(chain, profiles, link, asked)
    options, notes = _measured(pricing)
    home, away = pricing.places.values()
    if asked.objective == "energy":
        need_energy(home)
    for cost in (home, away):
        if cost.place in bounds and bounds[cost.place].joules is not None:
            need_energy(cost)
    field = Candidates(pricing, options, bounds)
    choices = field.leading(max(top, asked.rescore))
    if not choices:
        raise refuse(field)
    ranked = _ranked(field, choices, top)
    notes += _missing_baselines(field, ranked)
    plain = replace(asked, rescore=0)

    def again(other: Link) -> Alternative:
        return search(chain, profiles, other, plain, limits=bounds, top=1).alternatives[0]

    return Ranking(tuple(ranked), field.considered, tuple(notes), pricing, again)


def _check_limits(limits: Mapping[str, Limits], profiles: Mapping[str, Profile]) -> None:
    unknown = [place for place in limits if place not in profiles]
    if unknown:
        raise BadDocument(
            "limits",
            [f"{place!r} is no place with a profile" for place in unknown],
            fix=f"name one of {', '.join(profiles)}",
        )


def _measured(pricing: Pricing) -> tuple[list[tuple[str, CodecOption]], list[str]]:
    """The admitted codecs whose cost is known at both places, raw first; and what was left out."""
    kept, notes = [], []
    for name, option in pricing.question.admitted().items():
        lacking = [p for p, cost in pricing.places.items() if name != RAW and name not in cost.profile.codecs]
        if lacking:
            notes.append(
                f"codec {name} was left out: the profile of {' and '.join(lacking)} does not say what it costs"
            )
        else:
            kept.append((name, option))
    names = {name for name, _ in kept}
    ways: tuple[Way, Way] = ("up", "down")
    if not all(names & pricing.question.admitted(way).keys() for way in ways):
        raise BadDocument("codecs", notes, fix="measure them with `partita profile`, or admit raw")
    return sorted(kept, key=lambda item: item[0] != RAW), notes


def _ranked(field: Candidates, choices: list[Choice], top: int) -> list[Alternative]:
    question = field.pricing.question
    simulated = question.rescore > 0
    listed = {choice.row for choice in choices}
    compared = set(field.baselines.tolist())
    choices = choices + [choice for choice in field.best(field.baselines) if choice.row not in listed]
    found = []
    for choice in choices:
        plan = field.plan(choice)
        if simulated and question.objective == "throughput":
            plan = _with_window(field, plan)
        cost = field.pricing.estimate(plan, simulated=simulated)
        order = tuple(map(rounded, keys_of(question, next(iter(field.pricing.places)), plan, cost)))
        found.append((order, replace(plan, estimate=cost), choice.row in compared))
    found.sort(key=lambda item: item[0])
    return [
        Alternative(plan, order[0], baseline)
        for i, (order, plan, baseline) in enumerate(found)
        if i < top or baseline
    ]


def _with_window(field: Candidates, plan: Plan) -> Plan:
    """The smallest window that is as good as any, as steps really overlap; one more where times vary."""
    question = field.pricing.question
    if not plan.window or question.window is not None:
        return plan
    # The closed form flatters windows that are too small. In lockstep one can be too large, too: K = 1 may do for 4.
    least = 1 if question.mode == "train" else plan.window
    most = (
        question.max_window if question.mode == "train" else min(plan.window + _FURTHER, question.max_window)
    )
    choices = [replace(plan, window=k) for k in range(least, most + 1)]
    # With K above 0 a step has the same visits whatever K is.
    visits = field.pricing.visits(plan)
    seconds = []
    for choice in choices:
        taken = field.pricing.pace(choice, visits)
        seconds.append(taken * (1 + question.alpha * choice.window))
        if taken <= bound(visits, most) * (1 + _WORTH):
            break  # no larger window can be worth it
    at = next(i for i, value in enumerate(seconds) if value <= min(seconds) * (1 + _WORTH))
    if question.jitter:
        at = min(at + 1, len(choices) - 1)
    while at and excess(field.pricing.needs(choices[at]), field.limits):
        at -= 1
    return choices[at]


def _missing_baselines(field: Candidates, found: list[Alternative]) -> list[str]:
    """Why a plan that everybody would compare with is not in the list."""
    listed = {alternative.plan.parts for alternative in found}
    notes = []
    for row in field.baselines:
        plan = field.plan(Choice(int(row), 0, 0, 0, ()))
        if plan.parts not in listed:
            over = excess(field.pricing.needs(plan), field.limits)
            notes.append(f"{plan.shape} does not fit: {misses(over, field.limits)}")
    return notes
