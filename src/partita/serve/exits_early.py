"""A network designed for early exits: it makes pictures small at once, and its first heads are wide.

A network that keeps pictures large for long has spent half its work before an exit can know anything. This one
never computes at full size and is at a quarter of the side after the first exit; its early heads look at a grid of four by four places instead of one mean.

Rules: the work grows so that the exits lie near 10, 30, 60 and 100 percent of the whole; every block is normalised and
has a way around it, so that what the last exit learns reaches the first stages.
"""

from __future__ import annotations

import torch
from torch import nn

from .exits import MultiExit, Stage
from .exits_heads import PoolHead, WideHead

NAMES = ("tenth", "third", "two-thirds", "final")


class Block(nn.Module):
    """Two convolutions with a way around: by one of 1 by 1 where the shape changes."""

    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or given != made:
            self.around = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        made: torch.Tensor = self.relu(self.bn2(self.conv2(y)) + self.around(x))
        return made


def early_cnn(
    classes: int = 10, *, image: int = 32, channels: int = 3, width: int = 24, drop: float = 0.1
) -> MultiExit:
    """Four exits. Images larger than 64 are first brought to a quarter of their side."""
    first = nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
    stem = first if image <= 64 else nn.Sequential(nn.AvgPool2d(image // 32), first)
    w2, w3, w4 = 2 * width, 4 * width, 6 * width
    stages = [
        Stage(stem, Block(width, width)),
        Stage(_Light(width, w2), Block(w2, w2), _Light(w2, w2)),
        Stage(Block(w2, w3)),
        Stage(Block(w3, w4, 2), Block(w4, w4)),
    ]
    heads = [
        WideHead(width, classes, drop=drop),
        WideHead(w2, classes, hidden=128, drop=drop),
        WideHead(w3, classes, side=2, drop=drop),
        PoolHead(w4, classes),
    ]
    return MultiExit(
        stages,
        heads,
        names=NAMES,
        classes=classes,
        kind="image",
        example=lambda batch: (torch.randn(batch, channels, image, image),),
    )


class _Light(nn.Module):
    """One convolution that halves the side where the channels grow."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        stride = 2 if made != given else 1
        self.conv = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.relu(self.bn(self.conv(x)))
        return made
