"""What a part keeps of a step until its gradients come back: the graph, or the inputs for a replay.

Rules: with K = 0 the graph is kept, and nothing is computed twice; with K > 0 only inputs are, and the replay runs with
the weights as they are by then, the random numbers of the first time, and buffers that do not move a second time;
leading stages without anything to train run once, and what crosses behind them is kept instead of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, final

import torch

from ..engine.torch_part import TorchPart
from .seeds_torch import NoNumbers, Numbers

Tensors = dict[str, torch.Tensor]


class Keeping(Protocol):
    """The way a part goes forward now and backward later."""

    @property
    def kept(self) -> frozenset[int]:
        """The steps under way."""
        ...

    def forward(self, step: int, tensors: Tensors, rng: bytes | None) -> tuple[Tensors, bytes | None]:
        """Outputs, and the state of the random numbers to tell on."""
        ...

    def backward(self, step: int, slopes: Tensors) -> Tensors:
        """Gradients of the inputs; those of the parameters are in their places."""
        ...

    def forget(self) -> None:
        """Nothing is under way any more."""
        ...


@final
class NothingKept:
    """For a part that learns nothing and of which nobody wants gradients."""

    kept: frozenset[int] = frozenset()

    def __init__(self, part: TorchPart | None, numbers: Numbers | NoNumbers) -> None:
        self._part, self._numbers = part, numbers

    def forward(self, step: int, tensors: Tensors, rng: bytes | None) -> tuple[Tensors, bytes | None]:
        if self._part is None:
            return {}, None
        with self._numbers.draw(step, rng) as drawing:
            return self._part.forward_torch(tensors), drawing.state() if drawing else None

    def backward(self, step: int, slopes: Tensors) -> Tensors:  # noqa: ARG002  # as in the protocol
        return {}

    def forget(self) -> None:
        pass


@final
class GraphKept:
    """K = 0: the graph of the only step under way."""

    def __init__(self, part: TorchPart, numbers: Numbers | NoNumbers) -> None:
        self._part, self._numbers = part, numbers
        self._steps: set[int] = set()

    @property
    def kept(self) -> frozenset[int]:
        return frozenset(self._steps)

    def forward(self, step: int, tensors: Tensors, rng: bytes | None) -> tuple[Tensors, bytes | None]:
        with self._numbers.draw(step, rng) as drawing:
            made = self._part.forward_kept_torch(tensors, key=step)
            self._steps.add(step)
            return made, drawing.state() if drawing else None

    def backward(self, step: int, slopes: Tensors) -> Tensors:
        made = self._part.backward_torch(slopes, key=step)
        self._steps.discard(step)
        return made

    def forget(self) -> None:
        self._steps.clear()
        self._part.forget()


@final
class InputsKept:
    """K > 0: features replay. `head` is the part's leading stages without anything to train, if there are any."""

    def __init__(
        self,
        head: TorchPart | None,
        rest: TorchPart,
        outputs: tuple[str, ...],
        numbers: Numbers | NoNumbers,
        buffers: Callable[[], Tensors],
    ) -> None:
        self._head, self._rest, self._outputs, self._numbers = head, rest, outputs, numbers
        self._buffers = buffers
        self._inputs: dict[int, tuple[Tensors, bytes | None]] = {}

    @property
    def kept(self) -> frozenset[int]:
        return frozenset(self._inputs)

    def forward(
        self,
        step: int,
        tensors: Tensors,
        rng: bytes | None,  # noqa: ARG002  # as in the protocol; here every part has numbers of its own
    ) -> tuple[Tensors, bytes | None]:
        known = dict(tensors)
        with self._numbers.draw(step) as drawing:
            if self._head is not None:
                known |= self._head.forward_torch({name: tensors[name] for name in self._head.inputs})
            state = drawing.state() if drawing and self._head is not None else None
            inputs = {name: known[name] for name in self._rest.inputs}
            known |= self._rest.forward_torch(inputs)
        self._inputs[step] = (inputs, state)
        return {name: known[name] for name in self._outputs}, None

    def backward(self, step: int, slopes: Tensors) -> Tensors:
        inputs, state = self._inputs[step]
        own = {n: slope for n, slope in slopes.items() if self._head is None or n not in self._head.outputs}
        try:
            # Buffers go back after the gradients: torch refuses those of a graph whose buffers changed.
            with still(self._buffers()):
                with self._numbers.draw(step, state):
                    self._rest.forward_kept_torch(inputs, key=step)
                made = self._rest.backward_torch(own, key=step)
        finally:
            self._rest.forget(step)
        del self._inputs[step]
        return made

    def forget(self) -> None:
        self._inputs.clear()


@contextmanager
def still(buffers: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Whatever happens to these buffers meanwhile is undone."""
    before = {name: buffer.detach().clone() for name, buffer in buffers.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in before.items():
                buffers[name].copy_(value)
