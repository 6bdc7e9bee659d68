"""A captured ONNX model as the writers of parts need it: the file's ranges, the graph's order, the chain.

Rules: pure data; stage k of the chain is step k of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..graph import Chain, TensorSpec
from .onnx_file import OnnxFile
from .onnx_graph import Graph, Step, placed
from .onnx_types import Namer


@dataclass(frozen=True, eq=False)
class OnnxSource:
    """One model file, understood.

    `written` describes the names as a file may promise them: what is inferred, not what was observed. `namer` made
    up the symbols of dimensions without a name.
    """

    file: OnnxFile
    graph: Graph
    steps: tuple[Step, ...]
    chain: Chain
    written: Mapping[str, TensorSpec]
    namer: Namer

    @property
    def own(self) -> frozenset[str]:
        """The symbols that we made up."""
        return frozenset(self.namer.given)

    @cached_property
    def weight_index(self) -> dict[str, int]:
        """Where in the file's list an initializer stands; sparse ones follow the dense ones."""
        dense = [tensor.name for tensor in self.file.initializers]
        sparse = [tensor.values.name for tensor in self.file.proto.graph.sparse_initializer]
        return {name: index for index, name in enumerate([*dense, *sparse])}

    def node_indices(self, start: int, stop: int) -> tuple[int, ...]:
        """The file's nodes that a part runs, in execution order."""
        wanted: set[int] = set()
        for step in self.steps[start:stop]:
            wanted.update(step.free)
            if step.node is not None:
                wanted.add(step.node.index)
        return tuple(placed(self.graph, wanted))

    def weights(self, start: int, stop: int) -> tuple[str, ...]:
        """The initializers that a part needs, each once."""
        return tuple(dict.fromkeys(name for step in self.steps[start:stop] for name in step.weights))

    def reads(self, start: int, stop: int) -> tuple[TensorSpec, ...]:
        """What a part's file takes: its inputs less those that only pass through."""
        read = {name for step in self.steps[start:stop] for name in step.reads}
        return tuple(self.written[n] for n in self.chain.part_inputs(start, stop) if n in read)
