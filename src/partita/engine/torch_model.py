"""A captured module: its chain, its parts, and the module itself as the oracle of every split.

Rules: the chain is that of the mode the capture was made in; the other mode is traced when it is first asked for,
and its cuts are found by the names of the stages on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import fx

from ..errors import IllegalCut
from ..graph import Chain, TensorSpec
from .base import Array, Mode, Values
from .torch_check import check_values
from .torch_cutout import Cutout, cut_out
from .torch_layout import Layout, bridge
from .torch_origin import Origin
from .torch_part import TorchPart
from .torch_values import dtype_of, to_numpy, to_torch


@final
class TorchModel:
    """What `capture_torch` and `unpack_torch` give. `first` is the layout of the mode it was captured in."""

    def __init__(self, origin: Origin, first: Layout, mode: Mode) -> None:
        self.origin = origin
        self.book = origin.book
        self._mode, self._first = mode, mode
        self._layouts: dict[Mode, Layout] = {mode: first}
        self._bridges: dict[Mode, Mapping[int, int | str]] = {}

    def layout(self, mode: Mode) -> Layout:
        """The chain and graph of a mode; traced now if it was not yet."""
        if mode not in self._layouts:
            self._layouts[mode] = self.origin.layout(mode)
        return self._layouts[mode]

    # -- Captured ------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"TorchModel({self.origin.name!r}, {len(self.chain)} stages, {self._mode})"

    @property
    def module(self) -> torch.nn.Module:
        """The user's own module; a model that arrived as data has none."""
        return self.origin.module

    @property
    def chain(self) -> Chain:
        return self._layouts[self._first].chain

    @property
    def first_mode(self) -> Mode:
        """The mode whose chain this is."""
        return self._first

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def device(self) -> torch.device:
        """Where the module lies: the device of its first parameter or buffer."""
        return self.origin.device

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
        specs = [self.chain.tensors[name] for name in self.chain.inputs]
        return self.origin.example(specs, batch, seed)

    def whole(self, values: Mapping[str, Array]) -> Values:
        """What the module itself gives, in the model's present mode: no tracing, no parts."""
        specs = [self.chain.tensors[name] for name in self.chain.inputs]
        check_values(f"inputs of {self.origin.name!r}", specs, values, _look_at_array)
        device = self.device
        # The module may write to its inputs; the caller's arrays are not its own.
        tensors = {name: to_torch(array, device).clone() for name, array in values.items()}
        with torch.no_grad():
            made = self.call(tensors)
        return {name: to_numpy(tensor) for name, tensor in made.items()}

    def call(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The module itself on tensors by name; gradients flow."""
        return self.origin.call(
            self._mode, self.layout(self._mode), tensors, lambda: self.part(0, len(self.chain))
        )

    def unflatten(self, values: Mapping[str, Any]) -> Any:
        """Output values in the structure the module returns them in."""
        return self.layout(self._mode).answer.build(values)

    def hold(self, names: Sequence[str]) -> None:
        """Have memory for these parameters and buffers, zero at first; a module of the user's has it already."""
        self.origin.hold(names)

    def drop(self, names: Sequence[str]) -> None:
        """Let the memory of these parameters and buffers go, where `hold` made it."""
        self.origin.drop(names)

    # -- for parts -----------------------------------------------------------------------------------------

    def cutout(self, start: int, stop: int, mode: Mode) -> Cutout:
        """The code of the stages [start, stop) of the chain, in a mode."""
        layout = self.layout(mode)
        ends = self._position(mode, start), self._position(mode, stop)
        return cut_out(layout, *ends, self.origin.maker)

    def operators(self, start: int, stop: int, mode: Mode) -> tuple[fx.Node, ...]:
        """The operators of the stages [start, stop) of the chain, in a mode."""
        segments = self.layout(mode).segments[self._position(mode, start) : self._position(mode, stop)]
        return tuple(node for one in segments for node in one.nodes)

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


def _look_at_array(array: Array) -> tuple[str, tuple[int, ...]]:
    return str(array.dtype), tuple(array.shape)
