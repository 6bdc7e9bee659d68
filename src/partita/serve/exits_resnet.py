"""ResNet-18, -34 and -50 with an exit after each of the four layer groups (He et al. 2015).

Rules: modules carry the names of torchvision, so that its weights load by name; images up to 64 wide get a stem that
keeps their size, because the one for large images would leave a picture of 32 only one point at the end.
"""

from __future__ import annotations

import torch
from torch import nn

from .exits import MultiExit, Stage
from .exits_heads import ModuleHead, PoolHead

# Blocks in each group, and whether a block is the wide one of three convolutions.
DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}
# Up to this side an image is small.
SMALL = 64


class BasicBlock(nn.Module):
    """Two convolutions and a way around them."""

    expansion = 1

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _way_around(given, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        around = x if self.downsample is None else self.downsample(x)
        made: torch.Tensor = self.relu(y + around)
        return made


class Bottleneck(nn.Module):
    """Three convolutions, the middle one narrow, and a way around them."""

    expansion = 4

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(given, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _way_around(given, wide, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        around = x if self.downsample is None else self.downsample(x)
        made: torch.Tensor = self.relu(y + around)
        return made


class ResNet(nn.Module):
    """The plain network."""

    def __init__(self, depth: str, classes: int, *, image: int, channels: int, width: int) -> None:
        super().__init__()
        counts, bottleneck = DEPTHS[depth]
        block: type[BasicBlock | Bottleneck] = Bottleneck if bottleneck else BasicBlock
        small = image <= SMALL
        side, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(channels, width, side, stride, side // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        given = width
        self.widths: list[int] = []
        for i, count in enumerate(counts):
            made = (width << i) * block.expansion
            rows = [
                block(given if j == 0 else made, width << i, 2 if i and j == 0 else 1) for j in range(count)
            ]
            self.add_module(f"layer{i + 1}", nn.Sequential(*rows))
            self.widths.append(made)
            given = made
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(given, classes)
        self.apply(_start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet(
    depth: str, classes: int = 1000, *, image: int = 224, channels: int = 3, width: int = 64
) -> MultiExit:
    """A ResNet with four exits."""
    net = ResNet(depth, classes, image=image, channels=channels, width=width)
    groups = [list(net.get_submodule(f"layer{i}").children()) for i in range(1, 5)]
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    stages = [Stage(stem, *groups[0]), *(Stage(*group) for group in groups[1:])]
    last = ModuleHead(nn.Sequential(net.avgpool, nn.Flatten(), net.fc))
    return MultiExit(
        stages,
        [*(PoolHead(made, classes) for made in net.widths[:-1]), last],
        names=[f"layer{i}" for i in range(1, 5)],
        classes=classes,
        kind="image",
        example=lambda batch: (torch.randn(batch, channels, image, image),),
        regular=net,
    )


def _way_around(given: int, made: int, stride: int) -> nn.Module | None:
    if stride == 1 and given == made:
        return None
    return nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
