"""What the session knows of its surroundings while it trains, and what the planner makes of it.

Rules: the planner is asked between two steps and while an answer is waited for; it sees what steps took and what the
line measured, nothing else, and takes a small share of the time; while the plan leaves the line quiet it is probed, so
that training can come back to the cloud; where a probe stays away, no plan is made on what was known before.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final, Self, final

from ..engine.torch_model import TorchModel
from ..errors import PartitaError, SessionMisused
from ..graph import Link, Profile, Work
from ..plan import Overhead, Plan, Ranking, explain
from ..wire import LinkEstimate
from .context import Context
from .edge import Done
from .holding import Holding
from .line import Line
from .loading import Batch
from .planner import Facts, Planner, Proposal
from .settings import Settings

# Probes before the first plan: the first one opens the windows of the connection and does not count, unless it took so
# long that it says it all.
_PROBES = 4
_PROBE_BYTES, _FIRST_PROBE_BYTES = 256 << 10, 96 << 10
_LONG_PROBE = 0.5
# A step's message besides its tensors, measured on loopback: threads and processes that wake one another, and frames.
OVERHEAD: Final = Overhead(seconds=5e-4, cpu=2e-4, bytes=200, share=0.02)
# Where a place's work under a plan is less than this, its ratio to the profile is mostly noise.
_LEAST_WORK = 2e-4
# And where it is little beside all the work of a step, it tells little of how fast the place would be with all of it:
# both sides of the ratio get this share of a whole step.
_SURE: Final = 0.05
# Of the time the planner may take this share; a search in a deep network takes a fifth of a second.
_SHARE = 0.03
# A probe that is not answered for so long tells that the link is not what it was.
_OVERDUE = 1.5


def facts_of(model: TorchModel, holding: Holding, settings: Settings, batch: Batch) -> Facts:
    """What the planner must know of model and data."""
    chain = model.chain
    dims = {
        dim: size
        for name in chain.inputs
        for dim, size in zip(chain.tensors[name].shape or (), batch.inputs[name].shape, strict=True)
        if isinstance(dim, str)
    }
    return Facts(
        frozen=holding.frozen(),
        batch=settings.batch,
        label_bytes=sum(array.nbytes for array in batch.targets.values()),
        dims=dims,
        legal=frozenset(model.legal_cuts("train")),
        constant=holding.constants(),
        overhead=OVERHEAD,
    )


def survey(line: Line) -> LinkEstimate:
    """The link, measured on purpose before anything is planned."""
    began = perf_counter()
    found = [line.probe(_FIRST_PROBE_BYTES).result()]
    if perf_counter() - began < _LONG_PROBE:
        found = [line.probe(_PROBE_BYTES).result() for _ in range(_PROBES - 1)]

    def middle(name: str) -> float | None:
        values = [value for each in found if (value := getattr(each, name)) is not None]
        return median(values) if values else None

    return LinkEstimate(middle("up"), middle("down"), middle("rtt"))


@dataclass(frozen=True)
class Surroundings:
    """What is known before the first step."""

    profiles: Mapping[str, Profile]
    facts: Facts
    link: LinkEstimate


@final
class Live:
    """The planner at work. `proposal` is the move it asks for, until somebody takes it."""

    def __init__(self, model: TorchModel, settings: Settings, around: Surroundings, now: float) -> None:
        self.profiles = around.profiles
        batch = around.facts.get("batch") or settings.batch
        self._ground = {place: _SURE * _whole(profile, batch) for place, profile in around.profiles.items()}
        self._planner = Planner(model.chain, around.profiles, settings, **around.facts)
        self.context = Context().with_link(around.link, now, probed=True)
        self.ranking: Ranking | None = None
        self.proposal: Proposal | None = None
        self._probe: Future[LinkEstimate] | None = None
        self._asked = self._at = now
        self._size = 0
        # The windows of the first plan are not known yet; two steps are what a cold start takes at least.
        self._warming = 2
        self._rests = float("-inf")
        # Seconds of planning, probes, and their bytes both ways.
        self.spent, self.probes, self.probed_bytes = 0.0, 0, 0
        self.lost: PartitaError | None = None

    @classmethod
    def begun(
        cls, model: TorchModel, settings: Settings, around: Surroundings, now: float, plan: Plan | None = None
    ) -> Self:
        """Ready to watch; without a plan the first one is chosen."""
        live = cls(model, settings, around, now)
        if plan is None:
            live.ranking = live._planner.first(_told(live.link))
        else:
            live._planner.begun(plan, now)
        return live

    @property
    def link(self) -> Link:
        """The link as the planner sees it now."""
        return self.context.link

    @property
    def first(self) -> Plan:
        """The plan to begin with."""
        if self.ranking is None:
            raise SessionMisused("a plan is in force", fix="ask for its ranking before training begins")
        return self.ranking.best

    @property
    def said(self) -> str:
        """What the planner thought last."""
        return self._planner.said

    def why(self) -> str:
        """Why the first plan was chosen, in a sentence or two."""
        return " ".join(explain(self.ranking).splitlines()[:2]) if self.ranking is not None else ""

    def predicted(self, plan: Plan, now: float) -> float:
        """Seconds per step of a plan as things are now."""
        return self._planner.pricing(self.context, now).estimate(plan).seconds

    def restrict(self, epoch: int, cap: int | None) -> None:
        """From this epoch on, with a window of `cap` at most."""
        self._planner.restrict(epoch, cap)

    def moved(self, plan: Plan, now: float) -> None:
        """This plan is in force."""
        self._warming = plan.window + 1
        self.proposal = None
        self._planner.begun(plan, now)
        self.context = self.context.under_another_plan()
        self._at, self._size = now, 0

    def stayed(self, plan: Plan, now: float) -> None:
        """This plan is still in force: what was proposed could not be done, and is not asked for again at once."""
        self.proposal = None
        self._planner.begun(plan, now)
        self._at = now

    def met(self) -> None:
        """The line is another one: what its predecessor was asked is not answered any more."""
        self._probe, self.lost = None, None

    def taken(self) -> Proposal | None:
        """The proposal, for whoever carries it out."""
        proposal, self.proposal = self.proposal, None
        return proposal

    def seen(self, done: Done, plan: Plan, line: Line | None, now: float) -> None:
        """One more step: what it took, what the line says, and whether another plan would be better."""
        took, self._at = now - self._at, now
        if self.proposal is not None:
            return
        self._size = done.up + done.down
        self.context = self.context.with_step(took, now)
        if self._warming > 0:
            # The first steps of a plan pay for kernels, allocations and an empty pipeline: they say nothing of a pace.
            self._warming -= 1
            self._look(plan, line, now, waiting=False)
            return
        predicted = self._planner.predicted(plan)
        for place, seconds in (("edge", sum(done.work.values())), ("cloud", done.cloud)):
            expected, ground = predicted.get(place, 0.0), self._ground.get(place, 0.0)
            if expected > _LEAST_WORK and seconds > 0:
                self.context = self.context.with_work(place, seconds + ground, expected + ground, now)
        self._look(plan, line, now, waiting=False)

    def looked(self, plan: Plan, line: Line | None, now: float) -> None:
        """While an answer is waited for: the same, and what it means that it is not here yet."""
        self._look(plan, line, now, waiting=True)

    def _look(self, plan: Plan, line: Line | None, now: float, *, waiting: bool) -> None:
        """What the line says now, and whether another plan would be better."""
        if line is None or self.proposal is not None or self.lost is not None:
            return
        self._listen(line, now, waiting=waiting)
        if waiting:
            self.context = self.context.with_silence(self._size, now - self._at, now)
        silent = self._probe is not None and now - self._asked > _OVERDUE
        if now < self._rests or (silent and not plan.hops):
            return
        began = perf_counter()
        self.proposal = self._planner.consider(now, plan, self.context)
        spent = perf_counter() - began
        self.spent += spent
        self._rests = now + spent / _SHARE

    def _listen(self, line: Line, now: float, *, waiting: bool) -> None:
        """Take in what the line measured, and measure it where it has been quiet."""
        probe = self._probe
        if probe is not None and probe.done():
            self._probe, error = None, probe.exception()
            if error is None:
                self.context = self.context.with_link(probe.result(), now, probed=True)
            elif isinstance(error, PartitaError):
                self.lost = error
            return
        self.context = self.context.with_link(line.link(), now)
        # Not while an answer is late: a probe would come on top of what makes it so.
        if probe is None and not waiting and self.context.needs_probe(now, hurry=self._planner.hurried):
            size = self.context.probe_bytes
            self._probe, self._asked = line.probe(size), now
            self.probes, self.probed_bytes = self.probes + 1, self.probed_bytes + 2 * size


def _whole(profile: Profile, batch: int) -> float:
    """Seconds of all stages, there and back where that was measured."""
    works: tuple[Work, ...] = ("forward", "backward") if profile.trained else ("forward",)
    return sum(stage.seconds(batch, work) for stage in profile.stages for work in works)


def _told(link: Link) -> Link:
    """A measured link to three digits: nobody measures more."""
    up, down, rtt = (float(f"{value:.3g}") for value in (link.up, link.down, link.rtt))
    return Link(up, down, rtt, link.shared)
