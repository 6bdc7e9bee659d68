"""The traced graph of one mode, with every placeholder resolved to what it stands for.

Rules: states are known by the module's own names, a tied one by its first; after an operator that works in place
everybody reads its result, so that one value does not travel under two names.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from ..errors import CannotCapture
from .torch_signature import Signature

_STATES = (InputKind.PARAMETER, InputKind.BUFFER)


@dataclass(frozen=True, slots=True)
class Traced:
    """One mode's graph. `body` holds its operators in the order in which the module ran them."""

    root: torch.nn.Module
    inputs: Mapping[fx.Node, str]
    states: Mapping[fx.Node, str]
    constants: Mapping[fx.Node, torch.Tensor]
    outputs: tuple[Any, ...]
    spec: Any
    body: tuple[fx.Node, ...]


def canonical_names(module: torch.nn.Module) -> dict[str, str]:
    """For every name of a parameter or buffer, the first name of the same tensor."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for walk in (module.named_parameters, module.named_buffers):
        for name, tensor in walk(remove_duplicate=False):
            names[name] = first.setdefault(id(tensor), name)
    return names


def read_graph(program: ExportedProgram, module: torch.nn.Module, example: Signature) -> Traced:
    """Resolve the placeholders of an exported program."""
    root = program.graph_module
    nodes = {node.name: node for node in root.graph.nodes if node.op == "placeholder"}
    names = canonical_names(module)
    inputs: dict[fx.Node, str] = {}
    states: dict[fx.Node, str] = {}
    constants: dict[fx.Node, torch.Tensor] = {}
    leaves = iter(example.names)
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            name = next(leaves)
            if name is not None:
                inputs[node] = name
        elif spec.kind in _STATES:
            states[node] = names[str(spec.target)]
        else:
            constants[node] = _constant(program, str(spec.target), module)
    _join_ties(states)
    _read_results(root.graph)
    outputs = _outputs(root.graph, {*states, *constants})
    body = tuple(node for node in root.graph.nodes if node.op == "call_function")
    return Traced(root, inputs, states, constants, outputs, program.call_spec.out_spec, body)


def _constant(program: ExportedProgram, target: str, module: torch.nn.Module) -> torch.Tensor:
    value = program.constants.get(target)
    if not isinstance(value, torch.Tensor):
        raise CannotCapture(
            f"{type(module).__name__} uses {target!r}, a {type(value).__name__}, which is no tensor and cannot be taken along",
            fix="hold it as a tensor, a parameter or a buffer",
        )
    return value


def _join_ties(states: dict[fx.Node, str]) -> None:
    """One placeholder per tensor: the names of a tied parameter become one."""
    first: dict[str, fx.Node] = {}
    for node, name in list(states.items()):
        kept = first.setdefault(name, node)
        if kept is not node:
            node.replace_all_uses_with(kept)
            del states[node]


def _read_results(graph: fx.Graph) -> None:
    """Let every reader after `y = relu_(x)` read y: it is the same tensor, and x need not travel beside it."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        changed = in_place(node)
        if changed is not None and changed.op == "call_function":
            later = {user for user in changed.users if order[user] > order[node]}
            changed.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def in_place(node: fx.Node) -> fx.Node | None:
    """The argument that the operator changes and gives back as its result, or None."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.args:
        return None
    schema = node.target._schema
    if not schema.arguments or len(schema.returns) != 1:
        return None
    given, result = schema.arguments[0].alias_info, schema.returns[0].alias_info
    first = node.args[0]
    same = given is not None and given.is_write and result is not None and result.is_write
    return first if same and isinstance(first, fx.Node) else None


def _outputs(graph: fx.Graph, held: set[fx.Node]) -> tuple[Any, ...]:
    """What the model returns, leaf by leaf. A state that is returned as it is passes through an operator first."""
    end = next(node for node in reversed(graph.nodes) if node.op == "output")
    given = end.args[0]
    leaves = list(given) if isinstance(given, (tuple, list)) else [given]
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, fx.Node) and leaf in held:
            with graph.inserting_before(end):
                copy = graph.call_function(torch.ops.aten.alias.default, (leaf,))
            copy.meta["val"] = leaf.meta["val"]
            leaves[i] = copy
    return tuple(leaves)


def value(node: fx.Node) -> Any:
    """What tracing saw the node give: a fake tensor, a symbolic number, a tuple, or nothing."""
    return node.meta.get("val")


def is_tensor(node: fx.Node) -> bool:
    return isinstance(value(node), torch.Tensor)


def is_number(node: fx.Node) -> bool:
    return isinstance(value(node), (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool))


def picks(node: fx.Node) -> bool:
    """Whether the node only takes one value out of several that its producer gave."""
    return node.target is operator.getitem


def region(node: fx.Node) -> tuple[fx.Graph, tuple[Any, ...]] | None:
    """What a stretch under `no_grad` or `autocast` runs, and what it is given; None for all other nodes."""
    if operator_name(node) not in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
        return None
    if not isinstance(node.target, torch._ops.HigherOrderOperator):
        target: Any = node.target  # one that arrived as data
        return target.graph, node.args[target.switches :]
    place = next(i for i, a in enumerate(node.args) if isinstance(a, fx.Node) and a.op == "get_attr")
    body: Any = node.args[place]
    return getattr(body.graph.owning_module, body.target).graph, node.args[place + 1 :]


def operator_name(node: fx.Node) -> str:
    """The short name of an operator: `conv2d`, `add`, `cond`."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target._schema.name).split("::")[-1].strip("_")
    return str(getattr(target, "__name__", target)).strip("_")
