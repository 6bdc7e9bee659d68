"""Whether the values given to a part are the ones it takes: names, element types, shapes.

Rule: every problem is listed at once, in the user's words, before torch sees anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import BadDocument
from ..graph import TensorSpec, evaluate, print_tensor, symbols

# What a value looks like: its element type by name, and its shape.
Look = Callable[[Any], tuple[str, tuple[int, ...]]]


def check_values(what: str, specs: Sequence[TensorSpec], values: Mapping[str, Any], look: Look) -> None:
    """Refuse values that do not fit their descriptions."""
    problems = [f"{spec.name!r} is missing" for spec in specs if spec.name not in values]
    bind: dict[str, int] = {}
    for spec in specs:
        if spec.name in values:
            problems += _check_one(spec, *look(values[spec.name]), bind)
    known = {spec.name for spec in specs}
    problems += [f"{name!r} is not read here" for name in values if name not in known]
    if problems:
        takes = ", ".join(print_tensor(spec) for spec in specs) or "nothing"
        raise BadDocument(what, problems, fix=f"it takes {takes}")


def _check_one(spec: TensorSpec, dtype: str, shape: tuple[int, ...], bind: dict[str, int]) -> Iterable[str]:
    if dtype != spec.dtype:
        yield f"{spec.name!r} is {dtype}, not {spec.dtype}"
    wanted = spec.shape or ()
    if len(shape) != len(wanted):
        yield f"{spec.name!r} has {len(shape)} dimensions, not {len(wanted)}"
        return
    for axis, (size, dim) in enumerate(zip(shape, wanted, strict=True)):
        if isinstance(dim, str) and dim.isidentifier():
            expected = bind.setdefault(dim, size)
        elif isinstance(dim, str) and not symbols(dim) <= bind.keys():
            continue  # a formula over sizes that no input tells: torch will see
        else:
            expected = evaluate(dim, bind)
        if size != expected:
            yield f"{spec.name!r} has {size} along axis {axis}, not {dim}" + (
                f" = {expected}" if isinstance(dim, str) else ""
            )
