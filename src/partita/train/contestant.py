"""One arm of a comparison at work: a session that is asked for a few steps now and a few later.

Rules: nothing counts that follows an interruption closely (a pause between blocks, another epoch, another plan): the
pipeline then runs full again; after a move only steps of the new plan count; a block ends when its time is up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any, final

from ..plan import Plan
from .reports import EpochReport, Event, StepReport
from .session import Session

# What the planner needs to make up its mind for good, in seconds without a move; and when it is waited for no longer.
QUIET, _RESTLESS = 3.0, 30.0
# A mean over fewer says nothing, however long they take.
_LEAST_STEPS = 2


@dataclass
class Tally:
    """What an arm showed since its last move."""

    blocks: list[float] = field(default_factory=list)
    steps: int = 0
    spent: float = 0.0
    up: int = 0
    down: int = 0

    @property
    def seconds(self) -> float | None:
        """A step, as the median of the blocks."""
        return median(self.blocks) if self.blocks else None

    @property
    def spread(self) -> float:
        """How far apart the blocks are, as a share of their median."""
        return (max(self.blocks) - min(self.blocks)) / median(self.blocks) if self.blocks else 0.0


@final
class Contestant:
    """See the head of this module. `make` gives a session, told whom to tell of its epochs and moves."""

    def __init__(
        self, make: Callable[[Callable[[Event | EpochReport], None]], Session], data: object, held_out: object
    ) -> None:
        self.epochs: list[EpochReport] = []
        self.moves: list[str] = []
        self.tally = Tally()
        self.steps = 0
        self.loss: float | None = None
        self.reached: float | None = None
        self.session = make(self._heard)
        self._reports: Iterator[StepReport] = iter(self.session.train(data, held_out=held_out))
        self._last: StepReport | None = None
        self._since = 0

    def _heard(self, event: Event | EpochReport) -> None:
        if isinstance(event, EpochReport):
            self.epochs.append(event)
        elif event.what == "moved":
            self.moves.append(event.said)

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.session.plan

    def _step(self) -> StepReport | None:
        """One more step, if there is one; `_since` counts those since the last interruption."""
        report, before = next(self._reports, None), self._last
        if report is None:
            return None
        same = before is not None and (before.version, before.epoch) == (report.version, report.epoch)
        self._since = self._since + 1 if same else 1
        if before is not None and before.version != report.version:
            self.tally = Tally()
        self._last, self.loss = report, report.loss
        self.steps += 1
        return report

    def _flowing(self, report: StepReport) -> bool:
        """Whether the pipeline has run full again. One step more than are under way, where any are."""
        return self._since > (report.window + 2 if report.window else 1)

    def warm(self, steps: int, *, restless: bool) -> None:
        """Steps that do not count: as many as asked for, and until a planner, if there is one, has settled."""
        if self._step() is None:  # the first one begins with the opening, which is no step
            return
        began = quiet = perf_counter()
        moves = len(self.moves)
        for taken in range(2, 1 << 30):
            if self._step() is None:
                return
            now = perf_counter()
            if len(self.moves) > moves:
                moves, quiet = len(self.moves), now
            still = not restless or now - quiet > QUIET or now - began > _RESTLESS
            if still and (taken >= steps or (now - began > QUIET and taken >= _LEAST_STEPS)):
                return

    def block(self, steps: int, budget: float) -> None:
        """So many steps that count, fewer where they take longer than the budget allows."""
        self._since, seconds = 0, list[float]()
        while len(seconds) < steps and (sum(seconds) < budget or len(seconds) < _LEAST_STEPS):
            tally = self.tally
            report = self._step()
            if report is None:
                break
            if self.tally is not tally:
                seconds.clear()
            if self._flowing(report):
                seconds.append(report.seconds)
                self.tally.up += report.bytes_up
                self.tally.down += report.bytes_down
        if seconds:
            self.tally.blocks.append(sum(seconds) / len(seconds))
            self.tally.steps += len(seconds)
            self.tally.spent += sum(seconds)

    def learn(self, target: float) -> None:
        """On to a held-out accuracy, or to the last epoch; `reached` is the seconds that training took."""
        spent = 0.0
        while (report := self._step()) is not None:
            spent += report.seconds
            if self._flowing(report):
                self.tally.steps += 1
                self.tally.spent += report.seconds
                self.tally.up += report.bytes_up
                self.tally.down += report.bytes_down
            if self.epochs and (self.epochs[-1].held_out_accuracy or 0.0) >= target:
                self.reached = spent
                break
        if self.tally.steps:
            self.tally.blocks.append(self.tally.spent / self.tally.steps)

    def close(self) -> None:
        """Stop in good order."""
        stop: Any = getattr(self._reports, "close", None)
        if stop is not None:
            stop()
        self.session.close()
