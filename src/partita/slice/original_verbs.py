"""What the original's commands do to a project: cut it, run it, both, and say which slice is the heaviest.

Rules: functions give data and print nothing; slices lie where the original puts them, and its own older slices are
moved aside, never deleted; an inference runs the slices that are there, as many as the configuration says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, Values
from ..errors import BadDocument, BadReference, NotFound, PlanMismatch
from .manifest import MANIFEST, Manifest, read_manifest
from .original import Project
from .original_model import exact_cuts, most_slices, open_model
from .original_steps import Steps, load_steps
from .runner import Outcome, open_slices
from .slicer import cut, plan_at

_FIRST = "decompose the project first: partita slice decomposition"


@dataclass(frozen=True)
class Decomposition:
    """A project's slices. `moved` is where older slices of the original's own went, if there were any."""

    project: Project
    manifest: Manifest
    folder: Path
    event: Path
    moved: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inference:
    """One run through a project's slices. `result` is what its steps made of the outputs."""

    project: Project
    result: Any
    outcome: Outcome

    @property
    def outputs(self) -> Values:
        """The outputs that the project asks for, in its order."""
        names = self.project.outputs or tuple(self.outcome.outputs)
        return {name: self.outcome.outputs[name] for name in names}


@dataclass(frozen=True)
class SliceSize:
    """What one slice takes on disk, its weights included."""

    index: int
    file: str
    bytes: int


def basic(project: Project, *, threads: int = 0) -> tuple[Decomposition, Inference]:
    """Cut the model, then run it."""
    return decomposition(project), inference(project, threads=threads)


def decomposition(project: Project) -> Decomposition:
    """Cut the model into the configured number of slices, and write the first event of a workflow over them."""
    model = open_model(project)
    cuts = exact_cuts(model.chain, project.slices)
    notes = list(model.notes)
    if cuts is None:
        # Fused nodes are fewer: the model as it is may have enough.
        fused = most_slices(model.chain)
        model = open_model(project, "none")
        cuts = exact_cuts(model.chain, project.slices)
        if cuts is None:
            raise BadDocument(
                f"project {project.name!r}",
                [
                    f"{project.config.name}: [project] number_of_slices is {project.slices}, more than the model has places"
                ],
                fix=f"set it to at most {most_slices(model.chain)}",
            )
        notes.append(f"not optimised before the cut: optimised, the model gives at most {fused} slices")
    moved = _make_room(project)
    try:
        plan = plan_at(model.chain, cuts, preparation=model.preparation)
        manifest = cut(model.model, plan, project.folder)
        _write_event(project, manifest)
    except BaseException:
        if moved is not None and not project.folder.exists():
            moved.rename(project.folder)
        raise
    return Decomposition(project, manifest, project.folder, project.event, moved, tuple(notes))


def _make_room(project: Project) -> Path | None:
    """Move slices that the original wrote out of the way. Anything else in the folder stays, and is refused later."""
    folder = project.folder
    if not folder.is_dir() or (folder / MANIFEST).exists():
        return None
    own = re.compile(re.escape(project.name) + r"_slice\d+\.onnx")
    held = [path.name for path in folder.iterdir()]
    if not held or not all(own.fullmatch(name) for name in held):
        return None
    aside = folder.with_name(f"{folder.name}-original")
    if aside.exists():
        raise BadReference(
            f"{folder} holds slices of the original, and {aside} is taken", fix="delete or move one of them"
        )
    folder.rename(aside)
    return aside


def _write_event(project: Project, manifest: Manifest) -> None:
    """`event0.json` as the original writes it: which slice comes next, and what every slice reads and makes."""
    event = {
        "keep_going": True,
        "number_of_slices": len(manifest.files),
        "next_slice_index": 0,
        "inputs": [list(file.inputs) for file in manifest.files],
        "outputs": [list(file.outputs) for file in manifest.files],
    }
    scratch = project.event.with_suffix(".part")
    try:
        project.event.parent.mkdir(exist_ok=True)
        scratch.write_text(json.dumps(event, indent=4) + "\n", encoding="utf-8")
        scratch.replace(project.event)
    except OSError as error:
        raise BadReference(
            f"{project.event}: {error.strerror}: cannot be written", fix="make the project's folder writable"
        ) from None


def inference(project: Project, *, threads: int = 0) -> Inference:
    """Run the slices on the project's own input, and let its steps read the result."""
    manifest = project_slices(project)
    steps = load_steps(project)
    values = project_input(project, steps, manifest.inputs)
    with open_slices(project.folder, threads=threads) as slices:
        outcome = slices.run(values)
    return Inference(project, steps.get_result(outcome.outputs), outcome)


def project_slices(project: Project) -> Manifest:
    """The manifest of the project's slices; they must be there, and as many as configured."""
    try:
        manifest = read_manifest(project.folder, check=False)
    except NotFound as error:
        raise NotFound(error.problem, fix=_FIRST) from None
    if len(manifest.files) != project.slices:
        raise PlanMismatch(
            f"{project.folder} holds {len(manifest.files)} slices, and {project.config.name} says {project.slices}",
            fix=_FIRST,
        )
    return manifest


def project_input(project: Project, steps: Steps, names: tuple[str, ...]) -> Values:
    """What the steps prepare, by input name: an array for one input; for several a dict, or a list in their order."""
    made = steps.get_preprocessed_input()
    order = project.inputs or names
    given: Mapping[str, Any]
    if isinstance(made, Mapping):
        given = made
    elif isinstance(made, (list, tuple)) and len(order) > 1 and len(made) == len(order):
        given = dict(zip(order, made, strict=True))
    elif len(order) == 1:
        given = {order[0]: made}
    else:
        raise BadReference(
            f"{project.steps}: get_preprocessed_input() gave one value for {len(order)} inputs",
            fix=f"return a dict with an array for each of {', '.join(order)}",
        )
    return {str(name): _array(value) for name, value in given.items()}


def _array(value: Any) -> Array:
    found: Array = np.asarray(value)
    return found


def max_slice_size(project: Project) -> tuple[SliceSize, ...]:
    """What every slice takes on disk, the heaviest first."""
    files = project_slices(project).files
    sizes = [SliceSize(index, file.path, file.bytes) for index, file in enumerate(files)]
    return tuple(sorted(sizes, key=lambda size: (-size.bytes, size.index)))
