"""The random numbers of one part in one step: started, told on, and the caller's own left as they were.

Rules: only the generators of the CPU and of the part's own device are touched, and both are put back; a state that
comes from outside is checked before it is used; a part that draws nothing costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Self

import torch
from torch import fx

from ..errors import BadDocument
from .seeds import WHOLE, step_seed

_CUDA_BYTES: Final = 16


class Numbers:
    """The random numbers of a part's steps: with K = 0 those of the whole step, else those of the part alone."""

    def __init__(self, device: Callable[[], torch.device], seed: int, part: int = WHOLE) -> None:
        self._device, self._seed, self._part = device, seed, part

    def draw(self, step: int, state: bytes | None = None) -> Drawing:
        """A stretch of work in a step, from its beginning or from a state."""
        return Drawing(self._device(), step_seed(self._seed, step, self._part), state)


class NoNumbers:
    """For a part that draws none."""

    def draw(
        self,
        step: int,  # noqa: ARG002  # as that of Numbers
        state: bytes | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()


def draws(operators: Iterable[fx.Node]) -> bool:
    """Whether operators may draw random numbers; what torch says nothing about counts as drawing."""
    return any(_may_draw(node.target) for node in operators)


def _may_draw(target: object) -> bool:
    if isinstance(target, torch._ops.OpOverload):
        return target.namespace != "aten" or torch.Tag.nondeterministic_seeded in target.tags
    # Operators inside a region or a branch are not looked at one by one; a region that came as data has switches.
    # All else is plain Python that works on sizes.
    return isinstance(target, torch._ops.HigherOrderOperator) or hasattr(target, "switches")


class Drawing:
    """A stretch of work with random numbers of its own: `with Drawing(device, seed, state) as drawing: ...`.

    It begins at `state` where one is given, else at `seed`. `state()` is where it stands now.
    """

    def __init__(self, device: torch.device, seed: int, state: bytes | None = None) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._seed = seed
        self._given = state
        self._start = b""

    def __enter__(self) -> Self:
        self._before = self._read()
        try:
            self._begin()
        except BaseException:
            self._write(self._before)
            raise
        self._start = self._told()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(self._before)

    def state(self) -> bytes | None:
        """Where the numbers stand, to be told on; None where nothing was drawn."""
        now = self._told()
        return None if now == self._start else now

    def _begin(self) -> None:
        torch.default_generator.manual_seed(self._seed)
        if self._cuda is not None:
            torch.cuda.default_generators[self._cuda.index].manual_seed(self._seed)
        if self._given is None:
            return
        length = torch.get_rng_state().numel()
        if len(self._given) not in (length, length + _CUDA_BYTES):
            raise _refused(f"{len(self._given)} bytes, not {length}, or {length + _CUDA_BYTES} with a GPU")
        state = torch.frombuffer(bytearray(self._given), dtype=torch.uint8)
        try:
            torch.set_rng_state(state[:length])
            if self._cuda is not None and len(state) > length:
                torch.cuda.set_rng_state(state[length:].clone(), self._cuda)
        except RuntimeError:
            raise _refused("these bytes are no state of a generator") from None

    def _told(self) -> bytes:
        return b"".join(state.numpy().tobytes() for state in self._read())

    def _read(self) -> list[torch.Tensor]:
        found = [torch.get_rng_state()]
        if self._cuda is not None:
            found.append(torch.cuda.get_rng_state(self._cuda))
        return found

    def _write(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._cuda is not None:
            torch.cuda.set_rng_state(states[1], self._cuda)


def _refused(problem: str) -> BadDocument:
    return BadDocument(
        "rng",
        [problem],
        fix="let both sides run the same PyTorch; without this tensor the part seeds itself",
    )
