"""Our own small networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.zoo import build
from partita.zoo.nets import NETS

NORMS = (nn.BatchNorm2d, nn.LayerNorm)


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_net_runs_on_its_example_and_learns_in_all_its_parameters(name: str) -> None:
    """Every parameter gets a gradient."""
    network = build(f"zoo:{name}", batch=3)
    answer = network.module.train()(*network.args)
    tensors = [t for t in torch.utils._pytree.tree_leaves(answer) if isinstance(t, torch.Tensor)]
    sum(t.sum() for t in tensors if t.requires_grad).backward()

    assert all(t.shape[0] == 3 for t in tensors)
    assert all(p.grad is not None for p in network.module.parameters())


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_net_has_a_normalisation_layer(name: str) -> None:
    """Nets without one do not bear training that is a step or two stale."""
    assert any(isinstance(module, NORMS) for module in build(f"zoo:{name}").module.modules())


def test_the_unet_has_skips_across_its_whole_height() -> None:
    """What the first block makes is read by the last."""
    from partita.zoo import resolve

    chain = resolve("zoo:unet-tiny", depth=1).chain
    middle = chain.cut(len(chain) // 2)

    assert "down1" in [t.name for t in middle.tensors]
