"""Capture of any `nn.Module`, without rewriting it.

The graph comes from torch.export, and we cut it ourselves. torch.distributed.pipelining does the same on top of
torch.export, but for one choice of split points, one mode and one batch size at a time: another cut means another
trace, its stages own copies of tied parameters, and a plan that moves the cut while it trains would wait for it.
Here a model is traced once per mode, and a part is a copy of some of its nodes: milliseconds for any pair of cuts.

Rules: parameters keep their names and stay the module's own; stages follow the order of execution; a model that
cannot be captured is refused with the line that stands in the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import CannotCapture
from .base import Mode
from .torch_export import Modes, Shapes, first_trace
from .torch_graph import read_graph
from .torch_model import TorchModel
from .torch_origin import ModuleOrigin, name_symbols
from .torch_signature import read_signature
from .torch_stages import choose_depth


def capture_torch(  # noqa: PLR0913  # the public door: all but two have defaults
    module: torch.nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    depth: int | None = None,
    batch_symbol: str = "batch",
    dynamic_shapes: Shapes | None = None,
    mode: Mode = "eval",
) -> TorchModel:
    """The module as a chain of stages that run alone.

    `args` and `kwargs` are example inputs: tensors become the chain's inputs, everything else is a constant of the
    capture. `depth` is how deep into the module tree the stages go; without it, the deepest that gives at most 64
    stages. `dynamic_shapes` is torch.export's own, for open dimensions besides the batch. The chain is that of
    `mode`; the other mode runs too wherever it passes the same boundaries.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    example = read_signature(module, args, kwargs or {})
    modes = Modes(module)
    with modes.during(mode):
        program, recipe = first_trace(module, example, dynamic_shapes)
        traced = read_graph(program, module, example)
    if not traced.body:
        raise CannotCapture(
            f"{type(module).__name__} computes nothing: it gives its inputs back",
            fix="capture a module whose forward does some work",
        )
    origin = ModuleOrigin(module, name or type(module).__name__, example, recipe)
    known = name_symbols(traced, batch_symbol, recipe)
    return TorchModel(origin, origin.lay_out(traced, choose_depth(traced.body, depth), known), mode)
