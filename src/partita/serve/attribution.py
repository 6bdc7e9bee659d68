"""Whose joules: a batch's energy split among its requests, and kept in one account a tenant.

Rules: pure; what a meter measured and what a model says are never added up into one number; the energy of waiting
belongs to nobody and is shown on its own. Budgets are the scheduler's (`scheduler_energy`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..errors import BadDocument
from ..graph import Energy


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
