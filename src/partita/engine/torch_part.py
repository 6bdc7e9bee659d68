"""A part of a captured module that runs: forward, backward, state.

Rules: parameters and buffers are the module's own, read by name at every call, so that training a part trains the
model; several forward passes may be kept at once, each under its key; values come and go as numpy arrays, or as
tensors where the caller stays within torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from ..errors import PartFailed
from .base import Array, Mode, Values
from .torch_check import check_values
from .torch_state import StateBook, load_file, save_file
from .torch_values import dtype_of, to_numpy, to_torch

if TYPE_CHECKING:
    from .torch_cutout import Cutout
    from .torch_model import TorchModel

Tensors = dict[str, torch.Tensor]

# What torch raises where a graph and its inputs do not go together; all of it is the part's failure, not ours.
_FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)


@final
class TorchPart:
    """The stages [start, stop) of a captured module.

    `frozen_inputs` names inputs whose gradients nobody wants (a first part rarely needs those of its images).
    """

    def __init__(self, model: TorchModel, start: int, stop: int, mode: Mode) -> None:
        self._model = model
        self._start, self._stop = start, stop
        self._kept: dict[int, tuple[Tensors, Tensors]] = {}
        self.frozen_inputs: frozenset[str] = frozenset()
        self.set_mode(mode)

    def __repr__(self) -> str:
        return f"TorchPart({self._model.chain.name!r}, [{self._start}:{self._stop}), {self._mode})"

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int:
        return self._stop

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._cutout.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._cutout.outputs

    @property
    def device(self) -> torch.device:
        """Where it computes: where the module lies."""
        return self._model.device

    def set_mode(self, mode: Mode) -> None:
        """Train or eval, for this part only; the module's own flags stay as they are."""
        self._cutout: Cutout = self._model.cutout(self._start, self._stop, mode)
        self._specs = self._model.specs(self._cutout.inputs, mode)
        self._carriers = self._model.layout(mode).carriers
        self._names = self._model.part_params(self._start, self._stop, mode)
        self._mode: Mode = mode

    # -- torch ---------------------------------------------------------------------------------------------

    def call(self, tensors: Mapping[str, torch.Tensor]) -> Tensors:
        """Outputs from inputs as one differentiable computation; whether gradients flow is the caller's choice."""
        check_values(f"inputs of {self!r}", self._specs, tensors, _look_at_tensor)
        cutout, state = self._cutout, self._model.book
        state.check_held(cutout.states, f"{self!r}")
        arguments = [
            *(state[name] for name in cutout.states),
            *cutout.constants,
            *(tensors[name] for name in cutout.inputs),
        ]
        try:
            made = cutout.run(*arguments)
        except _FAILURES as problem:
            raise self._failed(problem, "failed") from problem
        return dict(zip(cutout.outputs, made, strict=True))

    def _failed(self, problem: Exception, how: str) -> PartFailed:
        first = next(iter(str(problem).splitlines()), "")
        return PartFailed(
            f"{self!r} {how}: {type(problem).__name__}: {first}",
            fix="check the inputs against `partita inspect`; run the whole model on the same inputs to compare",
        )

    def forward_torch(self, tensors: Mapping[str, torch.Tensor]) -> Tensors:
        """Outputs from inputs, nothing kept."""
        with torch.no_grad():
            return self.call(tensors)

    def forward_kept_torch(self, tensors: Mapping[str, torch.Tensor], key: int = 0) -> Tensors:
        """Outputs from inputs, with the graph kept under `key` for one backward pass."""
        leaves = {name: self._leaf(name, tensor) for name, tensor in tensors.items()}
        with torch.enable_grad():
            made = self.call(leaves)
        self._kept[key] = (leaves, made)
        return {name: tensor.detach() for name, tensor in made.items()}

    def backward_torch(self, gradients: Mapping[str, torch.Tensor], key: int = 0) -> Tensors:
        """Gradients of the inputs from those of the outputs; adds to the parameters' own gradients."""
        if key not in self._kept:
            raise PartFailed(
                f"{self!r} keeps no forward pass under key {key!r}",
                fix="call forward_kept with that key first; each kept pass serves one backward",
            )
        leaves, made = self._kept[key]
        specs = self._model.look(made)
        check_values(
            f"gradients for {self!r}", [s for s in specs if s.name in gradients], gradients, _look_at_tensor
        )
        del self._kept[key]
        ends = [name for name in gradients if made[name].requires_grad]
        wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
        wanted += [p for _, p in self.named_parameters() if p.requires_grad]
        if ends and wanted:
            try:
                torch.autograd.backward(
                    [made[name] for name in ends], [gradients[name] for name in ends], inputs=wanted
                )
            except _FAILURES as problem:
                raise self._failed(problem, "failed in its backward pass") from problem
        return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}

    def _leaf(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        leaf = tensor.detach()
        carries = name in self._carriers and name not in self.frozen_inputs
        # What has the wrong type is refused by `call`, with all its other problems.
        return leaf.requires_grad_(carries and (leaf.is_floating_point() or leaf.is_complex()))

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The part's parameters by the names the module gives them; a tied one once, by its first name."""
        for name in self._names:
            tensor = self._model.book[name]
            if isinstance(tensor, torch.nn.Parameter):
                yield name, tensor

    # -- numpy ---------------------------------------------------------------------------------------------

    def forward(self, values: Mapping[str, Array]) -> Values:
        return _arrays(self.forward_torch(self._tensors(values)))

    def forward_kept(self, values: Mapping[str, Array], key: int = 0) -> Values:
        return _arrays(self.forward_kept_torch(self._tensors(values), key))

    def backward(self, gradients: Mapping[str, Array], key: int = 0) -> Values:
        return _arrays(self.backward_torch(self._tensors(gradients), key))

    def _tensors(self, values: Mapping[str, Array]) -> Tensors:
        return {name: to_torch(array, self.device) for name, array in values.items()}

    def gradients(self) -> Values:
        return {n: to_numpy(p.grad) for n, p in self.named_parameters() if p.grad is not None}

    def zero_gradients(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    def forget(self, key: int | None = None) -> None:
        """Drop a kept forward pass whose gradient will not come, or all of them."""
        if key is None:
            self._kept.clear()
        else:
            self._kept.pop(key, None)

    # -- state ---------------------------------------------------------------------------------------------

    def _state(self) -> StateBook:
        book = self._model.book.only(self._names)
        book.check_held(self._names, f"{self!r}")
        return book

    def state(self) -> Values:
        """Parameters and persistent buffers, as copies: training on does not change what was saved."""
        return {name: to_numpy(tensor).copy() for name, tensor in self._state().persistent().items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        self._state().load({name: to_torch(array) for name, array in state.items()}, f"state for {self!r}")

    def save_state(self, path: str | Path) -> None:
        """Write the state as safetensors."""
        save_file(Path(path), self._state().persistent(), {"model": self._model.chain.digest})

    def load_state_file(self, path: str | Path) -> None:
        """Take the state from a safetensors file; a file of the whole model serves every part."""
        book = self._state()
        book.load(load_file(Path(path), book), f"state for {self!r} in {path}")


def _look_at_tensor(tensor: Any) -> tuple[str, tuple[int, ...]]:
    return dtype_of(tensor), tuple(tensor.shape)


def _arrays(tensors: Tensors) -> Values:
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}
