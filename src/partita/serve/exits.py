"""A network with exits: stages in a row, and behind each a head that gives an answer.

Rules: a stage takes a tuple of feature tensors and gives one; a head takes the features behind its stage and gives
logits; what a later stage or head needs travels in the features, nothing passes by on the side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from ..errors import BadDocument

Features = tuple[torch.Tensor, ...]
Kind = Literal["image", "audio", "text"]
Example = Callable[[int], Features]


class Stage(nn.Module):
    """Blocks in a row. Each changes the first feature; the others are shown to it and go along."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Features) -> Features:
        first, *rest = features
        for block in self.blocks:
            first = block(first, *rest)
        return (first, *rest)


class Row(nn.Module):
    """Stages in a row that have become one, because the exits between them are gone."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, features: Features) -> Features:
        for stage in self.stages:
            features = stage(features)
        return features


class Subnetwork(nn.Module):
    """A piece that runs alone: features in; out come logits where it ends with an exit, and features where others follow."""

    def __init__(self, stage: nn.Module, head: nn.Module | None, *, include_features: bool) -> None:
        super().__init__()
        self.stage, self.head, self.include_features = stage, head, include_features

    def forward(self, *features: torch.Tensor) -> torch.Tensor | Features:
        made: Features = self.stage(features)
        if self.head is None:
            return made
        logits: torch.Tensor = self.head(made)
        return (logits, *made) if self.include_features else logits


class MultiExit(nn.Module):
    """A network whose every stage ends with an exit. `forward` gives the logits of all of them.

    `regular` is the plain network whose modules the stages are made of; `example` makes up inputs for a batch size.
    A frozen network trains its heads only: its stages stay as they are, their running averages included.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        heads: Sequence[nn.Module],
        *,
        names: Sequence[str],
        classes: int,
        kind: Kind,
        example: Example,
        regular: nn.Module | None = None,
    ) -> None:
        super().__init__()
        _check(len(stages), len(heads), names, classes)
        self.stages, self.heads = nn.ModuleList(stages), nn.ModuleList(heads)
        self.names, self.classes, self.kind = tuple(names), classes, kind
        self.frozen = False
        self._example = example
        # In a list, so that its parameters are not registered a second time under other names.
        self._regular = [] if regular is None else [regular]

    def forward(self, *inputs: torch.Tensor) -> Features:
        features: Features = inputs
        answers = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            answers.append(head(features))
        return tuple(answers)

    def example(self, batch: int = 1) -> Features:
        """Made-up inputs, the same at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self._example(batch)

    def train(self, mode: bool = True) -> MultiExit:
        super().train(mode)
        if self.frozen:
            self.stages.eval()
        return self

    def freeze(self) -> None:
        """Train the heads only from now on. The last head too, where it is one of its own."""
        self.frozen = True
        self.stages.requires_grad_(False)
        self.train(self.training)

    # -- by the names of the original ----------------------------------------------------------------------

    @property
    def num_subnetworks(self) -> int:
        return len(self.stages)

    def get_subnetwork(self, index: int) -> Subnetwork:
        """The stage that ends with an exit, and the exit; features go on from all but the last."""
        last = len(self.stages) - 1
        return Subnetwork(self.stages[index], self.heads[index], include_features=index < last)

    @property
    def num_blocks(self) -> int:
        return len(self._blocks())

    def get_block(self, index: int) -> Subnetwork:
        """One block: the smallest piece that runs alone. It has a head where an exit stands behind it."""
        stage, exit_at = self._blocks()[index]
        head = None if exit_at is None else self.heads[exit_at]
        return Subnetwork(stage, head, include_features=exit_at != len(self.stages) - 1)

    def _blocks(self) -> list[tuple[nn.Module, int | None]]:
        found: list[tuple[nn.Module, int | None]] = []
        for k, stage in enumerate(self.stages):
            pieces = _pieces(stage)
            found += [(piece, None) for piece in pieces[:-1]]
            found.append((pieces[-1], k))
        return found

    def regular(self) -> nn.Module | None:
        """The plain network itself, which shares its parameters with this one."""
        return self._regular[0] if self._regular else None

    def restore_regular_model(self) -> nn.Module:
        """The plain network without early heads, as a copy with the present weights."""
        if not self._regular:
            return _LastAnswer(copy.deepcopy(self))
        plain = copy.deepcopy(self._regular[0])
        held = dict(plain.named_buffers()) | dict(plain.named_parameters())
        with torch.no_grad():
            for stage in self.modules():
                for own, name in getattr(stage, "origins", {}).items():
                    # Buffers of a captured module part from the module's own when a network moves to a device.
                    held[name].copy_(getattr(stage, own))
        return plain.train(self.training)


def keep_exits(model: MultiExit, keep: Sequence[int]) -> MultiExit:
    """The same network with these exits only; the last one always stays. Weights are shared."""
    last = len(model.stages) - 1
    chosen = sorted({*keep, last})
    if chosen[0] < 0 or chosen[-1] > last:
        raise BadDocument(
            "exits", [f"{list(keep)}: the network has exits 0 to {last}"], fix="name exits that it has"
        )
    starts = [0, *(k + 1 for k in chosen[:-1])]
    stages = [_joined(list(model.stages)[a : b + 1]) for a, b in zip(starts, chosen, strict=True)]
    return MultiExit(
        stages,
        [model.heads[k] for k in chosen],
        names=[model.names[k] for k in chosen],
        classes=model.classes,
        kind=model.kind,
        example=model._example,
        regular=model.regular(),
    )


def summed(model: MultiExit) -> MultiExit:
    """The same network where each exit answers with the sum of all logits up to it.

    The running sum is one more feature, so whoever runs stages and heads needs to know nothing of it.
    """
    stages = [
        _SumStage(stage, head, first=k == 0)
        for k, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True))
    ]
    heads = [_SumHead() for _ in stages]
    made = MultiExit(
        stages,
        heads,
        names=model.names,
        classes=model.classes,
        kind=model.kind,
        example=model._example,
        regular=model.regular(),
    )
    return made.train(model.training)


class _SumStage(nn.Module):
    def __init__(self, stage: nn.Module, head: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.stage, self.head, self.first = stage, head, first

    def forward(self, features: Features) -> Features:
        if self.first:
            made: Features = self.stage(features)
            return (*made, self.head(made))
        made = self.stage(features[:-1])
        return (*made, features[-1] + self.head(made))


class _SumHead(nn.Module):
    def forward(self, features: Features) -> torch.Tensor:
        return features[-1]


class _LastAnswer(nn.Module):
    """A network with exits as one that answers only at its end."""

    def __init__(self, model: MultiExit) -> None:
        super().__init__()
        self.stages, self.head = model.stages, model.heads[-1]

    def forward(self, *inputs: torch.Tensor) -> Any:
        features: Features = inputs
        for stage in self.stages:
            features = stage(features)
        return self.head(features)


def _joined(stages: list[nn.Module]) -> nn.Module:
    return stages[0] if len(stages) == 1 else Row(*stages)


def _pieces(stage: nn.Module) -> list[nn.Module]:
    if isinstance(stage, Stage):
        return [Stage(block) for block in stage.blocks]
    if isinstance(stage, Row):
        return [piece for inner in stage.stages for piece in _pieces(inner)]
    return [stage]


def _check(stages: int, heads: int, names: Sequence[str], classes: int) -> None:
    problems = [] if stages else ["stages: there are none"]
    if heads != stages:
        problems.append(f"heads: {heads} for {stages} stages")
    if len(names) != stages:
        problems.append(f"names: {len(names)} for {stages} stages")
    if len(set(names)) != len(names):
        problems.append(f"names: {', '.join(names)} has one twice")
    if classes < 2:
        problems.append(f"classes: {classes} leave nothing to choose")
    if problems:
        raise BadDocument("network with exits", problems, fix="give every stage one head and one name")
