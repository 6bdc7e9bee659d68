"""What is known of a network with exits: how long each stage takes, what each exit is worth, when an answer can be trusted.

Rules: pure data; seconds, joules and shares; stage k ends with exit k, so a network with K exits has K stages; what was
not measured is None and never guessed; every number says where it comes from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import BadDocument


@dataclass(frozen=True)
class StageTime:
    """Seconds of one stage, or of several fused into one span, by batch size: the median, and what 99 of 100 stay below."""

    p50: Mapping[int, float]
    p99: Mapping[int, float]

    def __post_init__(self) -> None:
        for name in ("p50", "p99"):
            object.__setattr__(self, name, MappingProxyType(dict(sorted(getattr(self, name).items()))))
        problems = [] if self.p50 else ["p50: no batch size was measured"]
        if self.p50.keys() != self.p99.keys():
            problems.append("p99: other batch sizes than p50")
        problems += [
            f"{name}.{batch}: {value!r} at batch {batch}"
            for name in ("p50", "p99")
            for batch, value in getattr(self, name).items()
            if batch < 1 or value < 0
        ]
        if problems:
            raise BadDocument("stage time", problems, fix="measure it again: partita serve profile")

    def seconds(self, batch: int, *, tail: bool = False) -> float:
        """Seconds at a batch size, linear between those measured and in proportion beyond them."""
        points = self.p99 if tail else self.p50
        sizes = list(points)
        if batch in points:
            return points[batch]
        if batch > sizes[-1]:
            return points[sizes[-1]] * batch / sizes[-1]
        at = bisect_left(sizes, batch)
        if at == 0:
            return points[sizes[0]]
        low, high = sizes[at - 1], sizes[at]
        return points[low] + (points[high] - points[low]) * (batch - low) / (high - low)


@dataclass(frozen=True)
class ExitCost:
    """One exit. `accuracy` is a share on held-out data, with the ends of its confidence interval; `flops` and `joules`
    count from the input to this exit, for one sample."""

    name: str
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    flops: float | None = None
    joules: float | None = None


@dataclass(frozen=True)
class ExitProfile:
    """A network with exits on one device. `spans` maps "i-j" to stages i to j run as one, without the exits between.

    `stages` is empty for profiles that carry no times. `energy_source` is `measured by ...`, `modelled: ...`, or empty.
    """

    model: str
    exits: tuple[ExitCost, ...]
    stages: tuple[StageTime, ...] = ()
    spans: Mapping[str, StageTime] = field(default_factory=dict)
    digest: str = ""
    device: str = ""
    samples: int = 0
    energy_source: str = ""
    source: str = "measured"

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", MappingProxyType(dict(self.spans)))
        problems = [] if self.exits else ["exits: there are none"]
        if self.stages and len(self.stages) != len(self.exits):
            problems.append(f"stages: {len(self.stages)} for {len(self.exits)} exits")
        problems += [
            f"exits[{k}].accuracy: {cost.accuracy!r} is no share"
            for k, cost in enumerate(self.exits)
            if cost.accuracy is not None and not 0 <= cost.accuracy <= 1
        ]
        if problems:
            raise BadDocument("exit profile", problems, fix="measure it again: partita serve profile")

    @property
    def timed(self) -> bool:
        """Whether stage times were measured."""
        return bool(self.stages)

    @property
    def dominated(self) -> tuple[int, ...]:
        """Exits that are no more accurate than an earlier one."""
        best, found = -1.0, []
        for k, cost in enumerate(self.exits):
            if cost.accuracy is None:
                continue
            if cost.accuracy <= best:
                found.append(k)
            best = max(best, cost.accuracy)
        return tuple(found)

    def span(self, first: int, last: int) -> StageTime | None:
        """Stages first to last as one, where that was measured."""
        return self.stages[first] if first == last and self.stages else self.spans.get(f"{first}-{last}")


@dataclass(frozen=True)
class Calibration:
    """What held-out data says about answers, by exit and by how sure the network is.

    `edges` are the inner borders of the confidence bins. `worth[k][q][e]` is the share of samples in bin q at exit k
    that exit e answers rightly. `thresholds[k]` is the confidence from which exit k may answer (above 1: never), chosen
    so that accuracy drops by at most `max_drop` with probability `confidence`; `stays[k]` is the share of samples that
    go on at exit k under them. `accuracy[k]` is that of exit k alone. `labelled` is False where the last exit's own
    answers were taken for the truth.
    """

    edges: tuple[float, ...]
    worth: tuple[tuple[tuple[float, ...], ...], ...]
    accuracy: tuple[float, ...]
    thresholds: tuple[float, ...]
    stays: tuple[float, ...]
    samples: int
    max_drop: float | None = None
    confidence: float | None = None
    labelled: bool = True
    digest: str = ""
    contradicted: float | None = None
    """The share of samples that would leave early and that the last exit answers otherwise: what an audit expects."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        exits, bins = len(self.accuracy), len(self.edges) + 1
        problems = [] if exits else ["accuracy: there are no exits"]
        problems += [
            f"{name}: {len(getattr(self, name))} for {exits} exits"
            for name in ("worth", "thresholds", "stays")
            if len(getattr(self, name)) != exits
        ]
        problems += [
            f"worth[{k}][{q}]: {len(row)} of {bins} bins or {exits} exits"
            for k, rows in enumerate(self.worth)
            for q, row in enumerate(rows)
            if len(rows) != bins or len(row) != exits
        ]
        if list(self.edges) != sorted(self.edges):
            problems.append("edges: they do not grow")
        if problems:
            raise BadDocument("calibration", problems, fix="calibrate again: partita serve calibrate")

    def bin(self, confidence: float) -> int:
        """The bin of a confidence."""
        return bisect_right(self.edges, confidence)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request asks for. Seconds from its arrival, a share, joules, exits by index; None asks for nothing."""

    deadline: float | None = None
    accuracy_floor: float | None = None
    energy_budget: float | None = None
    min_exit: int | None = None
    max_exit: int | None = None
