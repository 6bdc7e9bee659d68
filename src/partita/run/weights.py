"""Whether two sides hold the same weights, by digest: names, types, shapes and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from ..engine import Array, Learner, Part, Values

# Large enough that few messages carry a state, small enough that a slow link shows progress.
STATE_MESSAGE_BYTES = 8 << 20


def weights_digest(part: Part) -> str:
    """The digest of a part's weights, or an empty text where the engine does not show them."""
    if isinstance(part, Learner):
        return state_digest(part.state())
    return str(getattr(part, "weights", ""))


def state_digest(state: Mapping[str, Array]) -> str:
    """The digest of named arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.ascontiguousarray(state[name])
        digest.update(f"{name}\0{value.dtype.name}\0{state[name].shape}\0".encode())
        digest.update(value.reshape(-1).view(np.uint8).data)
    return "sha256:" + digest.hexdigest()


def in_messages(state: Mapping[str, Array]) -> Iterator[tuple[Values, bool]]:
    """A state in groups that fit a message, the last one marked; one group at least."""
    group: Values = {}
    held = 0
    for name, value in state.items():
        if group and held + value.nbytes > STATE_MESSAGE_BYTES:
            yield group, False
            group, held = {}, 0
        group[name] = value
        held += value.nbytes
    yield group, True
