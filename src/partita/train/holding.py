"""One side's hold on a model: the weights, what the optimizer remembers of them, and the parts made from both.

Rules: everything is known by the names the chain gives it, so that parts come and go while weights and memory stay;
state is taken whole or not at all; who owns which stages is the session's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from ..engine import Array, Values
from ..engine.torch_values import dtype_of, to_numpy, to_torch
from ..errors import BadDocument
from .losses import Loss
from .optimizers_book import OptimizerBook
from .part import Duty, Outcome, TrainedPart
from .part_keeping import GraphKept, InputsKept, Keeping, NothingKept, Tensors
from .roles import Span
from .seeds import WHOLE
from .seeds_torch import NoNumbers, Numbers, draws
from .settings import Settings

if TYPE_CHECKING:
    from ..engine.torch_model import TorchModel
    from ..engine.torch_part import TorchPart

WEIGHT, OPTIMIZER = "weight/", "optimizer/"


@final
class Holding:
    """A model under training on one side, whichever stages of it are trained here."""

    def __init__(self, model: TorchModel, settings: Settings) -> None:
        self._model, self._seed = model, settings.seed
        self._book = OptimizerBook(lambda name: model.book[name], settings.optimizer)

    @property
    def model(self) -> TorchModel:
        """The model under training."""
        return self._model

    # -- what is where -------------------------------------------------------------------------------------

    def names(self, span: Span) -> tuple[str, ...]:
        """The parameters and persistent buffers that training a span uses: its state."""
        return tuple(n for n in self._model.part_params(*span, "train") if self._model.book.has(n))

    def trainable(self, span: Span) -> bool:
        """Whether there is anything to train."""
        return bool(self.trained(span))

    def draws(self, span: Span) -> bool:
        """Whether a step of training may draw random numbers in a span."""
        return span[0] < span[1] and draws(self._model.operators(*span, "train"))

    def frozen(self) -> int:
        """The number of leading stages, up to a legal cut, without anything to train."""
        return self._prefix((0, len(self._model.chain)))

    def shared(self, left: Span, right: Span) -> tuple[str, ...]:
        """The parameters that two spans both train; two owners would drift apart. What is frozen may be in both."""
        other = set(self.trained(right))
        return tuple(name for name in self.trained(left) if name in other)

    def constants(self) -> frozenset[str]:
        """The parameters that training never changes: both sides may use them. Buffers move."""
        whole = (0, len(self._model.chain))
        rows = ((name, self._model.book[name]) for name in self.names(whole))
        return frozenset(n for n, t in rows if isinstance(t, nn.Parameter) and not t.requires_grad)

    # -- state ---------------------------------------------------------------------------------------------

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Bytes of the weights of these, and of what the optimizer remembers of them."""
        held = {name: self._model.book[name] for name in names}
        return {name: t.numel() * t.element_size() + self._book.nbytes(name) for name, t in held.items()}

    def export(self, names: Iterable[str]) -> Values:
        """Copies of the weights and of what the optimizer remembers of them."""
        names = tuple(names)
        weights = {WEIGHT + name: to_numpy(self._model.book[name]).copy() for name in names}
        return weights | self._book.export(names)

    def take(self, names: Iterable[str], values: Mapping[str, Array]) -> None:
        """Put weights and memory in place, all or none; a parameter without a memory loses the one it had."""
        names = tuple(names)
        memory: dict[str, dict[str, Array]] = {name: {} for name in names}
        problems = [f"{WEIGHT}{name}: is missing" for name in names if WEIGHT + name not in values]
        for key, array in values.items():
            if key.startswith(OPTIMIZER):
                name, _, field = key.removeprefix(OPTIMIZER).rpartition("/")
                if name in memory:
                    memory[name][field] = array
                    continue
            elif key.startswith(WEIGHT) and (name := key.removeprefix(WEIGHT)) in memory:
                problems += self._misfits(name, array)
                continue
            problems.append(f"{key}: is not asked for")
        for name, given in memory.items():
            problems += self._book.problems(name, given)
        if problems:
            raise BadDocument("state", problems, fix="export it from the same model with the same optimizer")
        with torch.no_grad():
            for name in names:
                self._model.book[name].copy_(to_torch(values[WEIGHT + name]))
        for name, given in memory.items():
            self._book.put(name, given)

    def forget(self, names: Iterable[str]) -> None:
        """Let go of what the optimizer remembers of these: the other side owns them now."""
        self._book.forget(names)

    def _misfits(self, name: str, array: Array) -> list[str]:
        own = self._model.book[name]
        if str(array.dtype) == dtype_of(own) and array.shape == tuple(own.shape):
            return []
        return [f"{WEIGHT}{name}: is {array.dtype}{list(array.shape)}, not {dtype_of(own)}{list(own.shape)}"]

    # -- parts ---------------------------------------------------------------------------------------------

    def part(
        self,
        span: Span,
        *,
        window: int,
        wanted: frozenset[str] = frozenset(),
        loss: Loss | None = None,
        passing: tuple[str, ...] = (),
    ) -> TrainedPart:
        """The stages of a span, ready to train with window K. `wanted` are the inputs whose gradients are asked for."""
        duty = Duty(span, window, self._seed, wanted, loss, passing)
        chain = self._model.chain
        chain.check_part(*span)
        part = self._torch_part(span) if span[0] < span[1] else None
        own = chain.outputs if part is None else part.inputs
        problems = [f"wanted: {name!r} is no input of the part" for name in sorted(wanted - {*own, *passing})]
        problems += [
            f"passing: {name!r} is no output of the model" for name in passing if name not in chain.outputs
        ]
        if part is None and (loss is None or span[0] != len(chain)):
            problems.append("span: only a part that owns the loss, behind the last stage, may be empty")
        if problems:
            raise BadDocument(f"part [{span[0]}:{span[1]})", problems, fix="make it as the plan's roles say")
        numbers = self._numbers(duty)
        keeping = self._keeping(duty, part, numbers)
        return TrainedPart(self._model, duty, part, keeping, numbers, self.trained(span), self._book.update)

    def judge(self, values: Mapping[str, Array], targets: Mapping[str, Array], loss: Loss) -> Outcome:
        """What the loss says of the model's outputs, where this side holds no stage behind them."""
        end = len(self._model.chain)
        return self.part((end, end), window=0, loss=loss).judge(values, targets)

    def _torch_part(self, span: Span) -> TorchPart:
        part = self._model.part(*span)
        part.set_mode("train")
        return part

    def _numbers(self, duty: Duty) -> Numbers | NoNumbers:
        if not self.draws(duty.span):
            return NoNumbers()
        return Numbers(lambda: self._model.device, self._seed, duty.span[0] if duty.window else WHOLE)

    def _keeping(self, duty: Duty, part: TorchPart | None, numbers: Numbers | NoNumbers) -> Keeping:
        start, stop = duty.span
        if part is None or not (duty.wanted or self.trainable(duty.span)):
            return NothingKept(part, numbers)
        # Gradients that somebody waits for go through frozen stages too.
        middle = self._prefix(duty.span) if duty.window and not duty.wanted else start
        head = self._torch_part((start, middle)) if middle > start else None
        rest = self._torch_part((middle, stop)) if head else part
        rest.frozen_inputs = frozenset(rest.inputs) - duty.wanted
        if duty.window == 0:
            return GraphKept(part, numbers)
        return InputsKept(head, rest, part.outputs, numbers, self._buffers((middle, stop)))

    def _prefix(self, span: Span) -> int:
        """The last cut of a span with nothing to train before it."""
        start, stop = span
        chain, found = self._model.chain, start
        for position in self._model.legal_cuts("train"):
            if start < position <= stop and chain.cut(position).legal:
                if self.trained((start, position)):
                    break
                found = position
        return found

    def trained(self, span: Span) -> tuple[str, ...]:
        rows = ((name, self._model.book[name]) for name in self._model.part_params(*span, "train"))
        return tuple(name for name, t in rows if isinstance(t, nn.Parameter) and t.requires_grad)

    def _buffers(self, span: Span) -> Callable[[], Tensors]:
        names = self._model.part_params(*span, "train")
        book = self._model.book
        fixed = [name for name in names if not isinstance(book[name], nn.Parameter)]
        return lambda: {name: self._model.book[name] for name in fixed}
