"""The inputs of a cut model: whether values are that, and values made up where nobody has any.

Rules: everything wrong is said at once, before anything runs; one open dimension has one size; the same seed makes
the same values, and integers are 0 or 1, which every mask, table and index takes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..engine import Array, Values
from ..engine.onnx_values import numpy_dtype
from ..errors import BadDocument
from ..graph import DType, TensorSpec, evaluate
from .manifest import Manifest
from .payload import type_of

# For an open dimension that neither the plan nor the batch gives a size.
_OPEN_SIZE = 8


def check_inputs(manifest: Manifest, values: Mapping[str, Array]) -> None:
    """Refuse values that are not exactly the model's inputs."""
    found = [f"{name!r} is missing" for name in manifest.inputs if name not in values]
    found += [f"{name!r} is not an input" for name in values if name not in manifest.inputs]
    bound: dict[str, tuple[int, str]] = {}
    for name in manifest.inputs:
        if name in values:
            found += _mismatch(manifest.tensors[name], values[name], bound)
    if found:
        raise BadDocument(
            f"inputs of {manifest.plan.model}",
            found,
            fix=f"give exactly these, as numpy arrays: {', '.join(map(repr, manifest.inputs)) or 'nothing'}",
        )


def _mismatch(spec: TensorSpec, value: object, bound: dict[str, tuple[int, str]]) -> list[str]:
    if not isinstance(value, np.ndarray):
        return [f"{spec.name!r} must be a numpy array, not {type(value).__name__}"]
    found = []
    if spec.dtype is not DType.UNKNOWN and type_of(value) is not spec.dtype:
        found.append(f"{spec.name!r} must be {spec.dtype}, not {value.dtype}")
    elif value.dtype.byteorder == ">":
        found.append(f"{spec.name!r} must be in this machine's byte order, not {value.dtype}")
    if spec.shape is None:
        return found
    wanted = "[" + ", ".join(map(str, spec.shape)) + "]"
    if len(spec.shape) != value.ndim or any(
        isinstance(size, int) and size != given for size, given in zip(spec.shape, value.shape, strict=True)
    ):
        return [*found, f"{spec.name!r} must have the shape {wanted}, not {list(value.shape)}"]
    for size, given in zip(spec.shape, value.shape, strict=True):
        # A product such as 2*batch is left to the runtime: only a name by itself can be compared.
        if isinstance(size, str) and size.isidentifier():
            before, where = bound.setdefault(size, (given, spec.name))
            if before != given:
                found.append(f"{size} is {before} in {where!r} and {given} in {spec.name!r}")
    return found


def made_inputs(manifest: Manifest, seed: int = 0) -> Values:
    """Inputs of the right types and sizes, at the plan's batch."""
    generator = np.random.default_rng(seed)
    specs = [manifest.tensors[name] for name in manifest.inputs]
    first = next((spec.shape[0] for spec in specs if spec.shape), None)
    bound = {symbol: _OPEN_SIZE for spec in specs for symbol in sorted(spec.symbols)}
    if isinstance(first, str) and first.isidentifier():
        bound[first] = manifest.plan.batch
    bound.update(manifest.plan.dims)
    return {spec.name: _made(spec, bound, generator) for spec in specs}


def _made(spec: TensorSpec, bound: Mapping[str, int], generator: np.random.Generator) -> Array:
    if spec.shape is None or not (spec.dtype.travels or spec.dtype is DType.STRING):
        raise BadDocument(
            "inputs",
            [f"nothing can be made up for {spec.name!r}, a {spec.dtype}"],
            fix="give the values yourself",
        )
    shape = tuple(evaluate(size, bound) for size in spec.shape)
    dtype = numpy_dtype(spec.dtype)
    if spec.dtype is DType.STRING:
        return np.full(shape, "a", dtype)
    if "float" in spec.dtype or "complex" in spec.dtype:
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
