"""From an ONNX file to a chain of stages, without loading its weights.

Rules: the file is read, never changed; what ONNX Runtime would refuse later is refused now; optimisation happens
before the cut, to the whole model at once, because parts that are optimised each for itself give other numbers.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..errors import BadReference, CannotCapture
from ..graph import Chain, DType, Stage, TensorSpec
from .base import Array
from .onnx_example import checked
from .onnx_file import OnnxFile, read_file
from .onnx_graph import Graph, Step, weight_names
from .onnx_memory import available_memory
from .onnx_model import OnnxModel
from .onnx_observe import observed, unexplained
from .onnx_probe import probe, probed, refusal
from .onnx_run import RunSettings, session_options
from .onnx_source import OnnxSource
from .onnx_tensor import nbytes
from .onnx_types import typed, unsized

Optimize = Literal["none", "basic", "extended"]
# Weights of an optimised model go outside its message, so that it may pass 2 GB; small tensors stay readable in it.
_OUTSIDE_FROM = 1024
# While it optimises, ONNX Runtime takes 2.6 to 3.4 times the weights (six models of 28 to 575 MB, version 1.31), and
# more where it computes large constants.
LARGEST_SHARE = 1 / 3


def capture_onnx(  # noqa: PLR0913  # the public door: all but one have defaults
    path: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    name: str = "",
    optimize: Optimize = "none",
    settings: RunSettings | None = None,
    example: Mapping[str, Array] | None = None,
    observe: bool = True,
    probe: bool = True,
) -> OnnxModel:
    """Understand an ONNX file as a chain.

    `dims` binds open dimensions; `optimize` lets ONNX Runtime fuse the whole model first; `example` holds inputs of
    your own. With `observe`, sizes that cannot be inferred are found by running the graph with zeros for weights.
    Without `probe`, ONNX Runtime is asked only about what shape inference leaves open, and mostly not loaded at all:
    the chain is the same, but what it would refuse to run is found out later.
    """
    given = Path(path)
    folder = None
    file = read_file(given)
    if optimize != "none":
        folder, optimised = _optimised(file, optimize)
        file = read_file(optimised)
    bound = MappingProxyType(dict(dims or {}))
    source = _source(file, bound, name or given.stem, refuse=probe)
    own = None if example is None else checked(source.chain, example)
    if observe:
        source = _observed(source, bound, own)
    return OnnxModel(source, bound, settings or RunSettings(), own, folder)


def affordable(path: str | Path, share: float = LARGEST_SHARE) -> bool:
    """Whether `optimize` may be asked for: the model, with its data outside, is at most this share of the free memory.

    ONNX Runtime holds the weights several times over while it optimises, and the kernel ends a process that takes
    more than there is. Where the free memory is unknown, the answer is yes.
    """
    file = read_file(path)
    weights = file.path.stat().st_size + sum(t.nbytes for t in file.initializers if t.external)
    free = available_memory()
    return free is None or weights <= share * free


class _Scratch:
    """A temporary folder that lives as long as the model that was optimised into it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="partita-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _optimised(file: OnnxFile, level: str) -> tuple[_Scratch, Path]:
    import onnxruntime as ort

    if level not in ("basic", "extended"):
        raise BadReference(f"optimize {level!r} is no level", fix="give 'none', 'basic' or 'extended'")
    folder = _Scratch()
    path = folder.path / file.path.name
    options = session_options(RunSettings(level="basic" if level == "basic" else "extended"))
    options.optimized_model_filepath = str(path)
    for key, value in (
        ("file_name", f"{path.name}.data"),
        ("min_size_in_bytes", str(_OUTSIDE_FROM)),
    ):
        options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
    try:
        ort.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise refusal(file, error) from error
    _drop_strays(path, file)
    return folder, path


