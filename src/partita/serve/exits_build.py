"""Networks with exits by name, in the sizes that data asks for.

Rules: a name builds the same network everywhere; weights are random from the seed; a model reference with cuts is as good
as a name; what does not fit is refused with what there is.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..errors import BadDocument, BadReference
from ..zoo import build
from .exits import Kind, MultiExit, keep_exits
from .exits_cut import with_exits
from .exits_early import early_cnn
from .exits_efficientnet import SCALES, efficientnet
from .exits_resnet import DEPTHS, resnet
from .exits_speech import wav2vec2
from .exits_text import bert


@dataclass(frozen=True)
class Builder:
    """What makes a network with exits, and what it takes."""

    kind: Kind
    make: Callable[..., MultiExit]


MODELS: dict[str, Builder] = {
    **{name: Builder("image", partial(resnet, name)) for name in DEPTHS},
    **{name: Builder("image", partial(efficientnet, name)) for name in SCALES},
    "early-cnn": Builder("image", early_cnn),
    "wav2vec2": Builder("audio", wav2vec2),
    "bert": Builder("text", bert),
}


def build_exits(  # noqa: PLR0913  # the public door: all but two have defaults
    model: str,
    classes: int,
    *,
    shape: Sequence[int] = (),
    exits: int | None = None,
    cuts: Sequence[str | int] = (),
    arguments: Mapping[str, Any] | None = None,
    frozen: bool = False,
    seed: int = 0,
) -> MultiExit:
    """A network with exits.

    `model` is a name of MODELS, or a model reference (`torchvision:resnet18`), which then needs `cuts`. `shape` is
    that of one sample; `arguments` go to the builder. With fewer `exits` than the network has, the last ones stay.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if ":" in model:
            made = _from_reference(
                model, classes, shape, cuts, dict(arguments or {}), frozen=frozen, seed=seed
            )
        else:
            made = _from_name(model, classes, shape, cuts, dict(arguments or {}))
    made = _with_fewer(made, model, exits)
    if frozen:
        made.freeze()
    return made


def _from_name(
    model: str, classes: int, shape: Sequence[int], cuts: Sequence[str | int], arguments: dict[str, Any]
) -> MultiExit:
    builder = MODELS.get(model)
    if builder is None:
        near = difflib.get_close_matches(model, MODELS, n=3)
        raise BadReference(
            f"there is no network with exits named {model!r}: there are {', '.join(MODELS)}",
            fix=f"did you mean {', '.join(near)}?" if near else "or write a model reference, and cuts",
        )
    known = inspect.signature(builder.make).parameters
    problems = [f"arguments: {model} has no {name!r}" for name in arguments if name not in known]
    if cuts:
        problems.append(f"cuts: {model} has its exits already")
    sizes, wrong = _sizes(builder.kind, tuple(shape))
    if problems + wrong:
        takes = ", ".join(name for name in known if name not in ("classes", "depth", "size"))
        raise BadDocument(f"model {model!r}", problems + wrong, fix=f"it takes {takes}")
    made = builder.make(classes, **{**sizes, **arguments})
    if shape and builder.kind != "text":
        made._example = lambda batch: (torch.randn(batch, *shape),)
    return made


def _sizes(kind: Kind, shape: tuple[int, ...]) -> tuple[dict[str, int], list[str]]:
    """The arguments that follow from the shape of a sample, and why they do not."""
    if not shape:
        return {}, []
    ranks = {"image": (3,), "audio": (1, 2), "text": (1,)}[kind]
    if len(shape) not in ranks or (kind == "audio" and len(shape) == 2 and shape[0] != 1):
        return {}, [f"shape: samples of {shape} are no {kind}"]
    if kind == "image":
        return {"channels": shape[0], "image": max(shape[1:])}, []
    return {"samples" if kind == "audio" else "length": shape[-1]}, []


def _from_reference(
    model: str,
    classes: int,
    shape: Sequence[int],
    cuts: Sequence[str | int],
    arguments: dict[str, Any],
    *,
    frozen: bool,
    seed: int,
) -> MultiExit:
    if not cuts:
        raise BadDocument(
            f"model {model!r}",
            ["cuts: a model reference has no exits of its own"],
            fix="name the stages behind which exits shall stand; `partita inspect` lists them",
        )
    if arguments:
        raise BadDocument(
            f"model {model!r}",
            [f"arguments: {', '.join(arguments)} have no place beside a reference"],
            fix="write them behind the reference: name?key=value",
        )
    network = build(model, dims={"image": max(shape[1:])} if len(shape) == 3 else {}, seed=seed)
    example = (*network.args, *network.kwargs.values())
    if len(shape) == 3:
        # Two samples: torch takes a dimension of one for a constant.
        example = (torch.randn(2, *shape),)
    return with_exits(network.module, example, cuts, classes=classes, frozen=frozen)


def _with_fewer(model: MultiExit, name: str, exits: int | None) -> MultiExit:
    count = len(model.names)
    if exits is None or exits == count:
        return model
    if not 1 <= exits < count:
        raise BadDocument(
            f"model {name!r}",
            [f"exits: it has {count} ({', '.join(model.names)}), not {exits}"],
            fix=f"ask for 1 to {count}",
        )
    return keep_exits(model, range(count - exits, count))
