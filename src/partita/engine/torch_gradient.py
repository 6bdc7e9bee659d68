"""Which values of a graph have a gradient: those that depend on a parameter or a floating-point input.

Rule: a part asks for gradients exactly where the whole would. A mask of zeros that crosses a cut has none, and
torch chooses other kernels for values that want one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from .torch_graph import Traced, operator_name, picks, value

# Operators that give floating-point numbers through which no gradient flows.
_STOPS = frozenset(
    [
        "detach",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
    ]
)


def carriers(traced: Traced, is_parameter: Callable[[str], bool]) -> frozenset[fx.Node]:
    """The nodes that have a gradient. Frozen parameters count: they may be thawed after the capture."""
    found = {node for node, name in traced.states.items() if is_parameter(name)}
    found.update(node for node in traced.inputs if _continuous(value(node)))
    for node in traced.body:
        reads = not found.isdisjoint(node.all_input_nodes)
        if reads and not _stops(node) and (picks(node) or _may_carry(value(node))):
            found.add(node)
    return frozenset(node for node in found if _continuous(value(node)))


def _stops(node: fx.Node) -> bool:
    if operator_name(node) in _STOPS:
        return True
    # A region under torch.no_grad(): its first argument says whether gradients flow.
    return operator_name(node) == "wrap_with_set_grad_enabled" and node.args[0] is False


def _continuous(seen: object) -> bool:
    return isinstance(seen, torch.Tensor) and (seen.is_floating_point() or seen.is_complex())


def _may_carry(seen: object) -> bool:
    """A tuple may hold a tensor with a gradient; what is picked from it is judged by itself."""
    return not isinstance(seen, torch.Tensor) or _continuous(seen)
