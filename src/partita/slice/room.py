"""Stages that are too large for a place by their weights alone, and into how many pieces each would have to go.

Rules: only what weights decide is answered here, since dividing a stage divides its weights; a piece keeps some
headroom, because what puts the pieces together again takes a little too.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from ..graph import Chain
from .costs import Tensors
from .question import ACTIVATIONS, SliceQuestion

# How much of the room a piece may fill.
HEADROOM = 0.95


def oversized(chain: Chain, question: SliceQuestion) -> dict[str, int]:
    """Stages whose weights break a limit by themselves, with the least number of pieces that fit."""
    tensors, limits = Tensors.of(chain, question), question.platform.limits
    size = dict(zip(tensors.names, tensors.size, strict=True))
    alone = np.array([sum(size[n] for n in {*s.inputs, *s.outputs}) for s in chain.stages])
    weights = np.array([sum(chain.params[n] for n in set(s.params)) for s in chain.stages], float)
    memory = (question.memory - limits.runtime_memory - ACTIVATIONS * alone) / question.weight_copies
    rooms = [
        np.full(len(chain), float(most - limits.runtime(name)))
        for name, most in (("package", limits.package), ("storage", limits.storage), ("tmp", limits.tmp))
        if most is not None
    ]
    room = np.min([memory, *rooms], axis=0)
    # What travels in events is held twice: a piece leaves room for that where there is any.
    spare = room - alone * question.platform.payload_growth / question.weight_copies
    piece = np.where(spare > 0, spare, room) * HEADROOM
    return {
        chain.stages[i].name: max(2, ceil(weights[i] / piece[i]))
        for i in np.flatnonzero((weights > room) & (room > 0))
    }
