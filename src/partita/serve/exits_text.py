"""A BERT with exits after some of its layers, answering with the mean over the words (Devlin et al. 2018).

Rules: modules carry the names of transformers, so that its weights load by name; attention is written out as matrix
products, which every exporter and every counter knows; a padded word is seen by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from ..errors import BadDocument
from .exits import MultiExit, Stage
from .exits_heads import MeanHead

# What a score of a hidden place becomes: far below all others, and finite in half precision too.
HIDDEN = -1e4


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention with several heads over [batch, places, width]; `mask` is one where a place is seen."""
    batch, places, width = query.shape
    q, k, v = (t.reshape(batch, -1, heads, width // heads).transpose(1, 2) for t in (query, key, value))
    scores = q @ k.transpose(2, 3) * (width // heads) ** -0.5
    if mask is not None:
        scores = scores + (1.0 - mask.to(scores.dtype))[:, None, None, :] * HIDDEN
    seen: torch.Tensor = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, places, width)
    return seen


class _SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))


class _AddNorm(nn.Module):
    """A layer whose result is added to what came before, and normalised."""

    def __init__(self, given: int, width: int, drop: float) -> None:
        super().__init__()
        self.dense = nn.Linear(given, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(drop)

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.LayerNorm(self.dropout(self.dense(x)) + before)
        return made


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.self = _SelfAttention(width)
        self.output = _AddNorm(width, width, drop)
        self.heads = heads

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = self.self
        seen = attend(own.query(x), own.key(x), own.value(x), self.heads, mask)
        made: torch.Tensor = self.output(seen, x)
        return made


class _Intermediate(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.dense(x))


class BertLayer(nn.Module):
    """Attention, then two linear layers, each added to what came before."""

    def __init__(self, width: int, heads: int, inner: int, drop: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, drop)
        self.intermediate = _Intermediate(width, inner)
        self.output = _AddNorm(inner, width, drop)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.attention(x, mask)
        made: torch.Tensor = self.output(self.intermediate(x), x)
        return made


class _Embeddings(nn.Module):
    """Words, places and the kind of a text, added up."""

    def __init__(self, vocabulary: int, width: int, longest: int, drop: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(longest, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(drop)
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = self.position_embeddings.weight[: tokens.shape[1]]
        both = self.word_embeddings(tokens) + places + self.token_type_embeddings.weight[0]
        made: torch.Tensor = self.dropout(self.LayerNorm(both))
        return made


class _Encoder(nn.Module):
    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


class Bert(nn.Module):
    """The plain network: tokens, and which of them are words, in; logits out."""

    def __init__(
        self, classes: int, *, vocabulary: int, width: int, layers: int, heads: int, longest: int, drop: float
    ) -> None:
        super().__init__()
        self.embeddings = _Embeddings(vocabulary, width, longest, drop)
        self.encoder = _Encoder([BertLayer(width, heads, 4 * width, drop) for _ in range(layers)])
        self.head = MeanHead(width, classes, masked=True)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.embeddings(tokens)
        for layer in self.encoder.layer:
            x = layer(x, mask)
        logits: torch.Tensor = self.head((x, mask))
        return logits


class _Embed(Stage):
    """The first stage: a text that comes without a mask is masked where its tokens are zero."""

    def __init__(self, embeddings: nn.Module, *blocks: nn.Module) -> None:
        super().__init__(*blocks)
        self.embeddings = embeddings

    def forward(self, features: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        tokens = features[0]
        mask = features[1] if len(features) > 1 else (tokens != 0).to(torch.int64)
        return super().forward((self.embeddings(tokens), mask))


def bert(  # noqa: PLR0913  # the sizes of a BERT
    classes: int = 2,
    *,
    vocabulary: int = 30522,
    width: int = 384,
    layers: int = 6,
    heads: int = 12,
    longest: int = 512,
    length: int = 64,
    after: Sequence[int] = (),
    drop: float = 0.1,
) -> MultiExit:
    """A BERT with an exit after each layer counted in `after` (from 1), and one at the end.

    It takes tokens, and a mask where the text has one. `length` is that of the example.
    """
    marks = exit_marks(layers, after)
    sizes = {"vocabulary": vocabulary, "width": width, "layers": layers, "heads": heads}
    net = Bert(classes, **sizes, longest=max(longest, length), drop=drop)
    rows = list(net.encoder.layer)
    stages: list[nn.Module] = [_Embed(net.embeddings, *rows[: marks[0]])]
    stages += [Stage(*rows[a:b]) for a, b in pairwise(marks)]

    def example(batch: int) -> tuple[torch.Tensor, ...]:
        return torch.randint(1, vocabulary, (batch, length)), torch.ones(batch, length, dtype=torch.int64)

    return MultiExit(
        stages,
        [*(MeanHead(width, classes, masked=True) for _ in marks[:-1]), net.head],
        names=[*(f"layer{mark}" for mark in marks[:-1]), "final"],
        classes=classes,
        kind="text",
        example=example,
        regular=net,
    )


def exit_marks(layers: int, after: Sequence[int]) -> tuple[int, ...]:
    """After which layers the exits stand: those asked for, else the first and the middle one; and always the last."""
    wanted = tuple(after) or (1, max(2, layers // 2))
    wrong = [mark for mark in wanted if not 1 <= mark <= layers]
    if wrong and after:
        raise BadDocument(
            "exits",
            [f"after: there is no layer {mark}" for mark in wrong],
            fix=f"count layers from 1 to {layers}",
        )
    return tuple(sorted({*(mark for mark in wanted if mark <= layers), layers}))
