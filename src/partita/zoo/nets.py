"""The few networks no library has in this size: for demos and tests, on images of 32 by 32 and short texts.

Rule: all of them carry normalisation layers, because training across a cut is stale by a step or two and nets
without them do not bear that.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from .network import Network


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or given != made:
            self.shortcut = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        out: torch.Tensor = self.relu(y)
        return out


class SmallResNet(nn.Module):
    """A residual network for images of 32 by 32 (He et al. 2015, section 4.2: 6n+2 layers).

    With `stride` 4 and a fourth layer it is one for larger images.
    """

    def __init__(
        self, width: int = 16, blocks: int = 2, classes: int = 10, *, layers: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        side = 3 if stride == 1 else 7
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, side, stride, side // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        widths = (width, *(width << i for i in range(layers)))
        self.layers = tuple(f"layer{i + 1}" for i in range(layers))
        for i, (given, made) in enumerate(pairwise(widths)):
            rows = [
                ResidualBlock(given if j == 0 else made, made, 2 if i > 0 and j == 0 else 1)
                for j in range(blocks)
            ]
            self.add_module(self.layers[i], nn.Sequential(*rows))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        out: torch.Tensor = self.fc(self.pool(x).flatten(1))
        return out


class TextClassifier(nn.Module):
    """Embedding, bidirectional LSTM, the two last states, a normalised head."""

    def __init__(self, vocabulary: int = 1000, width: int = 32, layers: int = 2, classes: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, bidirectional=True, dropout=0.1)
        self.norm = nn.LayerNorm(2 * width)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (state, _) = self.lstm(self.embedding(tokens))
        both = torch.cat([state[-2], state[-1]], dim=1)
        out: torch.Tensor = self.fc(self.drop(self.norm(both)))
        return out


def _convolution(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU(inplace=True))


class SmallUNet(nn.Module):
    """Down and up again, with a skip at every height: the net with the longest crossings."""

    def __init__(self, width: int = 8, classes: int = 3) -> None:
        super().__init__()
        self.down1 = _convolution(3, width)
        self.down2 = _convolution(width, 2 * width)
        self.bottom = _convolution(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.merge2 = _convolution(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge1 = _convolution(2 * width, width)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        high = self.down1(image)
        low = self.down2(self.pool(high))
        x = self.bottom(self.pool(low))
        x = self.merge2(torch.cat([self.up2(x), low], dim=1))
        x = self.merge1(torch.cat([self.up1(x), high], dim=1))
        out: torch.Tensor = self.head(x)
        return out


class TwoTowers(nn.Module):
    """Two inputs that meet, three outputs in a nested answer, one of them an index."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(8, width), nn.LayerNorm(width), nn.ReLU())
        self.right = nn.Sequential(nn.Linear(6, width), nn.Tanh())
        self.mix = nn.Linear(width, width)
        self.drop = nn.Dropout(0.2)
        self.classes = nn.Linear(width, 3)
        self.box = nn.Linear(width, 4)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, object]:
        near, far = self.left(left), self.right(right)
        both = self.drop(self.mix(near * far) + near)
        scores = self.classes(both)
        return {"scores": scores, "where": (self.box(both) + self.box(far), None), "best": scores.argmax(1)}


def _image(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32)


def resnet_tiny(batch: int = 2, **options: int) -> Network:
    module = SmallResNet(**options)
    return Network(module, (_image(batch),))


def resnet_small(batch: int = 2, image: int = 128, **options: int) -> Network:
    module = SmallResNet(**{"width": 32, "layers": 4, "stride": 4, **options})
    return Network(module, (torch.randn(batch, 3, image, image),))


def bilstm_tiny(batch: int = 2, **options: int) -> Network:
    module = TextClassifier(**options)
    tokens = torch.randint(0, module.embedding.num_embeddings, (batch, 24))
    return Network(module, (tokens,))


def unet_tiny(batch: int = 2, **options: int) -> Network:
    module = SmallUNet(**options)
    return Network(module, (_image(batch),))


def towers_tiny(batch: int = 2, **options: int) -> Network:
    module = TwoTowers(**options)
    return Network(module, (torch.randn(batch, 8), torch.randn(batch, 6)))


NETS: dict[str, Callable[..., Network]] = {
    "bilstm-tiny": bilstm_tiny,
    "resnet-small": resnet_small,
    "resnet-tiny": resnet_tiny,
    "towers-tiny": towers_tiny,
    "unet-tiny": unet_tiny,
}
