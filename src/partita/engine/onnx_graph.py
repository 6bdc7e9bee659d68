"""The order of an ONNX graph: who reads what, what a node captures, which nodes become stages.

Rules: a node is one stage, a control-flow node with all its bodies too, and what its bodies capture counts as
read by it. A node that depends on no input of the model (a Constant, the shape of a weight) is no stage: it
travels with each reader like a weight, and nothing is sent for it. Nodes that nothing depends on are left out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import CannotCapture

# These give other values when they run a second time, so they must run once, in one part.
RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
FunctionKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph: `index` is its place in the file, `reads` its inputs and what its bodies capture."""

    index: int
    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    ops: int = 1
    control: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes one stage: its node (None for an output that is a weight), and what travels with it."""

    node: Node | None
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    free: tuple[int, ...]
    weights: tuple[str, ...]


def subgraphs(node: Any) -> Iterable[Any]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def weight_names(graph: Any) -> list[str]:
    """The names of a graph's initializers, dense and sparse."""
    return [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer]


def reads_of(node: Any) -> tuple[str, ...]:
    """Every outer name a node needs: its inputs and what its bodies capture."""
    names = dict.fromkeys(name for name in node.input if name)
    for body in subgraphs(node):
        names.update(dict.fromkeys(_captured(body)))
    return tuple(names)


def _captured(graph: Any) -> tuple[str, ...]:
    bound = {value.name for value in graph.input} | set(weight_names(graph))
    bound.update(name for node in graph.node for name in node.output)
    used = dict.fromkeys(name for node in graph.node for name in reads_of(node))
    used.update(dict.fromkeys(value.name for value in graph.output))
    return tuple(name for name in used if name and name not in bound)


def walk_nodes(nodes: Iterable[Any]) -> Iterable[Any]:
    """Nodes and the nodes of their bodies, at any depth."""
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from walk_nodes(body.node)


def function_key(item: Any) -> FunctionKey:
    """What a node calls, or a function answers to."""
    name = item.op_type if hasattr(item, "op_type") else item.name
    domain = "" if item.domain == "ai.onnx" else item.domain
    return (domain, name, getattr(item, "overload", ""))


def reachable(nodes: Iterable[Any], functions: Mapping[FunctionKey, Any]) -> list[FunctionKey]:
    """The local functions that some nodes call, directly, from bodies or from other functions."""
    found: dict[FunctionKey, None] = {}
    waiting = list(walk_nodes(nodes))
    while waiting:
        key = function_key(waiting.pop())
        if key in functions and key not in found:
            found[key] = None
            waiting += walk_nodes(functions[key].node)
    return [key for key in functions if key in found]


