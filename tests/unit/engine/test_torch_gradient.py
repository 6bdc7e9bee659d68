"""Which values have gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch

X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        with torch.no_grad():
            still = self.b(x)
        zeros = torch.zeros_like(h)
        copy = h.detach() + zeros
        return self.c(h) + copy + still


def module_gradient(module: nn.Module) -> torch.Tensor:
    """What reaches the output of `a` when every output has a gradient of one."""
    return torch.ones(4, 8) @ module.c.weight.detach()


def test_only_what_the_whole_would_differentiate_asks_for_gradients() -> None:
    """Neither zeros, nor what was detached, nor what was computed without gradients."""
    model = capture_torch(Mixed(), (X,))
    cut = next(c for c in model.chain.cuts if c.before == "c")
    part = model.part(cut.position, len(model.chain))
    have = model.part(0, cut.position).forward(model.example())
    made = part.forward_kept({n: have[n] for n in part.inputs})
    gradients = part.backward({n: np.ones_like(a) for n, a in made.items()})

    assert len(part.inputs) == 3
    assert {n: g.tolist() for n, g in gradients.items()} == {
        part.inputs[0]: module_gradient(model.module).tolist()
    }


def test_frozen_parameters_may_be_thawed_after_the_capture() -> None:
    """Then gradients flow back to them."""
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)).requires_grad_(False)
    model = capture_torch(module, (X,))
    module.requires_grad_(True)
    part = model.part(1, 2)
    made = part.forward_kept({part.inputs[0]: X.numpy()})

    assert part.backward({n: np.ones_like(a) for n, a in made.items()}).keys() == {part.inputs[0]}
