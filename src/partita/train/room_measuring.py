"""The cloud measures the model of a visitor: what its stages and the codecs cost here.

Rules: states that are not held are borrowed for it, with small random values, and given back; what is held comes out
as it went in; what would take too much memory is refused before it is taken; a slower device, pretended, is slower
here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch

from ..engine.torch_model import TorchModel
from ..errors import BadDocument
from ..graph import Chain, Profile
from ..profile import Effort, activation_bytes, measure, measure_codecs
from .room_limits import exceeded
from .settings import Optimizing
from .updating import with_updates

# A second or two for a network of an edge device; other visitors wait for it.
EFFORT: Final = Effort(seconds=0.2, budget=8.0)
_CODECS: Final = Effort(seconds=0.1, budget=5.0)
_MOST_CODECS: Final = 32
# Activations are kept for the way back, beside the gradients of the weights.
_TRAINING: Final = 2
# Small, so that deep networks without normalisation stay finite.
_SPREAD: Final = 0.02


def measured(
    model: TorchModel,
    held: frozenset[str],
    batch: int,
    codecs: Sequence[str],
    *,
    optimizing: Optimizing | None = None,
    slow: float = 1.0,
    most: int,
) -> Profile:
    """The profile of a model at a batch size, in training."""
    problems = [f"batch: {batch} is below 1"] if batch < 1 else []
    if len(codecs) > _MOST_CODECS:
        problems.append(f"codecs: {len(codecs)} are more than {_MOST_CODECS}")
    if problems:
        raise BadDocument("measure", problems, fix="ask for what plans may use")
    needed = bytes_needed(model.chain, batch)
    if needed > most:
        raise exceeded(f"measuring {model.chain.name!r} at batch {batch}", needed, most, "state")
    with torch.random.fork_rng(), _borrowed(model, held):
        effort = _effort(EFFORT, slow)
        found = measure(model, batches=(batch,), effort=effort, backward=True)
        if optimizing is not None:
            found = with_updates(found, model, optimizing, quantile=effort.quantile)
    found = replace(found, codecs=measure_codecs(codecs, effort=_effort(_CODECS, slow)))
    return found.slowed(slow) if slow > 1 else found


def _effort(effort: Effort, slow: float) -> Effort:
    """A device that is pretended stretches the least that work takes."""
    return replace(effort, quantile=0.0) if slow > 1 else effort


def bytes_needed(chain: Chain, batch: int) -> int:
    """An estimate from above: weights, their gradients, and all activations at the worst moment."""
    known = dict.fromkeys(chain.symbols, batch)
    return _TRAINING * (sum(chain.params.values()) + max(activation_bytes(chain, known), default=0))


@contextmanager
def _borrowed(model: TorchModel, held: frozenset[str]) -> Iterator[None]:
    missing = [name for name in model.book.all() if name not in held]
    before = {name: model.book[name].detach().clone() for name in held}
    model.hold(missing)
    try:
        with torch.no_grad():
            for name in missing:
                tensor = model.book[name]
                if isinstance(tensor, torch.nn.Parameter):
                    tensor.normal_(0.0, _SPREAD)
                elif tensor.is_floating_point():
                    tensor.fill_(1.0)  # a variance that is seen must not be zero
        yield
    finally:
        model.drop(missing)
        with torch.no_grad():
            for name, value in before.items():
                model.book[name].copy_(value)
