"""Which values share memory, which operators write to it, and which cuts that forbids.

Rule: a part on another machine holds copies. A cut is legal only if no write after it was meant to be seen
through a second name that crosses it, and no buffer that one side writes is used by the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ..errors import LimitExceeded
from .torch_graph import Traced, operator_name, picks, region

Roots = frozenset[fx.Node]

# Operators that give back their argument itself when there is nothing to do, without saying so in their schema.
_MAY_RETURN_ARGUMENT = frozenset(
    [
        "to",
        "contiguous",
        "reshape",
        "reshape_as",
        "type_as",
        "dropout",
        "feature_dropout",
        "alpha_dropout",
        "feature_alpha_dropout",
        "resolve_conj",
        "resolve_neg",
        "real",
        "positive",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "broadcast_tensors",
        "meshgrid",
        "flatten",
        "ravel",
        "lift_fresh",
        "alias",
        "detach",
    ]
)


# Regions are short: a few operators under `no_grad`.
_MOST_IN_REGION = 1 << 18


@dataclass(frozen=True, slots=True)
class Memory:
    """For every node the storages it may look at, and for every node that writes, the storages it writes to."""

    roots: dict[fx.Node, Roots]
    writes: dict[fx.Node, Roots]


def follow(traced: Traced, most: int | None = None) -> Memory:
    """Walk the graph once. `most` bounds the storages noted in all: a graph from outside could share without end."""
    noted = 0
    roots: dict[fx.Node, Roots] = {}
    writes: dict[fx.Node, Roots] = {}
    for node in (*traced.inputs, *traced.states, *traced.constants):
        roots[node] = frozenset({node})
    for node in traced.body:
        seen = frozenset().union(*(roots.get(n, frozenset()) for n in _aliased(node)))
        roots[node] = seen or frozenset({node})
        written = frozenset().union(*(roots.get(n, frozenset()) for n in _written(node)))
        if written:
            writes[node] = written
        noted += len(seen) + len(written)
        _check_sharing(noted, most)
    return Memory(roots, writes)


def _check_sharing(noted: int, most: int | None) -> None:
    if most is not None and noted > most:
        raise LimitExceeded(
            f"the values of the graph share memory in more than {most} ways",
            fix="start the cloud with `--model` and the same model",
        )


def _aliased(node: fx.Node) -> Iterator[fx.Node]:
    """The arguments whose memory the result may share."""
    if picks(node):
        yield from node.all_input_nodes
    elif not isinstance(node.target, torch._ops.OpOverload):
        # A branch, a loop or a region: what it returns may be what it was given.
        yield from node.all_input_nodes
    elif operator_name(node) in _MAY_RETURN_ARGUMENT:
        yield from node.all_input_nodes
    elif any(result.alias_info is not None for result in node.target._schema.returns):
        yield from _annotated(node, written=False)


def _written(node: fx.Node) -> Iterator[fx.Node]:
    """The arguments that the operator changes."""
    inside = region(node)
    if inside is not None:
        graph, operands = inside
        given = [n for n in graph.nodes if n.op == "placeholder"]
        changed = _changed(graph, given)
        yield from (
            n for n, own in zip(operands, given, strict=False) if own in changed and isinstance(n, fx.Node)
        )
    elif isinstance(node.target, torch._ops.OpOverload):
        yield from _annotated(node, written=True)
        if operator_name(node) in ("batch_norm", "instance_norm") and _tracks(node):
            # Running statistics are written without the schema saying so.
            yield from (n for n in node.args[3:5] if isinstance(n, fx.Node))


def _changed(graph: fx.Graph, given: Sequence[fx.Node]) -> Roots:
    """The inputs of a region that it changes in place."""
    roots: dict[fx.Node, Roots] = {node: frozenset({node}) for node in given}
    changed: Roots = frozenset()
    noted = 0
    for node in graph.nodes:
        if node.op == "call_function":
            roots[node] = frozenset().union(*(roots.get(n, frozenset()) for n in _aliased(node)))
            noted += len(roots[node])
            _check_sharing(noted, _MOST_IN_REGION)
            changed = changed.union(*(roots.get(n, frozenset()) for n in _written(node)))
    return changed


def _tracks(node: fx.Node) -> bool:
    return len(node.args) > 5 and bool(node.args[5])


def _annotated(node: fx.Node, *, written: bool) -> Iterator[fx.Node]:
    schema = node.target._schema  # type: ignore[union-attr]  # callers checked that it is an OpOverload
    for i, argument in enumerate(schema.arguments):
        info = argument.alias_info
        if info is None or (written and not info.is_write):
            continue
        given: Any = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
        yield from _nodes(given)


def _nodes(given: Any) -> Iterator[fx.Node]:
    if isinstance(given, fx.Node):
        yield given
    elif isinstance(given, (list, tuple)):
        for item in given:
            yield from _nodes(item)


def forbidden(
    traced: Traced,
    memory: Memory,
    stage_of: Mapping[fx.Node, int],
    crossing: Sequence[Sequence[fx.Node]],
    names: Mapping[fx.Node, str],
) -> dict[int, str]:
    """For every position where a cut would change the numbers, the first reason in the order of execution."""
    reasons: dict[int, str] = {}
    for writer, roots in memory.writes.items():
        states = [root for root in traced.states if root in roots]
        for root in states:
            users = _users(traced, memory, stage_of, root)
            why = f"buffer {traced.states[root]!r} is written on one side and used on the other"
            for position in range(min(users) + 1, max(users) + 1):
                reasons.setdefault(position, why)
        for position in range(1, stage_of[writer] + 1):
            shared = [node for node in crossing[position] if memory.roots[node] & roots]
            if len(shared) > 1 or any(memory.roots[node] & roots & set(states) for node in shared):
                listed = " and ".join(sorted(repr(names[node]) for node in shared))
                why = f"{operator_name(writer)} in a later stage changes in place the memory of {listed}"
                reasons.setdefault(position, why)
    return dict(sorted(reasons.items()))


def _users(traced: Traced, memory: Memory, stage_of: Mapping[fx.Node, int], root: fx.Node) -> set[int]:
    return {
        stage_of[node]
        for node in traced.body
        if any(root in memory.roots.get(n, frozenset()) for n in node.all_input_nodes)
    }
