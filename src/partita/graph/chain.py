"""A whole model as stages in execution order, with every tensor that passes between them.

Rules: a tensor is made once, before it is read; a chain checks itself when it is built; every question
about a part (what goes in, what comes out, what it weighs) is answered here, for all engines alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from ..errors import BadDocument, IllegalCut
from .cut import Cut
from .document import dump
from .stage import Stage
from .tensor import TensorSpec

# The place before the first stage: where the model's own inputs come from.
GIVEN = -1


@dataclass(frozen=True)
class Chain:
    """Stages in execution order. `tensors` describes every name that passes between them.

    `params` maps parameter and buffer names to bytes. `blocked` maps positions at which the engine found that
    a cut would change the numbers to the reason.
    """

    name: str
    engine: str
    stages: tuple[Stage, ...]
    tensors: Mapping[str, TensorSpec]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, int] = field(default_factory=dict)
    blocked: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tensors", "params", "blocked"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        problems = self._problems()
        if problems:
            raise BadDocument(f"chain {self.name!r}", problems, fix="capture the model again")

    def __len__(self) -> int:
        return len(self.stages)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[object, ...]:
        # Mapping proxies do not copy; plain dictionaries do.
        values = (dict(v) if isinstance(v := getattr(self, f), Mapping) else v for f in self.__match_args__)
        return (type(self), tuple(values))

    def _problems(self) -> list[str]:
        problems = [
            f"inputs: {name!r} has no description" for name in self.inputs if name not in self.tensors
        ]
        made = set(self.inputs)
        for stage in self.stages:
            problems += [
                f"stage {stage.name!r}: reads {name!r} before it is made"
                for name in stage.inputs
                if name not in made
            ]
            problems += [
                f"stage {stage.name!r}: makes {n!r} a second time" for n in stage.outputs if n in made
            ]
            problems += [
                f"stage {stage.name!r}: {n!r} has no description"
                for n in stage.outputs
                if n not in self.tensors
            ]
            problems += [
                f"stage {stage.name!r}: {n!r} has no size" for n in stage.params if n not in self.params
            ]
            made.update(stage.outputs)
        problems += [f"outputs: {name!r} is never made" for name in self.outputs if name not in made]
        return problems

    @cached_property
    def digest(self) -> str:
        """What the structure is, as a SHA-256: equal for the same model captured twice, whatever its weights."""
        unnamed = dump(replace(self, name=""), indent=None)
        return "sha256:" + hashlib.sha256(unnamed.encode()).hexdigest()

    @cached_property
    def _made(self) -> dict[str, int]:
        made = dict.fromkeys(self.inputs, GIVEN)
        for index, stage in enumerate(self.stages):
            made.update(dict.fromkeys(stage.outputs, index))
        return made

    @cached_property
    def _last_read(self) -> dict[str, int]:
        last: dict[str, int] = {}
        for index, stage in enumerate(self.stages):
            last.update(dict.fromkeys(stage.inputs, index))
        last.update(dict.fromkeys(self.outputs, len(self.stages)))
        return last

    @cached_property
    def _crossings(self) -> tuple[tuple[str, ...], ...]:
        """For every position, the names made before it and read after it, in the order they were made."""
        rows: list[list[str]] = [[] for _ in range(len(self.stages) + 1)]
        for name, made in self._made.items():
            for position in range(made + 1, self._last_read.get(name, made) + 1):
                rows[position].append(name)
        return tuple(map(tuple, rows))

    @property
    def symbols(self) -> frozenset[str]:
        """The open dimensions of all tensors."""
        return frozenset().union(*(tensor.symbols for tensor in self.tensors.values()))

    def maker(self, name: str) -> int:
        """The index of the stage that makes a tensor; GIVEN for a model input."""
        return self._made[name]

    def cut(self, position: int) -> Cut:
        """The cut with `position` stages before it; 0 and len(chain) are the two ends."""
        if not 0 <= position <= len(self):
            raise IllegalCut(
                f"cut {position} does not exist: the model has {len(self)} stages",
                fix=f"choose a position from 0 to {len(self)}; `partita inspect` lists them",
            )
        tensors = tuple(self.tensors[name] for name in self._crossings[position])
        return Cut(
            position=position,
            after=self.stages[position - 1].name if position else "",
            before=self.stages[position].name if position < len(self) else "",
            tensors=tensors,
            shared=self._shared(position),
            reason=self._reason(position, tensors),
        )

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every position, both ends included, legal or not."""
        return tuple(self.cut(position) for position in range(len(self) + 1))

    def legal_cut(self, position: int) -> Cut:
        """The cut at a position, or the reason why there is none."""
        cut = self.cut(position)
        if not cut.legal:
            near = min((c.position for c in self.cuts if c.legal), key=lambda p: (abs(p - position), p))
            raise IllegalCut(
                f"the model cannot be cut at {position} (between {cut.after!r} and {cut.before!r}): {cut.reason}",
                fix=f"the nearest legal cut is {near}; `partita inspect` lists them all",
            )
        return cut

    def _reason(self, position: int, tensors: tuple[TensorSpec, ...]) -> str:
        if position in (0, len(self)):
            return ""
        for tensor in tensors:
            if not tensor.travels:
                kind = tensor.dtype if not tensor.dtype.travels else "tensor of unknown rank"
                article = "an" if str(kind)[0] in "aeiou" else "a"
                return f"{tensor.name!r} crosses here and is {article} {kind}, which has no bytes to send"
        return self.blocked.get(position, "")

    @cached_property
    def _param_spans(self) -> dict[str, tuple[int, int]]:
        """For every parameter, the first and the last stage that uses it."""
        spans: dict[str, tuple[int, int]] = {}
        for index, stage in enumerate(self.stages):
            for name in stage.params:
                spans[name] = (spans.get(name, (index, index))[0], index)
        return spans

    def _shared(self, position: int) -> tuple[str, ...]:
        spans = self._param_spans.items()
        return tuple(sorted(name for name, (first, last) in spans if first < position <= last))

    def part_inputs(self, start: int, stop: int) -> tuple[str, ...]:
        """What a part reads that it does not make, in the order it was made."""
        read = {name for stage in self.stages[start:stop] for name in stage.inputs}
        if stop == len(self):
            read.update(self.outputs)
        return tuple(name for name, made in self._made.items() if name in read and made < start)

    def part_outputs(self, start: int, stop: int) -> tuple[str, ...]:
        """What a part makes that somebody after it reads, or that the model returns."""
        return tuple(
            name
            for index in range(start, stop)
            for name in self.stages[index].outputs
            if self._last_read.get(name, GIVEN) >= stop
        )

    def part_params(self, start: int, stop: int) -> tuple[str, ...]:
        """The parameters and buffers a part uses, each once."""
        return tuple(dict.fromkeys(name for stage in self.stages[start:stop] for name in stage.params))

    def part_bytes(self, start: int, stop: int) -> int:
        """The bytes of a part's parameters and buffers, shared ones counted once."""
        return sum(self.params[name] for name in self.part_params(start, stop))

    def check_part(self, start: int, stop: int) -> None:
        """Refuse a part that does not exist or whose ends are no legal cuts."""
        if not 0 <= start <= stop <= len(self):
            raise IllegalCut(
                f"part [{start}:{stop}] does not exist: the model has {len(self)} stages",
                fix=f"give 0 <= start <= stop <= {len(self)}",
            )
        self.legal_cut(start)
        self.legal_cut(stop)
