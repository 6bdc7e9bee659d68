"""Inputs of the right types and shapes for any batch size, made after the example the user gave.

Rule: numbers are drawn from a seeded generator; integers and masks are rows of the user's own example, because
only those are sure to be legal tokens, indices and masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UnboundDimension
from ..graph import TensorSpec, evaluate
from .base import Array, Values
from .torch_export import batch_of
from .torch_shapes import sources
from .torch_signature import Signature
from .torch_values import to_numpy


def make_up(
    example: Signature, specs: Sequence[TensorSpec], batch: int | None, seed: int, symbol: str
) -> Values:
    """The example itself where the batch size is its own, else inputs in its likeness. `symbol` is the batch's."""
    own = {name: to_numpy(tensor).copy() for name, tensor in example.tensors.items()}
    sizes = {
        name: (own[source.tensor].shape[source.axis] - source.offset) // source.scale
        for name, source in sources(specs).items()
    }
    present = sizes[symbol] if symbol in sizes else batch_of(example)
    if batch is None or batch == present:
        return own
    if symbol not in sizes:
        raise UnboundDimension(
            f"the model was captured for a batch of {present} only, not {batch}",
            fix=f"use a batch of {present}, or capture the model with inputs of that size",
        )
    sizes[symbol] = batch
    random = np.random.default_rng(seed)
    return {
        s.name: _like(own[s.name], tuple(evaluate(d, sizes) for d in s.shape or ()), random) for s in specs
    }


def _like(array: Array, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float")):
        wide = array.astype(np.float64)
        drawn = random.standard_normal(shape) * (wide.std() or 1.0) + wide.mean()
        made: Array = drawn.astype(array.dtype)
        return made
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            array = np.take(array, random.integers(0, array.shape[axis], size), axis)
    return array.copy()
