"""A dimension of a tensor: a number, or a formula over symbols such as `batch` or `2*batch`.

Rules: a formula is evaluated by walking its syntax tree, never by `eval`; a text that is no formula
(exporters write names like `unk__12` or `batch size`) is a symbol by itself.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache

from ..errors import UnboundDimension

Dim = int | str

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CALLS: dict[str, Callable[..., int]] = {"max": max, "min": min, "Max": max, "Min": min}
# Longer texts are names that some exporter made up; parsing them would only cost time.
_LONGEST_FORMULA = 256


@lru_cache(maxsize=4096)
def _tree(text: str) -> ast.expr | None:
    """The syntax tree of a formula, or None where the text is just a name."""
    if len(text) > _LONGEST_FORMULA:
        return None
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if _is_formula(tree) else None


def _is_formula(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=int()) | ast.Name():
            return True
        case ast.BinOp(left=left, op=op, right=right):
            return type(op) in _BINARY and _is_formula(left) and _is_formula(right)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return name in _CALLS and bool(args) and all(map(_is_formula, args))
        case _:
            return False


def symbols(dim: Dim) -> frozenset[str]:
    """The names whose values the dimension depends on."""
    if isinstance(dim, int):
        return frozenset()
    tree = _tree(dim)
    if tree is None:
        return frozenset({dim})
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)) - called


def evaluate(dim: Dim, bind: Mapping[str, int]) -> int:
    """The size of the dimension once its symbols have values."""
    if isinstance(dim, int):
        return dim
    if dim in bind:
        return bind[dim]
    missing = sorted(symbols(dim) - bind.keys())
    if missing:
        raise UnboundDimension(
            f"the dimension {dim!r} has no value for {', '.join(missing)}",
            fix="give one: " + " ".join(f"--dim {name}=1" for name in missing),
        )
    tree = _tree(dim)
    if tree is None:  # pragma: no cover - a plain name is either bound or missing
        raise AssertionError(dim)
    try:
        return _value(tree, bind)
    except ZeroDivisionError:
        given = ", ".join(f"{name}={bind[name]}" for name in sorted(symbols(dim)))
        raise UnboundDimension(
            f"the dimension {dim!r} divides by zero with {given}", fix="give other values with --dim"
        ) from None


def _value(node: ast.expr, bind: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return bind[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, bind), _value(right, bind))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _CALLS[name](*(_value(arg, bind) for arg in args))
        case _:  # pragma: no cover - _is_formula admits nothing else
            raise AssertionError(node)
