"""Whether a graph and a chain from outside belong together.

Rules: every name is made before it is read, by the node that the tables give it; a stage reads what the chain gives
it and nothing else, so that a part finds all it needs; sums that other code walks over are bounded first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from ..errors import BadDocument
from ..graph import Chain, symbols
from .torch_layout import Layout
from .torch_portable_head import FIX, Graph, Head, Named

# Tensors times the stages they pass over: 60 skip connections over 4,000 stages.
_MOST_CROSSINGS = 1 << 18
_MOST_STAGES = 4096


def refuse(what: str) -> BadDocument:
    """The error for data that is no model."""
    return BadDocument("model from outside", [what], fix=FIX)


def within(index: int, things: Sequence[Any]) -> int:
    """The index, if there is such a thing by now."""
    if index >= len(things):
        raise refuse(f"number {index} is spoken of before it is there, or is not there at all")
    return index


def check_chain(chain: Chain, data: Graph, head: Head) -> None:
    """Whether the chain, the tables beside it and their numbers go together."""
    if len(chain.stages) > _MOST_STAGES or len(chain.stages) != len(data.keys):
        raise refuse(f"a chain of {len(chain.stages)} stages does not go with {len(data.keys)} keys")
    if _crossings(chain) > _MOST_CROSSINGS:
        raise refuse(f"tensors cross more than {_MOST_CROSSINGS} boundaries")
    states = {head.states[within(i, head.states)].name for i in data.states}
    if len(states) != len(data.states):
        raise refuse("a state is given to two nodes of one graph")
    for index in data.constants:
        within(index, head.constants)
    _check_names(chain, data)
    for row in data.named:
        _check_tensor(chain, row)


def _check_names(chain: Chain, data: Graph) -> None:
    numbers = {row.name: row.node for row in data.named}
    passing = {n for stage in chain.stages for n in (*stage.inputs, *stage.outputs)}
    passing.update(chain.inputs, chain.outputs)
    if not numbers.keys() == passing == chain.tensors.keys() or len(numbers) != len(data.named):
        raise refuse("the tensors of the chain are not those of the graph")
    if len(set(numbers.values())) != len(numbers):
        raise refuse("a node has two names")
    if any(numbers[name] != i for i, name in enumerate(chain.inputs)):
        raise refuse("the inputs of the chain are not those of the graph")


def _check_tensor(chain: Chain, row: Named) -> None:
    spec = chain.tensors[row.name]
    if row.carries and not spec.dtype.startswith(("float", "bfloat", "complex")):
        raise refuse(f"{row.name!r} is {spec.dtype} and has a gradient")
    if row.order and sorted(row.order) != list(range(len(spec.shape or ()))):
        raise refuse(f"{row.name!r}: {list(row.order)} is no order of its axes")


def _crossings(chain: Chain) -> int:
    """How many boundaries all tensors pass together: what every question about cuts walks over."""
    made = dict.fromkeys(chain.inputs, -1)
    last: dict[str, int] = {}
    for k, stage in enumerate(chain.stages):
        made.update(dict.fromkeys(stage.outputs, k))
        last.update(dict.fromkeys(stage.inputs, k))
    last.update(dict.fromkeys(chain.outputs, len(chain.stages)))
    return sum(max(0, until - made.get(name, -1)) for name, until in last.items())


def check_layout(layout: Layout) -> None:
    """Whether every stage reads what it says it reads, and makes what it says it makes."""
    stage_of = {node: k for k, segment in enumerate(layout.segments) for node in segment.nodes}
    place = {node: i for i, node in enumerate(layout.traced.body)}
    name_of = {node: name for name, node in layout.nodes.items()}
    for k, stage in enumerate(layout.chain.stages):
        _check_sizes(layout, k, stage_of)
        reads = {layout.nodes[name] for name in stage.inputs}
        for node in layout.segments[k].nodes:
            for source in node.all_input_nodes:
                own = stage_of.get(source) == k and place[source] < place[node]
                if not own and not _given(layout, k, source, reads):
                    what = name_of.get(source, source.name)
                    raise refuse(f"stage {stage.name!r} reads {what!r}, which the chain does not give it")
        if any(stage_of.get(layout.nodes[name]) != k for name in stage.outputs):
            raise refuse(f"stage {stage.name!r} does not make its outputs")


def _given(layout: Layout, k: int, source: fx.Node, reads: set[fx.Node]) -> bool:
    """Whether a stage has a value that it does not make."""
    if source in layout.traced.states:
        return layout.traced.states[source] in layout.chain.stages[k].params
    return source in layout.traced.constants or source in layout.sizes[k] or source in reads


def _check_sizes(layout: Layout, k: int, stage_of: dict[fx.Node, int]) -> None:
    stage = layout.chain.stages[k]
    for node, formula in layout.sizes[k].items():
        if not symbols(formula) <= layout.told[k].keys():
            raise refuse(f"stage {stage.name!r} is not told what {formula!r} needs")
        if stage_of.get(node, k) >= k:
            raise refuse(f"stage {stage.name!r} works out a size that no stage before it has")
