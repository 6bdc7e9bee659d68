"""Who decides what runs where while a training runs: a search whenever the circumstances changed, and then patience.

Rules: no clock and no I/O of its own; nothing is searched again before something moved by a tenth; a move must save
a tenth of a step, pay for itself while the next plan is expected to last, and be confirmed by estimates apart in
time; every decision is a sentence, also the one to stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypedDict, Unpack, final

from ..errors import Infeasible
from ..graph import Chain, Link, Profile, print_seconds
from ..plan import (
    Hysteresis,
    Limits,
    Move,
    Offer,
    Overhead,
    Plan,
    Pricing,
    Question,
    Ranking,
    Standing,
    decide,
    explain,
    move_cost,
    moved,
    print_table,
    search,
)
from ..run import codec_option
from .context import Context
from .roles import CLOUD, EDGE
from .settings import AUTO, Settings

# A window is worth its stale gradients only where it saves a twentieth of a step; a lossy codec, its own error.
WORTH: Final = 0.05
_ERROR_WEIGHT: Final = 1.0
# What moves by less since the last search cannot change much: a move asks for a tenth.
_MOVED: Final = 0.10
# Estimates closer together than this are one estimate, and one after a longer step is so many: what was slow all that
# time was seen all that time. After a move the pipeline needs a while to tell the truth.
_APART, _SETTLING = 0.5, 1.0
# How long a plan is expected to last before any did.
FIRST_DWELL: Final = 60.0
# So many plans are weighed against their moves.
_TOP: Final = 10
# Prepare, give, take and commit are each answered.
_TRIPS: Final = 4
# What an optimizer keeps of every weight, by its name; sgd keeps as much as it has momentum.
_COPIES: Final = {
    "adam": 2,
    "adamw": 2,
    "nadam": 2,
    "radam": 2,
    "adamax": 2,
    "adadelta": 2,
    "adagrad": 1,
    "rmsprop": 1,
}


def copies(settings: Settings) -> int:
    """How many numbers the optimizer keeps for every weight."""
    spec = settings.optimizer
    if spec.name == "sgd":
        return 1 if spec.options.get("momentum", 0.0) else 0
    return _COPIES.get(spec.name, 2)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan that is worth its move: seconds per step now and then, what the move costs, and the decision in words."""

    plan: Plan
    now: float
    new: float
    move: Move
    reason: str


class Facts(TypedDict, total=False):
    """What the planner must know of model and data besides chain and profiles, by keyword; see Question.

    `batch` is that of the settings if it is not given. `legal` holds the positions that can be cut in training where
    not all of the chain's can; `constant` the parameters and buffers that training never changes: only they may be
    used on both sides of a cut.
    """

    frozen: int
    batch: int
    label_bytes: int
    dims: Mapping[str, int]
    legal: frozenset[int] | None
    constant: frozenset[str]
    overhead: Overhead


