"""The model of a project, from its first input to its last output as the project names them.

Rules: names are checked against the model before anything is cut; a start or an end inside the model cuts off what
lies outside, where that is one part; a number of slices is met exactly or refused with the most that are possible.
"""

from __future__ import annotations

import difflib
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from ..engine import Array
from ..engine.onnx_capture import capture_onnx
from ..engine.onnx_extract import write_parts
from ..engine.onnx_model import OnnxModel
from ..errors import BadDocument, NotFound
from ..graph import Chain, TensorSpec
from .document import Optimize, Preparation
from .original import Project
from .slicer import prepare

_START, _END = "input_list_start", "output_list_end"


@dataclass(frozen=True)
class OriginalModel:
    """A project's model, ready to be cut. `outputs` are those that the project asks for, in its order."""

    model: OnnxModel
    preparation: Preparation
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    path: Path
    """The file that it was made from: the project's, or the part of it between its own start and end."""
    notes: tuple[str, ...] = ()
    folder: object = None
    """Keeps that part alive."""

    @property
    def chain(self) -> Chain:
        """The model as stages."""
        return self.model.chain


def open_model(project: Project, optimize: Optimize = "extended") -> OriginalModel:
    """The model, captured, with the project's own inputs and outputs."""
    if not project.model.is_file():
        raise NotFound(
            f"project {project.name!r} has no model {project.model}",
            fix=f"put it there, or correct [project] onnx_model in {_own(project)}",
        )
    preparation = Preparation(optimize=optimize)
    model = prepare(project.model, preparation)
    starts = project.inputs or model.chain.inputs
    ends = project.outputs or model.chain.outputs
    inside = [name for name in starts if name not in model.chain.inputs]
    inside += [name for name in ends if name not in model.chain.outputs]
    if not inside:
        _complete(project, model.chain, starts)
        return OriginalModel(model, preparation, starts, ends, project.model)
    held = _Held()
    path = _part_between(project, starts, ends, held.path)
    note = f"cut to the part from {', '.join(starts)} to {', '.join(ends)}: {_own(project)} says so"
    return OriginalModel(prepare(path, preparation), preparation, starts, ends, path, (note,), held)


class _Held:
    """A temporary folder that lives as long as the model that is read from it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="partita-"))
        weakref.finalize(self, rmtree, self.path, ignore_errors=True)


def _own(project: Project) -> str:
    return f"{project.name}_config.ini"


def _refused(project: Project, problems: Iterable[str]) -> BadDocument:
    return BadDocument(
        f"project {project.name!r}",
        [f"{_own(project)}: [project] {problem}" for problem in problems],
        fix="leave both lists empty to take the model's own inputs and outputs; `partita inspect` lists all names",
    )


def _complete(project: Project, chain: Chain, starts: tuple[str, ...]) -> None:
    missing = [name for name in chain.inputs if name not in starts]
    if missing:
        raise _refused(project, [f"{_START} lacks {name!r}, which the model reads" for name in missing])


def _part_between(project: Project, starts: tuple[str, ...], ends: tuple[str, ...], folder: Path) -> Path:
    """The part of the model that reads exactly `starts` and makes `ends`, as a file."""
    model = capture_onnx(project.model)
    chain = model.chain
    problems = [
        f"{key}: the model has no tensor {name!r}{_near(name, chain)}"
        for key, names in ((_START, starts), (_END, ends))
        for name in names
        if name not in chain.tensors
    ]
    if problems:
        raise _refused(project, problems)
    for start, stop in _between(chain, starts, ends):
        if set(chain.part_inputs(start, stop)) == set(starts):
            (file,) = write_parts(model, [(start, stop)], folder, external=True, stem=project.model.stem)
            return file.path
    raise _refused(project, [_why_not(chain, starts, ends)])


def _between(chain: Chain, starts: tuple[str, ...], ends: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Parts that begin after the starts are made and before they are read, and end where all ends go on."""
    made = max(chain.maker(name) for name in starts) + 1
    read = min((i for i, stage in enumerate(chain.stages) if set(stage.inputs) & set(starts)), default=made)
    last = max(chain.maker(name) for name in ends) + 1
    for start in range(made, read + 1):
        for stop in range(max(last, start + 1), len(chain) + 1):
            if not set(ends) <= set(chain.part_outputs(start, stop)):
                break  # what is read for the last time before `stop` is not given out any more
            if chain.cut(start).legal and chain.cut(stop).legal:
                yield start, stop


def _why_not(chain: Chain, starts: tuple[str, ...], ends: tuple[str, ...]) -> str:
    made = max(chain.maker(name) for name in starts) + 1
    last = max(chain.maker(name) for name in ends) + 1
    if last <= made:
        return f"{_END} {', '.join(ends)} lies before {_START} {', '.join(starts)}"
    found = [name for name in chain.part_inputs(made, last) if name not in starts]
    also = f" alone: {', '.join(map(repr, found[:4]))} would be needed too" if found else ""
    return f"{_START} {', '.join(starts)}: the part up to {', '.join(ends)} cannot be cut out there{also}"


def _near(name: str, chain: Chain) -> str:
    close = difflib.get_close_matches(name, list(chain.tensors), n=2)
    return f" (near: {', '.join(close)})" if close else ""


def exact_cuts(chain: Chain, slices: int) -> tuple[int, ...] | None:
    """The cuts that come closest to equal numbers of stages in exactly so many slices; None where there are too few."""
    legal = [cut.position for cut in chain.cuts if cut.legal and 0 < cut.position < len(chain)]
    if len(legal) < slices - 1:
        return None
    found: list[int] = []
    at = 0
    for index in range(1, slices):
        # As many cuts have to stay as slices are still to come.
        free = range(at, len(legal) - (slices - 1 - index))
        wanted = len(chain) * index / slices
        best = min(free, key=lambda i: (abs(legal[i] - wanted), i))
        found.append(legal[best])
        at = best + 1
    return tuple(found)


def most_slices(chain: Chain) -> int:
    """How many slices there can be."""
    return 1 + sum(1 for cut in chain.cuts if cut.legal and 0 < cut.position < len(chain))


def sizes_of(tensors: Mapping[str, TensorSpec], values: Mapping[str, Array]) -> dict[str, int]:
    """The open dimensions, from the shapes of inputs."""
    return {
        dim: size
        for name, value in values.items()
        if name in tensors
        for dim, size in zip(tensors[name].shape or (), value.shape, strict=False)
        if isinstance(dim, str) and dim.isidentifier()
    }
