"""The course of a training: stretch after stretch of steps, and what is due between them.

Rules: everything under way is finished before anything else happens (an evaluation, a checkpoint, another plan);
checkpoints are taken at such moments only, on both sides, so that whatever dies, both go back to the same step; a
plan is changed by both sides or by neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import final

from ..errors import ConnectionLost, PartFailed, PartitaError, Unreachable
from ..graph import print_size
from ..plan import Plan, inner_window
from .edge import Done
from .energy import EnergyMeter
from .examining import examine
from .guard import Alarm, Watching, restarted, started, watch
from .live import Live
from .loading import Batch, Batches
from .pair import Pair
from .pipeline import run
from .reports import EpochReport, Event, Happening, StepReport
from .settings import Settings
from .standing import Standing, guard_from, guard_numbers

Say = Callable[[Happening, str], None]
# How often a broken line is dialled again, at first and at last.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
# A training that goes astray so often is not saved by going back once more.
_MOST_DIVERGENCES = 5


class _Astray(Exception):
    """The guard's alarm, on its way out of the pipeline."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm.reason)
        self.alarm = alarm


@dataclass(frozen=True)
class Company:
    """Who goes along: what the course needs besides the two sides."""

    settings: Settings
    patience: float
    listener: Callable[[Event | EpochReport], None] | None
    meter: EnergyMeter | None


