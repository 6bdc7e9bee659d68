"""Exits added to any torch module, at named cuts of its captured chain.

Rules: the module is not rewritten: its graph is captured once and cut, and the last exit is the module's own answer;
stages share the module's parameters; what crosses a cut are exactly the tensors that the chain says.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import nn

from ..engine import Mode
from ..engine.torch_capture import capture_torch
from ..engine.torch_cutout import Cutout
from ..engine.torch_model import TorchModel
from ..errors import BadDocument, IllegalCut
from ..graph import Chain, TensorSpec
from .exits import Features, Kind, MultiExit
from .exits_heads import FlatHead, MeanHead, PoolHead, WideHead

Head = Literal["auto", "pool", "wide", "mean", "flat"] | Callable[[tuple[int, ...], int], nn.Module]


class CutStage(nn.Module):
    """Some stages of a captured module, with the state they use registered here, so that they train and export."""

    def __init__(self, model: TorchModel, span: tuple[int, int], modes: Sequence[Mode]) -> None:
        super().__init__()
        chain = model.chain
        self._inputs, self._outputs = _crossing(chain, span[0]), _crossing(chain, span[1])
        if span[1] == len(chain):
            self._outputs = chain.outputs[:1]
        self._cutouts: dict[Mode, Cutout] = {mode: model.cutout(*span, mode) for mode in modes}
        for mode, cutout in self._cutouts.items():
            self.add_module(f"graph_{mode}", cast("nn.Module", cutout.run))
        # Own name of each state here, and the name it has in the module.
        self.origins: dict[str, str] = {}
        for mode in modes:
            for i, tensor in enumerate(self._cutouts[mode].constants):
                self.register_buffer(f"constant_{mode}_{i}", tensor, persistent=False)
            for name in model.part_params(*span, mode):
                self._hold(model, name)

    def _hold(self, model: TorchModel, name: str) -> None:
        own = name.replace(".", "__")
        if own in self.origins:
            return
        self.origins[own] = name
        tensor = model.book[name]
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(own, tensor)
        else:
            self.register_buffer(own, tensor, persistent=model.book.has(name))

    def forward(self, features: Features) -> Features:
        mode: Mode = "train" if self.training and "train" in self._cutouts else "eval"
        cutout = self._cutouts[mode]
        known = dict(zip(self._inputs, features, strict=True))
        states = [getattr(self, name.replace(".", "__")) for name in cutout.states]
        constants = [getattr(self, f"constant_{mode}_{i}") for i in range(len(cutout.constants))]
        made = getattr(self, f"graph_{mode}")(*states, *constants, *(known[name] for name in cutout.inputs))
        known.update(zip(cutout.outputs, made, strict=True))
        return tuple(known[name] for name in self._outputs)


class PickHead(nn.Module):
    """Shows a head one of the features: the one that the stage before the cut made."""

    def __init__(self, head: nn.Module, index: int) -> None:
        super().__init__()
        self.head, self.index = head, index

    def forward(self, features: Features) -> torch.Tensor:
        logits: torch.Tensor = self.head((features[self.index],))
        return logits


class OwnAnswer(nn.Module):
    """The answer that the module gives itself, as a head."""

    def forward(self, features: Features) -> torch.Tensor:
        return features[0]


def with_exits(  # noqa: PLR0913  # the public door: most have defaults
    module: nn.Module,
    example: Sequence[Any],
    cuts: Sequence[str | int],
    *,
    classes: int = 0,
    head: Head = "auto",
    kind: Kind = "image",
    frozen: bool = False,
    depth: int | None = None,
) -> MultiExit:
    """The module with an exit at each cut, and its own answer as the last.

    `cuts` are names of stages or of modules that hold them (the exit stands behind), or positions in the chain.
    `head` is a kind of head, or makes one from the shape of one sample and the number of classes. `frozen` leaves
    the module as it is and trains the heads.
    """
    captured = capture_torch(module, tuple(example), depth=depth, mode="eval")
    chain = captured.chain
    named = _positions(chain, cuts)
    positions = sorted(named)
    found = _classes(chain, classes)
    modes: tuple[Mode, ...] = ("eval",) if frozen else ("eval", "train")
    ends = [0, *positions, len(chain)]
    stages = [CutStage(captured, span, modes) for span in pairwise(ends)]
    heads: list[nn.Module] = [_head(chain, position, head, found) for position in positions]
    names = [named[position] for position in positions]
    rows = tuple(example)

    def make(batch: int) -> Features:
        # Cut to the batch, or repeated up to it: a module may not bear made-up inputs.
        return tuple(torch.cat([row] * -(-batch // len(row)))[:batch] for row in rows)

    model = MultiExit(
        stages,
        [*heads, OwnAnswer()],
        names=[*names, "final" if "final" not in names else "own"],
        classes=found,
        kind=kind,
        example=make,
        regular=captured.module,
    )
    if frozen:
        model.freeze()
    return model


def _crossing(chain: Chain, position: int) -> tuple[str, ...]:
    return chain.inputs if position == 0 else tuple(t.name for t in chain.cut(position).tensors)


def _positions(chain: Chain, cuts: Sequence[str | int]) -> dict[int, str]:
    """The positions, each with the name that its exit gets: the one asked for, else that of the stage before it."""
    problems: list[str] = []
    found: dict[int, str] = {}
    for cut in cuts:
        position = cut if isinstance(cut, int) else _after(chain, cut)
        if position is None:
            near = difflib.get_close_matches(str(cut), sorted(_places(chain)), n=3, cutoff=0.4)
            hint = f"; near are {', '.join(near)}" if near else ""
            problems.append(f"cuts: the module has no {cut!r}{hint}")
        elif not 0 < position < len(chain):
            problems.append(f"cuts: {cut!r} leaves nothing before or behind it")
        else:
            found[position] = chain.stages[position - 1].name if isinstance(cut, int) else cut
    if not cuts:
        problems.append("cuts: there are none")
    if problems:
        raise BadDocument("exits", problems, fix="`partita inspect` lists the stages by name")
    for position in found:
        chain.legal_cut(position)
    return found


def _places(chain: Chain) -> dict[str, int]:
    """For every stage, and every module that holds stages, the position behind its last."""
    found: dict[str, int] = {}
    for index, stage in enumerate(chain.stages):
        parts = stage.name.split(".")
        for length in range(1, len(parts) + 1):
            found[".".join(parts[:length])] = index + 1
    return found


def _after(chain: Chain, name: str) -> int | None:
    return _places(chain).get(name)


def _sample_shape(spec: TensorSpec) -> tuple[int, ...] | None:
    sizes = spec.shape[1:] if spec.shape is not None else ()
    fixed = tuple(size for size in sizes if isinstance(size, int))
    return fixed if len(fixed) == len(sizes) and sizes else None


def _classes(chain: Chain, classes: int) -> int:
    if len(chain.outputs) != 1:
        raise IllegalCut(
            f"{chain.name!r} gives {len(chain.outputs)} tensors, and an exit answers with one: the logits",
            fix="wrap it in a module that returns the logits alone",
        )
    shape = _sample_shape(chain.tensors[chain.outputs[0]])
    if shape is None or len(shape) != 1 or (classes and shape != (classes,)):
        raise BadDocument(
            "exits",
            [
                f"classes: the module answers with {shape} for a sample, not with {classes or 'one row of'} logits"
            ],
            fix="give classes= as many as the module has, and a module that returns logits",
        )
    return shape[0]


def _head(chain: Chain, position: int, wanted: Head, classes: int) -> nn.Module:
    crossing = _crossing(chain, position)
    own = chain.stages[position - 1]
    for name in (*reversed(own.outputs), *reversed(crossing)):
        spec = chain.tensors[name]
        shape = _sample_shape(spec)
        if name in crossing and spec.dtype.is_float and shape is not None:
            return PickHead(_made_head(wanted, shape, classes, own.name), crossing.index(name))
    raise IllegalCut(
        f"behind {own.name!r} crosses no float tensor of a fixed shape that a head could read",
        fix="choose another cut; `partita inspect` shows what crosses",
    )


def _made_head(wanted: Head, shape: tuple[int, ...], classes: int, where: str) -> nn.Module:
    if callable(wanted):
        return wanted(shape, classes)
    kind = {3: "pool", 2: "mean"}.get(len(shape), "flat") if wanted == "auto" else wanted
    if (kind in ("pool", "wide") and len(shape) != 3) or (kind == "mean" and len(shape) != 2):
        raise BadDocument(
            "exits", [f"head: {kind!r} does not fit {shape} behind {where!r}"], fix="leave it at 'auto'"
        )
    if kind == "flat":
        width = 1
        for size in shape:
            width *= size
        return FlatHead(width, classes)
    if kind == "mean":
        return MeanHead(shape[-1], classes)
    return PoolHead(shape[0], classes) if kind == "pool" else WideHead(shape[0], classes)
