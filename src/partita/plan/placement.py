"""Plan: which part of a model runs at which place, and how tensors travel between them.

Rules: parts follow each other without a gap, from the first stage to the last; an empty part, allowed at the two
ends only, says that a place gives the inputs or takes the answer and runs nothing; one noun covers edge-only,
cloud-only, one cut, two cuts and a row of many places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from ..errors import BadDocument, IllegalCut, PlanMismatch
from ..graph import Chain

# The names the wire gives its codecs: topk:0.1/fp32+lossless, int8/channel:-1.
CODEC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:+/-]{0,79}")

# A place that needs no quotes in the text form.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?:-[A-Za-z0-9_.]+)*\Z")

Mode = Literal["infer", "train"]
Objective = Literal["latency", "throughput", "memory", "energy", "bytes", "parts"]


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """The stages [start, stop) at a place."""

    place: str
    start: int
    stop: int

    @property
    def empty(self) -> bool:
        """Whether the place runs nothing here, and only gives or takes."""
        return self.start == self.stop


@dataclass(frozen=True, slots=True)
class Hop:
    """The codecs between two neighbouring parts: of features going forward, of gradients coming back."""

    forward: str = "raw"
    back: str = "raw"


@dataclass(frozen=True)
class Estimate:
    """What a plan is predicted to cost. `busy` holds seconds per step by resource; the largest is the bottleneck.

    `seconds` is the time per step once the window is full, `latency` that of one step alone. `memory` is the peak
    by place in bytes, `joules` the energy of one step by place, without the places that have no meter. `error` adds
    up the relative errors of the codecs used.
    """

    seconds: float
    latency: float
    busy: Mapping[str, float]
    bottleneck: str
    bytes_up: int = 0
    bytes_down: int = 0
    memory: Mapping[str, int] = field(default_factory=dict)
    joules: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.0
    simulated: bool = False

    def __post_init__(self) -> None:
        for name in ("busy", "memory", "joules"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def bytes(self) -> int:
        """Bytes that cross per step, both ways."""
        return self.bytes_up + self.bytes_down


@dataclass(frozen=True)
class Plan:
    """An order to run a model in parts. `window` is K: so many steps are under way besides the oldest one."""

    model: str
    digest: str
    parts: tuple[PlacedPart, ...]
    hops: tuple[Hop, ...] = ()
    window: int = 0
    batch: int = 1
    mode: Mode = "infer"
    objective: Objective = "throughput"
    estimate: Estimate | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        problems = [*self._part_problems(), *self._number_problems()]
        if problems:
            raise BadDocument("plan", problems, fix="let `partita plan` write it, or print one and compare")

    def _part_problems(self) -> list[str]:
        if not self.parts:
            return ["parts: there are none"]
        problems = [f"parts[{i}].place: is empty" for i, part in enumerate(self.parts) if not part.place]
        problems += [
            f"parts[{i}]: [{part.start}:{part.stop}] ends before it starts"
            for i, part in enumerate(self.parts)
            if part.stop < part.start
        ]
        if self.parts[0].start != 0:
            problems.append(f"parts[0].start: is {self.parts[0].start}, not 0")
        for i, (left, right) in enumerate(pairwise(self.parts), 1):
            if left.stop != right.start:
                problems.append(
                    f"parts[{i}].start: is {right.start}, but the part before stops at {left.stop}"
                )
            if left.place == right.place:
                problems.append(f"parts[{i}].place: {right.place!r} follows itself")
        problems += [
            f"parts[{i}]: is empty, which only the first and the last part may be"
            for i, part in enumerate(self.parts[1:-1], 1)
            if part.empty
        ]
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        if len(self.hops) != max(len(self.parts) - 1, 0):
            problems.append(f"hops: there are {len(self.hops)} between {len(self.parts)} parts")
        problems += [
            f"hops[{i}].{side}: {codec!r} is no codec's name"
            for i, hop in enumerate(self.hops)
            for side, codec in (("forward", hop.forward), ("back", hop.back))
            if not CODEC_NAME.fullmatch(codec)
        ]
        if self.window < 0:
            problems.append(f"window: {self.window} is below 0")
        if self.batch < 1:
            problems.append(f"batch: {self.batch} is below 1")
        return problems

    def __str__(self) -> str:
        return print_plan(self)

    @property
    def stages(self) -> int:
        """How many stages the planned model has."""
        return self.parts[-1].stop

    @property
    def cuts(self) -> tuple[int, ...]:
        """The positions at which the model is cut, its two ends left out."""
        return tuple(p.stop for p in self.parts[:-1] if 0 < p.stop < self.stages)

    @property
    def places(self) -> tuple[str, ...]:
        """The places that take part, each once."""
        return tuple(dict.fromkeys(part.place for part in self.parts))

    @property
    def shape(self) -> str:
        """What kind of plan it is, in a word or two: `edge-only`, `edge|cloud`, `edge|cloud|edge`."""
        working = [part.place for part in self.parts if not part.empty]
        if len(working) == 1:
            return f"{working[0]}-only"
        return "|".join(working) if len(working) <= 3 else f"{len(working)} parts"

    def check(self, chain: Chain) -> None:
        """Refuse a plan for another model, or with cuts the model does not have; all of them are named."""
        if self.digest and self.digest != chain.digest:
            raise PlanMismatch(
                f"this plan belongs to {self.model!r} ({self.digest[:19]}, {self.stages} stages), "
                f"not to {chain.name!r} ({chain.digest[:19]}, {len(chain)} stages)",
                fix=f"plan this model: partita plan {chain.name}",
            )
        problems = []
        if self.stages != len(chain):
            problems.append(f"the plan covers {self.stages} stages and the model has {len(chain)}")
        for position in self.cuts:
            try:
                chain.legal_cut(position)
            except IllegalCut as error:
                problems.append(f"{error.problem} ({error.fix})")
        if problems:
            raise IllegalCut(
                "; ".join(problems),
                fix="`partita inspect` lists the legal cuts; `partita plan` keeps to them",
            )


def _quote(name: str) -> str:
    return name if _PLAIN.match(name) else json.dumps(name, ensure_ascii=False)


def _word(name: str) -> str:
    return name if name and not re.search(r'[\s"|\\]', name) else json.dumps(name, ensure_ascii=False)


def _bracket(codec: str) -> str:
    return f"({codec})" if "/" in codec or "-" in codec else codec


def _print_part(part: PlacedPart) -> str:
    return _quote(part.place) + ("" if part.empty else f"[{part.start}:{part.stop}]")


def print_plan(plan: Plan, *, full: bool = False) -> str:
    """The plan on one line; `full` adds what else is needed to parse back an equal one."""
    words = [_print_part(plan.parts[0])]
    for hop, part in zip(plan.hops, plan.parts[1:], strict=True):
        both = plan.mode == "train" or hop.back != "raw"
        codecs = [_bracket(hop.forward), _bracket(hop.back)] if both else [_bracket(hop.forward)]
        words += [f"-{'/'.join(codecs)}->", _print_part(part)]
    settings = [f"K={plan.window}", f"batch={plan.batch}", f"mode={plan.mode}"]
    if full:
        settings += [
            f"objective={plan.objective}",
            f"model={_word(plan.model)}",
            f"digest={_word(plan.digest)}",
        ]
    return f"{' '.join(words)} | {' '.join(settings)}"
