"""The live planner in a simulated training: told what an edge can see, and nothing else.

Rules: the planner and the context are those of a real training; a step tells how long work and bytes took, a probe
travels over the simulated link and is answered later; what the trace says of the future is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

from ..plan import Plan
from ..wire import LinkEstimate
from .context import Context
from .planner import Planner
from .roles import CLOUD, EDGE
from .settings import Settings
from .simulate_case import Case
from .simulate_flow import Finished
from .simulate_run import Change
from .simulate_world import World


@dataclass(frozen=True, slots=True)
class Probe:
    """A measurement of the link on its way: when its answer is here, and what it will say."""

    here: float
    told: LinkEstimate


@final
class Live:
    """A `Policy` that plans anew."""

    def __init__(self, case: Case, world: World) -> None:
        self._world = world
        link = world.at(0.0).link
        settings = Settings(batch=case.question.batch, max_window=case.question.max_window)
        self._planner = Planner(case.chain, case.profiles, settings, question=case.question)
        self._context = Context(start=link)
        self._plan = replace(self._planner.first(link, top=1).best, estimate=None)
        self._planner.begun(self._plan, 0.0)
        self._probe: Probe | None = None
        self.probes = 0

    def first(self) -> Plan:
        return self._plan

    def seen(self, done: Finished) -> Change | None:
        now = done.ended
        trip = self._world.at(now).link.rtt
        context = self._context
        if done.up is not None or done.down is not None:
            context = context.with_link(LinkEstimate(done.up, done.down, trip), now)
        own: Mapping[str, float] = self._planner.predicted(self._plan)
        context = context.with_work(EDGE, done.edge, own[EDGE], now)
        self._context = context.with_work(CLOUD, done.cloud, own[CLOUD], now)
        self._look(now)
        proposal = self._planner.consider(now, self._plan, self._context)
        if proposal is None:
            return None
        link = self._context.link
        rates = " and ".join(dict.fromkeys(f"{rate / 1e6:.3g}" for rate in (link.up, link.down)))
        reason = f"{proposal.now:.3g} s a step become {proposal.new:.3g} s over {rates} Mbit/s"
        return Change(replace(proposal.plan, estimate=None), reason)

    def _look(self, now: float) -> None:
        """Take the answer of a probe that has come; send one where nothing was heard of the link for long."""
        if self._probe is not None and self._probe.here <= now:
            self._context = self._context.with_link(self._probe.told, now, probed=True)
            self._probe = None
        if self._probe is None and self._context.needs_probe(now, hurry=self._planner.hurried):
            size, trip = self._context.probe_bytes, self._world.at(now).link.rtt
            up = self._world.sent(now, size, up=True)
            down = self._world.sent(up + trip / 2, size, up=False)
            told = LinkEstimate(size / (up - now), size / (down - up - trip / 2), trip)
            self._probe = Probe(down + trip / 2, told)
            self.probes += 1

    def moved(self, plan: Plan, at: float) -> None:
        self._plan = plan
        self._planner.begun(plan, at)
        self._context = self._context.under_another_plan()
