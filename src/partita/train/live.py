"""What the session knows of its surroundings while it trains, and what the planner makes of it.

Rules: the planner is asked between two steps; it sees what steps took and what the line measured, nothing else; while
the plan leaves the line quiet it is probed, so that training can come back to the cloud; a line that was lost while
nothing needed it is dialled again in the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from statistics import median
from typing import Self, final

from ..engine.torch_model import TorchModel
from ..errors import PartitaError, SessionMisused
from ..graph import Link, Profile
from ..plan import Plan, Ranking, explain
from ..wire import LinkEstimate
from .context import Context
from .edge import Done
from .holding import Holding
from .line import Line
from .loading import Batch
from .planner import Facts, Planner, Proposal
from .settings import Settings

# Probes before the first plan: the first one opens the windows of the connection and does not count.
_PROBES = 4
_PROBE_BYTES = 256 << 10
# Where a place's work under a plan is less than this, its ratio to the profile is mostly noise.
_LEAST_WORK = 2e-4


def facts_of(model: TorchModel, holding: Holding, settings: Settings, batch: Batch) -> Facts:
    """What the planner must know of model and data."""
    chain = model.chain
    states = set(holding.names((0, len(chain))))
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
        constant=frozenset(states - set(holding.trained((0, len(chain))))),
    )


def survey(line: Line) -> LinkEstimate:
    """The link, measured on purpose before anything is planned."""
    found = [line.probe(_PROBE_BYTES).result() for _ in range(_PROBES)][1:]

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
        self._planner = Planner(model.chain, around.profiles, settings, **around.facts)
        self.context = Context().with_link(around.link, now, probed=True)
        self.ranking: Ranking | None = None
        self.proposal: Proposal | None = None
        self._probe: Future[LinkEstimate] | None = None

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
        self.proposal = None
        self._planner.begun(plan, now)
        self.context = self.context.under_another_plan()

    def taken(self) -> Proposal | None:
        """The proposal, for whoever carries it out."""
        proposal, self.proposal = self.proposal, None
        return proposal

    def seen(self, done: Done, plan: Plan, line: Line | None, now: float) -> None:
        """One more step: what it took, what the line says, and whether another plan would be better."""
        if self.proposal is not None:
            return
        predicted = self._planner.predicted(plan)
        for place, seconds in (("edge", sum(done.work.values())), ("cloud", done.cloud)):
            if predicted.get(place, 0.0) > _LEAST_WORK and seconds > 0:
                self.context = self.context.with_work(place, seconds, predicted[place], now)
        if line is None:
            return
        self._listen(line, now)
        self.proposal = self._planner.consider(now, plan, self.context)

    def _listen(self, line: Line, now: float) -> None:
        """Take in what the line measured, and measure it where it has been quiet."""
        probe = self._probe
        if probe is not None and probe.done():
            self._probe = None
            if probe.exception() is None:
                self.context = self.context.with_link(probe.result(), now, probed=True)
            return
        self.context = self.context.with_link(line.link(), now)
        if probe is None and self.context.needs_probe(now, hurry=self._planner.hurried):
            self._probe = line.probe(self.context.probe_bytes)

    def broken(self) -> PartitaError | None:
        """Why the last probe failed, if it did: the line is gone."""
        probe = self._probe
        error = probe.exception() if probe is not None and probe.done() else None
        return error if isinstance(error, PartitaError) else None


def _told(link: Link) -> Link:
    """A measured link to three digits: nobody measures more."""
    up, down, rtt = (float(f"{value:.3g}") for value in (link.up, link.down, link.rtt))
    return Link(up, down, rtt, link.shared)
