"""From a network with exits to a folder of ONNX files, with proof that they compute the same.

Rules: one way for all: the network becomes one ONNX file, is optimised once as a whole, and is then divided on the
graph, so that whatever PyTorch or another tool wrote is treated alike; the folder appears complete and proved, or not
at all; weights lie on disk once, however many files use them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..engine import Array, Values
from ..engine.onnx_capture import capture_onnx
from ..engine.onnx_exits import ExitGraph, exit_graph
from ..engine.onnx_exits_file import WrittenFile, write_shared
from ..engine.onnx_exits_work import flops
from ..engine.onnx_source import OnnxSource
from ..errors import BadDocument, BadReference, CannotCapture
from ..graph import dump
from .export_batch import BatchFacts, batch_facts
from .export_proof import Oracle, proved
from .model_manifest import MANIFEST, DataFile, ExitModelManifest, Feature, Granularity, ModelFile, Parity

if TYPE_CHECKING:
    from .exits import MultiExit

Optimize = Literal["none", "basic", "extended"]
_UNPROVED = Parity((), 0.0, 0.0, None, 0.0, None)


@dataclass(frozen=True)
class _Network:
    """One ONNX file with exits, wherever it came from. `inputs` and `logits` are PyTorch's, where it came from there."""

    path: Path
    name: str
    outputs: tuple[str, ...]
    exits: tuple[str, ...] = ()
    kind: str = ""
    inputs: Values | None = None
    logits: tuple[Array, ...] | None = None


def export(
    model: MultiExit | str | Path,
    folder: str | Path,
    *,
    granularity: Granularity = "exit",
    optimize: Optimize = "extended",
    spans: bool = True,
    exits: Sequence[str] = (),
    name: str = "",
) -> ExitModelManifest:
    """Write a network with exits as subnetworks.

    `model` is a MultiExit, the folder of a training run, or an .onnx file whose outputs are exits: all of them, or
    those named in `exits`, shallow to deep. `granularity`: `exit` writes one file for each stage, `block` several for
    each stage, `model` only the whole up to each exit. `spans` adds a file for every run of stages, without the exits
    between. For a provider with an optimiser of its own, say `optimize="none"`.
    """
    _check(granularity, optimize)
    with _in_place(Path(folder)) as scratch, tempfile.TemporaryDirectory(prefix="partita-") as beside:
        network = _network(model, Path(beside), tuple(exits), name)
        return _divided(network, scratch, granularity, optimize, spans=spans)


def _check(granularity: str, optimize: str) -> None:
    problems = []
    if granularity not in ("exit", "block", "model"):
        problems.append(f"granularity: {granularity!r} is none of exit, block, model")
    if optimize not in ("none", "basic", "extended"):
        problems.append(f"optimize: {optimize!r} is none of none, basic, extended")
    if problems:
        raise BadDocument("export", problems, fix="choose one of those named")


def _network(model: MultiExit | str | Path, scratch: Path, exits: tuple[str, ...], name: str) -> _Network:
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix == ".onnx" or path.is_file():
            return _Network(path, name or path.stem, exits)
        if not (path / "spec.json").is_file():
            raise BadReference(
                f"{path} is neither an .onnx file nor the folder of a training run (it has no spec.json)",
                fix="give an .onnx file with an output for every exit, or what `partita serve train` wrote",
            )
        from .train_run import load_run, read_run

        name, loaded = name or read_run(path).spec.model or path.resolve().name, load_run(path)
    else:
        loaded = model
    if exits:
        raise BadDocument(
            "export", ["exits: only those of an .onnx file can be chosen"], fix="leave them away"
        )
    from .export_torch import write_torch

    written = write_torch(loaded, scratch)
    called = name or type(loaded).__name__.lower()
    return _Network(
        written.path, called, written.outputs, loaded.names, loaded.kind, written.inputs, written.logits
    )