def _drop_strays(path: Path, original: OnnxFile) -> None:
    """Take out inputs that the original does not have.

    Before IR version 4 every initializer is an input as well; where ONNX Runtime folds one away, its input stays
    behind, and would have to be fed.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    known = {*Graph.of(original.proto).inputs, *weight_names(model.graph)}
    strays = [value for value in model.graph.input if value.name not in known]
    for value in strays:
        model.graph.input.remove(value)
    if strays:
        path.write_bytes(model.SerializeToString())


def _source(file: OnnxFile, dims: Mapping[str, int], name: str, *, refuse: bool) -> OnnxSource:
    graph = Graph.of(file.proto)
    steps = graph.steps()
    if not steps:
        raise CannotCapture(
            f"{file.path} computes nothing: none of its {len(graph.nodes)} nodes leads to an output",
            fix="export the model again with the outputs that you need",
        )
    specs, namer = typed(file.proto, dims)
    passing = _passing(graph, steps)
    wanted = dict.fromkeys((*graph.inputs, *passing, *graph.outputs))
    params = _param_bytes(file, graph, steps)
    chain = Chain(
        name=name,
        engine="onnx",
        stages=tuple(_stages(graph, steps, set(passing), params)),
        tensors={n: specs.get(n, TensorSpec(n, DType.UNKNOWN, None)) for n in wanted},
        inputs=graph.inputs,
        outputs=graph.outputs,
        params=params,
    )
    # What ONNX Runtime knows beyond shape inference; it also refuses here what it does not run.
    vague = [n for n, s in chain.tensors.items() if s.dtype is DType.UNKNOWN or s.shape is None]
    session = probe(file, [name for name in vague if name in graph.makers]) if refuse or vague else None
    if session is not None and vague:
        chain = replace(chain, tensors={**chain.tensors, **probed(session, chain.tensors, vague, namer)})
    return OnnxSource(file, graph, steps, chain, chain.tensors, namer)


def _observed(source: OnnxSource, dims: Mapping[str, int], own: Mapping[str, Array] | None) -> OnnxSource:
    """The same source with sizes found by running the graph, where there was something to find."""
    names = [name for name in unexplained(source.chain) if name in source.graph.makers]
    session = probe(source.file, names) if names else None
    if session is None:
        return source
    seen = observed(session, source.chain, source.graph, dims, source.namer, own)
    ranks = {n: unsized(s) for n, s in seen.items() if source.written[n].shape is None}
    chain = replace(source.chain, tensors={**source.chain.tensors, **seen})
    return replace(source, chain=chain, written={**source.written, **ranks})


def _passing(graph: Graph, steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The names that a stage makes and another reads, or the model returns."""
    needed = {name for step in steps for name in step.reads} | set(graph.outputs)
    return tuple(name for step in steps for name in step.makes if name in needed)


def _stages(
    graph: Graph, steps: tuple[Step, ...], passing: set[str], params: Mapping[str, int]
) -> Iterator[Stage]:
    taken = {step.node.name for step in steps if step.node is not None}
    local = {(key[0], key[1]) for key in graph.functions}
    for step in steps:
        makes = tuple(name for name in step.makes if name in passing)
        if step.node is None:
            name = makes[0] if makes[0] not in taken else f"{makes[0]} (weight)"
            yield Stage(name, (), makes, step.weights, ops=0, kind="weight")
            continue
        node = step.node
        constants = (graph.nodes[index] for index in (*step.free, node.index))
        used = [n for c in constants if c.op == "Constant" for n in c.makes if n in params]
        special = node.control or (node.domain, node.op) in local
        ops = node.ops + sum(graph.nodes[index].ops for index in step.free)
        yield Stage(
            node.name,
            step.reads,
            makes,
            tuple(dict.fromkeys((*step.weights, *used))),
            ops=ops,
            kind=node.op if special else "",
        )


def _param_bytes(file: OnnxFile, graph: Graph, steps: tuple[Step, ...]) -> dict[str, int]:
    """Bytes of the weights and constants that the stages use."""
    sizes = {t.name: t.nbytes or len(t.span) for t in file.initializers}
    sparse = file.proto.graph.sparse_initializer
    sizes |= {item.values.name: len(span) for item, span in zip(sparse, file.sparse, strict=True)}
    used = {name: sizes[name] for step in steps for name in step.weights}
    indices = {index for step in steps for index in step.free}
    indices |= {step.node.index for step in steps if step.node is not None}
    for index in sorted(indices):
        if graph.nodes[index].op == "Constant":
            used.update(dict.fromkeys(graph.nodes[index].makes, _constant_bytes(file, index)))
    return used


def _constant_bytes(file: OnnxFile, index: int) -> int:
    for attribute in file.proto.graph.node[index].attribute:
        if attribute.HasField("t"):
            tensor = attribute.t
            return nbytes(tensor.data_type, tuple(tensor.dims)) or len(file.nodes[index])
    return len(file.nodes[index])
