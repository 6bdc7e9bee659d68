"""What every layer of a project's model makes, and what every slice hands on: bytes by tensor name.

Rules: sizes follow from shapes and are exact, with the open dimensions taken from the project's own input; what a
shape does not tell is left open until a run is asked for; the original's JSON is measured on values of that run,
never estimated from a ratio.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..engine import Array, Values
from ..engine.onnx_model import OnnxModel
from ..errors import NotFound, UnboundDimension
from ..graph import Chain, TensorSpec
from .document import Optimize, bindings
from .manifest import Manifest
from .original import Project
from .original_model import open_model, sizes_of
from .original_steps import load_steps
from .original_verbs import project_input, project_slices
from .payload import total_bytes
from .stage import load_slice, run_settings


@dataclass(frozen=True)
class TensorSize:
    """One tensor. `bytes` is None where the shape does not tell and nothing was run, `json_bytes` without a run."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None
    bytes: int | None
    json_bytes: int | None = None


@dataclass(frozen=True)
class Payload:
    """What one layer or slice makes."""

    index: int
    name: str
    tensors: tuple[TensorSize, ...]

    @property
    def bytes(self) -> int:
        """The sum of what is known."""
        return sum(tensor.bytes or 0 for tensor in self.tensors)

    @property
    def json_bytes(self) -> int | None:
        """What the original's JSON files take for all of it; None where a tensor was not measured."""
        sizes = [tensor.json_bytes for tensor in self.tensors]
        return None if None in sizes else sum(size or 0 for size in sizes)


def payload_per_layer(
    project: Project, *, dims: Mapping[str, int] | None = None, run: bool = False, optimize: Optimize = "none"
) -> tuple[Payload, ...]:
    """Every layer's payload, the largest first. The layers are those of the file, unless `optimize` fuses them."""
    original = open_model(project, optimize)
    chain = original.chain
    values = _input(project, chain, dims or {}, needed=run)
    bind = _sizes(chain, values, dims or {})
    made = _layer_values(original.model, values) if run and values is not None else {}
    found = [
        Payload(
            index,
            stage.name,
            tuple(_size(chain.tensors[name], bind, made.get(name)) for name in stage.outputs),
        )
        for index, stage in enumerate(chain.stages)
    ]
    return tuple(sorted(found, key=lambda payload: (-payload.bytes, payload.index)))


def payload_per_slice(
    project: Project, *, dims: Mapping[str, int] | None = None, run: bool = False
) -> tuple[Payload, ...]:
    """What every slice makes, in their order; the last one makes the answer."""
    manifest = project_slices(project)
    values = _input(project, manifest, dims or {}, needed=run)
    bind = _sizes(manifest, values, dims or {})
    made = _slice_values(project, manifest, values) if run and values is not None else {}
    return tuple(
        Payload(
            index,
            file.path,
            tuple(_size(manifest.tensors[name], bind, made.get(name)) for name in file.outputs),
        )
        for index, file in enumerate(manifest.files)
    )


def _input(
    project: Project, what: Chain | Manifest, dims: Mapping[str, int], *, needed: bool
) -> Values | None:
    """The project's input: for a run, or because the model leaves sizes open."""
    open_sizes = any(what.tensors[name].symbols - dims.keys() for name in what.inputs)
    if not needed and not open_sizes:
        return None
    prepared = project.preprocessed_input
    if not needed and not (project.steps.is_file() and prepared is not None and prepared.is_file()):
        return None
    return project_input(project, load_steps(project), what.inputs)


def _sizes(what: Chain | Manifest, values: Values | None, dims: Mapping[str, int]) -> dict[str, int]:
    own = sizes_of(what.tensors, values or {}) | dict(dims)
    if isinstance(what, Chain):
        return bindings(what, 1, own)
    first = next((s.shape[0] for n in what.inputs if (s := what.tensors[n]).shape), 1)
    return {"batch": 1, **({first: 1} if isinstance(first, str) else {}), **own}


def _size(spec: TensorSpec, bind: Mapping[str, int], value: Array | None) -> TensorSize:
    if value is not None:
        return TensorSize(spec.name, spec.dtype, value.shape, total_bytes([value]), json_bytes(value))
    try:
        if spec.travels:
            return TensorSize(spec.name, spec.dtype, spec.bound(bind), spec.nbytes(bind))
    except UnboundDimension:
        pass
    return TensorSize(spec.name, spec.dtype, spec.shape, None)


def json_bytes(value: Array) -> int:
    """What the original writes for a tensor: nested lists as JSON."""
    plain = value.astype("float32") if value.dtype.kind == "V" else value
    return len(json.dumps(plain.tolist(), default=str).encode())


def _layer_values(model: OnnxModel, values: Values) -> Values:
    """Every tensor that passes between layers, made layer by layer; those inside what cannot be cut stay unknown."""
    chain, made = model.chain, dict(values)
    for start, stop in pairwise(cut.position for cut in chain.cuts if cut.legal):
        part = model.part(start, stop)
        made.update(part.forward(_given(part.inputs, made)))
    return made


def _slice_values(project: Project, manifest: Manifest, values: Values) -> Values:
    """Every tensor that passes between slices."""
    settings, made = run_settings(manifest), dict(values)
    for index, file in enumerate(manifest.files):
        part = load_slice(manifest, project.folder, index, settings)
        made.update(part.forward(_given(file.inputs, made)))
    return made


def _given(names: Iterable[str], made: Mapping[str, Array]) -> Values:
    missing = [name for name in names if name not in made]
    if missing:
        raise NotFound(
            f"the project's input lacks {', '.join(map(repr, missing))}",
            fix="let get_preprocessed_input() return a dict with all of the model's inputs",
        )
    return {name: made[name] for name in names}
