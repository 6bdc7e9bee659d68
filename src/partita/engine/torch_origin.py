"""Where a captured model comes from: its graphs, its state, and what it gives uncut.

A module of the user's is one origin; `torch_portable` knows another, for models that arrived as data. Rule: whoever
asks a `TorchModel` need not know which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch

from ..graph import TensorSpec
from .base import Array, Mode, Values
from .torch_cutout import Maker, compiled
from .torch_example import make_up
from .torch_export import Modes, Recipe, second_trace
from .torch_graph import Traced, read_graph
from .torch_layout import Layout, LayoutBuilder, owners
from .torch_shapes import Symbols
from .torch_signature import Signature
from .torch_stages import segment
from .torch_state import StateBook
from .torch_values import to_numpy

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What an example input looked like: enough to make up another, too little to show the user's data.

    `low` and `high` are the range of integers; both 0 for other numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    low: int = 0
    high: int = 0


class Origin(Protocol):
    """What a model is made from."""

    @property
    def name(self) -> str: ...
    @property
    def batch(self) -> str:
        """The symbol of the batch size."""
        ...

    @property
    def book(self) -> StateBook: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def module(self) -> torch.nn.Module:
        """The user's module, where there is one."""
        ...

    @property
    def maker(self) -> Maker:
        """How graphs become callable."""
        ...

    def layout(self, mode: Mode) -> Layout:
        """The chain and graph of a mode."""
        ...

    def likeness(self) -> tuple[Likeness, ...]: ...

    def example(self, specs: Sequence[TensorSpec], batch: int | None, seed: int) -> Values: ...

    def call(
        self, mode: Mode, layout: Layout, tensors: Tensors, parts: Callable[[], Any]
    ) -> dict[str, torch.Tensor]:
        """What the model gives uncut. `parts` makes all its stages as one part."""
        ...

    def hold(self, names: Sequence[str]) -> None: ...

    def drop(self, names: Sequence[str]) -> None: ...


@final
class ModuleOrigin:
    """The user's own module, with its parameters; the mode not captured is traced when it is first asked for."""

    maker: Maker = staticmethod(compiled)

    def __init__(self, module: torch.nn.Module, name: str, example: Signature, recipe: Recipe) -> None:
        self.module, self.name = module, name
        self._example, self._recipe = example, recipe
        self._modes = Modes(module)
        self.book = StateBook.of(module)

    def lay_out(self, traced: Traced, depth: int, known: Symbols) -> Layout:
        """The stages of a mode's graph."""
        self._depth, self._known = depth, known
        builder = LayoutBuilder(traced, segment(traced.body, depth), known)
        return builder.build(self.name, self.book.all(), owners(self.book.aliases))

    def layout(self, mode: Mode) -> Layout:
        with self._modes.during(mode):
            program = second_trace(self.module, self._recipe, mode)
        traced = read_graph(program, self.module, self._example)
        return self.lay_out(traced, self._depth, name_symbols(traced, self.batch, self._recipe))

    @property
    def batch(self) -> str:
        return self._known.batch

    @property
    def device(self) -> torch.device:
        return next((t.device for t in self.book.all().values()), torch.device("cpu"))

    def likeness(self) -> tuple[Likeness, ...]:
        return tuple(_likeness(name, tensor) for name, tensor in self._example.tensors.items())

    def example(self, specs: Sequence[TensorSpec], batch: int | None, seed: int) -> Values:
        return make_up(self._example, specs, batch, seed, self.batch)

    def call(
        self,
        mode: Mode,
        layout: Layout,
        tensors: Tensors,
        parts: Callable[[], Any],  # noqa: ARG002  # the module itself answers
    ) -> dict[str, torch.Tensor]:
        args, kwargs = self._example.arguments(tensors)
        with self._modes.during(mode), _NoFastPath():
            return layout.answer.flatten(self.module(*args, **kwargs))

    def hold(self, names: Sequence[str]) -> None:
        """The module has its state already."""

    def drop(self, names: Sequence[str]) -> None:
        """The module keeps its state."""


def _likeness(name: str, tensor: torch.Tensor) -> Likeness:
    array: Array = to_numpy(tensor)
    whole = array.dtype.kind in "iub" and array.size > 0
    low, high = (int(array.min()), int(array.max())) if whole else (0, 0)
    return Likeness(name, str(array.dtype), tuple(array.shape), low, high)


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
