"""The state of a model that arrived as data: known by name, type and shape, in memory only while it is held.

Rules: what is not held lies on torch's `meta` device, which has shapes and no bytes; holding gives zeros, and never
more bytes in all than allowed; a cloud that runs one part holds that part. Buffers that no state carries are there
from the beginning, with the values they came with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, final

import numpy as np
import torch

from ..errors import BadDocument, CannotCapture, LimitExceeded, SessionMisused
from ..graph import TensorSpec
from .base import Mode, Values
from .torch_cutout import Maker
from .torch_example import make_up
from .torch_layout import Layout
from .torch_order import lay_out, memory_order
from .torch_origin import Likeness, Tensors
from .torch_portable_head import FIX, Constant, Head, State
from .torch_portable_run import Steps
from .torch_shapes import sources
from .torch_signature import Signature
from .torch_state import StateBook
from .torch_values import dtype_of, to_torch

DTYPES: Mapping[str, torch.dtype] = {
    str(kind).removeprefix("torch."): kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)
}


def describe_states(
    book: StateBook, names: Iterable[str], constants: int
) -> tuple[list[State], list[tuple[Constant, bytes]]]:
    """Parameters and buffers by what they look like; with their values those that are part of no state.

    `constants` is how many constants there are before these.
    """
    tensors = book.all()
    others: dict[str, list[str]] = {}
    for alias, first in book.aliases.items():
        if alias != first:
            others.setdefault(first, []).append(alias)
    rows: list[State] = []
    values: list[tuple[Constant, bytes]] = []
    for name in names:
        tensor, kept = tensors[name], book.has(name)
        at = 0
        if not kept and not isinstance(tensor, torch.nn.Parameter):
            values.append(write_constant(tensor))
            at = constants + len(values)
        rows.append(_state(name, tensor, kept, others.get(name, []), at))
    return rows, values


def _state(name: str, tensor: torch.Tensor, kept: bool, aliases: list[str], value: int) -> State:
    if not dtype_of(tensor).travels:
        raise CannotCapture(
            f"{name!r} is a {tensor.dtype} tensor laid out as {tensor.layout}, which has no bytes to send",
            fix="start the cloud with `--model` naming the same model",
        )
    return State(
        name,
        dtype_of(tensor),
        tuple(tensor.shape),
        isinstance(tensor, torch.nn.Parameter),
        kept,
        tensor.requires_grad,
        memory_order(tensor) or (),
        aliases,
        value,
    )


def write_constant(tensor: torch.Tensor) -> tuple[Constant, bytes]:
    """A tensor as its description and its bytes, row by row."""
    if not dtype_of(tensor).travels:
        raise CannotCapture(
            f"a constant is a {tensor.dtype} tensor laid out as {tensor.layout}, which has no bytes to send",
            fix="start the cloud with `--model` naming the same model",
        )
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    data = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return Constant(dtype_of(tensor), tuple(tensor.shape), len(data), memory_order(tensor) or ()), data


def read_constant(row: Constant, data: memoryview, device: torch.device) -> torch.Tensor:
    """A tensor from its description and its bytes. A truth value is 0 or 1, whatever byte stands for it."""
    kind = DTYPES[row.dtype]
    if prod(row.shape) * kind.itemsize != len(data):
        raise BadDocument("model from outside", [f"a constant of {row.shape} has {len(data)} bytes"], fix=FIX)
    flat = (
        torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if len(data)
        else torch.empty(0, dtype=torch.uint8)
    )
    made = flat.ne(0) if kind is torch.bool else flat.view(kind)
    made = made.reshape(row.shape)
    return (lay_out(made, row.order) if row.order else made).to(device)


@final
class PortableOrigin:
    """Where the graphs and the state of an unpacked model are."""

    def __init__(
        self, head: Head, constants: Sequence[torch.Tensor], device: torch.device, most_bytes: int
    ) -> None:
        self.name, self.batch, self.device = head.name, head.batch, device
        self._head, self._most = head, most_bytes
        self._rows = {row.name: row for row in head.states}
        # Buffers that no state carries came with their values, and stay: nobody could send them again.
        self._stays = {r.name: constants[r.value - 1].clone() for r in head.states if r.value}
        self._held: dict[str, torch.Tensor | None] = {
            r.name: self._stays.get(r.name, _blank(r)) for r in head.states
        }
        aliases = {alias: r.name for r in head.states for alias in (r.name, *r.aliases)}
        kept = frozenset(r.name for r in head.states if r.persistent)
        self.book = StateBook({r.name: (self._held, r.name) for r in head.states}, aliases, kept)
        self.layouts: dict[Mode, Layout] = {}

    @property
    def maker(self) -> Maker:
        return self._steps

    def _steps(self, _attributes: dict[str, Any], graph: Any) -> Steps:
        return Steps(graph, self._most, part=True)

    @property
    def module(self) -> torch.nn.Module:
        raise SessionMisused(
            f"model {self.name!r} arrived as data and has no module",
            fix="use its parts, or its `book` for its state",
        )

    def layout(self, mode: Mode) -> Layout:
        if mode not in self.layouts:
            raise CannotCapture(
                f"model {self.name!r} arrived without its {mode} mode: {self._head.absent}",
                fix="use the other mode, or change the model so that both can be traced",
            )
        return self.layouts[mode]

    # -- inputs --------------------------------------------------------------------------------------------

    def likeness(self) -> tuple[Likeness, ...]:
        return tuple(Likeness(i.name, i.dtype, i.shape, i.low, i.high) for i in self._head.inputs)

    def example(self, specs: Sequence[TensorSpec], batch: int | None, seed: int) -> Values:
        """Inputs made up after what the user's example looked like: its sizes, and the range of its integers."""
        likes = self.likeness()
        bind = {
            name: (next(i for i in likes if i.name == source.tensor).shape[source.axis] - source.offset)
            // source.scale
            for name, source in sources(specs).items()
        }
        if batch is not None and self.batch in bind:
            bind[self.batch] = batch
        wanted = sum(spec.nbytes(bind) for spec in specs)
        wanted += sum(prod(i.shape) * DTYPES[i.dtype].itemsize for i in likes)
        if wanted > self._most:
            raise LimitExceeded(
                f"example inputs of {self.name!r} take {wanted} bytes; {self._most} are allowed",
                fix="ask for a smaller batch",
            )
        random = np.random.default_rng(seed)
        try:
            leaves = tuple(_drawn(like, random) for like in likes)
            drawn = Signature(None, leaves, tuple(i.name for i in likes))
            return make_up(drawn, specs, batch, seed, self.batch)
        except (ValueError, LookupError, ArithmeticError) as problem:
            problems = [f"no inputs can be made up after its example: {problem}"]
            raise BadDocument(f"model {self.name!r}", problems, fix=FIX) from None

    def call(
        self,
        mode: Mode,  # noqa: ARG002  # the part knows it
        layout: Layout,
        tensors: Tensors,
        parts: Callable[[], Any],
    ) -> dict[str, torch.Tensor]:
        whole = parts()
        made: dict[str, torch.Tensor] = whole.call({name: tensors[name] for name in whole.inputs})
        return {**{n: tensors[n] for n in layout.chain.outputs if n in tensors}, **made}

    # -- state ---------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """What the states in memory take, without gradients and optimizers."""
        return sum(t.nbytes for t in self._held.values() if t is not None and not t.is_meta)

    def hold(self, names: Sequence[str]) -> None:
        new = [n for n in self._firsts(names) if self.book[n].is_meta]
        wanted = self.held_bytes + sum(self.book[n].nbytes for n in new)
        if wanted > self._most:
            raise LimitExceeded(
                f"model {self.name!r}: {len(new)} more states make {wanted} bytes in memory; {self._most} are allowed",
                fix="drop other parts first, or place fewer stages here",
            )
        made = {name: _zeros(self._rows[name], self.device) for name in new}
        self._held.update(made)

    def drop(self, names: Sequence[str]) -> None:
        for name in self._firsts(names):
            if name not in self._stays:
                self._held[name] = _blank(self._rows[name])

    def _firsts(self, names: Sequence[str]) -> list[str]:
        unknown = [n for n in names if n not in self.book.aliases]
        if unknown:
            problems = [f"{name!r} is no state of it" for name in unknown]
            raise BadDocument(f"model {self.name!r}", problems, fix="take the names from `part_params`")
        return list(dict.fromkeys(self.book.aliases[n] for n in names))


def _blank(row: State) -> torch.Tensor:
    """The state without bytes."""
    return _dressed(row, torch.empty(row.shape, dtype=DTYPES[row.dtype], device="meta"))


def _zeros(row: State, device: torch.device) -> torch.Tensor:
    made = torch.zeros(row.shape, dtype=DTYPES[row.dtype], device=device)
    return _dressed(row, lay_out(made, row.order) if row.order else made)


def _dressed(row: State, tensor: torch.Tensor) -> torch.Tensor:
    if row.parameter:
        return torch.nn.Parameter(tensor, requires_grad=row.learns)
    return tensor.requires_grad_(row.learns)


def _drawn(like: Likeness, random: np.random.Generator) -> torch.Tensor:
    kind = DTYPES[like.dtype]
    if kind is torch.bool:
        return to_torch(random.integers(0, 2, like.shape).astype(np.bool_))
    if like.high > like.low or not (kind.is_floating_point or kind.is_complex):
        return to_torch(random.integers(like.low, like.high + 1, like.shape)).to(kind)
    return to_torch(random.standard_normal(like.shape)).to(kind)
