"""One mode of a model as a chain, with the graph nodes behind every stage and every name.

Rules: only tensors travel; a size that a stage needs is worked out from the tensors it reads, and travels as a
number only where they do not tell it; every part of the module's state belongs to the stage that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import fx

from ..graph import Chain, Dim, Stage, symbols
from .torch_alias import Memory, follow, forbidden
from .torch_gradient import carriers
from .torch_graph import Traced, is_number, is_tensor, operator_name, picks, value
from .torch_order import memory_order
from .torch_shapes import Source, Symbols, sources
from .torch_signature import Answer, name_outputs, unique
from .torch_stages import Segment


@dataclass(slots=True)
class _Stage:
    """What one stage reads and makes, as nodes."""

    reads: dict[fx.Node, None] = field(default_factory=dict)
    made: dict[fx.Node, None] = field(default_factory=dict)
    states: dict[str, None] = field(default_factory=dict)
    sizes: dict[fx.Node, Dim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """A chain and its graph. `sizes[k]` are the numbers stage k works out by itself, `told[k]` from where;
    `carriers` are the tensors that have a gradient, `numbers` those that are Python numbers inside, `orders` the
    memory order of those that do not lie row by row. Nobody who cuts needs what tracing noted at the nodes.
    """

    chain: Chain
    traced: Traced
    memory: Memory
    segments: tuple[Segment, ...]
    nodes: Mapping[str, fx.Node]
    sizes: tuple[Mapping[fx.Node, Dim], ...]
    told: tuple[Mapping[str, Source], ...]
    answer: Answer
    carriers: frozenset[str]
    numbers: frozenset[str]
    orders: Mapping[str, tuple[int, ...]]


class LayoutBuilder:
    """Builds one Layout, step by step; used once and thrown away."""

    def __init__(self, traced: Traced, segments: list[Segment], known: Symbols) -> None:
        self._traced, self._segments, self._symbols = traced, segments, known
        self._stage_of = self._assign()
        self._parts = [_Stage() for _ in segments]
        self._names: dict[fx.Node, str] = dict(traced.inputs)

    def build(self, name: str, state: Mapping[str, torch.Tensor], owned: Mapping[str, str]) -> Layout:
        for k, stage in enumerate(self._segments):
            self._read(k, stage)
        self._settle_sizes()
        for leaf in self._traced.outputs:
            if isinstance(leaf, fx.Node) and leaf in self._stage_of:
                self._parts[self._stage_of[leaf]].made[leaf] = None
        answer = self._name_everything()
        self._own_the_rest(owned)
        memory = follow(self._traced)
        stages = tuple(self._stage(k) for k in range(len(self._segments)))
        tensors = {n: self._symbols.spec(n, value(node)) for node, n in self._names.items()}
        used = {s: state[s] for part in self._parts for s in part.states}
        chain = Chain(
            name,
            "torch",
            stages,
            tensors,
            tuple(self._traced.inputs.values()),
            tuple(dict.fromkeys(n for n in answer.names if n is not None)),
            {n: t.numel() * t.element_size() for n, t in used.items()},
            forbidden(self._traced, memory, self._stage_of, self._crossing(), self._names),
        )
        carrying = carriers(self._traced, lambda n: isinstance(state[n], torch.nn.Parameter))
        told = tuple(sources(tensors[self._names[n]] for n in part.reads) for part in self._parts)
        orders = {n: memory_order(value(node)) for node, n in self._names.items() if is_tensor(node)}
        return Layout(
            chain,
            self._traced,
            memory,
            tuple(self._segments),
            {n: node for node, n in self._names.items()},
            tuple(part.sizes for part in self._parts),
            told,
            answer,
            frozenset(n for node, n in self._names.items() if node in carrying),
            frozenset(n for node, n in self._names.items() if is_number(node)),
            {n: order for n, order in orders.items() if order is not None},
        )

    def _assign(self) -> dict[fx.Node, int]:
        """The stage of every operator; what is picked out of several results stays with their producer."""
        stage_of = {node: k for k, segment in enumerate(self._segments) for node in segment.nodes}
        for node in self._traced.body:
            if picks(node) and isinstance(node.args[0], fx.Node):
                stage_of[node] = stage_of[node.args[0]]
        for k, segment in enumerate(self._segments):
            segment.nodes = [node for node in self._traced.body if stage_of[node] == k]
        return stage_of

    def _read(self, k: int, stage: Segment) -> None:
        part = self._parts[k]
        for node in stage.nodes:
            for source in node.all_input_nodes:
                if source in self._traced.states:
                    part.states[self._traced.states[source]] = None
                elif source in self._traced.inputs:
                    part.reads[source] = None
                elif self._stage_of.get(source, k) != k:
                    if is_number(source):
                        part.sizes[source] = ""
                    else:
                        part.reads[source] = None
                        self._parts[self._stage_of[source]].made[source] = None

    def _settle_sizes(self) -> None:
        """Work a size out where the stage's tensors tell it; else let it travel."""
        for part in self._parts:
            specs = [self._symbols.spec(node.name, value(node)) for node in part.reads if is_tensor(node)]
            told = sources(specs)
            for node in list(part.sizes):
                formula = self._formula(node)
                if formula is not None and symbols(formula) <= told.keys():
                    part.sizes[node] = formula
                else:
                    del part.sizes[node]
                    part.reads[node] = None
                    self._parts[self._stage_of[node]].made[node] = None

    def _formula(self, node: fx.Node) -> Dim | None:
        number = value(node)
        if isinstance(number, (torch.SymFloat, torch.SymBool)):
            return None
        return self._symbols.formula(number)

    def _name_everything(self) -> Answer:
        """Inputs have their names; outputs get theirs from where the user finds them, the rest from their stage."""
        taken = dict.fromkeys(self._names.values(), 1)
        leaves = self._traced.outputs
        names: list[str | None] = []
        for leaf, wish in zip(leaves, name_outputs(self._traced.spec, len(leaves)), strict=True):
            if isinstance(leaf, fx.Node) and leaf not in self._names:
                self._names[leaf] = unique(wish, taken)
            names.append(self._names[leaf] if isinstance(leaf, fx.Node) else None)
        for k, part in enumerate(self._parts):
            stage = self._segments[k].name
            fresh = [node for node in part.made if node not in self._names]
            order = {node: i for i, node in enumerate(self._segments[k].nodes)}
            for node in sorted(fresh, key=order.__getitem__):
                wish = stage if len(fresh) == 1 else f"{stage}.{self._label(node)}"
                self._names[node] = unique(wish, taken)
        constants = tuple(None if isinstance(leaf, fx.Node) else leaf for leaf in leaves)
        return Answer(self._traced.spec, tuple(names), constants)

    @staticmethod
    def _label(node: fx.Node) -> str:
        if picks(node) and isinstance(node.args[0], fx.Node):
            return f"{operator_name(node.args[0])}.{node.args[1]}"
        return operator_name(node)

    def _own_the_rest(self, owned: Mapping[str, str]) -> None:
        """State that this mode does not use (counters, say) belongs to the first stage that runs its module."""
        used = {name for part in self._parts for name in part.states}
        homes: dict[str, int] = {}
        for k, segment in enumerate(self._segments):
            for node in segment.nodes:
                for path, _ in (node.meta.get("nn_module_stack") or {}).values():
                    homes.setdefault(path, k)
        for name, path in owned.items():
            if name not in used and path in homes:
                self._parts[homes[path]].states[name] = None

    def _stage(self, k: int) -> Stage:
        part, segment = self._parts[k], self._segments[k]
        reads = dict.fromkeys(self._names[node] for node in part.reads)
        order = {node: i for i, node in enumerate(segment.nodes)}
        made = sorted((n for n in part.made if n in self._names), key=order.__getitem__)
        kind = next((operator_name(n) for n in segment.nodes if _is_region(n)), "")
        return Stage(
            segment.name,
            tuple(reads),
            tuple(self._names[node] for node in made),
            tuple(part.states),
            len(segment.nodes),
            kind,
        )

    def _crossing(self) -> list[list[fx.Node]]:
        """The nodes that cross each position."""
        last: dict[fx.Node, int] = {}
        for k, part in enumerate(self._parts):
            last.update(dict.fromkeys(part.reads, k))
        end = len(self._parts)
        last.update({leaf: end for leaf in self._traced.outputs if isinstance(leaf, fx.Node)})
        rows: list[list[fx.Node]] = [[] for _ in range(end + 1)]
        for node, until in last.items():
            if is_tensor(node):
                for position in range(self._stage_of.get(node, -1) + 1, until + 1):
                    rows[position].append(node)
        return rows


def _is_region(node: fx.Node) -> bool:
    """A branch or loop, as opposed to one operator."""
    return isinstance(node.target, torch._ops.HigherOrderOperator)


def owners(names: Mapping[str, str]) -> dict[str, str]:
    """For every state by its first name, the path of the module that holds it."""
    return {first: first.rpartition(".")[0] for first in dict.fromkeys(names.values())}


def bridge(first: Layout, other: Layout) -> dict[int, int | str]:
    """For every position of one mode's chain, that of the other, or why there is none.

    A position is before the same stage there, or behind the same stage where the next one does not run.
    """
    places = {segment.key: k for k, segment in enumerate(other.segments)}
    found: dict[int, int | str] = {0: 0}
    reached = 0
    for position, (left, right) in enumerate(pairwise(first.segments), start=1):
        there = places.get(right.key, places.get(left.key, -1) + 1)
        if there == 0:
            found[position] = "it runs neither the stage before nor the one after then"
        elif there < reached:
            found[position] = "it runs its stages in another order then"
        else:
            reached = there
            found[position] = first.chain.cut(position).reason or other.chain.cut(there).reason or there
    found[len(first.segments)] = len(other.segments)
    return found
