"""Two profiles of one model side by side, as data.

Rules: both must belong to the same model; ratios say how many times longer the second takes than the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ProfileMismatch
from ..graph import Profile, Work


@dataclass(frozen=True, slots=True)
class ComparedStage:
    """One stage on two devices."""

    name: str
    left: float
    right: float

    @property
    def ratio(self) -> float:
        """How many times longer the second takes; infinite where the first takes no time."""
        return self.right / self.left if self.left else float("inf")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every stage and the whole on two devices, at one batch size."""

    left: str
    right: str
    batch: int
    work: Work
    stages: tuple[ComparedStage, ...]
    whole: ComparedStage


def compare_profiles(left: Profile, right: Profile, *, batch: int = 1, work: Work = "forward") -> Comparison:
    """Two profiles at one batch size, interpolated where it was not measured."""
    if left.digest != right.digest:
        raise ProfileMismatch(
            f"the profiles belong to two models, {left.model!r} and {right.model!r}",
            fix="compare profiles of one model, taken on two devices",
        )
    rows = tuple(
        ComparedStage(a.name, a.seconds(batch, work), b.seconds(batch, work))
        for a, b in zip((*left.stages, left.whole), (*right.stages, right.whole), strict=True)
    )
    return Comparison(left.device.name, right.device.name, batch, work, rows[:-1], rows[-1])
