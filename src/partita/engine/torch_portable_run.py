"""A graph from outside, run operator by operator.

Rules: nothing that a stranger sent is turned into Python code, so there is no source text to smuggle anything into;
before an operator runs, what it would make is judged by the tensors at hand; memory that no operator wrote to reads
as zeros, because it may hold what another visitor left there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import fx

from ..errors import LimitExceeded
from .torch_portable_arguments import grown, may_grow, named, too_large
from .torch_portable_guards import GUARDS
from .torch_values import dtype_of

_UNWRITTEN = frozenset({"empty", "empty_like", "new_empty"})


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a value lies while the graph runs."""

    index: int


@dataclass(frozen=True, slots=True)
class _Step:
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    into: int
    # Slots that nobody reads after this step.
    done: tuple[int, ...]


@final
class Steps:
    """`steps(*inputs)` gives what the graph's output node names, in order; from a part only what can travel."""

    def __init__(self, graph: fx.Graph, most_bytes: int, *, part: bool = False) -> None:
        self._part = part
        slots = {node: _Slot(i) for i, node in enumerate(graph.nodes)}
        last: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            last.update(dict.fromkeys((*node.all_input_nodes, node), node))
        freed: dict[fx.Node, list[int]] = {}
        for node, until in last.items():
            freed.setdefault(until, []).append(slots[node].index)
        self._size = len(slots)
        self._inputs = [slots[n].index for n in graph.nodes if n.op == "placeholder"]
        self._steps = [
            _Step(
                guarded(n, most_bytes),
                tuple(_template(a, slots) for a in n.args),
                {k: _template(a, slots) for k, a in n.kwargs.items()},
                slots[n].index,
                tuple(freed.get(n, ())),
            )
            for n in graph.nodes
            if n.op == "call_function"
        ]
        end = next(n for n in reversed(graph.nodes) if n.op == "output")
        self._outputs = tuple(_template(a, slots) for a in _sequence(end.args[0]))

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        held: list[Any] = [None] * self._size
        for index, value in zip(self._inputs, inputs, strict=True):
            held[index] = value
        for step in self._steps:
            args = [_fill(a, held) for a in step.args]
            kwargs = {k: _fill(a, held) for k, a in step.kwargs.items()} if step.kwargs else {}
            held[step.into] = step.call(*args, **kwargs)
            for index in step.done:
                held[index] = None
        made = tuple(_fill(a, held) for a in self._outputs)
        for value in made if self._part else ():
            if not (isinstance(value, torch.Tensor) and dtype_of(value).travels):
                raise TypeError(f"an output is no tensor that can travel, but a {type(value).__name__}")
        return made


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _template(value: Any, slots: dict[fx.Node, _Slot]) -> Any:
    if isinstance(value, fx.Node):
        return slots[value]
    if isinstance(value, (list, tuple)):
        return [_template(item, slots) for item in value]
    return value


def _fill(template: Any, held: list[Any]) -> Any:
    if type(template) is _Slot:
        return held[template.index]
    if type(template) is list:
        return [_fill(item, held) for item in template]
    return template


def guarded(node: fx.Node, most: int) -> Callable[..., Any]:
    """The node's operator behind the checks that only its tensors can decide; most need none."""
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return target  # type: ignore[no-any-return]  # a function of ours
    name = target._schema.name.removeprefix("aten::")
    counts = any(_is_size(a) for a in node.all_input_nodes)
    if counts or name in GUARDS or name in _UNWRITTEN:
        return _checked(target, name, most)
    return _watched(target, most) if may_grow(target) else target


def _is_size(node: fx.Node) -> bool:
    """Whether the node may give a number: then arguments are known only when it runs."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return any(str(r.real_type) != "Tensor" for r in target._schema.returns)
    return node.op == "call_function"


def _watched(target: Any, most: int) -> Callable[..., Any]:
    """For operators whose numbers are written out, and were judged when the graph arrived: their tensors only."""
    pointwise = torch.Tag.pointwise in target.tags

    def run(*args: Any, **kwargs: Any) -> Any:
        shapes = {a.shape for a in args if isinstance(a, torch.Tensor)} if pointwise else ()
        if len(shapes) != 1 or kwargs:
            _judge(target, grown(target, named(target, args, kwargs)[0], most))
        return target(*args, **kwargs)

    return run


def _judge(target: Any, problem: str) -> None:
    if problem:
        raise LimitExceeded(
            f"operator {target} {problem}", fix="use smaller batches, or a cloud that allows more"
        )


def _checked(target: Any, name: str, most: int) -> Callable[..., Any]:
    defaults = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
    guard = GUARDS.get(name)

    def run(*args: Any, **kwargs: Any) -> Any:
        given, _ = named(target, args, kwargs)
        _judge(target, too_large(target, given, most) or grown(target, given, most))
        if guard is not None and (problem := guard(name, defaults | given)):
            raise ValueError(f"operator {target} {problem}")
        made = target(*args, **kwargs)
        return made.zero_() if name in _UNWRITTEN else made

    return run