@final
class Course:
    """One training on its way."""

    def __init__(self, pair: Pair, company: Company) -> None:
        self.pair, self._company, self.settings = pair, company, company.settings
        self.standing = Standing()
        self.events: list[Event] = []
        self.live: Live | None = None
        self._batches: Batches | None = None
        self._judged: Batches | None = None
        self._feed: Iterator[Batch] = iter(())
        self._over = False
        self._guard: Watching = started(0)
        self._divergences = 0
        self._last = monotonic()

    # -- beginning ---------------------------------------------------------------------------------------------------

    def take_up(self, first: Callable[[], Plan]) -> None:
        """Go on where the run was, or put the first plan in force."""
        pair = self.pair
        if pair.saved:
            self.standing = pair.back()
            self._guard = guard_from(self.standing.guard)
            self.say("resumed", f"the run goes on after step {self.standing.step}")
            return
        plan = self.windowed(first())
        moved = pair.install(plan)
        self._guard = started(plan.window)
        self.say("began", f"{plan}; {_sizes(moved.up, moved.down)} in {moved.seconds:.2f} s")
        pair.save(self.standing)

    def through(self, batches: Batches, judged: Batches | None) -> Iterator[StepReport]:
        """Train to the last epoch."""
        self._batches, self._judged = batches, judged
        self._rewind()
        try:
            while not self._home():
                yield from self._mended()
            self.say("ended", f"trained {self.standing.step} steps")
        finally:
            self.pair.worker.forget()

    def _home(self) -> bool:
        """Whether all epochs are done, and every state is here again."""
        if self.standing.epoch <= self.settings.epochs:
            return False
        try:
            self.pair.gather()
        except (ConnectionLost, Unreachable) as error:
            self._recover(error)
            return False
        return True

    def windowed(self, plan: Plan) -> Plan:
        """The plan with the window of this epoch, no larger than a divergence allows."""
        asked = self.settings.window_at(self.standing.epoch) if len(plan.places) > 1 else None
        window = plan.window if asked is None else asked
        cap = self.standing.cap
        return replace(plan, window=window if cap is None else min(window, cap))

    def restrict(self) -> None:
        """Tell the planner which windows are left."""
        if self.live is not None:
            self.live.restrict(self.standing.epoch, self.standing.cap)

    def say(self, what: Happening, said: str) -> None:
        """Tell of something, and remember it."""
        event = Event(what, self.standing.step, said)
        self.events.append(event)
        if self._company.listener is not None:
            self._company.listener(event)

    # -- going on ----------------------------------------------------------------------------------------------------

    def _rewind(self) -> None:
        """Batches from where the training stands."""
        if self._batches is not None:
            self._feed = self._batches.epoch(self.standing.epoch, start=self.standing.at)
        self._over = False
        self._last = monotonic()

    def _mended(self) -> Iterator[StepReport]:
        """One stretch; what goes wrong on it is mended, or raised."""
        try:
            try:
                yield from self._stretch()
            except _Astray as astray:
                self._go_astray(astray.alarm)
        except (ConnectionLost, Unreachable) as error:
            self._recover(error)

    def _stretch(self) -> Iterator[StepReport]:
        """Steps up to the next moment at which nothing may be under way, and what is due then."""
        worker, every = self.pair.worker, self.settings.checkpoint
        left = every - self.standing.step % every if every else None
        steps = run(
            worker,
            self._batches_until(left),
            first=self.standing.step,
            window=worker.window,
            inner=inner_window(worker.plan),
            order=self.settings.order,
        )
        for done in steps:
            report, alarm = self._account(done), self._watch(done)
            try:
                yield report
            except GeneratorExit:
                self._finish_early(steps)
                raise
            if alarm is not None:
                raise _Astray(alarm)
            if self.live is not None:
                self.live.seen(done, self.pair.worker.plan, self.pair.line, monotonic())
        worker.drained()
        if self._over:
            self._end_epoch()
        elif every and self.standing.step % every == 0:
            self._save()
        self._move()

    def _finish_early(self, steps: Iterator[Done]) -> None:
        """Whoever trains wants no more reports: what both sides have begun is finished all the same."""
        self._feed = iter(())
        with suppress(PartitaError):
            for done in steps:
                self._account(done)
            self.pair.worker.drained()

    def _batches_until(self, count: int | None) -> Iterator[Batch]:
        given = 0
        while (count is None or given < count) and (self.live is None or self.live.proposal is None):
            batch = next(self._feed, None)
            if batch is None:
                self._over = True
                return
            given += 1
            yield batch

    def _account(self, done: Done) -> StepReport:
        """Add a finished step up, and tell of it."""
        now = monotonic()
        seconds, self._last = now - self._last, now
        pair, standing, told = self.pair, self.standing, done.outcome
        worker = pair.worker
        link = pair.line.link() if pair.line is not None else None
        meter = self._company.meter
        spent = meter.step(seconds, done.wait, done.work) if meter is not None else None
        joules = spent.joules if spent is not None else None
        totals = standing.totals.plus(done, seconds, joules)
        self.standing = replace(standing, step=done.step + 1, at=standing.at + 1, totals=totals)
        return StepReport(
            step=done.step,
            epoch=standing.epoch,
            loss=told.loss,
            right=told.right,
            count=told.count,
            seconds=seconds,
            latency=done.latency,
            plan=str(worker.plan),
            version=worker.version,
            window=worker.window,
            staleness=done.staleness,
            codec_up=worker.codec_up,
            codec_down=worker.codec_down,
            bytes_up=done.up,
            bytes_down=done.down,
            edge_seconds=sum(done.work.values()),
            cloud_seconds=done.cloud,
            wait=done.wait,
            rate_up=link.up if link else None,
            rate_down=link.down if link else None,
            rtt=link.rtt if link else None,
            rate=done.rate,
            joules=joules,
            joules_source=spent.source if spent is not None else "",
        )

    def _watch(self, done: Done) -> Alarm | None:
        if not self.settings.guard:
            return None
        self._guard, alarm = watch(self._guard, done.outcome.loss, done.step)
        return alarm

    def _move(self) -> None:
        """Take up the plan that was proposed, if there is one."""
        live = self.live
        proposal = live.taken() if live is not None else None
        if live is None or proposal is None:
            return
        self._install(self.windowed(proposal.plan), proposal.reason)

    def _install(self, plan: Plan, reason: str) -> None:
        """Have both sides take up a plan, if it is another one; where they cannot, both go on with what they have."""
        if plan == self.pair.worker.plan:
            return
        try:
            moved = self.pair.install(plan)
        except (ConnectionLost, Unreachable):
            raise
        except PartitaError as error:
            self.say("abandoned", f"{plan} was not taken up: {error.problem}")
            return
        if self.live is not None:
            self.live.moved(plan, monotonic())
        self.say("moved", f"{plan}: {reason}; {_sizes(moved.up, moved.down)} in {moved.seconds:.2f} s")
        self._last = monotonic()

    def _end_epoch(self) -> None:
        pair, standing = self.pair, self.standing
        said = None
        if self._judged is not None:
            found = examine(pair.worker, self._judged.in_order(), pair.line)
            said = found.loss, found.right / found.count if found.right >= 0 and found.count else None
        report = standing.totals.report(standing.epoch, said)
        self.standing = standing.next_epoch(report)
        self.restrict()
        plan = self.windowed(pair.worker.plan)
        self._install(plan, f"K = {plan.window} from epoch {self.standing.epoch} on")
        self._save()
        if self._company.listener is not None:
            self._company.listener(report)
        self._rewind()

    def _save(self) -> None:
        self.standing = replace(self.standing, guard=guard_numbers(self._guard))
        self.pair.save(self.standing)

    # -- when things go wrong ----------------------------------------------------------------------------------------

    def _go_astray(self, alarm: Alarm) -> None:
        """Back to the last checkpoint, with half the window."""
        pair, before = self.pair, self.standing.step
        window = pair.worker.window
        self._divergences += 1
        pair.worker.forget()
        if window == 0 or self._divergences > _MOST_DIVERGENCES or not pair.saved:
            raise PartFailed(
                f"the training diverged: {alarm.reason}, with K = {window}",
                fix="lower the learning rate; with a run folder there are checkpoints to go back to",
            )
        self.standing = replace(pair.back(), cap=window // 2)
        self._guard = restarted(guard_from(self.standing.guard), window // 2)
        self.restrict()
        self._install(self.windowed(pair.worker.plan), f"K = {window // 2} after a divergence")
        back = f"back from step {before} to {self.standing.step}, K from {window} to {window // 2}"
        self.say("diverged", f"{alarm.reason}; {back}")
        self._save()
        self._rewind()

    def _recover(self, error: PartitaError) -> None:
        """Find the cloud again, and go back to what both sides have."""
        pair, before = self.pair, self.standing.step
        pair.worker.forget()
        if not pair.saved:
            self.say("lost", f"{error.problem}; there is no checkpoint to go back to")
            raise error
        self.say("lost", f"{error.problem}; trying again for {self._company.patience:.0f} s")
        self.standing = self._dialled_again(error)
        self.restrict()
        self._guard = guard_from(self.standing.guard)
        self.say("back", f"the cloud is there again; from step {before} back to {self.standing.step}")
        self._rewind()

    def _dialled_again(self, error: PartitaError) -> Standing:
        until, pause = monotonic() + self._company.patience, _FIRST_PAUSE
        while True:
            self.pair.hang_up()
            try:
                self.pair.connect()
                return self.pair.back()
            except (ConnectionLost, Unreachable) as problem:
                if monotonic() + pause > until:
                    raise problem from error
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _sizes(up: int, down: int) -> str:
    return f"{print_size(up)} of state up, {print_size(down)} down"
