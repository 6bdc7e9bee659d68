"""What is simulated: a network, a profile of the edge and one of the cloud, and what the planner is asked.

Rules: seconds come from the profiles and bytes from the chain, never from anywhere else, and `sources` says where
each of them is from; a link is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..graph import Chain, Link, Profile
from ..plan import Plan, Pricing, Question
from .roles import CLOUD, EDGE
from .simulate_moments import Moment, Slowdown


@dataclass(frozen=True)
class Case:
    """One network between one edge and one cloud; the first profile is the edge's."""

    name: str
    chain: Chain
    profiles: Mapping[str, Profile]
    question: Question
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ordered = {EDGE: self.profiles[EDGE], CLOUD: self.profiles[CLOUD]}
        object.__setattr__(self, "profiles", MappingProxyType(ordered))
        object.__setattr__(self, "question", replace(self.question, mode="train"))
        for profile in ordered.values():
            profile.check(self.chain)

    @property
    def sources(self) -> dict[str, str]:
        """Where the numbers are from, by place."""
        told = {place: f"{profile.device.name}: {profile.source}" for place, profile in self.profiles.items()}
        return {**told, "link": "modelled"}

    def at(self, moment: Moment) -> Case:
        """The same with devices as slow as they are at a moment."""
        factors = {EDGE: moment.edge, CLOUD: moment.cloud}
        slow = {p: q if factors[p] == 1 else q.slowed(factors[p]) for p, q in self.profiles.items()}
        return replace(self, profiles=slow)

    def pricing(self, link: Link) -> Pricing:
        """Ready to price plans on a link."""
        return Pricing.of(self.chain, self.profiles, link, self.question)

    def pace(self, plan: Plan, link: Link) -> float:
        """Seconds per step of a plan in the fixed order of the engine, once the pipeline is full."""
        return self.pricing(link).estimate(plan).seconds


def slower(case: Case, slowdowns: Sequence[Slowdown]) -> Case:
    """A case on other devices: those that are slow for good."""
    factors = {EDGE: 1.0, CLOUD: 1.0}
    for slow in slowdowns:
        if slow.always:
            factors[slow.place] *= slow.factor
    return case.at(Moment(0.0, Link(1.0, 1.0), factors[EDGE], factors[CLOUD]))
