"""A module as an ONNX file, with proof that it computes the same.

Rules: the graph is the one that capture cuts, so inputs, outputs and the open batch have the same names; the file
appears complete or not at all; ONNX Runtime runs it on the example, and at another batch size where that is open,
before anybody else sees it, and the largest difference is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..errors import CannotCapture, MissingExtra
from .base import Array, Values, largest_difference
from .onnx_export import OnnxExport, in_place, outside
from .onnx_run import OnnxPart, RunSettings, reason
from .torch_export import Modes, Recipe, first_trace, trace
from .torch_quiet import quiet
from .torch_refusal import refusal
from .torch_signature import Signature, name_outputs, read_signature
from .torch_values import to_numpy, to_torch

# One protobuf message holds 2 GB; room is left for the graph itself.
_LARGEST_MESSAGE = 1_500_000_000


def export_onnx(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    path: Path,
    *,
    opset: int | None = None,
    dynamic_batch: bool = True,
    external: bool | None = None,
) -> OnnxExport:
    """Write the module in its eval mode. `external` None puts weights beside the file only where they do not fit."""
    for library in ("onnx", "onnxscript"):
        if find_spec(library) is None:
            raise MissingExtra(library, extra="onnx", purpose="export to ONNX")
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    # Attention traced for another kernel leaves strides that the exporter's own form of it does not have.
    with Modes(module).during("eval"), sdpa_kernel(SDPBackend.MATH):
        example = read_signature(module, args, kwargs)
        program, recipe = _traced(module, example, dynamic_batch=dynamic_batch)
        taken = _tensor_inputs(program, recipe.example)
        outputs = _outputs(program, type(module).__name__)
        written = _translated(module, program, taken, outputs, opset)
        if external is None:
            weights = [p.untyped_storage() for p in (*module.parameters(), *module.buffers())]
            external = sum({s.data_ptr(): s.nbytes() for s in weights}.values()) > _LARGEST_MESSAGE
        with in_place(path) as scratch:
            _save(written, scratch / path.name, external=external)
            proof = _proved(module, recipe, taken, outputs, scratch / path.name)
    data = outside(path) if external and outside(path).is_file() else None
    return OnnxExport(
        path=path,
        data=data,
        bytes=path.stat().st_size + (data.stat().st_size if data else 0),
        opset=int(written.model.opset_imports[""]),
        inputs=tuple(taken),
        outputs=outputs,
        batch=next((name for axes in taken.values() for name in axes.values()), None),
        batches=proof.batches,
        difference=proof.difference,
        relative=proof.relative,
    )


def _traced(module: torch.nn.Module, example: Signature, *, dynamic_batch: bool) -> tuple[Any, Recipe]:
    if dynamic_batch:
        return first_trace(module, example, None)
    recipe = Recipe(example, None, strict=False, batch=None)
    try:
        return trace(module, recipe), recipe
    except Exception as problem:
        raise refusal(module, example, problem) from problem


def _tensor_inputs(program: Any, example: Signature) -> dict[str, dict[int, str]]:
    """The inputs by our names, each with its open axes by name."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    leaves = [name for name in program.graph_signature.user_inputs if isinstance(name, str) and name in nodes]
    values = [nodes[name].meta.get("val") for name in leaves]
    shown = [value for value in values if isinstance(value, torch.Tensor)]
    names = list(example.tensors)
    called: dict[str, str] = {}
    found: dict[str, dict[int, str]] = {}
    for name, value in zip(names, shown, strict=True):
        found[name] = {}
        sizes: tuple[Any, ...] = tuple(value.shape)
        for axis, size in enumerate(sizes):
            text = str(size)
            if isinstance(size, torch.SymInt) and text.isidentifier():
                called.setdefault(text, "batch" if not called else f"batch_{len(called) + 1}")
                found[name][axis] = called[text]
    return found


def _outputs(program: Any, kind: str) -> tuple[str, ...]:
    """The outputs by our names. What is a number of Python's and no tensor has no place in an ONNX graph."""
    spec = program.call_spec.out_spec
    names = name_outputs(spec, spec.num_leaves)
    args = [s.arg for s in program.graph_signature.output_specs if s.kind.name == "USER_OUTPUT"]
    plain = [n for n, arg in zip(names, args, strict=True) if type(arg).__name__ != "TensorArgument"]
    if plain:
        raise CannotCapture(
            f"{kind} returns {', '.join(map(repr, plain))}, which {'is' if len(plain) == 1 else 'are'} no tensor",
            fix="let a module around it return its tensors only",
        )
    return tuple(names)


