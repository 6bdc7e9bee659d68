"""The stages [start, stop) of a graph as a callable of their own.

Rules: the callable takes states, constants and inputs as tensors and owns none of them; what it changes in place
it clones first; what it gives back shares no memory with inputs or states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ..graph import evaluate, symbols
from .torch_layout import Layout
from .torch_order import lay_out
from .torch_shapes import read_symbol


@dataclass(frozen=True, slots=True)
class Cutout:
    """A part's code: `run(*states, *constants, *inputs)` gives the outputs in order."""

    run: Callable[..., tuple[torch.Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    constants: tuple[torch.Tensor, ...]


# What makes a graph callable, given what its `get_attr` nodes name.
Maker = Callable[[dict[str, Any], fx.Graph], Callable[..., Any]]


def compiled(attributes: dict[str, Any], graph: fx.Graph) -> Callable[..., Any]:
    """The graph as Python code: for graphs that were traced here."""
    return fx.GraphModule(attributes, graph, "Part")


def cut_out(layout: Layout, start: int, stop: int, make: Maker = compiled) -> Cutout:
    """Copy the stages' nodes into a graph of their own."""
    return _Cutter(layout, start, stop).cut(make)


class _Cutter:
    """Builds one Cutout; used once."""

    def __init__(self, layout: Layout, start: int, stop: int) -> None:
        self._layout = layout
        self._start, self._stop = start, stop
        self._graph = fx.Graph()
        self._env: dict[fx.Node, fx.Node] = {}
        self._attributes: dict[str, Any] = {}
        self._nodes = [n for segment in layout.segments[start:stop] for n in segment.nodes]

    def cut(self, make: Maker) -> Cutout:
        chain, traced = self._layout.chain, self._layout.traced
        held = {n for node in self._nodes for n in node.all_input_nodes}
        states = [n for n in traced.states if n in held]
        constants = [n for n in traced.constants if n in held]
        for node in (*states, *constants):
            self._env[node] = self._graph.placeholder(node.name)
        inputs = chain.part_inputs(self._start, self._stop)
        taken = [self._graph.placeholder(f"input_{i}") for i in range(len(inputs))]
        for name, given in zip(inputs, taken, strict=True):
            self._take(name, given)
        for k in range(self._start, self._stop):
            self._copy_stage(k)
        outputs = chain.part_outputs(self._start, self._stop)
        self._graph.output(tuple(self._give(name) for name in outputs))
        return Cutout(
            make(self._attributes, self._graph),
            inputs,
            outputs,
            tuple(traced.states[n] for n in states),
            tuple(traced.constants[n] for n in constants),
        )

    def _call(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        return self._graph.call_function(function, args)

    def _take(self, name: str, given: fx.Node) -> None:
        """An input: a number again if it was one, laid out as in the whole, cloned if the part writes to it."""
        node = self._layout.nodes[name]
        if name in self._layout.numbers:
            self._env[node] = self._call(torch.Tensor.item, given)
            return
        order = self._layout.orders.get(name)
        if order is not None:
            given = self._call(lay_out, given, order)
        roots = self._layout.memory.roots[node]
        if any(roots & self._layout.memory.writes.get(n, frozenset()) for n in self._nodes):
            given = self._call(torch.ops.aten.clone.default, given)
        self._env[node] = given

    def _copy_stage(self, k: int) -> None:
        local: dict[fx.Node, fx.Node] = {}
        for node in self._layout.segments[k].nodes:
            for source in node.all_input_nodes:
                if source.op == "get_attr" and source not in self._env:
                    self._attributes[str(source.target)] = getattr(
                        self._layout.traced.root, str(source.target)
                    )
                    self._env[source] = self._graph.get_attr(str(source.target))
                elif source not in self._env and source not in local:
                    local[source] = self._size(k, source)
            self._env[node] = self._graph.node_copy(node, lambda n: self._env.get(n) or local[n])

    def _size(self, k: int, node: fx.Node) -> Any:
        """A number made before this part, from the shapes of what the stage reads."""
        formula = self._layout.sizes[k][node]
        names = tuple(sorted(symbols(formula)))
        found = [self._symbol(k, name) for name in names]
        return self._call(work_out, formula, names, *found)

    def _symbol(self, k: int, name: str) -> fx.Node:
        source = self._layout.told[k][name]
        tensor = self._env[self._layout.nodes[source.tensor]]
        size = self._call(torch.ops.aten.sym_size.int, tensor, source.axis)
        return self._call(read_symbol, size, source.scale, source.offset)

    def _give(self, name: str) -> fx.Node:
        """An output: a tensor in memory of its own."""
        node = self._layout.nodes[name]
        made = self._env[node]
        if name in self._layout.numbers:
            return self._call(torch.tensor, made)
        outside = {n for name in self._inputs() for n in self._layout.memory.roots[name]}
        outside.update(self._layout.traced.states, self._layout.traced.constants)
        if self._layout.memory.roots[node] & outside:
            return self._call(torch.ops.aten.clone.default, made)
        return made

    def _inputs(self) -> list[fx.Node]:
        names = self._layout.chain.part_inputs(self._start, self._stop)
        return [self._layout.nodes[n] for n in names if n not in self._layout.numbers]


def work_out(formula: Any, names: tuple[str, ...], *found: int) -> int:
    """A size from its formula and the symbols read from shapes."""
    return evaluate(formula, dict(zip(names, found, strict=True)))
