"""Whether the arguments of an operator are what its schema says, and small enough.

Rules: a graph is checked when it arrives, where its arguments are written out, and once more when an operator runs,
where they come from shapes; sizes are judged before the operator allocates anything. What an operator needs inside
itself, and how much many small values add up to, is beyond this: a process that runs graphs of strangers lives
under a limit of memory that its operating system holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import fx

# What stands for `to the end` in slices.
_END: Final = (1 << 63) - 1
# Paddings, kernels, strides: nobody's are larger, and kernels are known to add them up without looking.
_WIDEST: Final = 1 << 20
_STEPS: Final = frozenset(
    ["padding", "pad", "kernel_size", "stride", "dilation", "output_padding", "groups", "num_groups"]
)
# Numbers that are divided by; not every kernel asks whether they are zero.
_POSITIVE: Final = _STEPS - {"padding", "pad", "output_padding"} | {
    "upscale_factor",
    "downscale_factor",
    "chunks",
    "sections",
    "split_size",
}
_LARGEST_SCALE: Final = 4096.0
# Arguments whose numbers are values, not sizes.
_VALUES: Final = frozenset(
    [
        "low",
        "high",
        "start",
        "end",
        "length",
        "ignore_index",
        "padding_idx",
        "diagonal",
        "offset",
        "shifts",
        "index",
    ]
)
_LONGEST_TEXT: Final = 256
_LONGEST_LIST: Final = 1 << 16
_KIND: Final = re.compile(r"(Optional|List)\[(.*)\]\Z")

Given = Mapping[str, Any]


def named(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments by name, and what is wrong with their number or names."""
    schema = target._schema.arguments
    places = [a for a in schema if not a.kwarg_only]
    if len(args) > len(places):
        return {}, f"takes {len(places)} arguments by place, not {len(args)}"
    given = {a.name: value for a, value in zip(places, args, strict=False)}
    known = {a.name for a in schema}
    for name, value in kwargs.items():
        if name not in known:
            return {}, f"has no argument {name[:40]!r}"
        if name in given:
            return {}, f"is given {name!r} twice"
        given[name] = value
    missing = [a.name for a in schema if a.name not in given and not a.has_default_value()]
    return given, f"needs {', '.join(missing)}" if missing else ""


def misfit(target: Any, given: Given) -> str:
    """The first argument whose value is not of its type; empty where all fit."""
    for argument in target._schema.arguments:
        if argument.name in given and not _fits(str(argument.real_type), given[argument.name]):
            return f"{argument.name} is no {argument.real_type}"
    if given.get("pin_memory"):
        return "pin_memory is asked for, which is the host's to decide"
    if given.get("dtype") is torch.bool and _is(target, "view"):
        return "bytes that are neither 0 nor 1 would become truth values"
    return ""


def _fits(kind: str, value: Any) -> bool:
    nested = _KIND.match(kind)
    if nested is not None:
        outer, inner = nested.groups()
        if outer == "Optional":
            return value is None or _fits(inner, value)
        if isinstance(value, (list, tuple)):
            return len(value) <= _LONGEST_LIST and all(_fits(inner, item) for item in value)
        # A list of numbers may be one number; a list of tensors is a list, or the result of an operator that gives one.
        return isinstance(value, fx.Node) or (inner in ("int", "float", "bool") and _fits(inner, value))
    if kind == "str":
        return isinstance(value, str) and len(value) <= _LONGEST_TEXT
    accepted = _ACCEPTED.get(kind)
    return accepted is not None and isinstance(value, accepted)


_ACCEPTED: Final[dict[str, tuple[type, ...]]] = {
    "Tensor": (fx.Node, torch.Tensor, bool, int, float, complex),
    "int": (fx.Node, bool, int),
    "float": (fx.Node, bool, int, float),
    "bool": (fx.Node, bool, int),
    "number": (fx.Node, bool, int, float, complex),
    "complex": (fx.Node, bool, int, float, complex),
    "ScalarType": (torch.dtype,),
    "Layout": (torch.layout,),
    "Device": (torch.device,),
    "MemoryFormat": (torch.memory_format,),
}


def too_large(target: Any, given: Given, most: int) -> str:
    """What is written out and asks for more than `most` bytes, or is no number to compute with; else empty."""
    if _is(target, "_assert_tensor_metadata"):
        return ""  # compares its numbers and makes nothing of them
    makes = not any(isinstance(value, (fx.Node, torch.Tensor)) for value in _leaves(given))
    total = 1
    for argument in target._schema.arguments:
        name, value = argument.name, given.get(argument.name)
        numbers = list(_numbers(value))
        if problem := _unusable(name, numbers):
            return problem
        if name in _VALUES or "int" not in str(argument.real_type):
            continue
        asked = math.prod(max(1, abs(n)) for n in numbers)
        if asked > most and asked != _END:
            return f"{name} asks for {asked} elements, where {most} bytes are allowed"
        total *= asked
    if not makes:
        return ""
    if _is(target, "arange"):
        total = _progression(given)
    elif _is(target, "eye") and "m" not in given:
        total *= total
    wanted = total * _width(given)
    return f"asks for {wanted} bytes, where {most} are allowed" if wanted > most else ""


