"""Example inputs from their descriptions, like `x:float32[batch,3,224,224]`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch

from ..errors import BadDocument
from ..graph import TensorSpec
from .network import Network


def described(network: Network, specs: Sequence[TensorSpec], bind: Mapping[str, int]) -> Network:
    """The same module with made-up inputs of these descriptions as its example."""
    parameters = inspect.signature(network.module.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    problems = [
        f"{s.name!r} is no input of the model" for s in specs if s.name not in parameters and not anything
    ]
    problems += [f"{s.name!r} is {s.dtype}, which torch has no tensors of" for s in specs if not _known(s)]
    if problems:
        raise BadDocument("--input", problems, fix=f"the model takes {', '.join(parameters)}")
    return Network(network.module, (), {s.name: _tensor(s, bind) for s in specs})


def _known(spec: TensorSpec) -> bool:
    return isinstance(getattr(torch, str(spec.dtype), None), torch.dtype)


def _tensor(spec: TensorSpec, bind: Mapping[str, int]) -> torch.Tensor:
    shape, dtype = spec.bound(bind), getattr(torch, str(spec.dtype))
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape).to(dtype)
    # Zeros and ones are legal masks, tokens and indices alike.
    return torch.randint(0, 2, shape).to(dtype)
