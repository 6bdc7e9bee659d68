"""EfficientNet b0, b1 and b2 with exits after the second and fourth group of blocks and at the end (Tan and Le 2019).

Rules: modules carry the names of torchvision, so that its weights load by name; for images up to 64 wide the stem keeps
their size.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import nn

from .exits import MultiExit, Stage
from .exits_heads import ModuleHead, PoolHead
from .exits_resnet import SMALL

# Expansion, kernel, stride, channels in and out, repeats: the seven groups of b0.
GROUPS = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
# How much wider and deeper than b0, the side of its images, and the share that the classifier drops.
SCALES = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
}
# Groups after which the early exits stand.
EXITS = (2, 4)


class _SqueezeExcite(nn.Module):
    """Each channel weighed by what all of them say on average."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.SiLU(inplace=True)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.activation(self.fc1(self.avgpool(x)))
        weighed: torch.Tensor = x * self.scale_activation(self.fc2(scale))
        return weighed


class MBConv(nn.Module):
    """Widen, filter each channel alone, weigh the channels, narrow again; and a way around where the shape stays."""

    def __init__(self, expand: int, kernel: int, stride: int, given: int, made: int, skip: float) -> None:
        super().__init__()
        wide = _even(given * expand)
        steps: list[nn.Module] = [_convolution(given, wide, 1)] if wide != given else []
        steps += [
            _convolution(wide, wide, kernel, stride, groups=wide),
            _SqueezeExcite(wide, max(1, given // 4)),
            _convolution(wide, made, 1, active=False),
        ]
        self.block = nn.Sequential(*steps)
        self.around = stride == 1 and given == made
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.block(x)
        if not self.around:
            return y
        if self.training and self.skip:
            # Stochastic depth: whole rows of the batch go around the block.
            kept = torch.empty(len(y), 1, 1, 1, dtype=y.dtype, device=y.device).bernoulli_(1 - self.skip)
            y = y * (kept / (1 - self.skip))
        return x + y


class EfficientNet(nn.Module):
    """The plain network."""

    def __init__(self, size: str, classes: int, *, image: int, channels: int) -> None:
        super().__init__()
        wider, deeper, _, drop = SCALES[size]
        stem = _even(32 * wider)
        self.widths = [_even(out * wider) for *_, out, _ in GROUPS]
        counts = [ceil(count * deeper) for *_, count in GROUPS]
        features: list[nn.Module] = [_convolution(channels, stem, 3, 1 if image <= SMALL else 2)]
        given, at = stem, 0
        for (expand, kernel, stride, *_), made, count in zip(GROUPS, self.widths, counts, strict=True):
            blocks = []
            for j in range(count):
                skip = 0.2 * at / sum(counts)
                blocks.append(MBConv(expand, kernel, stride if j == 0 else 1, given, made, skip))
                given, at = made, at + 1
            features.append(nn.Sequential(*blocks))
        features.append(_convolution(given, 4 * given, 1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(drop, inplace=True), nn.Linear(4 * given, classes))
        self.apply(_start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def efficientnet(size: str, classes: int = 1000, *, image: int = 0, channels: int = 3) -> MultiExit:
    """An EfficientNet with three exits."""
    side = image or SCALES[size][2]
    net = EfficientNet(size, classes, image=side, channels=channels)
    parts = list(net.features.children())
    first, second = EXITS
    stages = [
        _stage(parts[: first + 1]),
        _stage(parts[first + 1 : second + 1]),
        _stage(parts[second + 1 :]),
    ]
    last = ModuleHead(nn.Sequential(net.avgpool, nn.Flatten(), net.classifier))
    return MultiExit(
        stages,
        [PoolHead(net.widths[first - 1], classes), PoolHead(net.widths[second - 1], classes), last],
        names=[f"group{first}", f"group{second}", "final"],
        classes=classes,
        kind="image",
        example=lambda batch: (torch.randn(batch, channels, side, side),),
        regular=net,
    )


def _stage(parts: list[nn.Module]) -> Stage:
    """The stem and the last convolution are blocks, and so is each block of a group."""
    blocks: list[nn.Module] = []
    for part in parts:
        inner = list(part.children())
        blocks += inner if isinstance(inner[0], MBConv) else [part]
    return Stage(*blocks)


def _even(channels: float) -> int:
    """To the next multiple of eight that is not more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _convolution(
    given: int, made: int, kernel: int, stride: int = 1, *, groups: int = 1, active: bool = True
) -> nn.Sequential:
    steps: list[nn.Module] = [
        nn.Conv2d(given, made, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(made),
    ]
    if active:
        steps.append(nn.SiLU(inplace=True))
    return nn.Sequential(*steps)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        reach = module.out_features**-0.5
        nn.init.uniform_(module.weight, -reach, reach)
        nn.init.zeros_(module.bias)
