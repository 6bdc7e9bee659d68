"""Where the batch of every feature lies, found by running the network at two sizes.

Rules: seen, not guessed from names of dimensions; what differs between batches although its size does not is no
feature of a sample, and a border that it would cross is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..engine import Array, largest_difference
from ..engine.onnx_example import batch_symbol, bindings
from ..engine.onnx_exits import ExitGraph, part_of
from ..engine.onnx_exits_part import ran
from ..engine.onnx_model import OnnxModel
from ..errors import CannotCapture

# Two sizes that are multiples of neither each other nor of most of what a network counts in.
_SIZES = (2, 3)


@dataclass(frozen=True)
class BatchFacts:
    """For every input and feature, its batch axis (None: it has none) and the places one sample takes on it.

    `fixed` is the only batch size, where the network was written for one.
    """

    places: Mapping[str, tuple[int | None, int]]
    fixed: int | None
    open_sizes: Mapping[str, int]
    symbol: str | None

    def sizes(self, batch: int) -> dict[str, int]:
        """A size for every open dimension of the inputs."""
        return dict(self.open_sizes) | ({self.symbol: batch} if self.symbol else {})


def batch_facts(model: OnnxModel, graph: ExitGraph) -> BatchFacts:
    """Run the network at two batch sizes and look at everything that is held at a border."""
    names = list(dict.fromkeys((*graph.chain.inputs, *(n for border in graph.borders for n in border))))
    sizes = bindings(model.chain, None, model.dims)
    symbol = batch_symbol(model.chain)
    if symbol is None or symbol not in sizes:
        first = model.chain.tensors[model.chain.inputs[0]].shape or (1,)
        fixed = next((size for size in first[:1] if isinstance(size, int)), 1)
        return BatchFacts(dict.fromkeys(names, (None, 1)), fixed, sizes, None)
    made = [name for name in names if name not in graph.chain.inputs]
    seen = [_seen(model, graph, made, size) for size in _SIZES]
    places = {name: _place(name, [one[name] for one in seen]) for name in names}
    return BatchFacts(places, None, sizes, symbol)


def _seen(model: OnnxModel, graph: ExitGraph, made: list[str], size: int) -> dict[str, Array]:
    """Inputs and features at one batch size; the same first rows at every size."""
    given = model.example(max(_SIZES), seed=1)
    chain = model.chain
    symbol = batch_symbol(chain)
    values = {}
    for name in graph.chain.inputs:
        value = given[name]
        for axis, dim in enumerate(chain.tensors[name].shape or ()):
            if dim == symbol:
                value = value.take(range(size), axis=axis)
        values[name] = value
    if not made:
        return values
    source = part_of(graph.source, range(len(graph.chain)), made)
    return values | ran(source, values, model.settings)


def _place(name: str, seen: list[Array]) -> tuple[int | None, int]:
    one, other = seen
    differ = [
        axis for axis, pair in enumerate(zip(one.shape, other.shape, strict=True)) if pair[0] != pair[1]
    ]
    if not differ:
        if largest_difference({name: one}, {name: other}) == 0.0:
            return None, 1
        raise _mixed(name, "it has no axis for samples, and is another for another batch")
    axis = differ[0]
    each, rest = divmod(one.shape[axis], _SIZES[0])
    if len(differ) > 1 or rest or each * _SIZES[1] != other.shape[axis]:
        raise _mixed(name, f"it has the sizes {list(one.shape)} and {list(other.shape)} for 2 and 3 samples")
    return axis, each


def _mixed(name: str, what: str) -> CannotCapture:
    return CannotCapture(
        f"the feature {name!r} crosses between two stages and belongs to no sample: {what}",
        fix="export with a fixed batch, or change the network so that samples stay apart between exits",
    )
