"""Heads: from the features behind a stage to logits.

Rules: a head reads the features and changes none; early heads are cheap beside the stage before them, because a head
that nobody answers from is work for nothing; all sizes are fixed when the head is made.
"""

from __future__ import annotations

import torch
from torch import nn

from .exits import Features


class PoolHead(nn.Module):
    """The mean over the picture, and one linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, features: Features) -> torch.Tensor:
        logits: torch.Tensor = self.fc(features[0].mean((2, 3)))
        return logits


class WideHead(nn.Module):
    """Means over a grid of `side` by `side`: an early feature still knows where, which one mean would forget."""

    def __init__(
        self, channels: int, classes: int, *, side: int = 4, hidden: int = 0, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.drop = nn.Dropout(drop)
        given = channels * side * side
        self.middle: nn.Module = nn.Identity()
        if hidden:
            self.middle = nn.Sequential(nn.Linear(given, hidden), nn.ReLU(inplace=True), nn.Dropout(drop))
        self.fc = nn.Linear(hidden or given, classes)

    def forward(self, features: Features) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.middle(self.drop(self.pool(features[0]).flatten(1))))
        return logits


class MeanHead(nn.Module):
    """The mean over time, of the places that a mask allows where one goes along, and one linear layer."""

    def __init__(self, width: int, classes: int, *, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked
        self.fc = nn.Linear(width, classes)

    def forward(self, features: Features) -> torch.Tensor:
        hidden = features[0]
        if self.masked:
            mask = features[1].to(hidden.dtype).unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        else:
            mean = hidden.mean(1)
        logits: torch.Tensor = self.fc(mean)
        return logits


class FlatHead(nn.Module):
    """One linear layer on features that have no place or time."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, features: Features) -> torch.Tensor:
        logits: torch.Tensor = self.fc(features[0].flatten(1))
        return logits


class ModuleHead(nn.Module):
    """The head that a plain network already has."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Features) -> torch.Tensor:
        logits: torch.Tensor = self.module(features[0])
        return logits
