"""A plan that is being prepared: what it needs, and the states that arrive for it, beside those in force.

Rules: what arrives is checked by name, type, shape and size before it is decoded; nothing here touches what is in
force; it is all there and has the digest that the edge computed, or it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final, final

from ..engine import Values
from ..errors import BadDocument, DigestMismatch
from ..graph import DType
from ..plan import Plan
from ..run import state_digest
from ..wire import Encoded, decode
from .room_limits import exceeded

WEIGHT: Final = "weight/"
OPTIMIZER: Final = "optimizer/"
# AdamW with amsgrad keeps four; a key is a short word.
_MOST_KEYS: Final = 8
_LONGEST_KEY: Final = 64
_TYPES: Final = {str(dtype): dtype.itemsize for dtype in DType if dtype.travels}

# The type and shape of a state by its name.
Look = Callable[[str], tuple[str, tuple[int, ...]]]


@final
@dataclass
class Staged:
    """States for plan `version`. `needed` are those the plan holds here, `missing` those that must arrive."""

    plan: Plan
    version: int
    needed: tuple[str, ...]
    missing: tuple[str, ...]
    look: Look
    most: int
    arrived: Values = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The states of which something arrived."""
        return sorted({_owner(name) for name in self.arrived})

    def take(self, tensors: Mapping[str, Encoded]) -> None:
        """Put states beside the others, all of these or none."""
        problems = [problem for name, tensor in tensors.items() if (problem := self._problem(name, tensor))]
        problems += self._too_many_keys(tensors)
        if problems:
            raise BadDocument("state", problems[:20], fix="send what Prepared asked for, each once, as it is")
        total = sum(map(_size, tensors.values())) + sum(value.nbytes for value in self.arrived.values())
        if total > self.most:
            raise exceeded("the state that arrives", total, self.most, "state")
        values = {name: decode(tensor, limit=_size(tensor)) for name, tensor in tensors.items()}
        # Copies: what was received is a view of a message with everything else in it.
        self.arrived |= {name: value.copy() for name, value in values.items()}

    def _problem(self, name: str, tensor: Encoded) -> str:
        owner = _owner(name)
        if owner not in self.needed:
            return f"{name[:200]}: is no state of this plan here"
        if name in self.arrived:
            return f"{name}: was sent already"
        head = tensor.head
        dtype, shape = self.look(owner)
        if name.startswith(OPTIMIZER):
            # A counter, or a moment of the parameter's own shape.
            known = head.dtype in _TYPES
            if known and (tuple(head.shape) in {(), (1,)} or tuple(head.shape) == shape):
                return ""
        elif (head.dtype, tuple(head.shape)) == (dtype, shape):
            return ""
        return f"{name}: is {head.dtype}{list(head.shape)}, not {dtype}{list(shape)}"

    def _too_many_keys(self, tensors: Mapping[str, Encoded]) -> list[str]:
        keys: dict[str, int] = {}
        problems = []
        for name in (*self.arrived, *tensors):
            if name.startswith(OPTIMIZER):
                owner = _owner(name)
                keys[owner] = keys.get(owner, 0) + 1
                if len(name) > len(OPTIMIZER) + len(owner) + 1 + _LONGEST_KEY:
                    problems.append(f"{name[:200]}: the key is longer than {_LONGEST_KEY} letters")
        problems += [
            f"{OPTIMIZER}{owner}: has {count} values, more than {_MOST_KEYS}"
            for owner, count in keys.items()
            if count > _MOST_KEYS
        ]
        return problems

    def check(self, digest: str) -> None:
        """Refuse what is not complete, or is not what was sent."""
        lacking = [
            f"{name}: did not arrive" for name in self.missing if f"{WEIGHT}{name}" not in self.arrived
        ]
        if lacking:
            raise BadDocument("state", lacking[:20], fix="give all states that Prepared asked for")
        found = state_digest(self.arrived) if self.arrived else ""
        if digest != found:
            raise DigestMismatch(
                f"what arrived for plan {self.version} has the digest {found[:19] or 'of nothing'}, "
                f"what was sent has {digest[:19] or 'that of nothing'}",
                fix="prepare the plan again; if it happens again, check the memory of both machines",
            )


def _owner(name: str) -> str:
    """The state that a tensor belongs to."""
    if name.startswith(WEIGHT):
        return name.removeprefix(WEIGHT)
    if name.startswith(OPTIMIZER):
        return name.removeprefix(OPTIMIZER).rpartition("/")[0]
    return ""


def _size(tensor: Encoded) -> int:
    """The bytes of a tensor once decoded; its head was checked when it arrived."""
    head = tensor.head
    return _TYPES[head.dtype] * prod(head.shape)
