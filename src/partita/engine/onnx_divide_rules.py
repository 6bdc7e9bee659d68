"""Which nodes can be divided, along what, and into how many pieces, so that no bit of the result changes.

Rules: a product is divided along its outputs and never along what is summed up; a width at which the kernels of
ONNX Runtime would add in another order is not offered; what cannot be divided has a reason in words.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

from .onnx_graph import Node, Step
from .onnx_run import RunSettings
from .onnx_source import OnnxSource
from .onnx_tensor import STRING, nbytes

COLUMNS, CHANNELS, VOCABULARY = "output columns", "output channels", "vocabulary ranges"
_FLOAT, _INT32, _INT64 = 1, 6, 7
# Full vector registers, and the block in which kernels walk along columns and channels.
_UNIT = 16
# Products with weights that are not rearranged at load add in longer runs where one thread has 64 columns or
# fewer (measured: ONNX Runtime 1.31, 2 threads); one block more is safe.
_THREAD_COLUMNS = 64 + _UNIT
# Up to this many terms are one run whatever the shape.
_ONE_RUN = 128
# One row alone is another kernel, and a column of results is made four rows at a time.
_ROWS, _FEWEST_ROWS = 4, 2
_ELEMENTWISE = frozenset({"", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
# What Where selects on the CPU: float, uint8, int32, int64, double.
_SELECTABLE = frozenset({1, 2, 6, 7, 11})
_WHERE, _NEGATIVE_AXES = 9, 11


@dataclass(frozen=True, slots=True)
class Operand:
    """One weight that is divided: which input it is, along which axis; `through` a Transpose before it."""

    place: int
    name: str
    axis: int
    through: Node | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How one stage is divided: `size` outputs, at least `least` in a piece, in multiples of `unit`; joined along `joined`."""

    step: Step
    words: str
    size: int
    operands: tuple[Operand, ...]
    joined: int = 0
    least: int = 1
    unit: int = _UNIT
    strict: bool = False
    """Whether `unit` is needed for the same bits, or only the better shape."""

    @property
    def most(self) -> int:
        """The most pieces."""
        if self.least == 1 and not self.strict:
            return self.size
        count = self.size // max(self.least, self.unit if self.strict else 1)
        while count > 1 and min(b - a for a, b in self.ranges(count)) < self.least:
            count -= 1
        return max(1, count)

    def ranges(self, count: int) -> list[tuple[int, int]]:
        """Balanced ranges, that begin at full blocks where there are enough of them."""
        unit = self.unit if self.strict or self.size >= self.unit * count else 1
        blocks = self.size // unit
        ends = [*(unit * (blocks * piece // count) for piece in range(count)), self.size]
        return list(pairwise(ends))


@dataclass(frozen=True, slots=True)
class Divider:
    """Finds the ways to divide the stages of one source."""

    source: OnnxSource
    settings: RunSettings

    @property
    def threads(self) -> int:
        """How many threads a product may be spread over."""
        return self.settings.threads or os.cpu_count() or 1

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        versions = [o.version for o in self.source.file.proto.opset_import if o.domain in ("", "ai.onnx")]
        return max(versions, default=1)

    def way(self, index: int) -> Way | str:
        """How a stage is divided, or why it is not."""
        step = self.source.steps[index]
        node = step.node
        if node is None:
            return "it is a weight that the model returns"
        local = {key[:2] for key in self.source.graph.functions}
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (node.domain, node.op) not in local:
            match domain, node.op:
                case ("", "MatMul") | ("com.microsoft", "FusedMatMul"):
                    return self._product(step, node)
                case ("", "Gemm") | ("com.microsoft", "FusedGemm"):
                    return self._gemm(step, node)
                case ("", "Conv") | ("com.microsoft", "FusedConv"):
                    return self._conv(step, node)
                case ("", "ConvTranspose"):
                    return self._conv(step, node, turned=True)
                case ("", "Gather"):
                    return self._gather(step, node)
        return f"{node.op} is none of MatMul, Gemm, Conv, ConvTranspose and Gather, nor a fused form of them"

    def attributes(self, node: Node) -> dict[str, Any]:
        """The attributes of a node."""
        import onnx

        proto = self.source.file.proto.graph.node[node.index]
        return {item.name: onnx.helper.get_attribute_value(item) for item in proto.attribute}

    def dims(self, name: str) -> tuple[int, ...] | str:
        """The shape of a weight whose bytes can be divided, or why they cannot."""
        at = self.source.weight_index.get(name)
        if at is None:
            return f"its operand {name!r} is computed, not a weight"
        if at >= len(self.source.file.initializers):
            return f"its weight {name!r} is sparse"
        tensor = self.source.file.initializers[at]
        one, two = (nbytes(tensor.data_type, (count,)) for count in (1, 2))
        if tensor.data_type == STRING or not one or two != 2 * one:
            return f"the numbers of its weight {name!r} do not fill whole bytes"
        if not tensor.external and tensor.payload is None and not self._held(at):
            return f"its weight {name!r} is not stored as one run of bytes"
        return tensor.dims

    def _held(self, at: int) -> bool:
        tensor = self.source.file.proto.graph.initializer[at]
        return any(len(getattr(tensor, f"{k}_data")) for k in ("float", "int32", "int64", "double", "uint64"))

    def _operand(self, node: Node, place: int) -> tuple[str, Node | None]:
        """The weight behind an input: itself, or the one that a Transpose turns."""
        name = node.inputs[place]
        maker = self.source.graph.makers.get(name)
        if maker is not None:
            other = self.source.graph.nodes[maker]
            if other.op == "Transpose" and other.domain in ("", "ai.onnx"):
                perm = self.attributes(other).get("perm")
                dims = self.dims(other.inputs[0])
                if len(dims) == 2 and not isinstance(dims, str) and list(perm or (1, 0)) == [1, 0]:
                    return other.inputs[0], other
        return name, None

    def _product(self, step: Step, node: Node) -> Way | str:
        found = self.attributes(node)
        if found.get("transBatchA") or found.get("transBatchB"):
            return "it turns its batches"
        name, through = self._operand(node, 1)
        dims = self.dims(name)
        if isinstance(dims, str):
            return dims
        if len(dims) < 2:
            return f"its weight {name!r} is a vector"
        turned = bool(found.get("transB")) != (through is not None)
        axis = len(dims) - 2 if turned else len(dims) - 1
        rank = self._rank(step.makes[0])
        if rank is None and self.opset < _NEGATIVE_AXES:
            return "the rank of its output is unknown"
        joined = -1 if rank is None else rank - 1
        fixed = through is None and len(dims) == 2
        return self._columns(step, (Operand(1, name, axis, through),), dims[axis], joined, fixed=fixed)

    def _gemm(self, step: Step, node: Node) -> Way | str:
        found = self.attributes(node)
        if self._activation(found) not in _ELEMENTWISE:
            return f"its activation {self._activation(found)} is not known to work value by value"
        name, through = self._operand(node, 1)
        dims = self.dims(name)
        if isinstance(dims, str):
            return dims
        axis = 0 if bool(found.get("transB")) != (through is not None) else 1
        operands = [Operand(1, name, axis, through)]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.dims(node.inputs[2])
            if isinstance(bias, str):
                return bias
            if bias and bias[-1] != 1:
                operands.append(Operand(2, node.inputs[2], len(bias) - 1))
        return self._columns(step, tuple(operands), dims[axis], 1, fixed=through is None)

    def _columns(
        self, step: Step, operands: tuple[Operand, ...], size: int, joined: int, *, fixed: bool
    ) -> Way | str:
        tensor = self.source.file.initializers[self.source.weight_index[operands[0].name]]
        # Rearranged weights are added in runs of one length, whatever the width.
        packed = fixed and self.settings.prepack and tensor.data_type == _FLOAT
        least = 1 if packed else _THREAD_COLUMNS * self.threads
        return self._enough(Way(step, COLUMNS, size, operands, joined, least))

    def _conv(self, step: Step, node: Node, *, turned: bool = False) -> Way | str:
        found = self.attributes(node)
        if found.get("group", 1) != 1:
            return f"it has {found['group']} groups"
        if self._activation(found) not in _ELEMENTWISE:
            return f"its activation {self._activation(found)} is not known to work value by value"
        if len(node.inputs) > 3 and node.inputs[3]:
            return f"it adds {node.inputs[3]!r} to its result"
        dims = self.dims(node.inputs[1])
        if isinstance(dims, str):
            return dims
        axis = 1 if turned else 0
        operands = [Operand(1, node.inputs[1], axis)]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.dims(node.inputs[2])
            if isinstance(bias, str):
                return bias
            operands.append(Operand(2, node.inputs[2], 0))
        pixels = self._pixels(node.inputs[0] if turned else step.makes[0])
        if pixels is None:
            return (
                "the size of its picture is open, and decides how its sums are made: bind the open dimensions"
            )
        way = Way(step, CHANNELS, dims[axis], tuple(operands), 1)
        return self._enough(self._safe_rows(way, pixels, dims[0] if turned else prod(dims[1:])))

    def _pixels(self, name: str) -> int | None:
        spec = self.source.chain.tensors.get(name) or self.source.written.get(name)
        if spec is None or spec.shape is None:
            return None
        sizes = [size for size in spec.shape[2:] if isinstance(size, int)]
        return prod(sizes) if len(sizes) == len(spec.shape) - 2 else None

    def _safe_rows(self, way: Way, pixels: int, terms: int) -> Way | str:
        """Channels are the rows of a product with a column for every pixel."""
        threads = self.threads
        if pixels == 1:
            if threads > 1 and way.size % (_ROWS * threads):
                return (
                    f"{way.size} channels of one pixel do not spread evenly over {threads} threads: "
                    "run it with one thread"
                )
            unit = _ROWS * threads
            return replace(way, least=unit, unit=unit, strict=True)
        wide = threads == 1 or pixels >= _THREAD_COLUMNS * threads or terms <= _ONE_RUN
        least = _FEWEST_ROWS * threads if wide else max(_FEWEST_ROWS * threads, pixels)
        return replace(way, least=least)

    def _gather(self, step: Step, node: Node) -> Way | str:
        dims = self.dims(node.inputs[0])
        if isinstance(dims, str):
            return dims
        axis = self.attributes(node).get("axis", 0)
        if not dims or axis not in (0, -len(dims)):
            return f"it picks along axis {axis}, not along the first"
        tensor = self.source.file.initializers[self.source.weight_index[node.inputs[0]]]
        if tensor.data_type not in _SELECTABLE:
            return f"ONNX Runtime has no Where for the type of its weight {node.inputs[0]!r} on the CPU"
        ids = self.source.chain.tensors.get(node.inputs[1]) or self.source.written.get(node.inputs[1])
        if ids is None or ids.dtype not in ("int32", "int64") or ids.shape is None:
            return f"the type or rank of its indices {node.inputs[1]!r} is unknown"
        if self.opset < _WHERE:
            return f"operator set {self.opset} has no Where"
        return self._enough(Way(step, VOCABULARY, dims[0], (Operand(0, node.inputs[0], 0),)))

    def _enough(self, way: Way | str) -> Way | str:
        if isinstance(way, str) or way.most > 1:
            return way
        return f"{way.size} {way.words} are too few: a piece needs {max(way.least, 1)} to give the same bits"

    def _rank(self, name: str) -> int | None:
        spec = self.source.chain.tensors.get(name)
        return None if spec is None or spec.shape is None else len(spec.shape)

    @staticmethod
    def _activation(found: dict[str, Any]) -> str:
        value = found.get("activation", b"")
        return value.decode() if isinstance(value, bytes) else str(value)