def _divided(
    network: _Network, scratch: Path, granularity: Granularity, optimize: Optimize, *, spans: bool
) -> ExitModelManifest:
    """Cut, write and prove."""
    captured = capture_onnx(network.path, name=network.name, optimize=optimize)
    graph = exit_graph(captured, network.outputs)
    classes = _classes(graph)
    facts = batch_facts(captured, graph)
    parts = _parts(graph, granularity, spans=spans)
    flat = {name: (source, f"stage-{owner}.data") for _, name, source, owner in parts}
    written = {file.name: file for file in write_shared(flat, scratch)}
    files: dict[str, tuple[ModelFile, ...]] = {}
    for key, name, _, _ in parts:
        files[key] = (*files.get(key, ()), _model_file(written[f"{name}.onnx"]))
    manifest = ExitModelManifest(
        model=network.name,
        exits=network.exits or graph.exits,
        outputs=graph.exits,
        classes=classes,
        inputs=_features(graph, graph.chain.inputs, facts),
        borders=tuple(_features(graph, names, facts) for names in graph.borders[:-1]),
        spans=files,
        data=tuple(DataFile(f.name, f.sha256, f.bytes) for f in written.values() if f.name.endswith(".data")),
        granularity=granularity,
        optimize=optimize,
        parity=_UNPROVED,
        kind=network.kind,
        batch=facts.fixed,
        flops=tuple(flops(graph.span(0, k), facts.sizes(1)) for k in range(len(graph.exits))),
    )
    oracle = Oracle(network.path, optimize, captured, network.inputs, network.logits)
    manifest = proved(manifest, scratch, oracle)
    (scratch / MANIFEST).write_text(dump(manifest) + "\n", encoding="utf-8")
    return manifest


def _parts(
    graph: ExitGraph, granularity: Granularity, *, spans: bool
) -> list[tuple[str, str, OnnxSource, int]]:
    """The span, name, content and first owner of weights of every file, stages before spans."""
    count = len(graph.exits)
    found: list[tuple[str, str, OnnxSource, int]] = []
    if granularity == "model":
        return [(f"0-{k}", f"span-0-{k}", graph.span(0, k), k) for k in range(count)]
    for k in range(count):
        if granularity == "exit":
            found.append((f"{k}-{k}", f"stage-{k}", graph.span(k, k), k))
        else:
            found += [(f"{k}-{k}", f"stage-{k}-{b}", part, k) for b, part in enumerate(graph.blocks(k))]
    if spans:
        ends = [(i, j) for i in range(count) for j in range(i + 1, count)]
        found += [(f"{i}-{j}", f"span-{i}-{j}", graph.span(i, j), j) for i, j in ends]
    return found


def _model_file(file: WrittenFile) -> ModelFile:
    return ModelFile(file.name, file.sha256, file.bytes, file.inputs, file.outputs, file.data)


def _features(graph: ExitGraph, names: Sequence[str], facts: BatchFacts) -> tuple[Feature, ...]:
    found = []
    for name in names:
        spec = graph.chain.tensors[name]
        axis, each = facts.places[name]
        found.append(Feature(name, spec.dtype, spec.shape or (), axis, each))
    return tuple(found)


def _classes(graph: ExitGraph) -> int:
    """How many classes the exits choose from; they must agree, and be logits of one row for each sample."""
    problems, sizes = [], set()
    for name in graph.exits:
        spec = graph.chain.tensors[name]
        shape = spec.shape or ()
        if len(shape) != 2 or not spec.dtype.is_float or not isinstance(shape[1], int) or shape[1] < 2:
            problems.append(f"{name!r} is {spec.dtype}{list(shape)}, not float[samples, classes]")
        else:
            sizes.add(shape[1])
    if problems or len(sizes) > 1:
        said = "; ".join(problems) or f"the exits have {' and '.join(map(str, sorted(sizes)))} classes"
        raise CannotCapture(
            f"{graph.chain.name}: {said}",
            fix="name the outputs that are exits (--exits a,b): logits over the same classes, one row a sample",
        )
    return sizes.pop()


@contextmanager
def _in_place(folder: Path) -> Iterator[Path]:
    """A scratch folder beside the one wanted, which takes its name when all went well."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadReference(f"{folder} exists and is not empty", fix="name another folder, or remove it first")
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        yield scratch
        scratch.chmod(0o755)
        scratch.replace(folder)
    except OSError as error:
        raise BadReference(
            f"{folder}: {error.strerror or error}; nothing was left there",
            fix="choose a folder that you may write to",
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
