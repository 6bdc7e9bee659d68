"""The file of a model with divided nodes, beside the data of the original.

Rules: ranges that lie in one piece are not copied but named anew, columns of rows are copied block by block, and
no weight is ever held whole; a model that lies in a temporary folder of ours is divided there, beside its data, any
other is copied first, and never linked: ONNX refuses data files with two names, the user's own too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy as np

from ..errors import CannotCapture
from .onnx_copy import write_pieces
from .onnx_divide_nodes import Edit, Slab
from .onnx_file import opened
from .onnx_graph import subgraphs, walk_nodes
from .onnx_source import OnnxSource
from .onnx_tensor import Tensor, elsewhere, inline, nbytes, outside, read_tensor
from .onnx_wire import BYTES, Buffer, Field, Piece, Span, fields, merged, message, number, text

_GRAPH, _TRAINING = 7, 20
_NODE, _INITIALIZER, _INPUT = 1, 5, 11
_EXTERNAL = 1
# Initializers had to be inputs as well before this IR version.
_FREE_INITIALIZERS = 4
# Rows are read this many bytes at a time.
_BLOCK = 4 << 20
_PAGE = 4096


class Scratch:
    """A temporary folder that lives as long as the model that lies in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="partita-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Beside:
    """Files of one model in the temporary folder of another, which it keeps alive; they go with it."""

    def __init__(self, folder: object, path: Path, names: Iterable[str]) -> None:
        self.path, self._folder = path, folder
        weakref.finalize(self, _remove, [path / name for name in names])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@dataclass
