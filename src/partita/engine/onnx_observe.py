"""Ranks and dimensions that only a run can tell, as formulas over the open dimensions of the inputs.

Rules: the graph runs without its weights (zeros in a sparse file) at several sizes; a formula counts when it
explains every run; nothing is concluded about a dimension that depends on data (what NonZero finds, what a loop
gathers); what was observed describes costs and stays out of files, where it would be a promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

from ..errors import PartitaError
from ..graph import Chain, Dim, TensorSpec, symbols
from .base import Array
from .onnx_example import batch_symbol, made_up
from .onnx_graph import Graph
from .onnx_types import Namer

# Outputs whose size depends on values, not on sizes.
_DATA_SIZED = frozenset({"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
# Four runs: two fix a line, two more contradict a wrong one. Primes, so that no two symbols are proportional.
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)
_RUNS = 4
# Images go through strides; 32 is the product of the usual five halvings.
_SCALES = (1, 32)
# Formulas over more symbols than this are no longer found by trial.
_MOST_SYMBOLS = 8
Shape = tuple[int, ...]


def unexplained(chain: Chain) -> tuple[str, ...]:
    """The names whose rank is unknown, or whose size has a symbol that no input has."""
    given = frozenset().union(*(chain.tensors[name].symbols for name in chain.inputs))
    return tuple(
        name
        for name, spec in chain.tensors.items()
        if name not in chain.inputs and (spec.shape is None or spec.symbols - given)
    )


def observed(
    session: Any,
    chain: Chain,
    graph: Graph,
    dims: Mapping[str, int],
    namer: Namer,
    own: Mapping[str, Array] | None = None,
) -> dict[str, TensorSpec]:
    """Better descriptions of the unexplained names that the session returns.

    Where no made-up inputs run, one run with the user's `own` still tells the ranks.
    """
    made = {argument.name for argument in session.get_outputs()}
    names = [n for n in unexplained(chain) if n in made and chain.tensors[n].dtype.travels]
    given = frozenset().union(*(chain.tensors[name].symbols for name in chain.inputs))
    free = sorted(given - dims.keys())
    uncertain = _data_sized(graph)
    shapes: dict[str, list[Shape]] = {}
    runs: list[dict[str, int]] = []
    if names and len(free) <= _MOST_SYMBOLS:
        runs, shapes = _made_up_runs(session, chain, graph, dims, names, free)
    if names and not shapes and own is not None:
        shapes, uncertain = _shapes(session, names, [own]), set(names)
    found = {}
    for name, seen in shapes.items():
        spec = _explained(chain.tensors[name], seen, runs, free, namer, uncertain=name in uncertain)
        if spec is not None:
            found[name] = spec
    return found


def _made_up_runs(
    session: Any,
    chain: Chain,
    graph: Graph,
    dims: Mapping[str, int],
    names: Sequence[str],
    free: Sequence[str],
) -> tuple[list[dict[str, int]], dict[str, list[Shape]]]:
    symbol = batch_symbol(chain)
    batch = symbols(symbol) if symbol else frozenset()
    for scale in _SCALES:
        runs = _runs(free, batch, dims, scale)
        try:
            values = [made_up(chain, graph, run, seed) for seed, run in enumerate(runs)]
        except PartitaError:
            break
        shapes = _shapes(session, names, values)
        if shapes:
            return runs, shapes
    return [], {}


def _runs(
    free: Sequence[str], batch: frozenset[str], dims: Mapping[str, int], scale: int
) -> list[dict[str, int]]:
    runs = []
    for run in range(_RUNS):
        sizes = {
            symbol: _PRIMES[(run * 5 + place * 3) % len(_PRIMES)] * (1 if symbol in batch else scale)
            for place, symbol in enumerate(free)
        }
        runs.append({**sizes, **dims})
    return runs


def _shapes(
    session: Any, names: Sequence[str], inputs: Iterable[Mapping[str, Array]]
) -> dict[str, list[Shape]]:
    shapes: dict[str, list[Shape]] = {name: [] for name in names}
    for values in inputs:
        try:
            feed = {argument.name: values[argument.name] for argument in session.get_inputs()}
            results = session.run(list(names), feed)
        except Exception:
            return {}  # sizes that do not go together, or values that the graph refuses
        for name, result in zip(names, results, strict=True):
            shapes[name].append(result.shape)
    return shapes


def _data_sized(graph: Graph) -> set[str]:
    """The names that depend on an operator whose output has no size of its own."""
    names: set[str] = set()
    for index in graph.order:
        node = graph.nodes[index]
        if node.control or node.op in _DATA_SIZED or names.intersection(node.reads):
            names.update(node.makes)
    return names


def _explained(
    spec: TensorSpec,
    seen: Sequence[Shape],
    runs: Sequence[Mapping[str, int]],
    free: Sequence[str],
    namer: Namer,
    *,
    uncertain: bool,
) -> TensorSpec | None:
    ranks = {len(shape) for shape in seen}
    if len(ranks) != 1 or (spec.shape is not None and len(spec.shape) not in ranks):
        return None
    shape: list[Dim] = []
    for axis in range(ranks.pop()):
        known = None if spec.shape is None else spec.shape[axis]
        if isinstance(known, int):
            shape.append(known)
            continue
        formula = None if uncertain else fitted([s[axis] for s in seen], runs, free)
        if formula is None:
            formula = namer.name(spec.name, axis) if known is None else known
        shape.append(formula)
    return TensorSpec(spec.name, spec.dtype, tuple(shape))


def fitted(sizes: Sequence[int], runs: Sequence[Mapping[str, int]], free: Sequence[str]) -> Dim | None:
    """The simplest formula over the free symbols that gives these sizes in these runs, or None."""
    if 0 in sizes:
        return None  # nothing multiplies to nothing: an empty result explains nothing
    if len(set(sizes)) == 1:
        return sizes[0]
    for symbol in free:
        line = _line(sizes, [run[symbol] for run in runs], symbol)
        if line is not None:
            return line
    for first, second in combinations_with_replacement(free, 2):
        pairs = [(run[first], run[second]) for run in runs]
        rest = {size - a - b for size, (a, b) in zip(sizes, pairs, strict=True)}
        if len(rest) == 1 and first != second:
            return _plus(f"{first} + {second}", rest.pop())
        factors = {size / (a * b) for size, (a, b) in zip(sizes, pairs, strict=True)}
        if len(factors) == 1 and next(iter(factors)).is_integer():
            return _times(int(factors.pop()), f"{first}*{second}")
    return None


def _line(sizes: Sequence[int], at: Sequence[int], symbol: str) -> str | None:
    step, run = sizes[1] - sizes[0], at[1] - at[0]
    if run == 0 or step % run or step // run <= 0:
        return None
    slope = step // run
    offset = sizes[0] - slope * at[0]
    if any(size != slope * x + offset for size, x in zip(sizes, at, strict=True)):
        return None
    return _plus(_times(slope, symbol), offset)


def _times(factor: int, term: str) -> str:
    return term if factor == 1 else f"{factor}*{term}"


def _plus(term: str, offset: int) -> str:
    return term if offset == 0 else f"{term} {'+' if offset > 0 else '-'} {abs(offset)}"
