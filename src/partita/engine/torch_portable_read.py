"""A graph from data that anybody may have made, checked before it is believed.

Rules: a node reads what came before it, in its own stage or through the chain; every operator is one of those
allowed, every argument of its type and within the limit; what memory is shared and written to is worked out here
from the operators, whatever the data says. A graph that passes can still compute nonsense: then it fails as a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain as joined
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from ..errors import LimitExceeded
from ..graph import Chain, load
from .torch_alias import follow
from .torch_graph import Traced
from .torch_layout import Layout
from .torch_portable_arguments import misfit, named, too_large
from .torch_portable_check import check_chain, check_layout, refuse, within
from .torch_portable_head import Arg, Body, Complex, Graph, Head, Here, Items, Kind, Node, Ref
from .torch_portable_operators import PICK, REGIONS, Arithmetic, operator_of
from .torch_portable_run import Steps
from .torch_shapes import sources
from .torch_signature import Answer
from .torch_stages import Segment

# Lists in lists, and regions in regions: models have two of each.
_DEEPEST = 4
# How often values may share memory, all together: models have about one for each operator.
_MOST_SHARED = 1 << 18

_KINDS: dict[str, dict[str, Any]] = {
    "dtype": {str(v).removeprefix("torch."): v for v in vars(torch).values() if isinstance(v, torch.dtype)},
    "layout": {"strided": torch.strided},
    "memory_format": {
        name: getattr(torch, name)
        for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
    },
}


class Reader:
    """Turns the graphs of one head back into layouts."""

    def __init__(
        self, head: Head, constants: Sequence[torch.Tensor], device: torch.device, most: int
    ) -> None:
        self._head, self._constants, self._device, self._most = head, constants, device, most
        self._targets = [self._target(name) for name in head.operators]

    @staticmethod
    def _target(name: str) -> Any:
        target = REGIONS.get(name) or operator_of(name)
        if target is None:
            raise refuse(
                f"operator {name!r} may not come from outside, or is not known to torch {torch.__version__}"
            )
        return target

    def layout(self, data: Graph) -> Layout:
        """One mode."""
        chain = load(Chain, data.chain, name=self._head.name)
        check_chain(chain, data, self._head)
        graph = fx.Graph()
        nodes = self._nodes(graph, chain, data)
        first = len(nodes) - len(data.nodes)
        segments = tuple(
            Segment(stage.name, key, []) for stage, key in zip(chain.stages, data.keys, strict=True)
        )
        for node, row in zip(nodes[first:], data.nodes, strict=True):
            if row.stage >= len(segments):
                raise refuse(f"a node belongs to stage {row.stage} of {len(segments)}")
            segments[row.stage].nodes.append(node)
        inputs = dict(zip(nodes, chain.inputs, strict=False))
        behind = len(inputs) + len(data.states)
        states = dict(
            zip(nodes[len(inputs) :], (self._head.states[i].name for i in data.states), strict=False)
        )
        constants = dict(zip(nodes[behind:first], (self._constants[i] for i in data.constants), strict=True))
        known = {row.name: nodes[within(row.node, nodes)] for row in data.named}
        outputs = tuple(known[name] for name in chain.outputs)
        spec = pytree.tree_structure(dict.fromkeys(chain.outputs, 0))
        traced = Traced(torch.nn.Module(), inputs, states, constants, outputs, spec, tuple(nodes[first:]))
        sizes: list[dict[fx.Node, int | str]] = [{} for _ in segments]
        for size in data.sizes:
            sizes[within(size.stage, sizes)][nodes[within(size.node, nodes)]] = size.formula
        tensors = chain.tensors
        layout = Layout(
            chain,
            traced,
            follow(traced, most=_MOST_SHARED),
            segments,
            known,
            tuple(sizes),
            tuple(sources(tensors[name] for name in stage.inputs) for stage in chain.stages),
            Answer(spec, chain.outputs, (None,) * len(chain.outputs)),
            frozenset(row.name for row in data.named if row.carries),
            frozenset(row.name for row in data.named if row.number),
            {row.name: row.order for row in data.named if row.order},
        )
        check_layout(layout)
        return layout

    # -- nodes ---------------------------------------------------------------------------------------------

    def _nodes(self, graph: fx.Graph, chain: Chain, data: Graph) -> list[fx.Node]:
        counts = (
            ("input", len(chain.inputs)),
            ("state", len(data.states)),
            ("constant", len(data.constants)),
        )
        made = [graph.placeholder(f"{what}_{i}") for what, count in counts for i in range(count)]
        for row in data.nodes:
            made.append(self._node(graph, row, made, 0))
        return made

    def _node(self, graph: fx.Graph, row: Node, before: Sequence[fx.Node], depth: int) -> fx.Node:
        target = self._targets[within(row.operator, self._targets)]
        args = [self._arg(a, before, 0) for a in row.args]
        kwargs = {name: self._arg(a, before, 0) for name, a in row.kwargs.items()}
        name = self._head.operators[row.operator]
        if (name in REGIONS) != (row.body is not None):
            raise refuse(f"operator {name!r} and the steps it runs do not go together")
        if row.body is not None:
            target = self._region(name, row.body, len(args) - target.switches, depth)
        elif isinstance(target, torch._ops.OpOverload):
            self._check(name, target, args, kwargs)
        elif kwargs or (name == PICK and not _picks(args)):
            raise refuse(f"operator {name!r} has arguments that it does not take")
        elif isinstance(target, Arithmetic) and not all(_plain(a) for a in args):
            raise refuse(f"operator {name!r} computes with numbers only")
        return graph.call_function(target, tuple(args), kwargs)

    def _check(self, name: str, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        given, problem = named(target, args, kwargs)
        if problem := problem or misfit(target, given):
            raise refuse(f"operator {name!r}: {problem}")
        if problem := too_large(target, given, self._most):
            raise LimitExceeded(
                f"model from outside: operator {name!r}: {problem}", fix="use a cloud that allows more"
            )

    def _region(self, name: str, body: Body, given: int, depth: int) -> Any:
        if depth >= _DEEPEST or given != body.inputs:
            raise refuse(f"operator {name!r}: {given} values for {body.inputs} inputs, at depth {depth}")
        graph = fx.Graph()
        made = [graph.placeholder(f"given_{i}") for i in range(body.inputs)]
        for row in body.nodes:
            made.append(self._node(graph, row, made, depth + 1))
        graph.output(tuple(self._arg(a, made, 0) for a in body.outputs))
        again = _Rewritten(body, self._head.operators)
        return REGIONS[name](again, graph, Steps(graph, self._most))

    def _arg(self, arg: Arg, before: Sequence[fx.Node], depth: int) -> Any:
        if isinstance(arg, Ref):
            return before[within(arg.node, before)]
        if isinstance(arg, Items):
            if depth >= _DEEPEST:
                raise refuse(f"lists of arguments are nested more than {_DEEPEST} deep")
            return [self._arg(item, before, depth + 1) for item in arg.items]
        if isinstance(arg, Kind):
            known = _KINDS[arg.of]
            if arg.name not in known:
                raise refuse(f"{arg.name!r} is no {arg.of} known here")
            return known[arg.name]
        if isinstance(arg, Here):
            return self._device
        return complex(arg.real, arg.imaginary) if isinstance(arg, Complex) else arg


class _Rewritten:
    """The data of a region, for packing the model once more."""

    def __init__(self, body: Body, operators: Sequence[str]) -> None:
        self._body, self._operators = body, operators

    def __call__(self, writer: Any) -> Body:
        return self._again(self._body, writer.operators)

    def _again(self, body: Body, table: dict[str, int]) -> Body:
        nodes = [
            Node(
                table.setdefault(self._operators[n.operator], len(table)),
                n.args,
                n.kwargs,
                n.stage,
                self._again(n.body, table) if n.body else None,
            )
            for n in body.nodes
        ]
        return Body(body.inputs, nodes, body.outputs)


def _picks(args: Sequence[Any]) -> bool:
    """A getitem takes one of the results of an operator, by a number that is written out."""
    return len(args) == 2 and isinstance(args[0], fx.Node) and type(args[1]) is int and 0 <= args[1] < 4096


def _plain(arg: Any) -> bool:
    items = arg if isinstance(arg, list) else [arg]
    return all(isinstance(item, (fx.Node, bool, int, float)) for item in items)


def leaves(graphs: Sequence[Graph]) -> Iterator[Node]:
    """Every node, those of regions too."""
    waiting = list(joined.from_iterable(graph.nodes for graph in graphs))
    while waiting:
        node = waiting.pop()
        yield node
        if node.body is not None:
            waiting += node.body.nodes
