"""How operators become stages."""

from __future__ import annotations

import torch
from torch import nn

from partita.engine.torch_capture import capture_torch

X = torch.ones(2, 8)


def names(module: nn.Module, depth: int | None = None) -> list[str]:
    return [stage.name for stage in capture_torch(module, (X,), depth=depth).chain.stages]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = self.layer(x) + x
        return x.reshape(-1).unsqueeze(0)


def test_a_module_called_again_is_a_stage_again_with_a_number() -> None:
    """And what the parent computes between calls is a stage named after its last operator."""
    assert names(Shared()) == ["layer.0", "layer.1", "add", "layer.0/2", "layer.1/2", "add/2"]
    assert names(Shared(), depth=1) == ["layer", "add", "layer/2", "add/2"]


def test_operators_that_compute_nothing_make_no_stage() -> None:
    """Reshapes belong to the stage before them."""
    chain = capture_torch(Shared(), (X,)).chain

    assert chain.stages[-1].ops == 3


def test_a_module_without_submodules_is_one_stage() -> None:
    """There is no boundary inside to cut at."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.w)

    assert len(names(Flat())) == 1


def test_a_branch_is_one_stage_and_says_so() -> None:
    """torch.cond is not cut inside."""

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.a(x)
            return torch.cond(h.sum() > 0, torch.sin, torch.cos, (h,))

    stages = capture_torch(Branch(), (X,)).chain.stages

    assert [stage.kind for stage in stages] == ["", "cond"]
