"""What a simulation found, as a document: over all requests and for each tenant.

Rules: shares are of everything that was asked, refused or not; accuracy is of what was answered; latency counts from
arrival to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .arrivals import Arrival
from .scheduler_orders import Answer
from .scheduler_orders import Outcome as Ending


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one arrival ended, and whether its answer was right."""

    arrival: Arrival
    ending: Ending
    at: float
    answer: Answer | None = None
    right: bool = False

    @property
    def in_time(self) -> bool:
        """Answered before its deadline."""
        return self.answer is not None and self.answer.in_time


@dataclass(frozen=True)
class Tally:
    """Counts and shares of one group of requests. What nothing can be said about is None."""

    requests: int
    in_time: float | None
    accuracy: float | None
    right_in_time: float | None
    exits: tuple[int, ...]
    latency_p50: float | None
    latency_p99: float | None
    rejected: int
    expired: int
    late: int
    degraded: int
    joules: float | None


@dataclass(frozen=True)
class Report:
    """A simulation: everybody, and tenant by tenant."""

    whole: Tally
    tenants: Mapping[str, Tally] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False, compare=False)

    def over(self, chosen: Callable[[Arrival], bool]) -> Tally:
        """The same for a choice of arrivals, such as those of a burst."""
        return tally([o for o in self.outcomes if chosen(o.arrival)], len(self.whole.exits))

    def as_dict(self) -> dict[str, object]:
        """Plain values, without the outcomes."""
        return {"whole": _plain(self.whole), "tenants": {name: _plain(t) for name, t in self.tenants.items()}}


def report(outcomes: Sequence[Outcome], exits: int) -> Report:
    """Count."""
    names = sorted({o.arrival.tenant for o in outcomes})
    tenants = {name: tally([o for o in outcomes if o.arrival.tenant == name], exits) for name in names}
    return Report(tally(outcomes, exits), tenants, tuple(outcomes))


def tally(outcomes: Sequence[Outcome], exits: int) -> Tally:
    """Count one group."""
    answers = [o.answer for o in outcomes if o.answer is not None and o.ending == "answered"]
    latencies = [o.at - o.arrival.time for o in outcomes if o.ending == "answered"]
    right = [o.right for o in outcomes if o.ending == "answered"]
    spent = [o.answer.joules for o in outcomes if o.answer is not None]
    counts = [0] * exits
    for answer in answers:
        counts[answer.exit or 0] += 1
    return Tally(
        requests=len(outcomes),
        in_time=_share(sum(o.in_time for o in outcomes), len(outcomes)),
        accuracy=_share(sum(right), len(right)),
        right_in_time=_share(sum(o.in_time and o.right for o in outcomes), len(outcomes)),
        exits=tuple(counts),
        latency_p50=float(np.percentile(latencies, 50)) if latencies else None,
        latency_p99=float(np.percentile(latencies, 99)) if latencies else None,
        rejected=sum(o.ending == "rejected" for o in outcomes),
        expired=sum(o.ending == "expired" for o in outcomes),
        late=sum(not answer.in_time for answer in answers),
        degraded=sum(answer.degraded for answer in answers),
        joules=None if None in spent else float(sum(j for j in spent if j is not None)),
    )


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _plain(tally: Tally) -> dict[str, object]:
    plain: dict[str, object] = dict(vars(tally))
    plain["exits"] = list(tally.exits)
    return plain
