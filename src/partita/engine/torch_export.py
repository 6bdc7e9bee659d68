"""A module as one graph of operators per mode, by torch.export.

Rules: the module is not touched but for its mode while it is traced, and that is put back; open batch sizes are
tried first, fixed ones last; a module that cannot be traced is refused by `torch_refusal`, never with a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim, ExportedProgram, ShapesCollection

from ..errors import CannotCapture
from .base import Mode
from .torch_quiet import quiet
from .torch_refusal import refusal
from .torch_signature import Signature, register_dataclasses, run_once

# What a user may pass as `dynamic_shapes`, as torch.export takes it.
Shapes = Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the tracing succeeded, so that the other mode is traced alike. `batch` is None where it is fixed."""

    example: Signature
    shapes: Shapes
    strict: bool
    batch: int | None


class Modes:
    """Switches a module between train and eval, submodule by submodule as the user left it.

    A module that came in train mode keeps its exceptions there (a batch normalisation frozen with `.eval()`).
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._flags = {m: m.training for m in module.modules()} if module.training else {}

    def set(self, mode: Mode) -> None:
        self._module.train(mode == "train")
        if mode == "train":
            for submodule, training in self._flags.items():
                submodule.training = training

    @contextmanager
    def during(self, mode: Mode) -> Iterator[None]:
        """The mode for a while; every flag as it was afterwards."""
        before = [(m, m.training) for m in self._module.modules()]
        self.set(mode)
        try:
            yield
        finally:
            for submodule, training in before:
                submodule.training = training


def batch_of(example: Signature) -> int | None:
    """The batch size: the first dimension of the first tensor that has one."""
    return next((int(t.shape[0]) for t in example.tensors.values() if t.ndim), None)


def widen(example: Signature) -> Signature:
    """The example with a batch of two where it has one: torch takes a dimension of 1 for a constant."""
    leaves = [leaf.repeat(2, *[1] * (leaf.ndim - 1)) if _opens(leaf, 1) else leaf for leaf in example.leaves]
    return Signature(example.spec, tuple(leaves), example.names)


def _opens(leaf: Any, batch: int | None) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and leaf.shape[0] == batch


def _first_axes(example: Signature) -> Shapes:
    """One shared symbol on the first axis of all tensors of that batch size."""
    batch = batch_of(example)
    shapes = ShapesCollection()  # type: ignore[no-untyped-call]  # torch leaves it so
    symbol = Dim("batch")
    for leaf in example.leaves:
        if _opens(leaf, batch):
            shapes[leaf] = {0: symbol}
    return shapes


def _any_axes(example: Signature, size: int) -> Shapes:
    """Every axis of that size may be open (recurrent nets carry the batch second)."""
    shapes = ShapesCollection()  # type: ignore[no-untyped-call]  # torch leaves it so
    for leaf in example.tensors.values():
        axes = [axis for axis, n in enumerate(leaf.shape) if n == size]
        if axes:
            shapes[leaf] = dict.fromkeys(axes, Dim.AUTO)
    return shapes


def _common_sizes(example: Signature) -> list[int]:
    """Sizes that every input tensor has somewhere: what else a batch could be."""
    sizes = [set(map(int, leaf.shape)) for leaf in example.tensors.values() if leaf.ndim]
    return sorted(set.intersection(*sizes) - {0, 1}) if len(sizes) > 1 else []


def _recipes(example: Signature, shapes: Shapes | None) -> Iterator[Recipe]:
    if shapes is not None:
        yield Recipe(example, shapes, strict=False, batch=batch_of(example))
        yield Recipe(example, shapes, strict=True, batch=batch_of(example))
        return
    batch = batch_of(example)
    wide = widen(example) if batch == 1 else example
    size = batch_of(wide)
    if size:
        yield Recipe(wide, _first_axes(wide), strict=False, batch=size)
        for other in dict.fromkeys([size, *_common_sizes(wide)]):
            yield Recipe(wide, _any_axes(wide, other), strict=False, batch=other)
    yield Recipe(example, None, strict=False, batch=None)
    if size:
        yield Recipe(wide, _first_axes(wide), strict=True, batch=size)
    yield Recipe(example, None, strict=True, batch=None)


def trace(module: torch.nn.Module, recipe: Recipe) -> ExportedProgram:
    """One graph, by one recipe, in the module's present mode."""
    args, kwargs = recipe.example.arguments(recipe.example.tensors)
    # Before 2.7 `export` gave functional graphs, and the graph that keeps buffers in place had a name of its own.
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7)
    export = getattr(torch.export, "export_for_training" if old else "export")
    with quiet():
        program: ExportedProgram = export(
            module, args, kwargs, dynamic_shapes=recipe.shapes, strict=recipe.strict
        )
    return program


def first_trace(
    module: torch.nn.Module, example: Signature, shapes: Shapes | None
) -> tuple[ExportedProgram, Recipe]:
    """The best graph this module admits, and how it was made."""
    try:
        return _first_that_works(module, example, shapes)
    except CannotCapture:
        raise
    except Exception as problem:
        if "not a known type" in str(problem) and register_dataclasses(run_once(module, example)):
            return first_trace(module, example, shapes)
        raise refusal(module, example, problem) from problem


def _first_that_works(
    module: torch.nn.Module, example: Signature, shapes: Shapes | None
) -> tuple[ExportedProgram, Recipe]:
    problems: list[Exception] = []
    for recipe in _recipes(example, shapes):
        try:
            program = trace(module, recipe)
        except Exception as problem:
            problems.append(problem)
            continue
        _check_kind(program, module)
        if recipe.batch is None or shapes is not None or _is_open(program):
            return program, recipe
    raise problems[0]


def _is_open(program: ExportedProgram) -> bool:
    """Whether any input kept an open dimension: torch may settle what it was left free to settle."""
    seen = (node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder")
    sizes: Iterator[Any] = (n for val in seen if isinstance(val, torch.Tensor) for n in val.shape)
    return any(isinstance(size, torch.SymInt) and size.node.expr.free_symbols for size in sizes)


def second_trace(module: torch.nn.Module, recipe: Recipe, mode: Mode) -> ExportedProgram:
    """The graph of the other mode, made like the first."""
    try:
        program = trace(module, recipe)
    except Exception as problem:
        raise refusal(module, recipe.example, problem, where=f" in {mode} mode") from problem
    _check_kind(program, module)
    return program


def _check_kind(program: ExportedProgram, module: torch.nn.Module) -> None:
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        # A functional graph writes buffers back as extra outputs, which parts cannot do for each other.
        raise CannotCapture(
            f"this torch ({torch.__version__}) exports functional graphs, which lose the buffers of {type(module).__name__}",
            fix="pip install 'torch>=2.7'",
        )
