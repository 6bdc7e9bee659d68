"""The same training under every baseline, over links of every kind: real steps, two processes, one machine.

Rules: every arm of a cell runs over the same link, from the same weights, on the same batches; profiles are measured
once; warm-up steps do not count, nor do evaluations; an arm that fails is a row that says why.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Self

import torch

from ..errors import PartitaError
from ..graph import Chain, Link, Profile
from ..plan import Plan
from ..wire import LinkShape
from .baselines import Arm, arms_of
from .child import LocalCloud
from .holding import Holding
from .live import facts_of
from .loading import Batches
from .opening import Opening, first_weights
from .planner import Facts
from .reports import EpochReport
from .session import Session
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of link."""

    mbit: float
    rtt: float = 0.0

    @property
    def link(self) -> Link:
        """As the planner takes it."""
        return Link(self.mbit * 1e6, self.mbit * 1e6, self.rtt)

    @property
    def shape(self) -> LinkShape:
        """As the shaper takes it."""
        return LinkShape(up=self.mbit * 1e6, down=self.mbit * 1e6, rtt=self.rtt)

    def __str__(self) -> str:
        return f"{self.mbit:g} Mbit/s, {self.rtt * 1e3:g} ms"


@dataclass(frozen=True)
class Row:
    """One arm in one cell. `to_target` is training seconds to the accuracy asked for, None if it was not reached."""

    cell: Cell
    arm: str
    plan: str
    predicted: float | None
    step_seconds: float | None
    bytes_up: int = 0
    bytes_down: int = 0
    loss: float | None = None
    accuracy: float | None = None
    to_target: float | None = None
    steps: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Contest:
    """What is compared. `steps` are timed after `warmup`; with a `target` an arm goes on to that accuracy instead,
    for as many epochs as the settings say."""

    model: torch.nn.Module
    data: object
    held_out: object | None
    settings: Settings
    slow: float = 1.0
    steps: int = 40
    warmup: int = 8
    target: float | None = None
    arms: tuple[str, ...] = ()
    threads: int | None = 1


@dataclass(frozen=True)
class Survey:
    """What is measured once: both ends, and what the planner must know of model and data."""

    chain: Chain
    profiles: Mapping[str, Profile]
    facts: Facts
    settings: Settings

    @classmethod
    def of(cls, contest: Contest, cloud: LocalCloud) -> Self:
        """Measure both ends."""
        opening = Opening(contest.settings, cloud.url, cloud.token, None, {}, None, contest.threads)
        model = opening.captured(copy.deepcopy(contest.model), contest.data)
        settings = contest.settings
        if settings.inputs_private:
            settings = replace(settings, min_front=max(settings.min_front, first_weights(model)))
        batch = Batches.of(contest.data, settings, model).first()
        line, _ = opening.dial(model, None)()
        try:
            profiles = opening.measured(model, line, contest.slow)
        finally:
            line.close()
        return cls(
            model.chain, profiles, facts_of(model, Holding(model, settings), settings, batch), settings
        )


@dataclass
class _Course:
    """What one arm showed."""

    seconds: list[float] = field(default_factory=list)
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)
    loss: float | None = None
    epochs: list[EpochReport] = field(default_factory=list)
    reached: float | None = None
    plan: str = ""
    steps: int = 0


def compare(
    contest: Contest, cloud: LocalCloud, cells: Sequence[Cell], *, on_row: Callable[[Row], None] | None = None
) -> list[Row]:
    """Every arm in every cell."""
    survey = Survey.of(contest, cloud)
    rows = []
    for cell in cells:
        cloud.reshape(cell.shape)
        for row in _cell(contest, cloud, cell, survey):
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


def _cell(contest: Contest, cloud: LocalCloud, cell: Cell, survey: Survey) -> Iterator[Row]:
    arms = arms_of(survey.chain, survey.profiles, cell.link, survey.settings, **survey.facts)
    for arm in arms:
        if not contest.arms or arm.name in contest.arms:
            yield _arm(contest, cloud, cell, arm, survey.profiles)


def _arm(contest: Contest, cloud: LocalCloud, cell: Cell, arm: Arm, profiles: Mapping[str, Profile]) -> Row:
    plan: Plan | None = None if arm.name == "auto" else arm.plan
    predicted = arm.plan.estimate.seconds if arm.plan.estimate is not None else None
    row = Row(cell, arm.name, str(arm.plan), predicted, None)
    try:
        course = _run(contest, cloud, plan, profiles)
    except PartitaError as error:
        return replace(row, problem=error.problem)
    return replace(
        row,
        plan=course.plan,
        step_seconds=mean(course.seconds) if course.seconds else None,
        bytes_up=round(sum(course.up) / max(len(course.up), 1)),
        bytes_down=round(sum(course.down) / max(len(course.down), 1)),
        loss=course.loss,
        accuracy=course.epochs[-1].held_out_accuracy if course.epochs else None,
        to_target=course.reached,
        steps=course.steps,
    )


def _run(contest: Contest, cloud: LocalCloud, plan: Plan | None, profiles: Mapping[str, Profile]) -> _Course:
    found, spent = _Course(), 0.0
    model = copy.deepcopy(contest.model)
    session = Session(
        model,
        settings=contest.settings,
        cloud=cloud.url,
        token=cloud.token,
        plan=plan,
        profiles=profiles,
        slow=contest.slow,
        threads=contest.threads,
        patience=5.0,
        on_event=lambda event: found.epochs.append(event) if isinstance(event, EpochReport) else None,
    )
    with session:
        for report in session.train(contest.data, held_out=contest.held_out):
            spent += report.seconds
            found.steps += 1
            found.plan, found.loss = report.plan, report.loss
            if found.steps > contest.warmup:
                found.up.append(report.bytes_up)
                found.down.append(report.bytes_down)
                found.seconds.append(report.seconds)
            if _enough(contest, found, spent):
                break
    return found


def _enough(contest: Contest, found: _Course, spent: float) -> bool:
    if contest.target is None:
        return found.steps >= contest.warmup + contest.steps
    last = found.epochs[-1].held_out_accuracy if found.epochs else None
    if last is not None and last >= contest.target:
        found.reached = spent
    return found.reached is not None
