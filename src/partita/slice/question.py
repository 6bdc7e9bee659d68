"""What is asked of the planner of slices: the platform, the number of slices, what to make small, how tensors travel.

Rules: all bad fields are reported at once; nothing here depends on a model or a measurement; the default asks for the
fewest slices that the platform's limits allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import get_args

from ..errors import BadDocument
from ..plan import Platform
from .document import Objective, Transport

# Objectives that are seconds or follow from them.
TIMED = ("latency", "cost", "throughput")
# Kernels take work space beside their tensors, and the allocator keeps what it had: with three times the activations
# the formula bounds every one of 40 slices measured (ResNet-50, VGG-19, DenseNet-121, SqueezeNet, a 3 GB chain).
ACTIVATIONS = 3.0


@dataclass(frozen=True)
class SliceQuestion:
    """One question to the planner.

    `slices` fixes their number. `slack` is how much heavier than the best possible the heaviest slice may be where
    that saves bytes between slices. `prepack` lets kernels keep weights in a layout of their own: faster, and one
    weight at a time is held twice while the slice is loaded. `cold` counts the first call of every function and not a warm one. `function_memory` is what every
    function is ordered with; otherwise each gets what it needs.
    """

    platform: Platform
    slices: int | None = None
    objective: Objective = "slices"
    transport: Transport = "auto"
    batch: int = 1
    dims: Mapping[str, int] = field(default_factory=dict)
    prepack: bool = True
    slack: float = 0.10
    cold: bool = False
    function_memory: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", MappingProxyType(dict(self.dims)))
        problems = self._problems()
        if problems:
            raise BadDocument(
                "slice question", problems, fix="`partita slice plan --help` lists what can be asked"
            )

    def _problems(self) -> list[str]:
        problems = [
            f"{name}: {getattr(self, name)!r} is not one of {', '.join(get_args(kind))}"
            for name, kind in (("objective", Objective), ("transport", Transport))
            if getattr(self, name) not in get_args(kind)
        ]
        if self.slices is not None and self.slices < 1:
            problems.append(f"slices: {self.slices!r} is below 1")
        if self.batch < 1:
            problems.append(f"batch: {self.batch!r} is below 1")
        problems += [f"dims.{name}: {size!r} is below zero" for name, size in self.dims.items() if size < 0]
        if not (isfinite(self.slack) and self.slack >= 0):
            problems.append(f"slack: {self.slack!r} is not zero or more")
        if self.transport == "store" and not self.platform.has_store:
            problems.append(f"transport: {self.platform.name} has no store; 'inline' needs none")
        return problems + self._memory_problems()

    def _memory_problems(self) -> list[str]:
        wanted, place = self.function_memory, self.platform
        if wanted is None:
            return []
        problems = []
        if wanted <= 0 or wanted < place.memory_least:
            problems.append(
                f"function_memory: {wanted!r} bytes are below the least of {place.name}, {place.memory_least}"
            )
        if place.limits.memory is not None and wanted > place.limits.memory:
            problems.append(
                f"function_memory: {wanted!r} bytes are more than {place.name} has, {place.limits.memory}"
            )
        if place.memory_choices and wanted not in place.memory_choices:
            sizes = ", ".join(map(str, place.memory_choices))
            problems.append(
                f"function_memory: {wanted!r} bytes are none of the sizes of {place.name}: {sizes}"
            )
        elif (wanted - place.memory_least) % place.memory_step and wanted % place.memory_step:
            problems.append(
                f"function_memory: {wanted!r} bytes are no multiple of {place.memory_step}, the step of {place.name}"
            )
        return problems

    @property
    def memory(self) -> float:
        """The most that one function may take."""
        if self.function_memory is not None:
            return self.function_memory
        most = self.platform.limits.memory
        return float("inf") if most is None else most

    @property
    def weight_copies(self) -> float:
        """How often the largest weight of a slice is in memory while the slice is loaded; all others are once."""
        return 2.0 if self.prepack else 1.0

    def bind(self) -> dict[str, int]:
        """Values of the open dimensions."""
        return {"batch": self.batch, **self.dims}
