"""A part that learns: forward, backward and an update of its own weights, one step after the other.

Rules: weights change in `backward` and in `finish`, at once, and nowhere else; at most K + 1 steps are under way; a
message that does not fit is refused before anything changed, and costs no step; the caller's random numbers are left
as they were; values come and go as numpy arrays and must not be changed while their step is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

import torch

from ..engine import Array, Values
from ..engine.torch_check import check_values
from ..engine.torch_values import dtype_of, to_numpy, to_torch
from ..errors import BadDocument, SessionMisused
from .losses import Loss, computed, count_right
from .part_keeping import Keeping, Tensors
from .roles import Span
from .seeds_torch import NoNumbers, Numbers, draws

if TYPE_CHECKING:
    from ..engine.torch_model import TorchModel
    from ..engine.torch_part import TorchPart

# Where torch puts its tensors. Matrix products give other last bits for numbers that lie elsewhere.
_ALIGNED: Final = 64
_NO_STEP: Final = -1


@dataclass(frozen=True)
class Outcome:
    """What a loss said of a batch. `right` is -1 where that is no question; the loss is a mean over `count` answers."""

    loss: float
    right: int
    count: int
    slopes: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Duty:
    """What a part is asked to do. `wanted` are the inputs whose gradients somebody waits for."""

    span: Span
    window: int
    seed: int
    wanted: frozenset[str] = frozenset()
    loss: Loss | None = None
    passing: tuple[str, ...] = ()


@final
class TrainedPart:
    """The stages of a span under training. Made by `Holding.part`, which knows the weights and the optimizer."""

    def __init__(
        self,
        model: TorchModel,
        duty: Duty,
        part: TorchPart | None,
        keeping: Keeping,
        numbers: Numbers | NoNumbers,
        trained: tuple[str, ...],
        update: Callable[[tuple[str, ...], float], None],
    ) -> None:
        self._model, self._duty, self._part = model, duty, part
        self._keeping, self._numbers = keeping, numbers
        self._trained, self._update = trained, update
        own = model.chain.outputs if part is None else part.inputs
        self._inputs = tuple(dict.fromkeys((*own, *duty.passing)))
        self._outputs = () if part is None else part.outputs
        self._examined: TorchPart | None = None
        self._looks: Numbers | NoNumbers = NoNumbers()

    def __repr__(self) -> str:
        start, stop = self._duty.span
        return f"TrainedPart({self._model.chain.name!r}, [{start}:{stop}), K={self._duty.window})"

    @property
    def span(self) -> Span:
        return self._duty.span

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it takes in a step of training."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it gives in a step of training."""
        return self._outputs

    @property
    def kept(self) -> int:
        """How many steps wait for their gradients here."""
        return len(self._keeping.kept)

    # -- training ------------------------------------------------------------------------------------------

    def forward(
        self, step: int, values: Mapping[str, Array], *, rng: bytes | None = None
    ) -> tuple[Values, bytes | None]:
        """The part's outputs, and where the random numbers stand, to be told on (None: nothing was drawn, or K > 0).

        `rng` is what an earlier part of the same step told; with K > 0 every part has numbers of its own.
        """
        if self._part is None:
            raise SessionMisused(f"{self!r} owns a loss and nothing else", fix="call finish")
        if step in self._keeping.kept or self.kept > self._duty.window:
            raise SessionMisused(
                f"{self!r} is asked for step {step} while {self.kept} are under way",
                fix="wait for the gradients of the oldest step",
            )
        made, state = self._keeping.forward(step, self._tensors(values, self._part.inputs), rng)
        return {name: to_numpy(tensor) for name, tensor in made.items()}, state

    def backward(self, step: int, slopes: Mapping[str, Array], rate: float) -> Values:
        """Update the part's weights with the gradients of its outputs; gives those of its wanted inputs."""
        if not self._works:
            return {}
        if step not in self._keeping.kept:
            raise SessionMisused(
                f"{self!r} has no step {step} under way",
                fix="every step is answered once; after a loss of the link begin at the last checkpoint",
            )
        unknown = [
            f"{name!r} is not among {', '.join(self._outputs)}"
            for name in slopes
            if name not in self._outputs
        ]
        if unknown:
            raise BadDocument(f"gradients for {self!r}", unknown, fix="send those of what the part gave")
        self._clear()
        made = self._keeping.backward(step, {name: self._tensor(array) for name, array in slopes.items()})
        self._step(rate)
        return {name: to_numpy(tensor) for name, tensor in made.items()}

    def finish(
        self,
        step: int,
        values: Mapping[str, Array],
        targets: Mapping[str, Array],
        rate: float,
        *,
        rng: bytes | None = None,
    ) -> Outcome:
        """The step of the part that owns the loss: forward, loss, backward, update."""
        loss = self._loss()
        leaves = {name: t.detach() for name, t in self._tensors(values, self._inputs).items()}
        labels = {name: self._tensor(array) for name, array in targets.items()}
        carriers = self._model.layout("train").carriers & self._duty.wanted
        wanted = [leaves[name].requires_grad_() for name in self._inputs if name in carriers]
        self._clear()
        with torch.enable_grad(), self._numbers.draw(step, None if self._duty.window else rng):
            outputs = self._answer(self._part, leaves)
            value = computed(loss, outputs, labels)
        learns = [*wanted, *(self._model.book[name] for name in self._trained)]
        if learns:
            self._descend(value, learns)
        right, count = count_right(loss, outputs, labels)
        self._step(rate)
        slopes = {n: to_numpy(leaf.grad) for n, leaf in leaves.items() if leaf.grad is not None}
        return Outcome(value.item(), right, count, slopes)

    def _descend(self, value: torch.Tensor, learns: list[torch.Tensor]) -> None:
        if not value.requires_grad:
            raise BadDocument(
                "loss",
                ["it does not depend on anything that is trained"],
                fix="compute it from the model's outputs without detach() or no_grad()",
            )
        torch.autograd.backward(value, inputs=learns)

    # -- looking -------------------------------------------------------------------------------------------

    def examine(self, values: Mapping[str, Array]) -> Values:
        """Outputs in eval mode; nothing is kept and nothing moves."""
        if self._part is None:
            return {}
        part = self._eval()
        with self._looks.draw(_NO_STEP):
            made = part.forward_torch(self._tensors(values, part.inputs))
        return {name: to_numpy(tensor) for name, tensor in made.items()}

    def judge(self, values: Mapping[str, Array], targets: Mapping[str, Array]) -> Outcome:
        """The loss in eval mode, without an update."""
        loss = self._loss()
        part = None if self._part is None else self._eval()
        names = self._inputs if part is None else tuple(dict.fromkeys((*part.inputs, *self._duty.passing)))
        given = self._tensors(values, names)
        labels = {name: self._tensor(array) for name, array in targets.items()}
        with torch.no_grad(), self._looks.draw(_NO_STEP):
            outputs = self._answer(part, given)
            value = computed(loss, outputs, labels)
        return Outcome(value.item(), *count_right(loss, outputs, labels))

    def forget(self) -> None:
        """Drop everything that waits for gradients."""
        self._keeping.forget()

    # -- inside --------------------------------------------------------------------------------------------

    @property
    def _works(self) -> bool:
        """Whether a backward pass has anything to do."""
        return bool(self._trained or self._duty.wanted)

    def _loss(self) -> Loss:
        if self._duty.loss is None:
            raise SessionMisused(f"{self!r} owns no loss", fix="call forward and backward")
        return self._duty.loss

    def _answer(self, part: TorchPart | None, given: Tensors) -> Tensors:
        """All outputs of the model: what this part makes, and what earlier ones made."""
        known = dict(given)
        if part is not None:
            known |= part.call({name: given[name] for name in part.inputs})
        return {name: known[name] for name in self._model.chain.outputs}

    def _eval(self) -> TorchPart:
        """The part in eval mode. A net that draws then too draws the same at every look."""
        if self._examined is None:
            model, span = self._model, self._duty.span
            self._examined = model.part(*span)
            self._examined.set_mode("eval")
            if draws(model.operators(*span, "eval")):
                self._looks = Numbers(lambda: model.device, self._duty.seed, span[0])
        return self._examined

    def _tensors(self, values: Mapping[str, Array], names: tuple[str, ...]) -> Tensors:
        missing = [f"{name!r} is missing" for name in names if name not in values]
        if missing:
            raise BadDocument(f"inputs of {self!r}", missing, fix=f"it takes {', '.join(names) or 'nothing'}")
        found = {name: self._tensor(values[name]) for name in names}
        if self._part is None:
            check_values(f"inputs of {self!r}", self._model.specs(names, "train"), found, _look)
        return found

    def _tensor(self, array: Array) -> torch.Tensor:
        return aligned(to_torch(array, self._model.device))

    def _clear(self) -> None:
        """What somebody else left in the gradients is not ours."""
        for name in self._trained:
            self._model.book[name].grad = None

    def _step(self, rate: float) -> None:
        if self._trained:
            self._update(self._trained, rate)


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor where torch would have put it: what came over a wire lies anywhere."""
    return tensor.clone() if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNED else tensor


def _look(tensor: torch.Tensor) -> tuple[str, tuple[int, ...]]:
    return dtype_of(tensor), tuple(tensor.shape)
