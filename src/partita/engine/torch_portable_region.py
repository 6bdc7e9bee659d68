"""Stretches of a graph under `torch.no_grad()` or `torch.autocast`, run operator by operator.

Rule: a region is data like the graph around it: its switch and its steps, and no code.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import fx


class _Region:
    """Takes its switches first, then what its steps read. `body` is the data it came from, `graph` the same as nodes."""

    name = ""
    switches = 0
    # As torch calls its own: who follows gradients looks at the name.
    __name__ = ""

    def __init__(self, body: Any, graph: fx.Graph, steps: Callable[..., tuple[Any, ...]]) -> None:
        self.body, self.graph, self._steps = body, graph, steps

    def __call__(self, *given: Any) -> tuple[Any, ...]:
        with self._under(*given[: self.switches]):
            return self._steps(*given[self.switches :])

    def _under(self, *switches: Any) -> AbstractContextManager[Any]:
        raise NotImplementedError


class GradientRegion(_Region):
    """`torch.set_grad_enabled(enabled)`."""

    name = "region.gradient"
    switches = 1
    __name__ = "wrap_with_set_grad_enabled"

    def _under(self, *switches: Any) -> AbstractContextManager[Any]:
        (enabled,) = switches
        return torch.set_grad_enabled(enabled is True)


class AutocastRegion(_Region):
    """`torch.autocast(device, dtype, enabled, cache)`."""

    name = "region.autocast"
    switches = 4
    __name__ = "wrap_with_autocast"

    def _under(self, *switches: Any) -> AbstractContextManager[Any]:
        device, dtype, enabled, cache = switches
        if device not in ("cpu", "cuda"):
            raise ValueError(f"autocast is for cpu or cuda, not for {device!r}")
        return torch.autocast(device, dtype=dtype, enabled=enabled is True, cache_enabled=cache)
