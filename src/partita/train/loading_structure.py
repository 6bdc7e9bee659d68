"""What a user's loader gives, as arrays by name, and the user's own structure around them again.

Rules: dictionaries, lists, tuples and named tuples are structure, everything else is an array or refused with a way out;
a name is the path to the array; what was taken apart can be put together around other arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from ..engine import Array
from ..engine.torch_values import dtype_of, to_numpy
from ..errors import BadDocument
from ..graph import DType

_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array, by the name under which it goes."""

    name: str

    def build(self, values: Mapping[str, Any]) -> Any:
        """The array itself."""
        return values[self.name]


@dataclass(frozen=True, slots=True)
class Named:
    """A dictionary."""

    items: tuple[tuple[Any, Structure], ...]

    def build(self, values: Mapping[str, Any]) -> Any:
        """A dictionary with the same keys."""
        return {key: item.build(values) for key, item in self.items}


@dataclass(frozen=True, slots=True)
class Ordered:
    """A list, a tuple or a named tuple."""

    kind: type
    items: tuple[Structure, ...]

    def build(self, values: Mapping[str, Any]) -> Any:
        """The same kind of sequence."""
        found = [item.build(values) for item in self.items]
        return self.kind(*found) if hasattr(self.kind, "_fields") else self.kind(found)


@dataclass(frozen=True, slots=True)
class Nothing:
    """None, where an optional target is not given."""

    def build(self, values: Mapping[str, Any]) -> None:
        """None."""


Structure = Leaf | Named | Ordered | Nothing


def is_leaf(value: Any) -> bool:
    """Whether something is one array, or stands for one."""
    if isinstance(value, Mapping):
        return False
    return not isinstance(value, list | tuple) or _of_numbers(value)


def walk(value: Any, name: str, apart: str = "/", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The leaves with their names."""
    if depth > _DEEPEST:
        raise BadDocument(
            "the data", [f"{name}: is nested deeper than {_DEEPEST}"], fix="give flat structures"
        )
    if value is None:
        return
    if is_leaf(value):
        yield name, value
        return
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from walk(item, f"{name}{apart}{key}" if name else str(key), apart, depth + 1)


def structure_of(value: Any, name: str) -> Structure:
    """How the leaves that `walk` names belong together."""
    if value is None:
        return Nothing()
    if is_leaf(value):
        return Leaf(name)
    if isinstance(value, Mapping):
        return Named(tuple((key, structure_of(item, f"{name}/{key}")) for key, item in value.items()))
    kind = type(value) if hasattr(type(value), "_fields") else tuple if isinstance(value, tuple) else list
    return Ordered(kind, tuple(structure_of(item, f"{name}/{at}") for at, item in enumerate(value)))


def as_array(name: str, value: Any) -> Array:
    """A leaf as an array; pictures, words and other things that are none are refused with what to do."""
    if isinstance(value, torch.Tensor):
        if dtype_of(value) is DType.UNKNOWN:
            raise _refused(name, f"is a {value.layout} tensor", "give a dense one: tensor.to_dense()")
        return to_numpy(value)
    if type(value).__module__.partition(".")[0] == "PIL":
        raise _refused(
            name,
            "is a picture of PIL, not numbers",
            "end the data set's transform with torchvision.transforms.ToTensor()",
        )
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as problem:
        raise _refused(name, f"is no array: {problem}", "give rows of one length, as a tensor") from None
    if found.dtype.kind in "US":
        raise _refused(name, "holds words, not numbers", "turn them into numbers in the loader's collate_fn")
    if str(found.dtype) not in {str(member) for member in DType}:
        raise _refused(
            name,
            f"is {type(value).__name__} of {found.dtype}, not numbers",
            "return tensors or arrays from the data set, or a collate_fn that makes some",
        )
    return found


def _of_numbers(value: Sequence[Any]) -> bool:
    """Whether a list is an array written down: its first element, however deep, is a number or a word."""
    found: Any = value
    while isinstance(found, list | tuple) and len(found):
        found = found[0]
    return isinstance(found, bool | int | float | complex | str | bytes | np.generic)


def _refused(name: str, problem: str, fix: str) -> BadDocument:
    return BadDocument("the data", [f"{name}: {problem}"], fix=fix)
