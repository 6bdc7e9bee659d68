"""A traced graph as data.

Rules: what has no place in the data is refused here, by the name of its operator and with the way out; devices are
not written down, a graph runs where it is unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from ..errors import CannotCapture
from ..graph import Chain, dump
from .base import Mode
from .torch_layout import Layout
from .torch_portable_head import Arg, Body, Complex, Graph, Here, Items, Kind, Named, Node, Ref, SizeOf
from .torch_portable_operators import name_of
from .torch_portable_region import AutocastRegion, GradientRegion

WAY_OUT = "start the cloud with `--model` naming the same model, so that it builds the model itself"

_REGIONS: dict[str, type[GradientRegion] | type[AutocastRegion]] = {
    "wrap_with_set_grad_enabled": GradientRegion,
    "wrap_with_autocast": AutocastRegion,
}


class Writer:
    """Turns the graphs of one model into data; its operators, states and constants are listed once for all."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.operators: dict[str, int] = {}
        self.states: dict[str, int] = {}
        self.constants: dict[int, tuple[int, torch.Tensor]] = {}

    def graph(self, mode: Mode, layout: Layout) -> Graph:
        """One mode."""
        traced = layout.traced
        order = [*traced.inputs, *traced.states, *traced.constants, *traced.body]
        number = {node: i for i, node in enumerate(order)}
        stage = {node: k for k, segment in enumerate(layout.segments) for node in segment.nodes}
        return Graph(
            mode,
            dump(layout.chain, indent=None),
            [segment.key for segment in layout.segments],
            [self._state(name) for name in traced.states.values()],
            [self._constant(tensor) for tensor in traced.constants.values()],
            [self._node(node, number, traced.root, stage[node]) for node in traced.body],
            [_named(layout, name, number[node]) for name, node in layout.nodes.items()],
            [SizeOf(k, number[n], f) for k, sizes in enumerate(layout.sizes) for n, f in sizes.items()],
        )

    def own(self, chain: Chain) -> None:
        """List the states that stages have without using them."""
        for name in chain.params:
            self._state(name)

    def _state(self, name: str) -> int:
        return self.states.setdefault(name, len(self.states))

    def _constant(self, tensor: torch.Tensor) -> int:
        return self.constants.setdefault(id(tensor), (len(self.constants), tensor))[0]

    def _node(
        self, node: fx.Node, number: Mapping[fx.Node, int], root: torch.nn.Module, stage: int = 0
    ) -> Node:
        region = self._region(node, root)
        if region is not None:
            kind, body, args = region
            operator = self.operators.setdefault(kind, len(self.operators))
            return Node(operator, [self._arg(a, number) for a in args], {}, stage, body)
        name = name_of(node.target)
        if not name:
            raise self._refused(_called(node))
        operator = self.operators.setdefault(name, len(self.operators))
        args = [self._arg(a, number) for a in node.args]
        kwargs = {key: self._arg(a, number) for key, a in node.kwargs.items()}
        return Node(operator, args, kwargs, stage)

    def _region(self, node: fx.Node, root: torch.nn.Module) -> tuple[str, Body, Sequence[Any]] | None:
        """A stretch under no_grad or autocast: its kind, what it runs, and its switches and operands."""
        if isinstance(node.target, (GradientRegion, AutocastRegion)):
            return node.target.name, node.target.body(self), node.args
        kind = _REGIONS.get(str(getattr(node.target, "__name__", "")))
        if kind is None:
            return None
        inside: Any = node.args[kind.switches]
        body = self.body(getattr(root, inside.target))
        return kind.name, body, (*node.args[: kind.switches], *node.args[kind.switches + 1 :])

    def body(self, module: fx.GraphModule) -> Body:
        """What a region runs."""
        nodes = list(module.graph.nodes)
        given = [n for n in nodes if n.op == "placeholder"]
        steps = [n for n in nodes if n.op == "call_function"]
        number = {node: i for i, node in enumerate((*given, *steps))}
        end: Any = next(n for n in nodes if n.op == "output").args[0]
        outputs = end if isinstance(end, (tuple, list)) else (end,)
        return Body(
            len(given),
            [self._node(n, number, module) for n in steps],
            [self._arg(a, number) for a in outputs],
        )

    def _arg(self, value: Any, number: Mapping[fx.Node, int]) -> Arg:
        if isinstance(value, fx.Node):
            if value not in number:
                raise self._refused(f"{value.op} {value.target}")
            return Ref(number[value])
        if isinstance(value, (list, tuple)):
            return Items([self._arg(item, number) for item in value])
        if value is None or isinstance(value, (bool, float, str)):
            return value
        if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
            return int(value)
        if isinstance(value, complex):
            return Complex(value.real, value.imag)
        if isinstance(value, torch.device):
            return Here()
        for of, kind in (
            ("dtype", torch.dtype),
            ("layout", torch.layout),
            ("memory_format", torch.memory_format),
        ):
            if isinstance(value, kind):
                return Kind(of, str(value).removeprefix("torch."))  # type: ignore[arg-type]  # one of the three
        raise self._refused(f"an argument of type {type(value).__name__}")

    def _refused(self, what: str) -> CannotCapture:
        return CannotCapture(f"{self._model} uses {what}, which does not travel as data", fix=WAY_OUT)


def _called(node: fx.Node) -> str:
    target = node.target
    name = (
        str(target) if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))
    )
    return f"the operator {name!r}"


def _named(layout: Layout, name: str, node: int) -> Named:
    return Named(name, node, name in layout.carriers, name in layout.numbers, layout.orders.get(name, ()))
