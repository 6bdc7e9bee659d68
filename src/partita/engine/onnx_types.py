"""What every name of a graph looks like: types from the file, from shape inference, from ONNX Runtime.

Rules: dimensions stay symbolic until they are bound; one that nobody can name gets a symbol of its own, made
from the tensor's name, the same in every capture; what stays unknown is left unknown, and no cut may cross it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import BadDocument, UnboundDimension
from ..graph import Dim, DType, TensorSpec, evaluate, symbols
from .onnx_tensor import DTYPES

ELEM_TYPES = {dtype: code for code, dtype in DTYPES.items()}


class Namer:
    """Symbols for dimensions without a name."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self.given: set[str] = set()

    def name(self, tensor: str, axis: int) -> str:
        """The symbol of one axis of one tensor."""
        symbol = re.sub(r"\W", "_", f"{tensor}_d{axis}", flags=re.ASCII)
        symbol = f"_{symbol}" if symbol[0].isdigit() else symbol
        while symbol in self._taken:
            symbol += "_"
        self._taken.add(symbol)
        self.given.add(symbol)
        return symbol


def typed(proto: Any, dims: Mapping[str, int]) -> tuple[dict[str, TensorSpec], Namer]:
    """Everything that can be known without running the model."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    namer = Namer(_open_dims(values))
    _name_inputs(model, namer)
    _bind(values, dims, namer)
    inferred = _inferred(model).graph
    known: dict[str, TensorSpec] = {}
    for value in (*inferred.value_info, *inferred.output, *inferred.input):
        known[value.name] = spec_of(value.name, value.type, namer)
    for tensor in proto.graph.initializer:
        known[tensor.name] = TensorSpec(tensor.name, _dtype(tensor.data_type), tuple(tensor.dims))
    for sparse in proto.graph.sparse_initializer:
        name = sparse.values.name
        known[name] = TensorSpec(name, _dtype(sparse.values.data_type), tuple(sparse.dims))
    return known, namer


def _inferred(model: Any) -> Any:
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    except Exception:
        # Inference is help, not law: an operator it does not know must not stop us.
        return model


def _shapes(values: Iterable[Any]) -> Iterable[tuple[str, int, Any]]:
    for value in values:
        if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.HasField("shape"):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                yield value.name, axis, dim


def _open_dims(values: Iterable[Any]) -> set[str]:
    return {dim.dim_param for _, _, dim in _shapes(values) if dim.dim_param}


def _name_inputs(model: Any, namer: Namer) -> None:
    """Give unnamed dimensions of inputs a symbol, so that inference can carry it on."""
    for name, axis, dim in _shapes(model.graph.input):
        if not dim.dim_param and (not dim.HasField("dim_value") or dim.dim_value < 0):
            dim.dim_param = namer.name(name, axis)


def _bind(values: list[Any], dims: Mapping[str, int], namer: Namer) -> None:
    known = set().union(namer.given, *map(symbols, _open_dims(values)))
    problems = [f"{name!r} is no open dimension" for name in dims if name not in known]
    problems += [f"{name!r} must be at least 0, not {size}" for name, size in dims.items() if size < 0]
    if problems:
        has = ", ".join(sorted(known)) or "none"
        raise BadDocument("dims", problems, fix=f"the open dimensions of this model are: {has}")
    if not dims:
        return
    for _, _, dim in _shapes(values):
        if dim.dim_param:
            try:
                dim.dim_value = evaluate(dim.dim_param, dims)
            except UnboundDimension:
                continue


def spec_of(name: str, kind: Any, namer: Namer) -> TensorSpec:
    """A TypeProto as we describe it."""
    match kind.WhichOneof("value"):
        case "tensor_type":
            tensor = kind.tensor_type
            if not tensor.HasField("shape"):
                return TensorSpec(name, _dtype(tensor.elem_type), None)
            shape = tuple(_dim(name, axis, dim, namer) for axis, dim in enumerate(tensor.shape.dim))
            return TensorSpec(name, _dtype(tensor.elem_type), shape)
        case "sequence_type":
            return TensorSpec(name, DType.SEQUENCE, None)
        case "optional_type":
            return TensorSpec(name, DType.OPTIONAL, None)
        case _:
            return TensorSpec(name, DType.UNKNOWN, None)


def _dtype(code: int) -> DType:
    return DTYPES.get(code, DType.UNKNOWN)


def _dim(name: str, axis: int, dim: Any, namer: Namer) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param) or namer.name(name, axis)


def unsized(spec: TensorSpec) -> TensorSpec:
    """The rank alone: what a file must state of every input and output, and may where the rest was only observed."""
    return TensorSpec(spec.name, spec.dtype, None if spec.shape is None else ("",) * len(spec.shape))


def type_proto(spec: TensorSpec, own: frozenset[str]) -> Any:
    """A description as a TypeProto. Our own symbols stay out of files: two of them may be the same number."""
    import onnx

    kind = onnx.TypeProto()
    kind.tensor_type.elem_type = ELEM_TYPES[spec.dtype]
    if spec.shape is not None:
        kind.tensor_type.shape.SetInParent()
        for size in spec.shape:
            dim = kind.tensor_type.shape.dim.add()
            if isinstance(size, int):
                dim.dim_value = size
            elif size and size not in own:
                dim.dim_param = size
    return kind
