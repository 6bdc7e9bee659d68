"""What a training tells of itself: one report a step, one an epoch, and what happened between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Happening = Literal[
    "began",
    "planned",
    "moved",
    "stayed",
    "abandoned",
    "checkpoint",
    "resumed",
    "lost",
    "back",
    "diverged",
    "warned",
    "ended",
]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of training, once its last update is done.

    `seconds` is the time since the last report, `latency` from a step's first work to its last. `staleness` is how
    many updates the front had made since it computed these features. `wait` is what the edge spent waiting.
    `joules` is of the edge, None where there is no meter. Rates are bytes per second, None until measured.
    """

    step: int
    epoch: int
    loss: float
    right: int
    count: int
    seconds: float
    latency: float
    plan: str
    version: int
    window: int
    staleness: int
    codec_up: str
    codec_down: str
    bytes_up: int
    bytes_down: int
    edge_seconds: float
    cloud_seconds: float
    wait: float
    rate_up: float | None
    rate_down: float | None
    rtt: float | None
    rate: float
    joules: float | None = None
    joules_source: str = ""

    @property
    def accuracy(self) -> float | None:
        """The share of right answers in this batch; None where that is no question."""
        return self.right / self.count if self.right >= 0 and self.count else None


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch: means over its samples, and what held-out samples said at its end if there are any."""

    epoch: int
    steps: int
    seconds: float
    loss: float
    accuracy: float | None
    held_out_loss: float | None
    held_out_accuracy: float | None
    bytes_up: int
    bytes_down: int
    joules: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two steps, said in a sentence; `facts` holds the numbers of it."""

    what: Happening
    step: int
    said: str
    facts: Mapping[str, float | str] = field(default_factory=dict)
