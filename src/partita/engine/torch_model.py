"""A captured module: its chain, its parts, and the module itself as the oracle of every split.

Rules: the chain is that of the mode the capture was made in; the other mode is traced when it is first asked for,
and its cuts are found by the names of the stages on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch

from ..errors import IllegalCut
from ..graph import Chain, TensorSpec
from .base import Array, Mode, Values
from .torch_check import check_values
from .torch_cutout import Cutout, cut_out
from .torch_example import make_up
from .torch_export import Modes, Recipe, second_trace
from .torch_graph import Traced, read_graph
from .torch_layout import Layout, LayoutBuilder, bridge, owners
from .torch_part import TorchPart
from .torch_shapes import Symbols
from .torch_signature import Signature
from .torch_stages import segment
from .torch_state import StateBook
from .torch_values import dtype_of, to_numpy, to_torch


@final
class TorchModel:
    """What `capture_torch` gives. `module` is the user's own, with its parameters."""

    def __init__(
        self, module: torch.nn.Module, name: str, example: Signature, recipe: Recipe, modes: Modes, mode: Mode
    ) -> None:
        self.module = module
        self._name, self._example, self._recipe = name, example, recipe
        self._modes, self._mode, self._first = modes, mode, mode
        self.book = StateBook.of(module)
        self._layouts: dict[Mode, Layout] = {}
        self._bridges: dict[Mode, Mapping[int, int | str]] = {}
        self._depth = 1

    # -- built by torch_capture ----------------------------------------------------------------------------

    def lay_out(self, mode: Mode, traced: Traced, depth: int, known: Symbols) -> None:
        """Take the graph of a mode in."""
        builder = LayoutBuilder(traced, segment(traced.body, depth), known)
        self._layouts[mode] = builder.build(self._name, self.book.all(), owners(self.book.aliases))
        self._depth, self._known = depth, known

    def layout(self, mode: Mode) -> Layout:
        """The chain and graph of a mode; traced now if it was not yet."""
        if mode not in self._layouts:
            with self._modes.during(mode):
                program = second_trace(self.module, self._recipe, mode)
            traced = read_graph(program, self.module, self._example)
            known = name_symbols(traced, self._known.batch, self._recipe)
            self.lay_out(mode, traced, self._depth, known)
        return self._layouts[mode]

    # -- Captured ------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"TorchModel({self._name!r}, {len(self.chain)} stages, {self._mode})"

    @property
    def chain(self) -> Chain:
        return self._layouts[self._first].chain

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def device(self) -> torch.device:
        """Where the module lies: the device of its first parameter or buffer."""
        return next((t.device for t in self.book.all().values()), torch.device("cpu"))

    def set_mode(self, mode: Mode) -> None:
        """Train or eval, for `whole` and for the parts made from now on; the module keeps its own flags."""
        self.layout(mode)
        self._mode = mode

    def part(self, start: int, stop: int) -> TorchPart:
        """The stages [start, stop), in the model's present mode."""
        self.chain.check_part(start, stop)
        return TorchPart(self, start, stop, self._mode)

    def example(self, batch: int | None = None, seed: int = 0) -> Values:
        """The user's own inputs at their batch size, else made up after their likeness."""
        chain = self.chain
        specs = [chain.tensors[name] for name in chain.inputs]
        return make_up(self._example, specs, batch, seed, self._known.batch)

    def whole(self, values: Mapping[str, Array]) -> Values:
        """What the module itself gives, in the model's present mode: no tracing, no parts."""
        specs = [self.chain.tensors[name] for name in self.chain.inputs]
        check_values(f"inputs of {self._name!r}", specs, values, _look_at_array)
        device = self.device
        # The module may write to its inputs; the caller's arrays are not its own.
        tensors = {name: to_torch(array, device).clone() for name, array in values.items()}
        with torch.no_grad():
            made = self.call(tensors)
        return {name: to_numpy(tensor) for name, tensor in made.items()}

    def call(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The module itself on tensors by name; gradients flow."""
        args, kwargs = self._example.arguments(tensors)
        with self._modes.during(self._mode), _NoFastPath():
            return self.layout(self._mode).answer.flatten(self.module(*args, **kwargs))

    def unflatten(self, values: Mapping[str, Any]) -> Any:
        """Output values in the structure the module returns them in."""
        return self.layout(self._mode).answer.build(values)

    # -- for parts -----------------------------------------------------------------------------------------

    def cutout(self, start: int, stop: int, mode: Mode) -> Cutout:
        """The code of the stages [start, stop) of the chain, in a mode."""
        layout = self.layout(mode)
        return cut_out(layout, self._position(mode, start), self._position(mode, stop))

    def part_params(self, start: int, stop: int, mode: Mode) -> tuple[str, ...]:
        """The state of the stages [start, stop): what the chain says, and what only this mode uses."""
        layout = self.layout(mode)
        own = layout.chain.part_params(self._position(mode, start), self._position(mode, stop))
        return tuple(dict.fromkeys((*self.chain.part_params(start, stop), *own)))

    def specs(self, names: tuple[str, ...], mode: Mode) -> list[TensorSpec]:
        tensors = self.layout(mode).chain.tensors
        return [tensors[name] for name in names]

    @staticmethod
    def look(tensors: Mapping[str, torch.Tensor]) -> list[TensorSpec]:
        """What tensors look like right now."""
        return [TensorSpec(name, dtype_of(t), tuple(t.shape)) for name, t in tensors.items()]

    def legal_cuts(self, mode: Mode) -> tuple[int, ...]:
        """The positions of the chain at which the model can be cut in a mode."""
        return tuple(p for p, found in self._bridge(mode).items() if isinstance(found, int))

    def _bridge(self, mode: Mode) -> Mapping[int, int | str]:
        if mode not in self._bridges:
            self._bridges[mode] = bridge(self._layouts[self._first], self.layout(mode))
        return self._bridges[mode]

    def _position(self, mode: Mode, position: int) -> int:
        """The position in a mode's own chain."""
        found = self._bridge(mode)[position]
        if isinstance(found, str):
            near = sorted(self.legal_cuts(mode), key=lambda p: abs(p - position))[:3]
            raise IllegalCut(
                f"in {mode} mode the model cannot be cut at {position} (before {self.chain.stages[position].name!r}): {found}",
                fix=f"choose another cut: {', '.join(map(str, sorted(near)))} are near",
            )
        return found


def name_symbols(traced: Traced, batch: str, recipe: Recipe) -> Symbols:
    """Names for the open dimensions: the batch, the user's own, then by input and axis."""
    known = Symbols(batch)
    inputs = [(name, node.meta["val"]) for node, name in traced.inputs.items()]
    for _, tensor in inputs:
        for size in tensor.shape:
            if isinstance(size, torch.SymInt) and size.node.hint == recipe.batch:
                _bind(known, size, batch)
    for name, tensor in inputs:
        for axis, size in enumerate(tensor.shape):
            _bind(known, size, f"{name}_{axis}".replace(".", "_"))
    return known


def _bind(known: Symbols, size: Any, name: str) -> None:
    if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
        known.bind(size.node.expr, name)


class _NoFastPath:
    """Transformer encoders have a fused kernel for inference that adds up in another order; parts do not use it."""

    def __enter__(self) -> None:
        self._before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._before)


def _look_at_array(array: Array) -> tuple[str, tuple[int, ...]]:
    return str(array.dtype), tuple(array.shape)
