"""A small wav2vec2 with exits after its first, third and last layer (Baevski et al. 2020).

Rules: modules carry the names of transformers, so that its weights load by name; sound comes as a waveform of 16,000
points a second; every exit answers with the mean over time, because no single moment holds a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from .exits import MultiExit, Stage
from .exits_heads import MeanHead
from .exits_text import attend, exit_marks

# Kernel and stride of the convolutions: 320 points of sound become one place.
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


class _ConvLayer(nn.Module):
    """A convolution over time; the first one is followed by a norm over each channel."""

    def __init__(self, given: int, made: int, kernel: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(given, made, kernel, stride, bias=False)
        self.layer_norm: nn.Module = nn.GroupNorm(made, made) if first else nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.layer_norm(self.conv(x)))


class _FeatureExtractor(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(
            _ConvLayer(1 if i == 0 else width, width, kernel, stride, first=i == 0)
            for i, (kernel, stride) in enumerate(CONVOLUTIONS)
        )

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = sound.unsqueeze(1) if sound.ndim == 2 else sound  # some data carries the one channel itself
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class _Projection(nn.Module):
    def __init__(self, given: int, width: int, drop: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(given)
        self.projection = nn.Linear(given, width)
        self.dropout = nn.Dropout(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.dropout(self.projection(self.layer_norm(x)))
        return made


class _Places(nn.Module):
    """Where a sound lies, told by a wide convolution over its neighbours."""

    def __init__(self, width: int, kernel: int = 128, groups: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        # torch's own start lets a sum over so wide a kernel drown the sound itself.
        nn.init.normal_(self.conv.weight, std=2 * (kernel * width) ** -0.5)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # An even kernel gives one place too many.
        return F.gelu(self.conv(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads)
        made: torch.Tensor = self.out_proj(seen)
        return made


class _FeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(width, inner)
        self.output_dense = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.output_dense(F.gelu(self.intermediate_dense(x)))
        return made


class SpeechLayer(nn.Module):
    """Attention, then two linear layers, each added to what came before."""

    def __init__(self, width: int, heads: int, inner: int, drop: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.layer_norm = nn.LayerNorm(width)
        self.feed_forward = _FeedForward(width, inner)
        self.final_layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer_norm(x + self.dropout(self.attention(x)))
        made: torch.Tensor = self.final_layer_norm(x + self.dropout(self.feed_forward(x)))
        return made


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int, layers: int, drop: float) -> None:
        super().__init__()
        self.pos_conv_embed = _Places(width)
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(drop)
        self.layers = nn.ModuleList(SpeechLayer(width, heads, 4 * width, drop) for _ in range(layers))


class _Begin(nn.Module):
    """The encoder's beginning, without its layers: places, norm."""

    def __init__(self, encoder: _Encoder) -> None:
        super().__init__()
        self.pos_conv_embed, self.layer_norm = encoder.pos_conv_embed, encoder.layer_norm
        self.dropout = encoder.dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _begin(self, x)


def _begin(holder: _Encoder | _Begin, x: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = holder.dropout(holder.layer_norm(x + holder.pos_conv_embed(x)))
    return made


class Wav2Vec2(nn.Module):
    """The plain network: a waveform in, logits out."""

    def __init__(
        self, classes: int, *, conv_dim: int, width: int, layers: int, heads: int, drop: float
    ) -> None:
        super().__init__()
        self.feature_extractor = _FeatureExtractor(conv_dim)
        self.feature_projection = _Projection(conv_dim, width, drop)
        self.encoder = _Encoder(width, heads, layers, drop)
        self.head = MeanHead(width, classes)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = _begin(self.encoder, self.feature_projection(self.feature_extractor(sound)))
        for layer in self.encoder.layers:
            x = layer(x)
        logits: torch.Tensor = self.head((x,))
        return logits


def wav2vec2(  # noqa: PLR0913  # the sizes of a wav2vec2
    classes: int = 35,
    *,
    conv_dim: int = 128,
    width: int = 768,
    layers: int = 6,
    heads: int = 12,
    after: Sequence[int] = (),
    samples: int = 16_000,
    drop: float = 0.1,
) -> MultiExit:
    """A wav2vec2 with an exit after each layer counted in `after` (from 1; first and third unless said), and at the end."""
    marks = exit_marks(layers, after)
    net = Wav2Vec2(classes, conv_dim=conv_dim, width=width, layers=layers, heads=heads, drop=drop)
    rows = list(net.encoder.layers)
    ears = (net.feature_extractor, net.feature_projection, _Begin(net.encoder))
    stages = [Stage(*ears, *rows[: marks[0]])]
    stages += [Stage(*rows[a:b]) for a, b in pairwise(marks)]
    return MultiExit(
        stages,
        [*(MeanHead(width, classes) for _ in marks[:-1]), net.head],
        names=[*(f"layer{mark}" for mark in marks[:-1]), "final"],
        classes=classes,
        kind="audio",
        example=lambda batch: (torch.randn(batch, samples),),
        regular=net,
    )
