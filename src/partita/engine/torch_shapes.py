"""Shapes that depend on the inputs, as formulas over named symbols such as `2*batch`.

Rules: names do not depend on how torch numbers its symbols, so that two captures of one model agree; a formula
that the graph's grammar cannot say stays a name by itself, and its size is asked for, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sympy  # type: ignore[import-untyped]  # comes with torch, without types
import torch

from ..graph import Dim, TensorSpec, evaluate, symbols
from .torch_values import dtype_of


@dataclass(slots=True)
class Symbols:
    """The open dimensions of one capture, by the names the user or we give them."""

    batch: str = "batch"

    names: dict[sympy.Symbol, str] = field(default_factory=dict)

    def bind(self, symbol: sympy.Symbol, name: str) -> None:
        """Call a symbol by a name, unless it has one; a name that is taken gets a number."""
        if symbol in self.names:
            return
        taken = set(self.names.values())
        candidates = (name if i == 1 else f"{name}_{i}" for i in range(1, len(taken) + 2))
        self.names[symbol] = next(c for c in candidates if c not in taken)

    def formula(self, size: Any) -> Dim:
        """A size as a number or as text."""
        if isinstance(size, int):
            return size
        expression = sympy.sympify(size.node.expr)
        if expression.is_Integer:
            return int(expression)
        for symbol in sorted(expression.free_symbols, key=str):
            self.bind(symbol, "count")  # sizes that only the data knows: the number of non-zeros and the like
        named = expression.xreplace({s: sympy.Symbol(n, integer=True) for s, n in self.names.items()})
        return _print(named)

    def spec(self, name: str, value: Any) -> TensorSpec:
        """The tensor behind a fake value; a Python number is a scalar tensor."""
        tensor = value if isinstance(value, torch.Tensor) else scalar(value)
        return TensorSpec(name, dtype_of(tensor), tuple(self.formula(size) for size in tensor.shape))


def scalar(value: Any) -> torch.Tensor:
    """How a Python number travels: a tensor without dimensions."""
    kinds = {torch.SymInt: torch.int64, torch.SymFloat: torch.float64, torch.SymBool: torch.bool}
    return torch.empty((), dtype=kinds[type(value)], device="meta")


def _print(expression: Any) -> str:
    """The formula in the graph's own grammar, which has no negative numbers: those are subtracted."""
    if expression.is_Symbol:
        return str(expression)
    if expression.is_Add:
        return _sum(expression.args)
    if expression.is_Integer or expression.is_Mul:
        if expression.as_coeff_Mul()[0] < 0:
            return f"0 - {_tight(_print(-expression))}"
        return "*".join(_tight(_print(a)) for a in expression.args) if expression.is_Mul else str(expression)
    parts = [_print(arg) for arg in expression.args]
    match type(expression).__name__:
        case "Pow" if expression.exp.is_Integer and expression.exp > 0:
            return "*".join([_tight(parts[0])] * int(expression.exp))
        case "FloorDiv" | "CleanDiv":
            return f"{_tight(parts[0])}//{_tight(parts[1])}"
        case "Mod" | "PythonMod":
            return f"{_tight(parts[0])}%{_tight(parts[1])}"
        case "Max" | "Min" as name:
            return f"{name.lower()}({', '.join(sorted(parts))})"
        case _:
            return str(expression)


def _sum(terms: Iterable[Any]) -> str:
    """Symbols before numbers, as people write; what is negative comes after what it is taken from."""
    added: list[str] = []
    taken: list[str] = []
    for term in terms:
        negative = term.as_coeff_Mul()[0] < 0
        (taken if negative else added).append(_tight(_print(-term if negative else term)))
    ordered = (sorted(group, key=lambda part: (part.isdigit(), part)) for group in (added, taken))
    first, rest = (list(group) for group in ordered)
    return " - ".join([" + ".join(first) or "0", *rest])


def _tight(part: str) -> str:
    """In parentheses, but for what needs none: names, numbers and products of them."""
    return part if re.fullmatch(r"\w+(\*\w+)*", part) else f"({part})"


@dataclass(frozen=True, slots=True)
class Source:
    """A place where a symbol can be read: `size = scale * symbol + offset` along one axis of a tensor."""

    tensor: str
    axis: int
    scale: int
    offset: int


def sources(tensors: Iterable[TensorSpec]) -> dict[str, Source]:
    """For every symbol that the shapes of these tensors tell, where to read it; the plainest place wins."""
    found: dict[str, Source] = {}
    for symbol, source in _candidates(tensors):
        known = found.get(symbol)
        if known is None or (source.scale, abs(source.offset)) < (known.scale, abs(known.offset)):
            found[symbol] = source
    return found


def _candidates(tensors: Iterable[TensorSpec]) -> Iterator[tuple[str, Source]]:
    for tensor in tensors:
        for axis, dim in enumerate(tensor.shape or ()):
            free = symbols(dim)
            if isinstance(dim, int) or len(free) != 1:
                continue
            symbol = next(iter(free))
            if (line := _line(dim, symbol)) is not None:
                yield symbol, Source(tensor.name, axis, *line)


def _line(dim: str, symbol: str) -> tuple[int, int] | None:
    """Scale and offset of a formula that is a straight line in its symbol, with a slope to divide by."""
    at = [evaluate(dim, {symbol: x}) for x in (1, 2, 3, 8, 17)]
    scale, offset = at[1] - at[0], 2 * at[0] - at[1]
    straight = all(y == scale * x + offset for x, y in zip((1, 2, 3, 8, 17), at, strict=True))
    return (scale, offset) if straight and scale > 0 else None


def read_symbol(size: int, scale: int, offset: int) -> int:
    """The symbol behind a size."""
    return (size - offset) // scale