def _unusable(name: str, numbers: Sequence[float]) -> str:
    if name in _STEPS and any(abs(n) > _WIDEST for n in numbers):
        return f"{name} is beyond {_WIDEST}"
    if name in _POSITIVE and any(n < 1 for n in numbers):
        return f"{name} is below 1"
    if name.startswith("scale_factor") and not all(abs(n) <= _LARGEST_SCALE for n in numbers):
        return f"{name} is beyond {_LARGEST_SCALE:g}"
    return ""


def _progression(given: Given) -> int:
    """How many numbers `arange` gives."""
    start, end, step = given.get("start", 0), given.get("end", 0), given.get("step", 1)
    numbers = [n for n in (start, end, step) if isinstance(n, (int, float)) and math.isfinite(n)]
    if len(numbers) < 3 or not step:
        return 1
    return int(min(abs(end - start) / abs(step), float(_END))) + 1


_PRODUCTS: Final = ("matmul", "mm", "bmm", "outer", "linear")
_GROWING: Final = frozenset(
    [
        "repeat",
        "tile",
        "repeat_interleave",
        "expand",
        "broadcast_to",
        "one_hot",
        "pad",
        "constant_pad_nd",
        *_PRODUCTS,
    ]
)


def may_grow(target: Any) -> bool:
    """Whether the result can be larger than what goes in together, in a way that `grown` knows."""
    name = target._schema.name.removeprefix("aten::")
    return name in _GROWING or "upsample" in name or "_pad" in name or torch.Tag.pointwise in target.tags


def grown(target: Any, given: Given, most: int) -> str:
    """What a result would weigh that is too large; empty where it is not. For tensors that are there."""
    tensors = [value for value in _leaves(given) if isinstance(value, torch.Tensor)]
    if not tensors:
        return ""
    elements = _elements(target, given, tensors)
    wanted = elements * max(t.element_size() for t in tensors)
    return f"would give {wanted} bytes, where {most} are allowed" if wanted > most else ""


def _elements(target: Any, given: Given, tensors: Sequence[torch.Tensor]) -> int:
    first, name = tensors[0], target._schema.name.removeprefix("aten::")
    if name in ("repeat", "tile"):
        times = _numbers(given.get("repeats", given.get("dims")))
        return first.numel() * int(math.prod(max(1, n) for n in times))
    if name == "repeat_interleave":
        return first.numel() * int(max([1, *_numbers(given.get("repeats"))]))
    if name in ("expand", "broadcast_to"):
        sizes = [int(n) for n in _numbers(given.get("size"))]
        kept = [1] * (len(sizes) - first.ndim) + list(first.shape)
        return math.prod(max(n, own) for n, own in zip(sizes, kept, strict=False))
    if name == "one_hot":
        return first.numel() * int(max([1, *_numbers(given.get("num_classes"))]))
    if "pad" in name:
        return _padded(first.shape, list(_numbers(given.get("pad", given.get("padding")))))
    if "upsample" in name:
        return _resized(first.shape, given)
    if len(tensors) == 1:
        return 0
    if torch.Tag.pointwise in target.tags:
        return _broadcast([t.shape for t in tensors])
    return _product(first.shape, tensors[1].shape, name) if name in _PRODUCTS else 0


def _padded(shape: Sequence[int], pads: Sequence[Any]) -> int:
    sizes = list(shape)
    for i, pad in enumerate(pads):
        axis = len(sizes) - 1 - i // 2
        if axis >= 0:
            sizes[axis] = max(0, sizes[axis] + int(pad))
    return math.prod(sizes)


def _resized(shape: Sequence[int], given: Given) -> int:
    planes = math.prod(shape[:2])
    sizes = list(_numbers(given.get("output_size")))
    if sizes:
        return planes * math.prod(int(n) for n in sizes)
    scales = [n for name in given if name.startswith("scale") for n in _numbers(given[name])]
    return int(math.prod(shape) * math.prod(abs(n) for n in scales))


def _broadcast(shapes: Sequence[Sequence[int]]) -> int:
    rank = max(map(len, shapes))
    rows = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return math.prod(max(column) for column in zip(*rows, strict=True))


def _product(left: Sequence[int], right: Sequence[int], name: str) -> int:
    if name == "outer" or not left or not right:
        return math.prod(left) * math.prod(right)
    if name == "linear":
        return math.prod(left[:-1]) * (right[0] if len(right) > 1 else 1)
    rows = left[-2] if len(left) > 1 else 1
    return _broadcast([left[:-2] or (1,), right[:-2] or (1,)]) * rows * (right[-1] if len(right) > 1 else 1)


def _width(given: Given) -> int:
    dtype = given.get("dtype")
    return int(dtype.itemsize) if isinstance(dtype, torch.dtype) else 8


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers in an argument."""
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            yield item


def _leaves(given: Given) -> Iterator[Any]:
    for value in given.values():
        yield from value if isinstance(value, (list, tuple)) else (value,)


def _is(target: Any, *names: str) -> bool:
    return target._schema.name.removeprefix("aten::") in names
