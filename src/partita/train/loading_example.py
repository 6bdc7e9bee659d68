"""The example inputs of a model, from the first batch of the data: what a module is captured with.

Rules: inputs go to the module as its user would call it: one tensor, several in their order, or by name; a dictionary
gives what `forward` has a name for; a batch of one sample is doubled, because one is no proof of an open size.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..engine.torch_values import to_torch
from .loading_fit import divided
from .loading_structure import as_array, structure_of, walk


def arguments(raw: Any, module: torch.nn.Module | None, where: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments for `module` from a batch as a loader gives it."""
    names, most, anything = _parameters(module)
    several = None
    if isinstance(raw, list | tuple) and most is not None:
        several = min(len(raw) - 1, most)
    given, _ = divided(raw, several, names, where)
    tensors = {name: _tensor(name, leaf) for name, leaf in walk(given, "inputs")}
    built = structure_of(given, "inputs").build(_doubled(tensors))
    if isinstance(built, Mapping):
        chosen = {key: value for key, value in built.items() if key in names}
        if chosen or anything:
            return (), chosen or dict(built)
        return (built,), {}
    return (tuple(built), {}) if isinstance(built, list | tuple) else ((built,), {})


def _parameters(module: torch.nn.Module | None) -> tuple[tuple[str, ...], int | None, bool]:
    """The names that `forward` takes, how many it takes by position (None: any), whether it takes any other name."""
    if module is None:
        return (), None, True
    found = inspect.signature(module.forward).parameters.values()
    named = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY, p.POSITIONAL_ONLY)]
    positional = [p for p in named if p.kind is not p.KEYWORD_ONLY]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in found)
    return (
        tuple(p.name for p in named),
        None if open_ended else len(positional),
        any(p.kind is p.VAR_KEYWORD for p in found),
    )


def _tensor(name: str, leaf: Any) -> torch.Tensor:
    """As torch would see it; numpy's float64 is what nobody chose, a tensor's float64 is."""
    array = as_array(name, leaf)
    if not isinstance(leaf, torch.Tensor) and array.dtype == np.float64:
        array = array.astype(np.float32)
    return to_torch(np.ascontiguousarray(array)).clone()


def _doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if not tensors or not all(tensor.ndim and len(tensor) == 1 for tensor in tensors.values()):
        return tensors
    return {name: torch.cat([tensor, tensor]) for name, tensor in tensors.items()}
