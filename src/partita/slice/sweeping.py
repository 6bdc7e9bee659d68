"""What the number of slices buys and costs: the best plan for every number, predicted, and rehearsed where asked.

Rules: the model is prepared and measured once, so that the numbers of slices differ in nothing else; a number that is
not possible stays in the answer with its reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine import Array
from ..engine.onnx_model import OnnxModel
from ..errors import BadDocument, Infeasible, LimitExceeded
from ..graph import Profile
from .document import SlicePlan
from .planner import Prepared, arranged, with_room
from .question import SliceQuestion
from .rehearsal import rehearse
from .rehearse_report import Rehearsal
from .searching import search
from .slicer import cut

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Point:
    """One number of slices: its plan, or why there is none; and what a rehearsal measured."""

    slices: int
    plan: SlicePlan | None
    problem: str = ""
    rehearsal: Rehearsal | None = None


def sweep(
    prepared: Prepared,
    question: SliceQuestion,
    counts: Sequence[int],
    *,
    profile: Callable[[OnnxModel], Profile] | None = None,
    runs: int | None = None,
    values: Mapping[str, Array] | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[Point, ...]:
    """The best plan for every number of slices in `counts`; with `runs`, each is cut and rehearsed with so many warm calls."""
    ready = arranged(prepared, replace(question, slices=max(counts)))
    costs = profile(ready.model) if profile is not None else None
    points = []
    for point in _planned(ready, question, counts, costs):
        done = point
        if runs is not None and point.plan is not None:
            done = _rehearsed(ready, question, point, point.plan, values, runs)
        points.append(done)
        progress(len(points), len(counts), f"{point.slices} slice{'s' if point.slices > 1 else ''}")
    return tuple(points)


def _planned(
    ready: Prepared, question: SliceQuestion, counts: Sequence[int], costs: Profile | None
) -> Iterator[Point]:
    for count in counts:
        try:
            asked = with_room(replace(question, slices=count))
            yield Point(count, search(ready.chain, asked, preparation=ready.preparation, profile=costs))
        except (Infeasible, BadDocument) as error:
            yield Point(count, None, error.problem)


def _rehearsed(
    ready: Prepared,
    question: SliceQuestion,
    point: Point,
    plan: SlicePlan,
    values: Mapping[str, Array] | None,
    runs: int,
) -> Point:
    with tempfile.TemporaryDirectory(prefix="partita-") as scratch:
        folder = Path(scratch) / "slices"
        cut(ready.model, plan, folder, prepack=question.prepack)
        try:
            return replace(point, rehearsal=rehearse(folder, values, question.platform, runs=runs))
        except LimitExceeded as error:
            return replace(point, problem=error.problem)
