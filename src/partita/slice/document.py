"""What planning says and cutting obeys: a chain of slices, as a document that prints, parses back and explains itself.

Rules: pure data; a slice is a part of the chain of the *prepared* model, and `preparation` says how that chain is made
from the user's file, so that the same plan cuts the same slices anywhere; sizes in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ..errors import BadDocument, PlanMismatch
from ..graph import Chain

Objective = Literal["slices", "latency", "memory", "payload", "cost", "throughput"]
Transport = Literal["inline", "store", "auto"]
Optimize = Literal["none", "basic", "extended"]
# exact: each slice runs as it was cut; fast: ONNX Runtime optimises each slice for itself once more.
Exactness = Literal["exact", "fast"]


@dataclass(frozen=True)
class Preparation:
    """From the user's file to the chain that is cut.

    `optimize` is ONNX Runtime's level, applied to the whole model once. `divide` maps nodes that are too large for the
    place to the number of pieces they become. `order` names the way the nodes are put in a row. `recompute` names
    stages that are cheap to run again in every slice that needs them, so that nothing is sent for them.
    """

    optimize: Optimize = "none"
    divide: Mapping[str, int] = field(default_factory=dict)
    order: str = "file"
    recompute: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "divide", MappingProxyType(dict(self.divide)))


@dataclass(frozen=True)
class Slice:
    """The stages [start, stop) as one function.

    `weights` are its own, each once; `memory` is what it is expected to need with the runtime, `function_memory` the
    size of the function to order for it. `payload_in` and `payload_out` travel inside its event, `stored_in` and
    `stored_out` through the store. `seconds` is one warm call without its transfers, `cold` what the first call
    adds; None where nothing was measured. `reason` says which limit or wish made it end where it ends.
    """

    start: int
    stop: int
    weights: int
    memory: int
    function_memory: int
    payload_in: int = 0
    payload_out: int = 0
    stored_in: int = 0
    stored_out: int = 0
    seconds: float | None = None
    cold: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Totals:
    """What one request costs over all slices. `payload` counts every byte that crosses between two slices, each time."""

    payload: int
    weights: int
    duplicated: int
    largest: int
    memory: int
    warm: float | None = None
    cold: float | None = None
    bottleneck: float | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class SlicePlan:
    """Where one model is cut for one platform. `stored` names the tensors that travel through the store."""

    model: str
    digest: str
    stages: int
    preparation: Preparation
    platform: str
    objective: Objective
    transport: Transport
    batch: int
    dims: Mapping[str, int]
    slices: tuple[Slice, ...]
    stored: tuple[str, ...] = ()
    totals: Totals | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", MappingProxyType(dict(self.dims)))
        problems = [] if self.slices else ["slices: there are none"]
        at = 0
        for index, piece in enumerate(self.slices):
            if piece.start != at or piece.stop <= piece.start:
                problems.append(f"slices[{index}]: [{piece.start}:{piece.stop}] does not go on from {at}")
            at = piece.stop
        if self.slices and at != self.stages:
            problems.append(f"slices: they end at {at} of {self.stages} stages")
        if problems:
            raise BadDocument("slice plan", problems, fix="let `partita slice plan` write it again")

    @property
    def cuts(self) -> tuple[int, ...]:
        """The positions between the slices."""
        return tuple(piece.stop for piece in self.slices[:-1])

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Every slice as its first stage and the stage after its last."""
        return tuple((piece.start, piece.stop) for piece in self.slices)

    def check(self, chain: Chain) -> None:
        """Refuse a chain that this plan was not made for."""
        if chain.digest == self.digest:
            return
        raise PlanMismatch(
            f"this plan cuts {self.model!r} ({self.digest[:19]}, {self.stages} stages), "
            f"not {chain.name!r} ({chain.digest[:19]}, {len(chain)} stages)",
            fix="plan this model: partita slice plan MODEL.onnx -o plan.json",
        )


def bindings(chain: Chain, batch: int, dims: Mapping[str, int]) -> dict[str, int]:
    """Values for open dimensions: what was given, and the batch for a first dimension that nobody named so."""
    known = {"batch": batch, **dims}
    first = next((t.shape[0] for n in chain.inputs if (t := chain.tensors[n]).shape), None)
    if isinstance(first, str):
        known.setdefault(first, batch)
    return known
