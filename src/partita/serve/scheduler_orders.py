"""The words between a scheduler and whoever drives it: requests in, batches to run, answers out.

Rules: times are seconds of one clock that the driver reads; what crosses the border is frozen, and only an `Entry`
changes while its request lives; every answer says in words why it left where it left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from ..errors import BadDocument
from .tables import Bounds

# What to do with a request whose bounds cannot all be kept: give up the floors, refuse it, or answer late.
Infeasible = Literal["degrade", "reject", "best_effort"]
Outcome = Literal["answered", "expired", "rejected", "failed"]
# Settings that make no sense below these.
_LEAST = {"workers": 1, "margin": 1.0, "max_batch": 1, "most_waiting": 1, "prices": 3}


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody with a share of the device. `joules_per_second` is what its requests may draw over time."""

    name: str
    weight: float = 1.0
    joules_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `key` is the driver's own name for it; `thresholds` overrules the scheduler's setting."""

    key: object
    bounds: Bounds = field(default_factory=Bounds)
    tenant: str = "default"
    infeasible: Infeasible = "degrade"
    thresholds: bool | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a scheduler behaves.

    `margin` stretches every predicted time until late answers teach another; `thresholds` lets confident answers leave
    though nothing presses; `memory` is how many seconds back a tenant's demand is remembered; `joules_per_second` is
    what the whole device may draw, saved up for at most `energy_window` seconds.
    """

    workers: int = 1
    margin: float = 1.25
    max_batch: int = 32
    thresholds: bool = False
    most_waiting: int = 4096
    prices: int = 40
    memory: float = 0.3
    joules_per_second: float | None = None
    energy_window: float = 10.0

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {getattr(self, name)!r} is below {least}"
            for name, least in _LEAST.items()
            if not getattr(self, name) >= least
        ]
        problems += [
            f"{name}: {value!r} is not positive"
            for name in ("memory", "energy_window", "joules_per_second")
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        if problems:
            raise BadDocument("scheduler settings", problems, fix="correct the settings named")


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request is in. `floor` and `ceiling` are the exits between which it will be answered."""

    floor: int
    ceiling: int
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request is not in; after `retry_after` seconds the same request would have had a chance."""

    reason: str
    retry_after: float


@dataclass(slots=True, eq=False)
class Entry:
    """A request under way: which stage is next, and the answer in hand (`exit` is -1 while there is none)."""

    request: Request
    number: int
    arrived: float
    due: float
    account: int
    floor: int
    ceiling: int
    thresholds: bool
    wanted: int = 0  # the floor that was asked for, where it had to be given up
    patient: bool = False  # it cannot be in time any more, and waits behind everybody who can
    block: int = 0
    stage: int = 0
    exit: int = -1
    bin: int = 0
    confidence: float | None = None
    ran: float = 0.0

    @property
    def deadline(self) -> float:
        """Its place in the order."""
        return inf if self.patient else self.due

    @property
    def answerable(self) -> bool:
        """Whether the answer in hand is one that the request accepts."""
        return self.exit >= self.floor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Work for one worker: stages `first` to `last` in one go for all members, expected to take `seconds`."""

    first: int
    last: int
    worker: int
    began: float
    seconds: float
    members: tuple[Entry, ...]

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests, in the order in which results are reported back."""
        return tuple(entry.request for entry in self.members)


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one request. `expected_accuracy` is how often an answer like this one is right on held-out data;
    `degraded` says that load, and not the network's own certainty, decided the depth."""

    request: Request
    outcome: Outcome
    reason: str
    at: float
    exit: int | None = None
    confidence: float | None = None
    expected_accuracy: float | None = None
    in_time: bool = False
    waited: float = 0.0
    ran: float = 0.0
    joules: float | None = None
    degraded: bool = False