class _Weights:
    """Where the values of the new weights lie; what must be copied for it goes to the data file `name`."""

    source: OnnxSource
    name: str
    columns: dict[Slab, int] = field(default_factory=dict)
    size: int = 0

    def record(self, slab: Slab, name: str) -> list[Piece]:
        """A slab as a TensorProto."""
        tensor = self.tensor(slab)
        outer, inner = _around(tensor, slab.axis)
        dims = [*tensor.dims]
        dims[slab.axis] = slab.stop - slab.start
        head = _head(name, tensor.data_type, dims)
        values = self._values(tensor)
        if isinstance(values, bytes):
            rows = np.frombuffer(values, np.uint8).reshape(outer, -1)
            return [head, *inline(rows[:, slab.start * inner : slab.stop * inner].tobytes())]
        if outer == 1:
            start, stop = values.start + slab.start * inner, values.start + slab.stop * inner
            if values.path is None:
                return [head, *inline(Span(start, stop))]
            return [head, *elsewhere(tensor.external["location"], start, stop - start)]
        length = outer * inner * (slab.stop - slab.start)
        offset = self.columns.setdefault(slab, self.size)
        if offset == self.size:
            self.size += -(-length // _PAGE) * _PAGE
        return [head, *elsewhere(self.name, offset, length)]

    def tensor(self, slab: Slab) -> Tensor:
        """The weight that a slab is part of."""
        return self.source.file.initializers[self.source.weight_index[slab.weight]]

    def _values(self, tensor: Tensor) -> Span | bytes:
        if tensor.external:
            return outside(tensor, self.source.file.path)
        if tensor.payload is not None:
            return tensor.payload
        import onnx

        held = self.source.file.proto.graph.initializer[self.source.weight_index[tensor.name]]
        return bytes(onnx.numpy_helper.to_array(held).tobytes())

    def copy(self, path: Path) -> None:
        """Write the data file: every weight is read once, some rows at a time."""
        groups: dict[tuple[str, int], list[Slab]] = {}
        for slab in self.columns:
            groups.setdefault((slab.weight, slab.axis), []).append(slab)
        if not groups:
            return
        with path.open("xb", buffering=0) as target:
            target.truncate(self.size)
            for slabs in groups.values():
                tensor = self.tensor(slabs[0])
                values = self._values(tensor)
                assert isinstance(values, Span)  # noqa: S101 - small weights are not copied
                outer, inner = _around(tensor, slabs[0].axis)
                with (values.path or self.source.file.path).open("rb", buffering=0) as origin:
                    self._copy_columns(origin.fileno(), target.fileno(), values, (outer, inner), slabs)

    def _copy_columns(
        self, origin: int, target: int, values: Span, around: tuple[int, int], slabs: list[Slab]
    ) -> None:
        outer, inner = around
        width = len(values) // outer
        step = max(1, _BLOCK // width)
        for row in range(0, outer, step):
            count = min(step, outer - row)
            block = _read(origin, values.start + row * width, count * width)
            rows = np.frombuffer(block, np.uint8).reshape(count, width)
            for slab in slabs:
                part = np.ascontiguousarray(rows[:, slab.start * inner : slab.stop * inner])
                _write(target, part.data.cast("B"), self.columns[slab] + row * part.shape[1])


def _around(tensor: Tensor, axis: int) -> tuple[int, int]:
    """How often an axis is walked, and how many bytes one step along it has."""
    itemsize = nbytes(tensor.data_type, (1,))
    return prod(tensor.dims[:axis]), prod(tensor.dims[axis + 1 :]) * itemsize


def _read(handle: int, start: int, count: int) -> bytearray:
    block, done = bytearray(count), 0
    view = memoryview(block)
    while done < count:
        read = os.preadv(handle, [view[done:]], start + done)
        if not read:
            raise CannotCapture(
                f"a weight goes on to byte {start + count}, and its file ends at byte {start + done}",
                fix="the file was cut short while it was read: fetch it again and capture it again",
            )
        done += read
    return block


def _write(handle: int, chunk: memoryview, offset: int) -> None:
    done = 0
    while done < len(chunk):
        done += os.pwrite(handle, chunk[done:], offset + done)


def _head(name: str, data_type: int, dims: Iterable[int]) -> bytes:
    return b"".join(number(1, size) for size in dims) + number(2, data_type) + text(8, name)


def write_divided(edit: Edit, folder: object) -> tuple[Path, object]:
    """The edited model as a file, and what keeps it: beside the original if that lies in `folder`, else elsewhere."""
    source = edit.source
    source.file.check_unchanged()
    locations = _locations(source, edit.dropped_weights() - _ranged(edit))
    # A name that no other model in the folder has.
    stem = f"{source.file.path.stem}-{secrets.token_hex(4)}"
    names = (f"{stem}.onnx", f"{stem}.data")
    place = source.file.path.parent
    kept: Scratch | Beside
    if folder is not None and getattr(folder, "path", None) == place:
        kept = Beside(folder, place, names)
    else:
        kept = Scratch()
        for location in locations:
            _copied(place / location, kept.path / location)
    weights = _Weights(source, names[1])
    with opened(source.file.path) as buffer:
        pieces = merged(_model(edit, weights, buffer))
    offsets = accumulate(map(len, pieces), initial=0)
    write_pieces(zip(pieces, offsets, strict=False), source.file.path, kept.path / names[0])
    weights.copy(kept.path / names[1])
    return kept.path / names[0], kept


def _ranged(edit: Edit) -> frozenset[str]:
    """Weights whose ranges stay where they lie."""
    tensors = {tensor.name: tensor for tensor in edit.source.file.initializers}
    return frozenset(s.weight for s in edit.slabs if _around(tensors[s.weight], s.axis)[0] == 1)


def _locations(source: OnnxSource, unread: frozenset[str]) -> list[str]:
    """The files beside the model that it names, at any depth, but for weights that nobody reads."""
    proto = source.file.proto
    nodes = list(walk_nodes([*proto.graph.node, *(node for item in proto.functions for node in item.node)]))
    bodies = [proto.graph, *(body for node in nodes for body in subgraphs(node))]
    tensors = [
        t for body in bodies for t in body.initializer if body is not proto.graph or t.name not in unread
    ]
    sparse = (item for body in bodies for item in body.sparse_initializer)
    tensors += [part for item in sparse for part in (item.values, item.indices)]
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        tensors += [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    outer = [
        entry for tensor in tensors if tensor.data_location == _EXTERNAL for entry in tensor.external_data
    ]
    return list(dict.fromkeys(entry.value for entry in outer if entry.key == "location"))


def _copied(old: Path, new: Path) -> None:
    """A copy with its holes."""
    new.parent.mkdir(parents=True, exist_ok=True)
    old = old.resolve()
    write_pieces([(Span(0, old.stat().st_size, old), 0)], old, new)


def _model(edit: Edit, weights: _Weights, buffer: Buffer) -> list[Piece]:
    out: list[Piece] = []
    state = _Places()
    for item in fields(buffer, 0, len(buffer)):
        if item.number == _GRAPH and item.wire == BYTES:
            body = _graph(edit, buffer, item, state)
            if not state.added:
                body += _added(edit, weights)
                state.added = True
            out += message(_GRAPH, body)
        elif item.number != _TRAINING:
            out.append(Span(item.start, item.stop))
    return out


@dataclass
class _Places:
    """How far the walk through the graph has come."""

    node: int = -1
    added: bool = False


def _graph(edit: Edit, buffer: Buffer, graph: Field, state: _Places) -> list[Piece]:
    out: list[Piece] = []
    gone, unread = edit.dropped_nodes(), edit.dropped_weights()
    for item in fields(buffer, graph.value, graph.stop):
        whole = Span(item.start, item.stop)
        if item.wire != BYTES or item.number not in (_NODE, _INITIALIZER, _INPUT):
            out.append(whole)
        elif item.number == _NODE:
            state.node += 1
            if state.node in edit.nodes:
                for node in edit.nodes[state.node]:
                    out += message(_NODE, [node.SerializeToString()])
            elif state.node not in gone:
                out.append(whole)
        elif item.number == _INITIALIZER:
            if read_tensor(buffer, item.value, item.stop).name not in unread:
                out.append(whole)
        elif not any(
            f.number == 1 and _text(buffer, f) in unread for f in fields(buffer, item.value, item.stop)
        ):
            out.append(whole)
    return out


def _text(buffer: Buffer, item: Field) -> str:
    return bytes(buffer[item.value : item.stop]).decode()


def _added(edit: Edit, weights: _Weights) -> list[Piece]:
    import onnx

    out: list[Piece] = []
    ends: list[tuple[str, int, list[int]]] = []
    for slab, name in edit.slabs.items():
        tensor = weights.tensor(slab)
        dims = [*tensor.dims]
        dims[slab.axis] = slab.stop - slab.start
        out += message(_INITIALIZER, weights.record(slab, name))
        ends.append((name, tensor.data_type, dims))
    for name, value in edit.constants.items():
        constant = onnx.numpy_helper.from_array(value, name)
        out += message(_INITIALIZER, [constant.SerializeToString()])
        ends.append((name, constant.data_type, [*constant.dims]))
    if edit.source.file.proto.ir_version < _FREE_INITIALIZERS:
        for name, data_type, dims in ends:
            value_info = onnx.helper.make_tensor_value_info(name, data_type, dims)
            out += message(_INPUT, [value_info.SerializeToString()])
    return out
