"""An ONNX graph with several exits, divided at them: what each exit needs beyond those before it.

Rules: a stage holds all and only what its exit needs and no earlier exit did; what crosses a border is what the graph
says, skip connections included; a span leaves out the heads between its ends, because nothing it gives needs them;
what only tells how large a batch is runs again where it is read, so that batches may be regrouped at a border.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from ..errors import CannotCapture
from ..graph import Chain
from .onnx_example import batch_symbol, bindings
from .onnx_exits_work import flops
from .onnx_model import OnnxModel
from .onnx_source import OnnxSource


@dataclass(frozen=True, eq=False)
class ExitGraph:
    """A captured model whose chain runs stage after stage, the head of each last.

    `owner` is the exit that each stage of the chain belongs to; `head` says which of them only their exit needs.
    """

    model: OnnxModel
    exits: tuple[str, ...]
    owner: tuple[int, ...]
    head: tuple[bool, ...]

    @property
    def source(self) -> OnnxSource:
        """The graph as the writers of parts need it."""
        return self.model.source

    @property
    def chain(self) -> Chain:
        """Every operator, in the order of the stages."""
        return self.model.chain

    @cached_property
    def borders(self) -> tuple[tuple[str, ...], ...]:
        """The names held before each stage and after the last: inputs and features that are still to be read."""
        last: dict[str, int] = {}
        for index, stage in enumerate(self.chain.stages):
            last.update(dict.fromkeys(stage.inputs, self.owner[index]))
        made = dict.fromkeys(self.chain.inputs, -1)
        for index, stage in enumerate(self.chain.stages):
            made.update(dict.fromkeys(stage.outputs, self.owner[index]))
        held = range(len(self.exits) + 1)
        return tuple(tuple(n for n, maker in made.items() if maker < k <= last.get(n, -1)) for k in held)

    def span(self, first: int, last: int) -> OnnxSource:
        """Stages first to last as one, with the features it takes and makes, and the exit at its end."""
        inside = [i for i, owner in enumerate(self.owner) if first <= owner <= last]
        made = {name for i in inside for name in self.chain.stages[i].outputs}
        wanted = [self.exits[last], *(name for name in self.borders[last + 1] if name in made)]
        return part_of(self.source, sorted(_needed(self.chain, wanted, frozenset(inside))), wanted)

    def blocks(self, stage: int) -> tuple[OnnxSource, ...]:
        """One stage in pieces: each ends where a single tensor crosses, and holds some weights of its own."""
        inside = [i for i, owner in enumerate(self.owner) if owner == stage]
        after = {*self.borders[stage + 1], self.exits[stage]}
        starts = [inside[0], *self._narrow(stage, inside, after), inside[-1] + 1]
        found = []
        for start, stop in pairwise(starts):
            made = [name for i in range(start, stop) for name in self.chain.stages[i].outputs]
            later = {name for i in range(stop, inside[-1] + 1) for name in self.chain.stages[i].inputs}
            found.append(part_of(self.source, range(start, stop), [n for n in made if n in later | after]))
        return tuple(found)

    def _narrow(self, stage: int, inside: Sequence[int], after: set[str]) -> list[int]:
        """Where blocks begin: the last narrow place before each operator that weighs, from the second on."""
        stages = self.chain.stages
        until = {name: i for i in inside for name in stages[i].inputs}
        held = {name for name in self.borders[stage] if name in until}
        made: set[str] = set()
        begun, narrow, found = False, -1, []
        for i in inside:
            held = {name for name in held if until.get(name, -1) >= i or name in made & after}
            if len(held) == 1:
                narrow = i
            if self._weighs(i):
                if begun and narrow >= 0:
                    found.append(narrow)
                begun, narrow = True, -1
            made.update(stages[i].outputs)
            held.update(name for name in stages[i].outputs if name in until or name in after)
        return found

    def _weighs(self, index: int) -> bool:
        """Whether a stage has a weight that is more than a vector."""
        source = self.source
        dense = source.file.initializers
        at = (source.weight_index[name] for name in source.steps[index].weights)
        return any(place >= len(dense) or len(dense[place].dims) > 1 for place in at)


def part_of(source: OnnxSource, indices: Iterable[int], outputs: Iterable[str]) -> OnnxSource:
    """Some stages as a model of their own: it takes what they read and do not make, and gives `outputs`."""
    kept = tuple(indices)
    stages = tuple(source.chain.stages[i] for i in kept)
    made = {name for stage in stages for name in stage.outputs}
    read = dict.fromkeys(name for stage in stages for name in stage.inputs if name not in made)
    params = {name for stage in stages for name in stage.params}
    chain = replace(
        source.chain,
        stages=stages,
        inputs=tuple(read),
        outputs=tuple(outputs),
        tensors={name: source.chain.tensors[name] for name in (*read, *made)},
        params={name: size for name, size in source.chain.params.items() if name in params},
    )
    return replace(source, steps=tuple(source.steps[i] for i in kept), chain=chain)


def exit_graph(model: OnnxModel, exits: Sequence[str] = ()) -> ExitGraph:
    """Divide a model at some of its outputs, in this order; at all of them by default, the cheapest first."""
    chain = model.chain
    reach = {
        name: _needed(chain, [name])
        for name in dict.fromkeys((*exits, *chain.outputs))
        if name in chain.tensors
    }
    _check_named(chain, exits)
    order = tuple(exits) or _by_cost(model, reach)
    for before, name in pairwise(order):
        deeper = {index for earlier in order[: order.index(name)] for index in reach[earlier]}
        if reach[name] <= deeper:
            raise CannotCapture(
                f"the exit {name!r} needs nothing that the exits before it ({before!r} and so on) do not make",
                fix="name the exits from shallow to deep, each with a head of its own",
            )
    return _arranged(_folded(model, order), order)


def _by_cost(model: OnnxModel, reach: Mapping[str, frozenset[int]]) -> tuple[str, ...]:
    """The outputs by the arithmetic they need, or by their operators where that cannot be counted."""
    sizes = bindings(model.chain, None, model.dims)
    costs = {
        name: flops(part_of(model.source, sorted(reach[name]), [name]), sizes) for name in model.chain.outputs
    }
    known = {name: cost for name, cost in costs.items() if cost is not None}
    if len(known) < len(costs):
        known = {name: float(len(reach[name])) for name in costs}
    return tuple(sorted(model.chain.outputs, key=lambda name: (known[name], len(reach[name]))))


def _check_named(chain: Chain, exits: Sequence[str]) -> None:
    strange = [name for name in exits if name not in chain.outputs]
    if strange or len(set(exits)) < len(exits):
        what = f"there is no output {strange[0]!r}" if strange else "an exit is named twice"
        raise CannotCapture(
            f"{chain.name}: {what}", fix=f"choose from its outputs: {', '.join(chain.outputs)}"
        )
    fixed = [name for name in (exits or chain.outputs) if chain.maker(name) < 0]
    if fixed:
        raise CannotCapture(
            f"{chain.name}: the output {fixed[0]!r} is one of the inputs", fix="name other outputs as exits"
        )


def _needed(chain: Chain, names: Iterable[str], within: frozenset[int] | None = None) -> frozenset[int]:
    """The stages that some names depend on, as far as that stays `within` a set."""
    found: set[int] = set()
    waiting = [chain.maker(name) for name in names]
    while waiting:
        index = waiting.pop()
        if index >= 0 and index not in found and (within is None or index in within):
            found.add(index)
            waiting += (chain.maker(name) for name in chain.stages[index].inputs)
    return frozenset(found)


def _arranged(model: OnnxModel, exits: tuple[str, ...]) -> ExitGraph:
    """The chain stage after stage, without what no exit needs."""
    chain = model.chain
    owner: dict[int, int] = {}
    for k, name in enumerate(exits):
        for index in _needed(chain, [name]):
            owner.setdefault(index, k)
    readers: dict[str, set[int]] = {}
    for index in owner:
        for name in chain.stages[index].inputs:
            readers.setdefault(name, set()).add(index)
    head: dict[int, bool] = {}
    for index in sorted(owner, reverse=True):
        mine = {reader for name in chain.stages[index].outputs for reader in readers.get(name, ())}
        head[index] = all(owner[reader] == owner[index] and head[reader] for reader in mine)
    order = sorted(owner, key=lambda index: (owner[index], head[index], index))
    source = part_of(model.source, order, exits)
    given = tuple(name for name in chain.inputs if name in source.chain.inputs)
    source = replace(source, chain=replace(source.chain, inputs=given))
    return ExitGraph(
        replace(model, source=source),
        exits,
        tuple(owner[index] for index in order),
        tuple(head[index] for index in order),
    )


def _folded(model: OnnxModel, exits: tuple[str, ...]) -> OnnxModel:
    """Shapes and the like that would cross a border run again behind it, until none crosses."""
    if batch_symbol(model.chain) is None:
        return model
    while True:
        graph = _arranged(model, exits)
        chain = model.chain
        crossing = {name for border in graph.borders[1:] for name in border if chain.maker(name) >= 0}
        sizes = {
            chain.maker(name)
            for name in crossing
            if (shape := chain.tensors[name].shape) is not None and all(isinstance(d, int) for d in shape)
        }
        again = [chain.stages[index].name for index in sorted(sizes & model.cheap)]
        if not again:
            return model
        model = model.rearranged(recompute=again)
