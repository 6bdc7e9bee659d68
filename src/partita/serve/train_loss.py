"""What a network with exits is trained to make small, and how fast it learns.

Rules: no function changes the logits it is given; labels are classes, or shares of classes where augmentation mixed
samples; the rate depends on the step alone, so that a resumed training goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from .train_spec import TrainSpec

Logits = Sequence[torch.Tensor]
# The shape of one cycle: how much of it warms up, and what its ends are of its peak.
WARM, START, END = 0.3, 1 / 25, 1e-4 / 25


def joint_loss(
    spec: TrainSpec, weights: Sequence[float], logits: Logits, labels: torch.Tensor
) -> torch.Tensor:
    """The loss of all exits together."""
    smoothing = spec.label_smoothing
    if spec.loss_fn == "residual":
        return F.cross_entropy(torch.stack(tuple(logits)).sum(0), labels, label_smoothing=smoothing)
    losses = [F.cross_entropy(row, labels, label_smoothing=smoothing) for row in logits]
    if spec.distill:
        teacher = logits[-1].detach()
        losses = [
            *(
                (1 - spec.distill) * loss + spec.distill * distance(row, teacher, spec.temperature)
                for loss, row in zip(losses[:-1], logits[:-1], strict=True)
            ),
            losses[-1],
        ]
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()


def distance(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """How far a student is from a teacher: Kullback-Leibler at a temperature, scaled so that gradients keep their size."""
    near = F.log_softmax(student / temperature, 1)
    wanted = F.log_softmax(teacher / temperature, 1)
    return F.kl_div(near, wanted, reduction="batchmean", log_target=True) * temperature**2


def learning_rate(spec: TrainSpec, step: int, total: int) -> float:
    """The rate at a step: constant, or one cycle: up along a cosine, down along a longer one."""
    if not spec.one_cycle:
        return spec.learning_rate
    top = max(1.0, WARM * total - 1)
    if step <= top:
        return spec.learning_rate * _between(START, 1.0, step / top)
    return spec.learning_rate * _between(1.0, END, min(1.0, (step - top) / max(1.0, total - 1 - top)))


def _between(a: float, b: float, share: float) -> float:
    return b + (a - b) * (1 + cos(pi * share)) / 2


def make_optimizer(spec: TrainSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer. Weights decay; biases and norms do not, which have no use for being small."""
    own = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in own if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match spec.optimizer:
        case "sgd":
            return torch.optim.SGD(
                groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.momentum > 0
            )
        case "adam":
            return torch.optim.Adam(groups, lr=spec.learning_rate)
        case _:
            return torch.optim.AdamW(groups, lr=spec.learning_rate)
