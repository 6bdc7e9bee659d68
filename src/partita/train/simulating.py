"""A training before anybody owns the devices: seconds per step against bandwidth, and a whole training over a trace.

Rules: pure, and the same question with the same seed gives the same answer; all arms meet the same profiles, the same
link and the same noise; an arm that a case does not allow is named with the reason; who does not know the future is
told nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph import Link
from ..plan import Plan
from .baselines import Arm
from .simulate_arms import case_arms, forbidden
from .simulate_case import Case
from .simulate_live import Live
from .simulate_moments import Moment
from .simulate_oracle import best_fixed, best_plans, mean_moment, oracle
from .simulate_run import Fixed, Played, Policy, play
from .simulate_world import World

Progress = Callable[[int, int, str], None]
LIVE = "auto, live"


@dataclass(frozen=True, slots=True)
class Point:
    """One arm on one link: `seconds` is the time per step, `bottleneck` what is busy longest in it."""

    arm: str
    link: Link
    plan: Plan
    seconds: float
    bottleneck: str


@dataclass(frozen=True)
class Sweep:
    """One case over all links. `missing` are the arms that it does not allow, with the reason."""

    case: Case
    points: tuple[Point, ...]
    missing: Mapping[str, str]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, in their order."""
        return tuple(dict.fromkeys(point.arm for point in self.points))

    def of(self, arm: str) -> tuple[Point, ...]:
        """One arm over all links."""
        return tuple(point for point in self.points if point.arm == arm)


def sweep_links(case: Case, links: Sequence[Link]) -> Sweep:
    """All arms of a case on all links."""
    points = tuple(_point(case, link, arm) for link in links for arm in case_arms(case, link))
    return Sweep(case, points, forbidden(case.question))


def _point(case: Case, link: Link, arm: Arm) -> Point:
    found = case.pricing(link).estimate(arm.plan)
    return Point(arm.name, link, arm.plan, case.pace(arm.plan, link), found.bottleneck)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a training is: epochs of so many steps."""

    epochs: int = 1
    steps: int = 1000


@dataclass(frozen=True)
class Replay:
    """One training over one trace, by everybody: the live planner first, then plans that are kept, then the oracle.

    `missing` names the arms that the case does not allow, with the reason.
    """

    case: Case
    moments: tuple[Moment, ...]
    runs: tuple[Played, ...]
    missing: Mapping[str, str]

    @property
    def live(self) -> Played:
        """The training that plans anew while it goes on."""
        return self.runs[0]

    @property
    def oracle(self) -> Played:
        """The one that knew the whole trace."""
        return self.runs[-1]


def replay(
    case: Case,
    moments: Sequence[Moment],
    length: Length,
    *,
    noise: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Replay:
    """Play one training over a trace: live, under each arm planned for the trace's mean, and by who knows the future."""

    def world() -> World:
        # The same noise for everybody, in the order of their own work.
        return World(moments, noise=noise, seed=seed)

    def run(name: str, policy: Policy, there: World | None = None) -> Played:
        if progress is not None:
            progress(len(told), len(told) + 1, name)
        return play(name, case, there or world(), policy, epochs=length.epochs, steps=length.steps)

    told: list[Played] = []
    seen = world()
    told.append(run(LIVE, Live(case, seen), seen))
    mean = mean_moment(moments, told[0].seconds)
    plans = [plan for _, plan in told[0].plans]
    for arm in case_arms(case.at(mean), mean.link):
        plans.append(replace(arm.plan, estimate=None))
        told.append(run(arm.name, Fixed(plans[-1])))
    known = tuple(dict.fromkeys([*plans, *best_plans(case, moments, told[0].seconds)]))
    fixed = best_fixed(run, known)
    told += [fixed, oracle(run, case, moments, known, fixed)]
    return Replay(case, tuple(moments), tuple(told), forbidden(case.question))