@dataclass(frozen=True)
class Graph:
    """A graph's nodes and names, read once from the skeleton."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: frozenset[str]
    functions: frozenset[FunctionKey]

    @classmethod
    def of(cls, proto: Any) -> Graph:
        """The graph of a model; an initializer that is listed as an input too is a weight (IR < 4, defaults)."""
        graph = proto.graph
        weights = frozenset(weight_names(graph))
        names = _names(graph.node)
        nodes = tuple(
            Node(
                index,
                node.op_type,
                node.domain,
                names[index],
                tuple(node.input),
                reads_of(node),
                tuple(name for name in node.output if name),
                ops=sum(1 for _ in walk_nodes([node])),
                control=any(True for _ in subgraphs(node)),
            )
            for index, node in enumerate(graph.node)
        )
        return cls(
            nodes,
            tuple(dict.fromkeys(v.name for v in graph.input if v.name not in weights)),
            tuple(dict.fromkeys(v.name for v in graph.output)),
            weights,
            frozenset(map(function_key, proto.functions)),
        )

    @cached_property
    def makers(self) -> dict[str, int]:
        """Which node makes a name."""
        makers: dict[str, int] = {}
        given = {*self.inputs, *self.weights}
        for node in self.nodes:
            for name in node.makes:
                if name in makers or name in given:
                    raise _refused(f"the name {name!r} is made twice, the second time by node {node.name!r}")
                makers[name] = node.index
        return makers

    @cached_property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the nodes whose outputs it reads."""
        given = {*self.inputs, *self.weights}
        rows = []
        for node in self.nodes:
            missing = [n for n in node.reads if n not in self.makers and n not in given]
            if missing:
                raise _refused(f"node {node.name!r} ({node.op}) reads {missing[0]!r}, which nothing makes")
            rows.append(tuple(dict.fromkeys(self.makers[n] for n in node.reads if n in self.makers)))
        return tuple(rows)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Node indices in execution order: the file's own where it is one, else the nearest to it."""
        waiting = [len(before) for before in self.before]
        after: list[list[int]] = [[] for _ in self.nodes]
        for index, before in enumerate(self.before):
            for maker in before:
                after[maker].append(index)
        ready = [index for index, count in enumerate(waiting) if count == 0]
        order = []
        while ready:
            index = heapq.heappop(ready)
            order.append(index)
            for reader in after[index]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready, reader)
        if len(order) < len(self.nodes):
            stuck = [node.name for node in self.nodes if waiting[node.index]]
            raise _refused(f"the graph has a cycle through {', '.join(map(repr, stuck[:5]))}")
        return tuple(order)

    @cached_property
    def alive(self) -> frozenset[int]:
        """The nodes that some output depends on."""
        missing = [n for n in self.outputs if n not in self.makers and n not in {*self.inputs, *self.weights}]
        if missing:
            raise _refused(f"the output {missing[0]!r} is made by no node")
        return self.closure(self.makers[n] for n in self.outputs if n in self.makers)

    def closure(self, start: Iterable[int], within: frozenset[int] | None = None) -> frozenset[int]:
        """Some nodes and all they depend on, as far as that stays `within` a set."""
        found: set[int] = set()
        waiting = [index for index in start if within is None or index in within]
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting += (b for b in self.before[index] if within is None or b in within)
        return frozenset(found)

    @cached_property
    def free(self) -> frozenset[int]:
        """The nodes that depend on no input and give the same values wherever they run."""
        free: set[int] = set()
        local = {key[:2] for key in self.functions}
        for index in self.order:
            node = self.nodes[index]
            given = all(n in self.weights or self.makers.get(n) in free for n in node.reads)
            called = (node.domain, node.op) in local
            if given and not called and not node.control and node.op not in RANDOM:
                free.add(index)
        return frozenset(free)

    def steps(self) -> tuple[Step, ...]:
        """The stages in order: every live node that depends on an input, and every output that none does."""
        returned = set(self.outputs)
        steps = [
            self._step(self.nodes[index])
            for index in self.order
            if index in self.alive and (index not in self.free or returned & set(self.nodes[index].makes))
        ]
        held = [name for name in self.outputs if name in self.weights]
        return (*steps, *(Step(None, (), (name,), (), (name,)) for name in held))

    def _step(self, node: Node) -> Step:
        free = self.closure(self.before[node.index], self.free)
        reads = [n for n in node.reads if n not in self.weights and self.makers.get(n) not in self.free]
        used = (self.nodes[i] for i in (*sorted(free), node.index))
        weights = tuple(dict.fromkeys(n for user in used for n in user.reads if n in self.weights))
        return Step(node, tuple(reads), node.makes, tuple(sorted(free)), weights)


def _names(nodes: Iterable[Any]) -> list[str]:
    """Names for stages: the file's own where they are there and not used twice."""
    taken: set[str] = set()
    names = []
    for index, node in enumerate(nodes):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        names.append(name)
    return names


def placed(graph: Graph, indices: Iterable[int]) -> Sequence[int]:
    """Some nodes in execution order."""
    rank = {index: place for place, index in enumerate(graph.order)}
    return sorted(indices, key=rank.__getitem__)


def _refused(problem: str) -> CannotCapture:
    return CannotCapture(
        f"this is no valid ONNX graph: {problem}",
        fix="check it with onnx.checker.check_model(path) and export it again",
    )
