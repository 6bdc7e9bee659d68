"""What a model costs on one device: the Profile, written by `profile` and read by `plan`.

Rules: every number is measured, or says that it is modelled; a profile carries the device and the digest of
the model it belongs to; between measured batch sizes costs are interpolated, beyond them extended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from ..errors import BadDocument, ProfileMismatch
from .chain import Chain

Work = Literal["forward", "backward"]
_AGAIN = "measure it again with `partita profile`"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one repetition: the median of `runs`, and the distance between their quartiles."""

    median: float
    spread: float = 0.0
    runs: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is below zero"
            for name, value in (("median", self.median), ("spread", self.spread), ("runs", self.runs))
            if value < 0
        ]
        if problems:
            raise BadDocument("timing", problems, fix=_AGAIN)


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules of one repetition, and where the number comes from. A modelled value is never called measured."""

    joules: float
    source: str
    measured: bool


@dataclass(frozen=True, slots=True)
class Device:
    """Where a profile was taken: enough to tell whether it still applies."""

    name: str
    processor: str = ""
    threads: int = 0
    runtime: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CodecCost:
    """What a codec costs on this device, in seconds per raw byte each way."""

    encode: float
    decode: float


@dataclass(frozen=True)
class StageCost:
    """What one stage, or the whole model, costs, by batch size."""

    name: str
    forward: Mapping[int, Timing]
    backward: Mapping[int, Timing] = field(default_factory=dict)
    param_bytes: int = 0
    peak_bytes: Mapping[int, int] = field(default_factory=dict)
    energy: Mapping[int, Energy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("forward", "backward", "peak_bytes", "energy"):
            object.__setattr__(self, name, MappingProxyType(dict(sorted(getattr(self, name).items()))))
        sizes = (*self.forward, *self.backward, *self.peak_bytes, *self.energy)
        problems = [f"batch {batch} is not a positive number" for batch in sizes if batch < 1]
        if problems:
            raise BadDocument(f"costs of {self.name!r}", problems, fix=_AGAIN)

    def seconds(self, batch: int, work: Work = "forward") -> float:
        """Seconds at a batch size, interpolated between the measured ones."""
        timings: Mapping[int, Timing] = getattr(self, work)
        return _between({size: timing.median for size, timing in timings.items()}, batch)

    def joules(self, batch: int) -> float | None:
        """Joules of one forward pass, or None where no meter and no model was at hand."""
        if not self.energy:
            return None
        return _between({size: energy.joules for size, energy in self.energy.items()}, batch)

    def peak(self, batch: int) -> float:
        """Bytes of activations at the worst moment; 0 where it was not measured."""
        return _between({size: float(peak) for size, peak in self.peak_bytes.items()}, batch)


@dataclass(frozen=True)
class Profile:
    """One model on one device. `source` is `measured`, or says where the numbers come from.

    `before` and `after` hold, for profiles that were taken by cut and not by stage, the measured seconds of all
    stages before and after each position, by batch size; they go before sums over stages.
    """

    model: str
    digest: str
    device: Device
    stages: tuple[StageCost, ...]
    whole: StageCost
    codecs: Mapping[str, CodecCost] = field(default_factory=dict)
    before: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    after: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    source: str = "measured"
    taken: str = ""

    def __post_init__(self) -> None:
        for name in ("codecs", "before", "after"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        problems = [
            f"{name}: batch {batch} has {len(row)} positions, not {len(self.stages) + 1}"
            for name in ("before", "after")
            for batch, row in getattr(self, name).items()
            if len(row) != len(self.stages) + 1
        ]
        if not self.stages:
            problems.append("stages: there are none")
        problems += [
            f"stage {s.name!r}: forward was not measured at any batch size"
            for s in self.stages
            if not s.forward
        ]
        if problems:
            raise BadDocument(f"profile of {self.model!r}", problems, fix=_AGAIN)

    @property
    def trained(self) -> bool:
        """Whether backward passes were measured too."""
        return all(stage.backward for stage in self.stages)

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that were measured."""
        return tuple(self.stages[0].forward)

    def check(self, chain: Chain) -> None:
        """Refuse a profile that belongs to another model."""
        if self.digest == chain.digest and len(self.stages) == len(chain):
            return
        raise ProfileMismatch(
            f"this profile belongs to {self.model!r} ({self.digest[:19]}, {len(self.stages)} stages), "
            f"not to {chain.name!r} ({chain.digest[:19]}, {len(chain)} stages)",
            fix=f"measure this model: partita profile {chain.name} -o profile.json",
        )

    def seconds(self, start: int, stop: int, batch: int, work: Work = "forward") -> float:
        """Seconds of the stages [start, stop) at a batch size."""
        if start >= stop:
            return 0.0
        if work == "forward" and self.before and start == 0:
            return _between({size: row[stop] for size, row in self.before.items()}, batch)
        if work == "forward" and self.after and stop == len(self.stages):
            return _between({size: row[start] for size, row in self.after.items()}, batch)
        return sum(stage.seconds(batch, work) for stage in self.stages[start:stop])

    def slowed(self, factor: float) -> Profile:
        """The same profile on a device that takes `factor` times as long: for what-if questions."""

        def slow(cost: StageCost) -> StageCost:
            def times(rows: Mapping[int, Timing]) -> dict[int, Timing]:
                return {b: Timing(t.median * factor, t.spread * factor, t.runs) for b, t in rows.items()}

            return replace(cost, forward=times(cost.forward), backward=times(cost.backward))

        def row(rows: Mapping[int, tuple[float, ...]]) -> dict[int, tuple[float, ...]]:
            return {batch: tuple(value * factor for value in values) for batch, values in rows.items()}

        return replace(
            self,
            device=replace(self.device, name=f"{self.device.name} x{factor:g}"),
            stages=tuple(map(slow, self.stages)),
            whole=slow(self.whole),
            codecs={n: CodecCost(c.encode * factor, c.decode * factor) for n, c in self.codecs.items()},
            before=row(self.before),
            after=row(self.after),
            source=f"modelled: {self.source}, {factor:g} times slower",
        )


def _between(points: Mapping[int, float], batch: int) -> float:
    """Linear between measured batch sizes, along the nearest slope outside them, in proportion from a single one."""
    sizes = sorted(points)
    if not sizes:
        return 0.0
    if batch in points:
        return points[batch]
    if len(sizes) == 1:
        return points[sizes[0]] * batch / sizes[0]
    at = min(max(bisect_left(sizes, batch), 1), len(sizes) - 1)
    low, high = sizes[at - 1], sizes[at]
    slope = (points[high] - points[low]) / (high - low)
    # Noise can tilt a slope until it promises nothing or less; a share in proportion is the least that is plausible.
    least = points[sizes[0]] * batch / sizes[0] if batch < sizes[0] else points[low]
    return max(points[low] + slope * (batch - low), least if batch < sizes[0] or batch > sizes[-1] else 0.0)
