"""The nodes that take the place of a divided one: one for each range of its weight, and what joins them.

Rules: the last node makes the original output and keeps the original name; pieces of a table are selected by Where
and never added, so that no bit of a row changes; an index that the whole would refuse is refused by a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import DType, TensorSpec
from .base import Array
from .onnx_divide_rules import VOCABULARY, Operand, Way
from .onnx_graph import subgraphs, walk_nodes, weight_names
from .onnx_source import OnnxSource

_AXES_AS_INPUT = 13


@dataclass(frozen=True, slots=True)
class Slab:
    """A range [start, stop) of a weight along one axis: the values of a new weight."""

    weight: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a new tensor looks like: as another one, but for the size of one axis or for its type."""

    name: str
    like: str
    axis: int | None = None
    size: int = 0
    dtype: DType | None = None
    more: int = 0
    """How many axes of one follow."""

    def spec(self, like: TensorSpec) -> TensorSpec:
        """The description."""
        shape = like.shape
        if shape is not None and self.axis is not None:
            at = self.axis % len(shape)
            shape = (*shape[:at], self.size, *shape[at + 1 :])
        if shape is not None:
            shape = (*shape, *(1 for _ in range(self.more)))
        return TensorSpec(self.name, self.dtype or like.dtype, shape)


@dataclass
class Edit:
    """What changes in a model: nodes in the place of others, new weights, and what the new names look like."""

    source: OnnxSource
    opset: int
    nodes: dict[int, list[Any]] = field(default_factory=dict)
    slabs: dict[Slab, str] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    likes: list[Likeness] = field(default_factory=list)
    done: list[Way] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.source.file.proto.graph
        nodes = list(walk_nodes(graph.node))
        self._names = {name for node in nodes for name in (*node.input, *node.output, node.name)}
        for body in (graph, *(body for node in nodes for body in subgraphs(node))):
            self._names |= {*weight_names(body), *(value.name for value in body.input)}
        self._names |= {node.name for node in self.source.graph.nodes}

    def fresh(self, name: str) -> str:
        """A name that nothing has."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def divide(self, way: Way, count: int) -> None:
        """Put `count` nodes and what joins them in the place of the one that `way` is about."""
        node = way.step.node
        assert node is not None  # noqa: S101 - a way is about a node
        _Division(self, way, node.index, node.name, way.step.makes[0]).run(way.ranges(count))

    def dropped_nodes(self) -> frozenset[int]:
        """Nodes that only divided ones read."""
        through = {o.through.index for way in self.done for o in way.operands if o.through is not None}
        graph = self.source.graph
        read = {name for node in graph.nodes if node.index not in self.nodes for name in node.reads}
        read.update(graph.outputs)
        return frozenset(index for index in through if not read.intersection(graph.nodes[index].makes))

    def dropped_weights(self) -> frozenset[str]:
        """Weights that only divided nodes read, directly or through what goes with them."""
        graph, proto = self.source.graph, self.source.file.proto.graph
        gone = {*self.nodes, *self.dropped_nodes()}
        read = {name for node in graph.nodes if node.index not in gone for name in node.reads}
        read.update(graph.outputs)
        read.update(name for nodes in self.nodes.values() for node in nodes for name in node.input)
        for note in proto.quantization_annotation:
            read.update((note.tensor_name, *(entry.value for entry in note.quant_parameter_tensor_names)))
        return frozenset(o.name for way in self.done for o in way.operands if o.name not in read)


@dataclass(frozen=True, slots=True)
class _Division:
    """One node being divided."""

    edit: Edit
    way: Way
    index: int
    name: str
    output: str

    def run(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.edit.nodes[self.index] = []
        self.edit.done.append(self.way)
        if self.way.words == VOCABULARY:
            _Table(self, ranges).run()
            return
        joined = [self._product(piece, *ends) for piece, ends in enumerate(ranges)]
        self.node("Concat", joined, self.output, self.name, axis=self.way.joined)

    def _product(self, piece: int, start: int, stop: int) -> str:
        output = self.edit.fresh(f"{self.output}.{piece}")
        new = self.copy(f"{self.name}.{piece}", output)
        for operand in self.way.operands:
            new.input[operand.place] = self._weight(operand, piece, start, stop)
        self.edit.nodes[self.index].append(new)
        self.edit.likes.append(Likeness(output, self.output, self.way.joined, stop - start))
        return output

    def _weight(self, operand: Operand, piece: int, start: int, stop: int) -> str:
        name = self.slab(operand, start, stop)
        if operand.through is None:
            return name
        turned = self.edit.fresh(f"{operand.through.makes[0]}.{piece}")
        self.node("Transpose", [name], turned, f"{self.name}.{piece}.transpose", perm=[1, 0])
        return turned

    def slab(self, operand: Operand, start: int, stop: int) -> str:
        """The name of one range of a weight; divided nodes that share a weight share its ranges."""
        slab = Slab(operand.name, operand.axis, start, stop)
        if slab not in self.edit.slabs:
            self.edit.slabs[slab] = self.edit.fresh(f"{operand.name}.{start}-{stop}")
        return self.edit.slabs[slab]

    def copy(self, name: str, output: str) -> Any:
        """The original node with another name and output."""
        new = type(self.edit.source.file.proto.graph.node[self.index])()
        new.CopyFrom(self.edit.source.file.proto.graph.node[self.index])
        new.name, new.output[0] = self.edit.fresh(name), output
        return new

    def node(self, op: str, inputs: Iterable[str], output: str, name: str, **attributes: Any) -> str:
        """One more node of the standard set."""
        import onnx

        name = name if name == self.name else self.edit.fresh(name)
        made = onnx.helper.make_node(op, list(inputs), [output], name, **attributes)
        self.edit.nodes[self.index].append(made)
        return output


@dataclass(frozen=True, slots=True)
class _Table:
    """A lookup in a table that lies in ranges: every piece looks up what is its own and row 0 for the rest."""

    division: _Division
    ranges: Sequence[tuple[int, int]]

    def run(self) -> None:
        size = self.division.way.size
        ids = self._ids
        below = self._made("negative", "Less", [ids, self._number(0)], DType.BOOL)
        up = self._made("wrapped", "Add", [ids, self._number(size)])
        place = self._made("place", "Where", [below, up, ids])
        kept, mask = "", ""
        for piece, (start, stop) in enumerate(self.ranges):
            last = piece == len(self.ranges) - 1
            under = (
                "" if last else self._made(f"under.{piece}", "Less", [place, self._number(stop)], DType.BOOL)
            )
            at = self._local(piece, place, start, mask, under)
            picked = self._picked(piece, at, start, stop)
            kept = picked if not piece else self._selected(piece, mask, kept, picked)
            mask = under

    @property
    def _ids(self) -> str:
        node = self.division.way.step.node
        assert node is not None  # noqa: S101 - a way is about a node
        return node.inputs[1]

    def _local(self, piece: int, place: str, start: int, before: str, under: str) -> str:
        """Places inside one range, 0 for those of other ranges; what no range has stays out of range."""
        zero = self._number(0)
        if not piece:
            # A place that is still negative must not be taken for one from the end of the first range.
            lost = self._made("lost", "Less", [place, zero], DType.BOOL)
            far = self._made("far", "Sub", [place, self._number(self.division.way.size)])
            at = self._made("checked", "Where", [lost, far, place])
            return self._made("at.0", "Where", [under, at, zero])
        at = self._made(f"from.{piece}", "Sub", [place, self._number(start)])
        at = self._made(f"after.{piece}", "Where", [before, zero, at])
        return at if not under else self._made(f"at.{piece}", "Where", [under, at, zero])

    def _picked(self, piece: int, at: str, start: int, stop: int) -> str:
        d = self.division
        output = d.edit.fresh(f"{d.output}.{piece}")
        new = d.copy(f"{d.name}.{piece}", output)
        new.input[0], new.input[1] = d.slab(d.way.operands[0], start, stop), at
        d.edit.nodes[d.index].append(new)
        d.edit.likes.append(Likeness(output, d.output))
        return output

    def _selected(self, piece: int, under: str, kept: str, picked: str) -> str:
        d = self.division
        mask = self._widened(piece - 1, under)
        if piece == len(self.ranges) - 1:
            return d.node("Where", [mask, kept, picked], d.output, d.name)
        output = d.edit.fresh(f"{d.output}.to.{piece}")
        d.edit.likes.append(Likeness(output, d.output))
        return d.node("Where", [mask, kept, picked], output, f"{d.name}.to.{piece}")

    def _widened(self, piece: int, mask: str) -> str:
        """The mask with the axes of a row behind it."""
        d = self.division
        rows = d.edit.source.file.initializers[d.edit.source.weight_index[d.way.operands[0].name]]
        more = len(rows.dims) - 1
        if not more:
            return mask
        ids = d.edit.source.chain.tensors.get(self._ids) or d.edit.source.written[self._ids]
        axes = list(range(len(ids.shape or ()), len(ids.shape or ()) + more))
        output = d.edit.fresh(f"{d.output}.mask.{piece}")
        d.edit.likes.append(Likeness(output, self._ids, dtype=DType.BOOL, more=more))
        if d.edit.opset >= _AXES_AS_INPUT:
            axis = self._constant("axes", np.array(axes, np.int64))
            return d.node("Unsqueeze", [mask, axis], output, f"{d.name}.mask.{piece}")
        return d.node("Unsqueeze", [mask], output, f"{d.name}.mask.{piece}", axes=axes)

    def _made(self, what: str, op: str, inputs: list[str], dtype: DType | None = None) -> str:
        d = self.division
        output = d.edit.fresh(f"{d.output}.{what}")
        d.edit.likes.append(Likeness(output, self._ids, dtype=dtype))
        return d.node(op, inputs, output, f"{d.name}.{what}")

    def _number(self, value: int) -> str:
        d = self.division
        ids = d.edit.source.chain.tensors.get(self._ids) or d.edit.source.written[self._ids]
        return self._constant(str(value), np.array(value, ids.dtype.value))

    def _constant(self, what: str, value: Array) -> str:
        d = self.division
        name = f"{d.output}.number.{what}"
        for known, held in d.edit.constants.items():
            if known.rstrip("_") == name and np.array_equal(held, value):
                return known
        name = d.edit.fresh(name)
        d.edit.constants[name] = value
        return name
