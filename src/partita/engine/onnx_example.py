"""Inputs for a model: the user's own, or made up.

Rules: the user's own are repeated row by row for another batch size, because only they are sure to be legal; the
same seed gives the same values; an integer is 0 or 1, which every mask, table and index takes; one that
says how large something is (the shape of a Reshape) is 1; a size that nobody bound is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from ..errors import BadDocument, PartFailed, UnboundDimension
from ..graph import Chain, DType, TensorSpec, evaluate, symbols
from .base import Array, Values
from .onnx_graph import Graph
from .onnx_values import numpy_dtype

# Long enough that positions differ, short enough for any table of positions.
_OPEN_SIZE = 8
# A size that a file makes up must not fill the memory: a billion values are beyond any real input.
_LARGEST_INPUT = 1 << 30
# Which input of which operator is a size, not a value.
_SIZES = {
    ("Reshape", 1),
    ("Expand", 1),
    ("ConstantOfShape", 0),
    ("Tile", 1),
    ("Loop", 0),
    ("TopK", 1),
    ("Resize", 3),
    ("Range", 1),
    ("Range", 2),
}


def batch_symbol(chain: Chain) -> str | None:
    """The open dimension that is the batch: the first one of the first input that has one in front."""
    for name in chain.inputs:
        shape = chain.tensors[name].shape
        if shape and isinstance(shape[0], str):
            return shape[0]
    return None


def bindings(chain: Chain, batch: int | None, dims: Mapping[str, int]) -> dict[str, int]:
    """A size for every open dimension of the inputs."""
    given = [chain.tensors[name] for name in chain.inputs]
    open_dims = sorted({s for spec in given for s in spec.symbols})
    bound = dict.fromkeys(open_dims, _OPEN_SIZE) | dict(dims)
    symbol = batch_symbol(chain)
    if symbol is not None:
        names = symbols(symbol) or {symbol}
        bound.update(dict.fromkeys(names - dims.keys(), 1 if batch is None else batch))
    elif batch is not None:
        _check_fixed(given, batch)
    return bound


def _check_fixed(given: Iterable[TensorSpec], batch: int) -> None:
    for spec in given:
        if spec.shape and spec.shape[0] != batch:
            raise UnboundDimension(
                f"the first dimension of {spec.name!r} is fixed at {spec.shape[0]}, not {batch}",
                fix="export the model with an open batch dimension, or use its own batch size",
            )


def checked(chain: Chain, given: Mapping[str, Array]) -> Values:
    """The user's own inputs, all of them and no others."""
    found = [f"{name!r} is missing" for name in chain.inputs if name not in given]
    found += [f"{name!r} is not an input" for name in given if name not in chain.inputs]
    for name in chain.inputs:
        spec, value = chain.tensors[name], given.get(name)
        if value is None:
            continue
        if spec.shape is not None and len(spec.shape) != np.ndim(value):
            found.append(f"{name!r} has {len(spec.shape)} dimensions, not {np.ndim(value)}")
        elif spec.dtype.travels and np.asarray(value).dtype != numpy_dtype(spec.dtype):
            found.append(f"{name!r} is {spec.dtype}, not {np.asarray(value).dtype}")
    if found:
        raise BadDocument("example", found, fix=f"give an array for each of: {', '.join(chain.inputs)}")
    return {name: np.asarray(given[name]) for name in chain.inputs}


def repeated(chain: Chain, given: Mapping[str, Array], batch: int | None) -> Values:
    """The user's own inputs, their rows repeated or left out to make another batch."""
    symbol = batch_symbol(chain)
    if batch is None:
        return dict(given)
    if symbol is None:
        _check_fixed([chain.tensors[name] for name in chain.inputs], batch)
        return dict(given)
    made: Values = {}
    for name, value in given.items():
        made[name] = value
        for axis, size in enumerate(chain.tensors[name].shape or ()):
            if size == symbol:
                made[name] = np.take(made[name], np.arange(batch) % value.shape[axis], axis)
    return made


def made_up(chain: Chain, graph: Graph, bound: Mapping[str, int], seed: int) -> Values:
    """One value for every input."""
    generator = np.random.default_rng(seed)
    sizes = {
        node.inputs[index]
        for node in graph.nodes
        for op, index in _SIZES
        if node.op == op and index < len(node.inputs)
    }
    return {
        name: _value(chain.tensors[name], bound, generator, is_size=name in sizes) for name in chain.inputs
    }


def _value(
    spec: TensorSpec, bound: Mapping[str, int], generator: np.random.Generator, *, is_size: bool
) -> Array:
    if spec.shape is None or not (spec.dtype.travels or spec.dtype is DType.STRING):
        what = spec.dtype if not spec.dtype.travels else "tensor of unknown rank"
        raise PartFailed(
            f"no example can be made for input {spec.name!r}: it is a {what}",
            fix="give the values yourself, or export the model with typed inputs",
        )
    shape = tuple(evaluate(size, bound) for size in spec.shape)
    if prod(shape) > _LARGEST_INPUT:
        raise PartFailed(
            f"no example is made for input {spec.name!r}: {list(shape)} are {prod(shape)} values",
            fix="bind its open dimensions to smaller sizes, or give the values yourself",
        )
    dtype = numpy_dtype(spec.dtype)
    if spec.dtype is DType.STRING:
        return np.full(shape, "a", dtype)
    if spec.dtype is DType.BOOL:
        return generator.integers(0, 2, shape).astype(dtype)
    if spec.dtype.is_float or "float" in spec.dtype or "complex" in spec.dtype:
        return generator.standard_normal(shape).astype(dtype)
    return np.ones(shape, dtype) if is_size else generator.integers(0, 2, shape).astype(dtype)
