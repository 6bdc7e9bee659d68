"""Whose joules: a batch's energy split among its requests, kept in one account a tenant, held to a budget by a price.

Rules: pure, every clock is an argument that may stand still but never runs backwards; what a meter measured and what a
model says are never added up into one number; the energy of waiting belongs to nobody and is shown on its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from ..errors import BadDocument
from ..graph import Energy

# Half full: room above for a burst, and below for the price to act before it is empty.
_TARGET: Final = 0.5


@dataclass(frozen=True, slots=True)
class Joules:
    """Joules measured and joules modelled, apart; and how many requests they answered."""

    measured: float = 0.0
    modelled: float = 0.0
    requests: int = 0

    def plus(self, energy: Energy, requests: int = 0) -> Joules:
        """With some more of the kind that the energy is."""
        return Joules(
            self.measured + (energy.joules if energy.measured else 0.0),
            self.modelled + (0.0 if energy.measured else energy.joules),
            self.requests + requests,
        )


def label(energy: Energy) -> str:
    """Where a number comes from, as responses and profiles say it."""
    return f"{'measured by' if energy.measured else 'modelled:'} {energy.source}"


def split(energy: Energy, costs: Sequence[float]) -> tuple[Energy, ...]:
    """A batch's energy by what each request costs alone (seconds, FLOPs or joules: only ratios count).

    Where all cost nothing they share alike. The shares add up to the whole.
    """
    problems = [] if costs else ["costs: the batch has no requests"]
    problems += [
        f"costs[{i}]: {cost!r} is not 0 or more" for i, cost in enumerate(costs) if not 0 <= cost < math.inf
    ]
    if not 0 <= energy.joules < math.inf:
        problems.append(f"energy.joules: {energy.joules!r} is not 0 or more")
    if problems:
        raise BadDocument("attribution", problems, fix="give the unit cost of every request in the batch")
    whole = math.fsum(costs)
    shares = [cost / whole for cost in costs] if whole > 0 else [1 / len(costs)] * len(costs)
    return tuple(replace(energy, joules=energy.joules * share) for share in shares)


def without_idle(energy: Energy, seconds: float, idle_watts: float) -> tuple[Energy, Energy]:
    """What the work took, and what the machine would have taken anyway in these seconds: never more than was used."""
    problems = [
        f"{name}: {value!r} is not 0 or more"
        for name, value in (("seconds", seconds), ("idle_watts", idle_watts))
        if not 0 <= value < math.inf
    ]
    if problems:
        raise BadDocument("idle power", problems, fix="measure it while nothing runs, in watts")
    idle = min(energy.joules, idle_watts * seconds)
    return replace(energy, joules=energy.joules - idle), replace(energy, joules=idle)


@dataclass(frozen=True)
class EnergyLedger:
    """What every tenant used, what waiting used, and every source that a number came from."""

    tenants: Mapping[str, Joules] = field(default_factory=dict)
    idle: Joules = Joules()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tenants", MappingProxyType(dict(self.tenants)))

    def batch(
        self,
        energy: Energy,
        work: Sequence[tuple[str, float]],
        *,
        seconds: float = 0.0,
        idle_watts: float = 0.0,
        answered: Iterable[str] = (),
    ) -> EnergyLedger:
        """After a batch, or all that ran between two readings of a meter: (tenant, unit cost) for each piece of work.

        `answered` names the tenant of each request that got its answer, since one request can be in several batches.
        Idle power is taken off first where `seconds` and `idle_watts` are given.
        """
        active, idle = without_idle(energy, seconds, idle_watts)
        tenants = dict(self.tenants)
        shares = split(active, [cost for _, cost in work])
        for (tenant, _), share in zip(work, shares, strict=True):
            tenants[tenant] = tenants.get(tenant, Joules()).plus(share)
        for tenant in answered:
            account = tenants.get(tenant, Joules())
            tenants[tenant] = replace(account, requests=account.requests + 1)
        return EnergyLedger(tenants, self.idle.plus(idle), self._with_source(energy))

    def waited(self, energy: Energy) -> EnergyLedger:
        """After a time in which nothing ran."""
        return EnergyLedger(self.tenants, self.idle.plus(energy), self._with_source(energy))

    @property
    def total(self) -> Joules:
        """Everything, waiting included."""
        accounts = [*self.tenants.values(), self.idle]
        return Joules(
            math.fsum(one.measured for one in accounts),
            math.fsum(one.modelled for one in accounts),
            sum(one.requests for one in accounts),
        )

    def _with_source(self, energy: Energy) -> tuple[str, ...]:
        said = label(energy)
        return self.sources if said in self.sources else (*self.sources, said)


@dataclass(frozen=True)
class Bucket:
    """A budget of joules a second that may be saved up to `burst`. Energy is known afterwards, so it can be in debt.

    A new bucket is full. `level` is what it held at `at`.
    """

    rate: float
    burst: float
    level: float = math.nan
    at: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not above 0"
            for name, value in (("rate", self.rate), ("burst", self.burst))
            if not 0 < value < math.inf
        ]
        if self.level > self.burst:
            problems.append(f"level: {self.level!r} is above burst {self.burst!r}")
        if problems:
            raise BadDocument("energy budget", problems, fix="as in rate=1.5 (joules a second), burst=15")
        if math.isnan(self.level):
            object.__setattr__(self, "level", self.burst)

    def refilled(self, now: float) -> Bucket:
        """As it stands at a later time; a clock that went back is taken to stand still."""
        if now <= self.at:
            return self
        return replace(self, level=min(self.burst, self.level + (now - self.at) * self.rate), at=now)

    def spend(self, joules: float, now: float) -> Bucket:
        """After joules were used, whether or not they were there."""
        if not 0 <= joules < math.inf:
            raise BadDocument(
                "energy", [f"joules: {joules!r} is not 0 or more"], fix="spend what was attributed"
            )
        full = self.refilled(now)
        return replace(full, level=full.level - joules)

    def affords(self, joules: float, now: float) -> bool:
        """Whether so much is there now."""
        return self.refilled(now).level >= joules

    def wait(self, joules: float, now: float) -> float:
        """Seconds until so much is there; infinite for more than it ever holds."""
        if joules > self.burst:
            return math.inf
        return max(0.0, (joules - self.refilled(now).level) / self.rate)

    def fullness(self, now: float) -> float:
        """The share of the burst that is there: below 0 in debt."""
        return self.refilled(now).level / self.burst


@dataclass(frozen=True)
class EnergyPrice:
    """The second price, in accuracy per joule, as a PI controller sets it from how full a bucket is.

    The price rises while the bucket is emptier than `target` and falls again, never below 0 nor above `highest`:
    the accuracy of the best exit over the joules of the cheapest stage is a `highest` at which nothing runs deeper.
    `gain` is the share of `highest` asked for an empty bucket at target 1, `seconds` the time in which a lasting error
    asks for as much again. The same controller holds a battery or a temperature, given as a fullness.
    """

    highest: float
    gain: float = 1.0
    seconds: float = 5.0
    target: float = _TARGET
    price: float = 0.0
    held: float = 0.0
    at: float | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not above 0"
            for name, value in (("highest", self.highest), ("gain", self.gain), ("seconds", self.seconds))
            if not 0 < value < math.inf
        ]
        if not 0 < self.target <= 1:
            problems.append(f"target: {self.target!r} is not above 0 and at most 1")
        if problems:
            raise BadDocument("energy price", problems, fix="as in highest=0.9/0.002, seconds=5, target=0.5")

    def after(self, fullness: float, now: float) -> EnergyPrice:
        """The price once the bucket was looked at. The first look starts the clock."""
        error = self.target - fullness
        passed = 0.0 if self.at is None else max(0.0, now - self.at)
        # The sum stops at what the price can be, or it would have to be unlearned after every long dearth or plenty.
        held = min(1.0, max(0.0, self.held + self.gain * error * passed / self.seconds))
        share = min(1.0, max(0.0, self.gain * error + held))
        later = now if self.at is None else max(now, self.at)
        return replace(self, price=share * self.highest, held=held, at=later)