def _translated(
    module: torch.nn.Module,
    program: Any,
    taken: Mapping[str, Mapping[int, str]],
    outputs: tuple[str, ...],
    opset: int | None,
) -> Any:
    axes = [dict(open_axes) for open_axes in taken.values()]
    try:
        with quiet():
            return torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=list(taken),
                output_names=list(outputs),
                dynamic_shapes=axes if any(axes) else None,
                verbose=False,
            )
    except Exception as problem:
        first = next((line for line in str(_deepest(problem)).splitlines() if line.strip()), "")
        raise CannotCapture(
            f"{type(module).__name__} cannot be written as ONNX: {first.strip()[:300]}",
            fix="write the operator named there with others, or give another --opset",
        ) from problem


def _deepest(problem: BaseException) -> BaseException:
    """What went wrong first: the exporter wraps it several times."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return problem


def _save(written: Any, path: Path, *, external: bool) -> None:
    """Without the traces of this machine's Python files, which the exporter leaves on every node."""
    graphs = (written.model.graph, *written.model.functions.values())
    for node in (node for graph in graphs for node in graph.all_nodes()):
        node.metadata_props.clear()
    with quiet():
        written.save(str(path), external_data=external)


@dataclass(frozen=True, slots=True)
class _Proof:
    batches: tuple[int, ...]
    difference: float
    relative: float


def _proved(
    module: torch.nn.Module,
    recipe: Recipe,
    taken: Mapping[str, Mapping[int, str]],
    outputs: tuple[str, ...],
    path: Path,
) -> _Proof:
    """Both on the example, and on one more row of it where the batch is open."""
    part = OnnxPart.load(path, RunSettings())
    own = {name: to_numpy(tensor).copy() for name, tensor in recipe.example.tensors.items()}
    trials = [own]
    if any(taken.values()):
        trials.append({name: _one_more(value, taken[name]) for name, value in own.items()})
    difference = relative = 0.0
    batches = []
    for values in trials:
        expected = _by_torch(module, recipe.example, values, outputs)
        found = _by_onnx(part, values, module)
        batches.append(next((value.shape[0] for value in values.values() if value.ndim), 1))
        for name in outputs:
            gap = largest_difference({name: found[name]}, {name: expected[name]})
            difference, relative = max(difference, gap), max(relative, gap / _reach(expected[name]))
    return _Proof(tuple(batches), difference, relative)


def _one_more(value: Array, open_axes: Mapping[int, str]) -> Array:
    for axis in open_axes:
        value = np.concatenate([value, np.take(value, [0], axis)], axis)
    return value


def _by_torch(
    module: torch.nn.Module, example: Signature, values: Values, outputs: tuple[str, ...]
) -> Values:
    tensors = {name: to_torch(value.copy()) for name, value in values.items()}
    leaves = [
        leaf if name is None else tensors[name]
        for name, leaf in zip(example.names, example.leaves, strict=True)
    ]
    with quiet():
        answer = _run(module, Signature(example.spec, tuple(leaves), example.names))
    found = [leaf for leaf in pytree.tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
    return {name: to_numpy(leaf) for name, leaf in zip(outputs, found, strict=True)}


def _run(module: torch.nn.Module, example: Signature) -> Any:
    """What the module gives, leaving no trace in its buffers; parameters are not copied, for they may be large."""
    args, kwargs = example.arguments(example.tensors)
    buffers = {name: b.detach().clone() for name, b in module.named_buffers(remove_duplicate=False)}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return torch.func.functional_call(module, buffers, args, kwargs, tie_weights=False)


def _by_onnx(part: OnnxPart, values: Values, module: torch.nn.Module) -> Values:
    try:
        return part.forward({name: values[name] for name in part.inputs})
    except Exception as problem:
        raise CannotCapture(
            f"{type(module).__name__} was written as ONNX, but does not run at another batch size than its example: "
            f"{reason(problem)}",
            fix="export it with a fixed batch: --fixed-batch",
        ) from problem


def _reach(value: Array) -> float:
    """The largest number, to hold a difference against."""
    if not value.size or value.dtype.kind == "b":
        return 1.0
    wide = np.abs(value.astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    return float(np.max(wide, where=np.isfinite(wide), initial=0.0)) or 1.0
