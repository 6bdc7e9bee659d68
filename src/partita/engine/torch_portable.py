"""A captured model as plain data: packed where the user's code is, unpacked where no code of theirs may run.

The bytes hold the graphs of both modes as rows of allowed operators, the chain, the names and shapes of the state
and the constants that tracing found, with the buffers that no state carries. Weights do not travel here, nor do example inputs: of these only sizes and the
range of integers. The unpacked model has the same chain, the same parts and the same numbers; the structure around
its outputs is a plain dictionary.

Rules: unpacking reads data and nothing else. No pickle, no code, no text that is evaluated; parts run operator by
operator and are never compiled. Every name, type and size is checked before it is used.

What this protects against: a visitor cannot name a function, a file, a pointer or another visitor's memory, and
cannot ask for sizes beyond the limit in what is written out or comes from shapes. What it does not: within the
limits a visitor may burn time and memory, by large batches, by operators whose scratch space is large, by many
values that are each small. And some kernels of torch, those of ordinary layers too, trust the shapes they are given;
the worst known are not on the list, but a graph made to hurt may still end the process, and on a GPU one index out
of range breaks the context of all. So a server for strangers runs each of them in a process of its own, under a
limit of memory and time, as a user who owns nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from ..errors import CannotCapture, FrameCorrupt, LimitExceeded, PartitaError
from .base import Mode
from .torch_model import TorchModel
from .torch_portable_check import refuse
from .torch_portable_head import FIX, Graph, Head, Input, join, part
from .torch_portable_read import Reader, leaves
from .torch_portable_state import DTYPES, PortableOrigin, describe_states, read_constant, write_constant
from .torch_portable_written import Writer

if TYPE_CHECKING:
    from .torch_layout import Layout

# Two copies of an 8-billion-parameter model at one byte each do not fit; a part of it does.
MOST_BYTES = 8 << 30
# A language model of 100 layers has 8,000 operators in each mode.
MOST_NODES = 40_000


def pack_torch(model: TorchModel) -> bytes:
    """The model as data, both modes where both can be traced; refuses what has no place in data."""
    writer = Writer(model.origin.name)
    modes: tuple[Mode, ...] = ("train", "eval") if model.first_mode == "train" else ("eval", "train")
    graphs: list[Graph] = []
    absent = ""
    for mode in modes:
        try:
            layout = model.layout(mode)
        except CannotCapture as problem:
            absent = problem.problem[:4096]
            continue
        graphs.append(writer.graph(mode, layout))
        writer.own(layout.chain)
    written = [write_constant(tensor) for _, tensor in writer.constants.values()]
    states, values = describe_states(model.book, writer.states, len(written))
    written += values
    head = Head(
        name=model.origin.name,
        torch=torch.__version__[:64],
        batch=model.origin.batch,
        operators=list(writer.operators),
        states=states,
        constants=[row for row, _ in written],
        inputs=[Input(i.name, i.dtype, i.shape, i.low, i.high) for i in model.origin.likeness()],
        graphs=graphs,
        absent=absent,
    )
    return join(head, [data for _, data in written])


def unpack_torch(
    data: bytes,
    *,
    device: torch.device | str = "cpu",
    most_bytes: int = MOST_BYTES,
    most_nodes: int = MOST_NODES,
) -> TorchModel:
    """The model behind bytes that anybody may have made; its state has no memory until `hold`.

    `most_bytes` bounds the constants, the states held at one time, and what any operator asks for by its arguments.
    """
    head, buffers = part(data, most_bytes)
    try:
        return _rebuilt(head, buffers, torch.device(device), most_bytes, most_nodes)
    except PartitaError:
        raise
    except Exception as problem:
        raise FrameCorrupt(
            f"the model does not hold together: {type(problem).__name__}: {problem}", fix=FIX
        ) from None


def _rebuilt(
    head: Head, buffers: list[memoryview], device: torch.device, most_bytes: int, most_nodes: int
) -> TorchModel:
    count = sum(1 for _ in islice(leaves(head.graphs), most_nodes + 1))
    if count > most_nodes:
        raise LimitExceeded(
            f"model {head.name!r} has more than the {most_nodes} operators allowed",
            fix="start the cloud with `--model` and the same model",
        )
    _check_sizes(head, most_bytes)
    constants = [read_constant(r, data, device) for r, data in zip(head.constants, buffers, strict=True)]
    reader = Reader(head, constants, device, most_bytes)
    origin = PortableOrigin(head, constants, device, most_bytes)
    layouts: dict[Mode, Layout] = {}
    for graph in head.graphs:
        if graph.mode in layouts:
            raise refuse(f"mode {graph.mode!r} is there twice")
        layouts[graph.mode] = reader.layout(graph)
        _check_params(head, layouts[graph.mode])
    _check_inputs(head, layouts[head.graphs[0].mode])
    first, *others = layouts
    model = TorchModel(origin, layouts[first], first)
    for mode in others:
        origin.layouts[mode] = layouts[mode]
        model.layout(mode)
    return model


def _check_sizes(head: Head, most: int) -> None:
    names = [name for row in head.states for name in (row.name, *row.aliases)]
    if len(set(names)) != len(names):
        raise refuse("two states have one name")
    rows: list[Any] = [*head.states, *head.constants, *head.inputs]
    for row in rows:
        if row.dtype not in DTYPES or not _number_of_bytes(row.dtype):
            raise refuse(f"{row.dtype!r} is no element type")
        size = _number_of_bytes(row.dtype)
        for axis in row.shape:
            size *= axis
        if size > most:
            raise LimitExceeded(
                f"one tensor has {size} bytes; {most} are allowed", fix="use a cloud that allows more"
            )
        if not isinstance(row, Input) and row.order and sorted(row.order) != list(range(len(row.shape))):
            raise refuse(f"{list(row.order)} is no order of axes")
        _check_value(head, row)
        kind = DTYPES[row.dtype]
        if getattr(row, "learns", False) and not (kind.is_floating_point or kind.is_complex):
            raise refuse(f"{row.name!r} is {row.dtype} and learns")


def _check_value(head: Head, row: Any) -> None:
    """Whether a value that comes with a state is there, looks like it, and is of one that no state carries."""
    at = getattr(row, "value", 0)
    if not at:
        return
    if row.parameter or row.persistent or at > len(head.constants):
        raise refuse(f"{row.name!r} comes with a value that it cannot have")
    found = head.constants[at - 1]
    if (found.dtype, found.shape) != (row.dtype, row.shape):
        raise refuse(
            f"{row.name!r} is {row.dtype}{list(row.shape)}, its value {found.dtype}{list(found.shape)}"
        )


def _number_of_bytes(dtype: str) -> int:
    return int(DTYPES[dtype].itemsize) if dtype in DTYPES and "q" not in dtype and "bits" not in dtype else 0


def _check_params(head: Head, layout: Layout) -> None:
    """Whether the chain says of every state how large it is."""
    sizes = {row.name: row for row in head.states}
    for name, size in layout.chain.params.items():
        row = sizes.get(name)
        if row is None:
            raise refuse(f"{name!r} is not among the states")
        bytes_ = _number_of_bytes(row.dtype)
        for axis in row.shape:
            bytes_ *= axis
        if bytes_ != size:
            raise refuse(f"{name!r} has {bytes_} bytes, not {size}")


def _check_inputs(head: Head, layout: Layout) -> None:
    """Whether what is known of the example goes with the inputs of the chain."""
    tensors = layout.chain.tensors
    seen = {row.name: (row.dtype, len(row.shape)) for row in head.inputs}
    if seen != {n: (str(tensors[n].dtype), len(tensors[n].shape or ())) for n in layout.chain.inputs}:
        raise refuse("the example inputs are not those of the chain")
