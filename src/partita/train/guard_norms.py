"""Whether a captured model normalises what passes through it: then stale gradients do little harm.

Rule: operators are asked, not names of modules, so that a norm written by hand counts and a renamed layer too.
"""

from __future__ import annotations

from typing import Final

from ..engine.torch_graph import operator_name
from ..engine.torch_model import TorchModel

__all__ = ["has_normalisation"]

# What ends so is a normalisation; a root below a fraction is what those written by hand are made of.
_NORMS: Final = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


def has_normalisation(model: TorchModel) -> bool:
    """Whether any stage normalises, in the graph that is trained."""
    names = {operator_name(node) for node in model.layout("train").traced.body}
    return any(name.endswith(_NORMS) or name == "rsqrt" for name in names)
