"""What a project's slices need in memory: each in a process of its own, beside the model whole.

Rules: measured, never modelled; a process loads one slice, runs it once on the values that it would get, and says
its own high water; the runtime's own part is told apart, because no cut makes it smaller.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..engine import Values
from ..engine.onnx_run import OnnxPart, RunSettings
from ..profile import MemoryUse, peak_in_child
from .original import Project
from .original_model import open_model
from .original_steps import load_steps
from .original_verbs import project_input, project_slices
from .payload import pack, unpack
from .stage import load_slice, run_settings


@dataclass(frozen=True)
class ProjectMemory:
    """The peak of every slice in its order, and of the model whole."""

    slices: tuple[MemoryUse, ...]
    whole: MemoryUse

    @property
    def worst(self) -> int:
        """The index of the slice that needs most."""
        return max(range(len(self.slices)), key=lambda index: self.slices[index].peak)


def memory(project: Project, *, threads: int = 0) -> ProjectMemory:
    """Measure every slice and the whole model on the project's own input."""
    manifest = project_slices(project)
    values = project_input(project, load_steps(project), manifest.inputs)
    settings = run_settings(manifest, threads=threads)
    level = manifest.plan.preparation.optimize
    # Without what the project cuts off, which its slices do not run either.
    uncut = open_model(project, "none")
    with tempfile.TemporaryDirectory(prefix="partita-") as name:
        given = Path(name) / "values"
        whole = _measured(
            uncut.path, given, values, settings.prepack, "exact" if level == "none" else level, threads
        )
        held: Values = dict(values)
        uses = []
        for index, file in enumerate(manifest.files):
            feed = {n: held[n] for n in file.inputs}
            path = project.folder / file.path
            uses.append(_measured(path, given, feed, settings.prepack, settings.level, threads))
            held.update(load_slice(manifest, project.folder, index, settings).forward(feed))
    return ProjectMemory(tuple(uses), whole)


def _measured(model: Path, given: Path, values: Values, prepack: bool, level: str, threads: int) -> MemoryUse:
    given.write_bytes(pack(values))
    call = f"{__name__}:{run_once.__name__}"
    return peak_in_child(call, str(model), str(given), prepack, level, threads)


def run_once(model: str, given: str, prepack: bool, level: str, threads: int) -> None:
    """What the process of its own does."""
    settings = RunSettings(threads=threads, level=level, prepack=prepack)  # type: ignore[arg-type]  # it came as JSON
    OnnxPart.load(Path(model), settings).forward(unpack(Path(given).read_bytes()).values)