@final
class Planner:
    """The planner of one training. `profiles` are those of edge and cloud; `question` replaces that of settings and facts."""

    def __init__(
        self,
        chain: Chain,
        profiles: Mapping[str, Profile],
        settings: Settings,
        *,
        limits: Mapping[str, Limits] | None = None,
        rule: Hysteresis | None = None,
        question: Question | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        self._chain, self._limits, self._rule = chain, dict(limits or {}), rule or Hysteresis()
        self._profiles = {EDGE: profiles[EDGE], CLOUD: profiles[CLOUD]}
        self._settings = settings
        self._question = question or question_of(settings, **facts)
        self._window, self._cap = settings.window_at(1), settings.max_window
        self._standing: Standing | None = None
        self._searched: tuple[float, ...] | None = None
        self._looked = self._called = float("-inf")
        self._own: tuple[Plan, dict[str, float]] | None = None
        self.said = ""

    # -- the question ------------------------------------------------------------------------------------------------

    def question(self) -> Question:
        """What is asked now."""
        largest = min(self._cap, self._settings.max_window)
        window = None if self._window is None else min(self._window, self._cap)
        return replace(self._question, max_window=largest, window=window)

    def restrict(self, epoch: int, cap: int | None = None) -> None:
        """From this epoch on, with a window of `cap` at most: what was found before does not hold any more."""
        window, most = self._settings.window_at(epoch), self._settings.max_window if cap is None else cap
        if (window, most) != (self._window, self._cap):
            self._window, self._cap = window, most
            self._searched = None

    def pricing(self, context: Context, now: float) -> Pricing:
        """What plans cost under the present circumstances."""
        return Pricing.of(self._chain, self._slowed(context, now), context.link, self.question())

    def _slowed(self, context: Context, now: float) -> dict[str, Profile]:
        factors = {place: round(context.factor(place, now), 3) for place in self._profiles}
        return {
            p: profile if factors[p] == 1 else profile.slowed(factors[p])
            for p, profile in self._profiles.items()
        }

    # -- plans -------------------------------------------------------------------------------------------------------

    def first(self, link: Link, *, top: int = 10) -> Ranking:
        """The plan to start with, as the best of a ranking that explains itself."""
        return search(self._chain, self._profiles, link, self.question(), limits=self._limits, top=top)

    def begun(self, plan: Plan, now: float) -> None:
        """This plan is in force from now on: the first one, or one after a move."""
        before = self._standing
        self._standing = moved(before, plan, now) if before else Standing(plan, now, FIRST_DWELL)
        self._searched, self._looked, self._called = None, now + _SETTLING - _APART, now

    def predicted(self, plan: Plan) -> dict[str, float]:
        """Seconds per step of each place's own work under a plan, if it were as fast as its profile."""
        if self._own is None or self._own[0] != plan:
            pricing = Pricing.of(self._chain, self._profiles, Link(1e9, 1e9), self.question())
            busy = pricing.estimate(plan, simulated=False).busy
            self._own = plan, {place: busy.get(f"{place} compute", 0.0) for place in self._profiles}
        return self._own[1]

    def consider(self, now: float, plan: Plan, context: Context) -> Proposal | None:
        """Whether to move to another plan, after one more look at the circumstances; `said` tells why not."""
        if self._standing is None or not _same(self._standing.plan, plan):
            self.begun(plan, now)
        lasted, self._called = now - self._called, now
        if now - self._looked < _APART:
            return None
        self._looked = now
        if not self._news(context, now):
            return None
        try:
            pricing, found = self._found(plan, context, now)
        except Infeasible as error:
            self.said = error.problem
            return None
        times = 1 + int(min(lasted / _APART, self._rule.confirm))
        return self._weighed(pricing, found, plan, times, now)

    @property
    def hurried(self) -> bool:
        """Whether a move waits to be confirmed: then a probe of the link helps."""
        return self._standing is not None and self._standing.streak > 0

    # -- within ------------------------------------------------------------------------------------------------------

    def _news(self, context: Context, now: float) -> bool:
        """Whether the circumstances are others than those of the last search, or its answer waits to be confirmed."""
        link = context.link
        seen = (link.up, link.down, max(link.rtt, 1e-3), *(context.factor(p, now) for p in self._profiles))
        old = self._searched
        if (
            old is not None
            and not self.hurried
            and all(abs(value / before - 1) < _MOVED for value, before in zip(seen, old, strict=True))
        ):
            return False
        self._searched = seen
        return True

    def _found(self, plan: Plan, context: Context, now: float) -> tuple[Pricing, list[Plan]]:
        """The leading plans, and the best one that leaves every weight where it is."""
        profiles, link, question = self._slowed(context, now), context.link, self.question()
        ranking = search(self._chain, profiles, link, question, limits=self._limits, top=_TOP)
        found = [alternative.plan for alternative in ranking.alternatives]
        if plan.hops and all(other.parts != plan.parts for other in found):
            near = replace(question, legal=frozenset(plan.cuts))
            with suppress(Infeasible):
                here = search(self._chain, profiles, link, near, limits=self._limits, top=_TOP)
                found += [a.plan for a in here.alternatives if a.plan.parts == plan.parts]
        return ranking.pricing, found

    def _weighed(
        self, pricing: Pricing, found: list[Plan], plan: Plan, times: int, now: float
    ) -> Proposal | None:
        standing = self._standing
        if standing is None:  # pragma: no cover - consider sets it
            raise AssertionError(plan)
        present = replace(plan, estimate=pricing.estimate(plan))
        # A plan that has held for long shows that plans last.
        lasting = replace(standing, plan=plan, dwell=max(standing.dwell, now - standing.since))
        taken = _seconds(present)

        def worth(other: Plan) -> float:
            saved = lasting.dwell * (1 - _seconds(other) / taken)
            return saved - (1 + self._rule.margin) * self._move(present, other, pricing).seconds

        # Not the best plan is wanted but the best move; the first of equals is the better plan.
        best = max(found, key=worth) if taken > 0 else found[0]
        cost, new = self._move(present, best, pricing), _seconds(best)
        # What saves more than half of every step is waited for less.
        times += new < taken / 2
        offer = Offer(now, taken, best, new, cost.seconds)
        decision, after = decide(lasting, offer, self._rule)
        for _ in range(times - 1):
            if after.streak and not decision.move:
                decision, after = decide(after, offer, self._rule)
        self._standing = replace(after, plan=standing.plan, dwell=standing.dwell)
        self.said = _sentence(best, taken, new, pricing.link, decision.reason)
        return Proposal(best, taken, new, cost, self.said) if decision.move else None

    def _move(self, present: Plan, best: Plan, pricing: Pricing) -> Move:
        cost = move_cost(self._chain, present, best, pricing.link, pricing.question)
        trips = _TRIPS * pricing.link.rtt if cost.bytes_up + cost.bytes_down else 0.0
        return replace(cost, seconds=cost.seconds + trips)


def question_of(settings: Settings, **facts: Unpack[Facts]) -> Question:
    """What the settings of a training ask of the planner."""
    asked = {way: getattr(settings, f"codec_{way}") for way in ("up", "down")}
    fixed = {way: None if name == AUTO else (name,) for way, name in asked.items()}
    return Question(
        mode="train",
        batch=facts.get("batch") or settings.batch,
        dims={name: size for name, size in facts.get("dims", {}).items() if name != "batch"},
        codecs_up=fixed["up"],
        codecs_down=fixed["down"],
        options={name: codec_option(name) for name in asked.values() if name != AUTO},
        max_error=settings.max_error,
        max_window=settings.max_window,
        jitter=True,
        worth=WORTH,
        labels_private=settings.labels_private,
        label_bytes=facts.get("label_bytes", 0),
        min_front=settings.min_front,
        frozen=facts.get("frozen", 0),
        constant=facts.get("constant", frozenset()),
        legal=facts.get("legal"),
        optimizer_copies=copies(settings),
        beta=_ERROR_WEIGHT,
        overhead=facts.get("overhead", Overhead()),
    )


def _seconds(plan: Plan) -> float:
    return plan.estimate.seconds if plan.estimate else 0.0


def _same(plan: Plan, other: Plan) -> bool:
    return (plan.parts, plan.hops, plan.window) == (other.parts, other.hops, other.window)


def _sentence(best: Plan, now: float, new: float, link: Link, reason: str) -> str:
    times = f"{print_seconds(float(f'{now:.3g}'))} a step now, {print_seconds(float(f'{new:.3g}'))} then"
    return f"over {_round(link)}, {best} is the best plan ({times}): {reason}"


def _round(link: Link) -> Link:
    up, down, rtt = (float(f"{value:.2g}") for value in (link.up, link.down, link.rtt))
    return replace(link, up=up, down=down, rtt=rtt)


def explain_start(ranking: Ranking) -> str:
    """The alternatives as a table, and why the first one was chosen, as text."""
    return f"{print_table(ranking)}\n{explain(ranking)}"
