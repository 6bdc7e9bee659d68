"""What each stage and each head of a network with exits computes.

Rules: FLOPs everywhere, two for every multiplication with its addition (2 x MAC), for convolutions and matrices alike;
counted while the network runs, so that any module counts, written by whom it may be; per sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .exits import Features, MultiExit


@dataclass(frozen=True)
class ExitFlops:
    """FLOPs of one sample, by stage and by head."""

    stages: tuple[int, ...]
    heads: tuple[int, ...]

    @property
    def cumulative(self) -> tuple[int, ...]:
        """From the input to each exit, without the heads before it: what a fused span computes."""
        return tuple(sum(self.stages[: k + 1]) + head for k, head in enumerate(self.heads))

    @property
    def with_heads(self) -> tuple[int, ...]:
        """From the input to each exit with every head on the way: what a walk from exit to exit computes."""
        return tuple(accumulate(a + b for a, b in zip(self.stages, self.heads, strict=True)))

    @property
    def shares(self) -> tuple[float, ...]:
        """The way to each exit as a share of the way to the last."""
        whole = self.cumulative[-1] or 1
        return tuple(value / whole for value in self.cumulative)


def flops(model: MultiExit) -> ExitFlops:
    """Count a network on its own example; its mode and its weights stay as they are."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _count(model)
    finally:
        model.train(was)


def _count(model: MultiExit) -> ExitFlops:
    # Two samples and half the count: torch takes other kernels for a batch of one.
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    features: Features = tuple(tensor.to(device) for tensor in model.example(2))
    stages, heads = [], []
    for stage, head in zip(model.stages, model.heads, strict=True):
        count, made = _counted(stage, features)
        features = made
        stages.append(count)
        heads.append(_counted(head, features)[0])
    return ExitFlops(tuple(stages), tuple(heads))


def _counted(module: nn.Module | Callable[[Features], Features], features: Features) -> tuple[int, Features]:
    with FlopCounterMode(display=False) as counter:
        made = module(features)
    return counter.get_total_flops() // 2, made
