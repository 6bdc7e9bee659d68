"""What one request may ask for, as options: the same for every verb that thinks about requests."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from cyclopts import Parameter

from ..errors import BadDocument
from ..serve import Bounds


@Parameter(name="*")
@dataclass(frozen=True)
class BoundOptions:
    """What one request asks for.

    Parameters
    ----------
    deadline_ms
        Milliseconds from the arrival to the answer.
    accuracy_floor
        The accuracy that the answer's rule must have on held-out data, like 0.8.
    energy_budget_mj
        Millijoules that the request may take.
    min_exit
        The first exit that may answer.
    max_exit
        The last exit that may answer.
    """

    deadline_ms: float | None = None
    accuracy_floor: float | None = None
    energy_budget_mj: float | None = None
    min_exit: int | None = None
    max_exit: int | None = None

    def bounds(self) -> Bounds:
        """In seconds and joules; what is wrong is said as it was typed."""
        given = (("--deadline-ms", self.deadline_ms), ("--energy-budget-mj", self.energy_budget_mj))
        problems = [f"{name}: {v:g} is not above 0" for name, v in given if v is not None and not 0 < v < inf]
        if problems:
            raise BadDocument("bounds", problems, fix="give a number above 0, or leave it out")
        return Bounds(
            None if self.deadline_ms is None else self.deadline_ms / 1e3,
            self.accuracy_floor,
            None if self.energy_budget_mj is None else self.energy_budget_mj / 1e3,
            self.min_exit,
            self.max_exit,
        )
