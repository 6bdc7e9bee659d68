"""The smallest piece of a model that runs alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it reads, what it makes, which parameters it owns.

    `inputs` are tensors made outside it (by another stage, or given to the model); `outputs` are those that
    somebody else reads, or that the model returns. `params` names parameters and buffers, of which the chain
    knows the bytes: two stages may share one. `kind` says what is special about it (`If`, `Loop`), or is empty.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...] = ()
    ops: int = 1
    kind: str = ""
