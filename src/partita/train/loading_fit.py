"""A batch as the user's loader gives it, as the inputs and targets of one model.

    (inputs, targets)          inputs: a tensor, or several in a tuple or dictionary
    (x1, x2, ..., y)           as many inputs as the model has, then what is left
    {"input_ids": ..., "labels": ...}

Rules: inputs go by name where the loader names them, else by order; floats become the model's floats, whole numbers
whole numbers of its width if they fit, and nothing else is converted; labels become int64, float64 targets float32; what
does not fit is told with all inputs of both sides, before torch sees anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..engine import Array, Values
from ..errors import BadDocument, UnboundDimension
from ..graph import DType, TensorSpec, evaluate, print_tensor, symbols
from .loading_structure import Structure, as_array, is_leaf, structure_of, walk
from .losses import LABEL

LABEL_KEYS: Final = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True, slots=True)
class Fitted:
    """One batch: arrays by name, how the targets belong together, and the number of samples if the inputs tell it."""

    inputs: Values
    targets: Values
    structure: Structure
    size: int | None


def fit(raw: Any, specs: Sequence[TensorSpec], where: str) -> Fitted:
    """The batch as this model takes it; `where` is what an error calls it."""
    given, wanted = divided(raw, len(specs), [spec.name for spec in specs], where)
    named = _assigned(given, specs, where)
    problems: list[str] = []
    inputs: Values = {}
    for spec in specs:
        inputs[spec.name], problem = _converted(as_array(spec.name, named[spec.name]), spec.dtype)
        problems += [f"{spec.name}: {problem}"] if problem else []
    size = None
    if not problems:
        size = _check_shapes(specs, inputs, problems)
    if problems:
        takes = ", ".join(map(print_tensor, specs))
        raise BadDocument(
            where, problems, fix=f"the model takes {takes}; drop_last=True leaves a smaller last batch out"
        )
    targets = {name: _target(as_array(name, leaf)) for name, leaf in walk(wanted, LABEL)}
    return Fitted(inputs, targets, structure_of(wanted, LABEL), size)


def divided(raw: Any, inputs: int | None, names: Sequence[str], where: str) -> tuple[Any, Any]:
    """Inputs and targets of a batch; `inputs` is how many the model has, None where nobody knows yet."""
    if isinstance(raw, Mapping):
        key = next((key for key in LABEL_KEYS if key in raw), None)
        if key is not None:
            return {k: v for k, v in raw.items() if k != key or k in names}, raw[key]
        others = {k: v for k, v in raw.items() if k not in names}
        if others and names:
            return {k: v for k, v in raw.items() if k in names}, others
        raise _no_targets(where, f"a dictionary of {', '.join(map(repr, raw))}")
    # Rows of numbers written as lists are arrays, but a batch of two such lists is a batch.
    if not isinstance(raw, list | tuple) or (raw and isinstance(raw[0], bool | int | float | str)):
        raise _no_targets(where, f"one {type(raw).__name__}")
    if len(raw) < 2:
        raise _no_targets(where, f"{len(raw)} value")
    if len(raw) == 2 or not is_leaf(raw[0]):
        return raw[0], raw[1] if len(raw) == 2 else tuple(raw[1:])
    first = len(raw) - 1 if inputs is None else inputs
    if len(raw) <= first:
        raise _no_targets(where, f"{len(raw)} values for {first} inputs")
    left = tuple(raw[first:])
    return tuple(raw[:first]), left[0] if len(left) == 1 else left


def _no_targets(where: str, seen: str) -> BadDocument:
    return BadDocument(
        where,
        [f"is {seen}, without targets"],
        fix="give (inputs, targets), or a dictionary with labels; of unlabelled data, (inputs, inputs)",
    )


def _assigned(given: Any, specs: Sequence[TensorSpec], where: str) -> dict[str, Any]:
    """The leaves by the names of the model's inputs."""
    leaves = dict(walk(given, "", "."))
    if isinstance(given, Mapping):
        found = {spec.name: _named(leaves, spec.name) for spec in specs}
        if any(key is None for key in found.values()) and len(leaves) == len(specs) == 1:
            return {specs[0].name: next(iter(leaves.values()))}
        missing = [f"there is no {name!r}" for name, key in found.items() if key is None]
        if not missing:
            return {name: leaves[key] for name, key in found.items() if key is not None}
    else:
        missing = [f"{len(leaves)} inputs for the {len(specs)} of the model"]
        if len(leaves) == len(specs):
            return {spec.name: leaf for spec, leaf in zip(specs, leaves.values(), strict=True)}
    there = ", ".join(name or "one input" for name in leaves) or "nothing"
    raise BadDocument(
        where,
        missing,
        fix=f"the data gives {there}; the model takes {', '.join(map(print_tensor, specs))}",
    )


def _named(leaves: Mapping[str, Any], name: str) -> str | None:
    """The leaf of that name; where a model takes the dictionary itself, its argument's name stands before the key."""
    return name if name in leaves else next((key for key in leaves if name.endswith(f".{key}")), None)


def _converted(array: Array, wanted: DType) -> tuple[Array, str]:
    """The array in the model's element type, and why that cannot be."""
    dtype = DType(str(array.dtype))
    if dtype is wanted:
        return np.ascontiguousarray(array), ""
    target = np.dtype(str(wanted))
    if wanted.is_float:
        if dtype is DType.UINT8:
            return array, f"is uint8, and the model takes {wanted}: divide pixels by 255, or use ToTensor()"
        if dtype.is_float or array.dtype.kind in "iub":
            with np.errstate(over="ignore"):
                return array.astype(target), ""
    elif target.kind in "iub" and array.dtype.kind in "iub":
        made = array.astype(target)
        if np.array_equal(made.astype(array.dtype), array) and (
            not array.size or (array.min() < 0) == (made.min() < 0)
        ):
            return made, ""
        return array, f"holds {array.min()} to {array.max()}, beyond {wanted}"
    return array, f"is {dtype}, and the model takes {wanted}"


def _check_shapes(specs: Sequence[TensorSpec], inputs: Values, problems: list[str]) -> int | None:
    """The number of samples, if an open first dimension tells it."""
    bind: dict[str, int] = {}
    size: int | None = None
    for spec in specs:
        shape, array = spec.shape or (), inputs[spec.name]
        good = len(shape) == array.ndim
        for dim, found in zip(shape, array.shape, strict=False):
            if isinstance(dim, str) and symbols(dim) == {dim}:
                good &= bind.setdefault(dim, found) == found
            elif isinstance(dim, int) or symbols(dim) <= bind.keys():
                try:
                    good &= evaluate(dim, bind) == found
                except UnboundDimension:
                    good = False
        if not good:
            told = f", where {', '.join(f'{k} is {v}' for k, v in bind.items())}" if bind else ""
            problems.append(
                f"{spec.name}: is {list(array.shape)}, and the model takes {print_tensor(spec)}{told}"
            )
        elif size is None and shape and isinstance(shape[0], str):
            size = array.shape[0]
    # Where time comes first, the samples are not along the first axis.
    return bind.get("batch", size)


def _target(array: Array) -> Array:
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype == np.float64 else np.ascontiguousarray(array)
