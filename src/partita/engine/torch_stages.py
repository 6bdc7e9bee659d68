"""The operators of a graph, grouped into stages at the boundaries of modules.

Rules: stages follow the order of execution; a stage is one call of one module, or what a parent computes between
two calls; operators that only look at a tensor differently never make a stage of their own; names come from the
module tree, so that two captures agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from torch import fx

from .torch_graph import is_number, operator_name, picks
from .torch_signature import unique

# How many stages the default depth may give: more than that and a table of cuts no longer fits a page.
_MANY = 64

# Operators that compute nothing: they view, test, or note a shape.
_LIGHT = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "transpose",
        "t",
        "permute",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "slice",
        "select",
        "alias",
        "detach",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "movedim",
        "swapaxes",
        "narrow",
        "getitem",
        "sym_size",
        "sym_numel",
        "assert_tensor_metadata",
        "assert_scalar",
        "assert_async",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
        "lift_fresh_copy",
        "to",
        "view_as",
    ]
)


@dataclass(slots=True)
class Segment:
    """The operators of one stage-to-be, with the module call they belong to.

    `key` says the same place in both modes: the module call itself, or the parent and the call it comes after.
    """

    name: str
    key: str
    nodes: list[fx.Node] = field(default_factory=list)

    @property
    def light(self) -> bool:
        return all(is_light(node) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an operator ran: the call of a module, by path and by the key torch gives each call."""

    path: tuple[str, ...]
    call: tuple[str, ...]


def is_light(node: fx.Node) -> bool:
    return operator_name(node) in _LIGHT or picks(node) or is_number(node)


def places(body: Sequence[fx.Node]) -> list[_Place]:
    """The place of every operator; one that torch put in by itself belongs where the next one is."""
    found: list[_Place | None] = [_place(node) for node in body]
    following = _Place((), ())
    for i in reversed(range(len(found))):
        if found[i] is None:
            found[i] = following
        following = found[i] or following
    # What stands behind the last real operator belongs to it.
    return [place or following for place in found]


def _place(node: fx.Node) -> _Place | None:
    stack = node.meta.get("nn_module_stack") or {}
    entries = [(key, path) for key, (path, _) in stack.items() if "_empty_nn_module_stack" not in key]
    if not entries:
        return None
    paths = [path for _, path in entries if path]
    return _Place(tuple(paths), tuple(key for key, path in entries if path))


def deepest(body: Sequence[fx.Node]) -> int:
    """How deep the module calls nest."""
    return max((_depth(place) for place in places(body)), default=0)


def _depth(place: _Place) -> int:
    return place.path[-1].count(".") + 1 if place.path else 0


def segment(body: Sequence[fx.Node], depth: int) -> list[Segment]:
    """The stages at one depth of the module tree."""
    where = places(body)
    callers = {path for place in where for path in place.path[:-1]} | {""}
    keyed = [(_group(place, depth, callers), node) for place, node in zip(where, body, strict=True)]
    found: list[Segment] = []
    before = ""
    for (path, call, own), run in groupby(keyed, key=lambda pair: pair[0]):
        nodes = [node for _, node in run]
        heavy = [node for node in nodes if not is_light(node)]
        if own:
            name = ".".join(filter(None, (path, operator_name((heavy or nodes)[-1]))))
            found.append(Segment(name, f"{call} after {before}", nodes))
        else:
            found.append(Segment(path, call, nodes))
            before = call
    return _numbered(_joined(found))


def _group(place: _Place, depth: int, callers: set[str]) -> tuple[str, str, bool]:
    """The module call an operator belongs to at this depth, and whether it is the parent's own computing."""
    for path, call in zip(place.path, place.call, strict=True):
        if path.count(".") + 1 >= depth:
            return path, call, False
    path, call = (place.path[-1], place.call[-1]) if place.path else ("", "")
    return path, call, path in callers


def _joined(found: list[Segment]) -> list[Segment]:
    """Put segments that compute nothing to the one before them, or the first ones to the one after."""
    joined: list[Segment] = []
    waiting: list[fx.Node] = []
    for part in found:
        if not part.light:
            joined.append(Segment(part.name, part.key, waiting + part.nodes))
            waiting = []
        elif joined:
            joined[-1].nodes += part.nodes
        else:
            waiting += part.nodes
    return joined or [Segment(found[0].name, found[0].key, waiting)] if found else []


def _numbered(found: list[Segment]) -> list[Segment]:
    names: dict[str, int] = {}
    keys: dict[str, int] = {}
    return [
        Segment(unique(part.name or "model", names), unique(part.key, keys), part.nodes) for part in found
    ]


def choose_depth(body: Sequence[fx.Node], depth: int | None) -> int:
    """The depth asked for, or the deepest that still gives a page of stages."""
    most = deepest(body)
    if depth is not None:
        return max(1, min(depth, most))
    fits = (d for d in range(most, 1, -1) if len(segment(body, d)) <= _MANY)
    return next(fits, 1)
