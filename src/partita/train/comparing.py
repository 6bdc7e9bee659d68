"""The same training under every baseline, over links of every kind: real steps, two processes, one machine.

Rules: every arm of a cell runs over the same link, from the same weights, on the same batches; profiles are measured
once; arms take turns, block by block, so that a noisy moment of the machine falls on all of them; warm-up steps do not
count, nor do evaluations; an arm that fails is a row that says why.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

import torch

from ..errors import PartitaError
from ..graph import Chain, Link, Profile
from ..plan import Estimate, Plan, Pricing
from ..wire import LinkShape
from .baselines import Arm, arms_of
from .child import LocalCloud
from .contestant import Contestant
from .holding import Holding
from .live import facts_of
from .loading import Batches
from .opening import Opening, private_front
from .planner import Facts, question_of
from .reports import EpochReport, Event
from .session import Session
from .settings import Settings

_AUTO = "auto"


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
    """One arm in one cell.

    `predicted` is a step by the profiles and the link as it was asked for, `alone` one step with nothing beside it, `busiest` the
    work of the slowest stage in it. `blocks` are the seconds per step block by block, `spread` how
    far apart they are, as a share of their median. `moves` are
    those of the planner on the way. `to_target` is training seconds to the accuracy asked for, None if it was not reached.
    """

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
    alone: float = 0.0
    busiest: float = 0.0
    spread: float = 0.0
    moves: int = 0
    window: int = 0
    blocks: tuple[float, ...] = ()

    @property
    def overlap(self) -> float:
        """The sum of stages over the slowest stage: how many times faster a full pipeline could be."""
        return self.alone / self.busiest if self.busiest else 1.0


@dataclass(frozen=True)
class Contest:
    """What is compared. `steps` are timed after `warmup`, in `blocks` that take turns, none longer than `budget` seconds;
    with a `target` an arm goes on to that accuracy instead, for as many epochs as the settings say."""

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
    blocks: int = 3
    budget: float = 20.0


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
            settings = replace(settings, min_front=max(settings.min_front, private_front(model)))
        batch = Batches.of(contest.data, settings, model).first()
        line, _ = opening.dial(model, None)()
        try:
            profiles = opening.measured(model, line, contest.slow)
        finally:
            line.close()
        return cls(
            model.chain, profiles, facts_of(model, Holding(model, settings), settings, batch), settings
        )

    def arms(self, link: Link) -> tuple[Arm, ...]:
        """All arms on a link."""
        return arms_of(self.chain, self.profiles, link, self.settings, **self.facts)

    def estimate(self, plan: Plan, link: Link) -> Estimate:
        """What a plan costs on a link."""
        question = question_of(self.settings, **self.facts)
        return Pricing.of(self.chain, self.profiles, link, question).estimate(replace(plan, mode="train"))


def compare(
    contest: Contest,
    cloud: LocalCloud,
    cells: Sequence[Cell],
    *,
    survey: Survey | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Every arm in every cell. Both ends are measured over the fastest link, unless that was done."""
    cloud.reshape(max(cells, key=lambda cell: cell.mbit).shape)
    survey = survey or Survey.of(contest, cloud)
    rows = []
    for cell in cells:
        cloud.reshape(cell.shape)
        arms = [arm for arm in survey.arms(cell.link) if not contest.arms or arm.name in contest.arms]
        race = Race(contest, cloud, cell, survey)
        for row in race.one_by_one(arms) if contest.target is not None else race.in_turns(arms):
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


@dataclass(frozen=True)
class Race:
    """The arms of one cell."""

    contest: Contest
    cloud: LocalCloud
    cell: Cell
    survey: Survey

    def one_by_one(self, arms: Sequence[Arm]) -> Iterator[Row]:
        """To the target, each arm alone."""
        for arm in arms:
            entry = self._entry(arm)
            problem = ""
            try:
                entry.learn(self.contest.target or 1.0)
                row = self._row(arm, entry)
            except PartitaError as error:
                row, problem = self._blank(arm), error.problem
            finally:
                entry.close()
            yield replace(row, problem=problem)

    def in_turns(self, arms: Sequence[Arm]) -> Iterator[Row]:
        """Blocks of steps, by turns; every arm has a session of its own, and waits while others work."""
        contest, problems = self.contest, dict[str, str]()
        with ExitStack() as stack:
            entries = {arm.name: self._entry(arm) for arm in arms}
            for entry in entries.values():
                stack.callback(entry.close)

            def each(work: Callable[[str, Contestant], None]) -> None:
                for name, entry in entries.items():
                    if name not in problems:
                        try:
                            work(name, entry)
                        except PartitaError as error:
                            problems[name] = error.problem

            each(lambda name, entry: entry.warm(contest.warmup, restless=name == _AUTO))
            steps = -(-contest.steps // contest.blocks)
            for _ in range(contest.blocks):
                each(lambda _, entry: entry.block(steps, contest.budget))
            for arm in arms:
                known = arm.name not in problems
                row = self._row(arm, entries[arm.name]) if known else self._blank(arm)
                yield replace(row, problem=problems.get(arm.name, ""))

    def _entry(self, arm: Arm) -> Contestant:
        contest = self.contest

        def make(listener: Callable[[Event | EpochReport], None]) -> Session:
            return Session(
                copy.deepcopy(contest.model),
                settings=contest.settings,
                cloud=self.cloud.url,
                token=self.cloud.token,
                plan=None if arm.name == _AUTO else arm.plan,
                profiles=self.survey.profiles,
                slow=contest.slow,
                threads=contest.threads,
                patience=5.0,
                on_event=listener,
            )

        return Contestant(make, contest.data, contest.held_out)

    def _blank(self, arm: Arm) -> Row:
        predicted = arm.plan.estimate.seconds if arm.plan.estimate is not None else None
        return Row(self.cell, arm.name, str(arm.plan), predicted, None)

    def _row(self, arm: Arm, entry: Contestant) -> Row:
        tally, plan = entry.tally, entry.plan
        expected = self.survey.estimate(plan, self.cell.link)
        return Row(
            self.cell,
            arm.name,
            str(plan),
            expected.seconds,
            tally.seconds,
            round(tally.up / max(tally.steps, 1)),
            round(tally.down / max(tally.steps, 1)),
            entry.loss,
            entry.epochs[-1].held_out_accuracy if entry.epochs else None,
            entry.reached,
            tally.steps if self.contest.target is None else entry.steps,
            alone=expected.latency,
            busiest=max(expected.busy.values()),
            spread=tally.spread,
            moves=len(entry.moves),
            window=plan.window,
            blocks=tuple(tally.blocks),
        )
