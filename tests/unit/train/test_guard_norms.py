"""Normalisation is found by its operators, whatever the modules are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.train.guard_norms import has_normalisation


class ByHand(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), ByHand()], ids=type
)
def test_a_net_with_normalisation_is_told_from_one_without(norm: nn.Module) -> None:
    x = torch.randn(3, 4)

    with_it = capture_torch(nn.Sequential(nn.Linear(4, 4), norm, nn.ReLU()), (x,))
    without = capture_torch(nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.ReLU()), (x,))

    assert has_normalisation(with_it)
    assert not has_normalisation(without)
