"""A part as one ONNX model: which pieces of the whole file it is made of, in which order.

Rules: a node, a weight and a function keep their bytes; a part carries only the weights, functions and operator
sets that its nodes reach, and the type of every name at its ends; weights that lie outside go to the part's own
data file, at offsets that can be mapped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

from ..graph import TensorSpec
from .onnx_file import SMALL
from .onnx_graph import function_key, reachable, walk_nodes
from .onnx_run import METADATA
from .onnx_source import OnnxSource
from .onnx_tensor import STRING, Tensor, elsewhere, head, inline, outside, read_tensor
from .onnx_types import type_proto
from .onnx_wire import Buffer, Piece, Span, merged, message, rewritten, text

# Where weights go: all into the file, as they were, or all large ones into the data file.
Mode = Literal["inline", "keep", "outside"]
# ONNX Runtime maps external weights page by page.
_PAGE = 4096
# Initializers had to be inputs as well before this IR version.
_FREE_INITIALIZERS = 4


class Placement:
    """Decides for every weight where it goes, and remembers what the data file must hold."""

    def __init__(self, source: OnnxSource, mode: Mode, location: str = "") -> None:
        self._model = source.file.path
        self._mode = mode
        self._location = location
        self.regions: dict[Span, int] = {}
        self.size = 0

    def placed(self, buffer: Buffer, tensor: Tensor, *, inner: bool = False) -> list[Piece] | None:
        """The tensor's new record; None where the old one will do."""
        if tensor.external:
            payload = outside(tensor, self._model)
            where = inline(payload) if self._mode == "inline" else self._elsewhere(payload)
            return [*head(buffer, tensor), *where]
        large = tensor.payload is not None and len(tensor.payload) == tensor.nbytes >= SMALL
        if self._mode == "outside" and large and not inner and tensor.data_type != STRING:
            return [*head(buffer, tensor), *self._elsewhere(tensor.payload)]
        return None

    def _elsewhere(self, payload: Span | None) -> list[Piece]:
        assert payload is not None  # noqa: S101 - `large` above says so
        if payload not in self.regions:
            self.regions[payload] = self.size
            self.size += -(-len(payload) // _PAGE) * _PAGE
        return elsewhere(self._location, self.regions[payload], len(payload))

    def nested(self, buffer: Buffer, kind: str, span: Span) -> list[Piece]:
        """A node, function or sparse tensor, with the external tensors inside it placed too."""
        if buffer.find(b"location", span.start, span.stop) < 0:
            return [span]

        def on_tensor(start: int, stop: int) -> list[Piece] | None:
            return self.placed(buffer, read_tensor(buffer, start, stop), inner=True)

        return rewritten(buffer, kind, span, on_tensor)


def assemble(source: OnnxSource, start: int, stop: int, buffer: Buffer, placement: Placement) -> list[Piece]:
    """The part [start, stop) as the pieces of its file."""
    file, proto = source.file, source.file.proto
    indices = source.node_indices(start, stop)
    nodes = [proto.graph.node[index] for index in indices]
    functions = {function_key(item): index for index, item in enumerate(proto.functions)}
    called = reachable(nodes, {key: proto.functions[index] for key, index in functions.items()})
    note = METADATA.encode()
    out: list[Piece] = [span for span in file.kept if buffer.find(note, span.start, span.stop) < 0]
    out += _opsets(proto, nodes, [proto.functions[functions[key]] for key in called])
    out += message(7, _graph(source, start, stop, buffer, placement))
    for key in called:
        out += message(25, placement.nested(buffer, "function", file.functions[functions[key]]))
    out += message(14, [text(1, METADATA) + text(2, _note(source, start, stop))])
    return merged(out)


def _note(source: OnnxSource, start: int, stop: int) -> str:
    chain = source.chain
    inputs, outputs = chain.part_inputs(start, stop), chain.part_outputs(start, stop)
    fields = {"start": start, "stop": stop, "inputs": inputs, "outputs": outputs, "model": chain.digest}
    return json.dumps(fields)


def _opsets(proto: Any, nodes: Iterable[Any], functions: list[Any]) -> list[Piece]:
    """The operator sets that some nodes and functions use; the standard one is always there."""
    used = {"", "ai.onnx"}
    for function in functions:
        used.add(function.domain)
        used.update(item.domain for item in function.opset_import)
    every = [*nodes, *(node for function in functions for node in function.node)]
    used.update(node.domain for node in walk_nodes(every))
    return [
        piece
        for item in proto.opset_import
        if item.domain in used
        for piece in message(8, [item.SerializeToString()])
    ]


def _graph(source: OnnxSource, start: int, stop: int, buffer: Buffer, placement: Placement) -> list[Piece]:
    file, graph = source.file, source.file.proto.graph
    indices = source.node_indices(start, stop)
    names = {name for index in indices for name in source.graph.nodes[index].makes}
    weights = list(source.weights(start, stop))
    reads = source.reads(start, stop)
    visible = {*names, *weights, *(spec.name for spec in reads)}
    annotations, extra = _annotations(source, visible)
    weights += [name for name in extra if name not in weights]
    outputs = source.chain.part_outputs(start, stop)
    out: list[Piece] = [text(2, graph.name or "graph")]
    if graph.doc_string:
        out.append(text(10, graph.doc_string))
    for entry in graph.metadata_props:
        out += message(16, [entry.SerializeToString()])
    for index in indices:
        out += message(1, placement.nested(buffer, "node", file.nodes[index]))
    for name in weights:
        out += _weight(source, name, buffer, placement)
    out += _ends(source, reads, weights, outputs)
    for value in graph.value_info:
        if value.name in names and value.name not in outputs:
            out += message(13, [value.SerializeToString()])
    return [*out, *annotations]


def _weight(source: OnnxSource, name: str, buffer: Buffer, placement: Placement) -> list[Piece]:
    index, dense = source.weight_index[name], source.file.initializers
    if index < len(dense):
        tensor = dense[index]
        return message(5, placement.placed(buffer, tensor) or [tensor.span])
    return message(15, placement.nested(buffer, "sparse", source.file.sparse[index - len(dense)]))


def _ends(
    source: OnnxSource, reads: Iterable[TensorSpec], weights: list[str], outputs: Iterable[str]
) -> list[Piece]:
    proto = source.file.proto
    values = {value.name: value for value in (*proto.graph.output, *proto.graph.input)}
    out: list[Piece] = []
    for spec in reads:
        out += message(11, [_value(spec, values.get(spec.name), source.own)])
    if proto.ir_version < _FREE_INITIALIZERS:
        for name in weights:
            if name in values:
                out += message(11, [values[name].SerializeToString()])
    for name in outputs:
        out += message(12, [_value(source.written[name], values.get(name), source.own)])
    return out


def _value(spec: TensorSpec, given: Any | None, own: frozenset[str]) -> bytes:
    """A ValueInfoProto: the file's own with bound dimensions filled in, else one made from what we know."""
    import onnx

    value = onnx.ValueInfoProto()
    if given is not None:
        value.CopyFrom(given)
        if spec.shape is not None and value.type.tensor_type.HasField("shape"):
            for dim, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
                if isinstance(size, int):
                    dim.dim_value = size
        return bytes(value.SerializeToString())
    value.name = spec.name
    if spec.dtype.travels:
        value.type.CopyFrom(type_proto(spec, own))
    return bytes(value.SerializeToString())


def _annotations(source: OnnxSource, visible: set[str]) -> tuple[list[Piece], list[str]]:
    """The quantization annotations of a part's tensors, and the weights that they alone refer to."""
    out: list[Piece] = []
    extra: list[str] = []
    for item in source.file.proto.graph.quantization_annotation:
        referred = [entry.value for entry in item.quant_parameter_tensor_names]
        if item.tensor_name in visible and all(n in visible or n in source.weight_index for n in referred):
            out += message(14, [item.SerializeToString()])
            extra += [name for name in referred if name not in visible]
    return out, list(dict.fromkeys(extra))
