"""The course of a training: stretch after stretch of steps, and what is due between them.

Rules: everything under way is finished before anything else happens (an evaluation, a checkpoint, another plan);
checkpoints are taken at such moments only, on both sides, so that whatever dies, both go back to the same step; a
plan is changed by both sides or by neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from time import monotonic
from typing import TypeVar, final

from ..errors import ConnectionLost, PartFailed, PartitaError, SessionMisused, Unreachable
from ..graph import print_size
from ..plan import Plan, inner_window
from .company import Company, report_of
from .edge import Done
from .examining import examine
from .guard import Alarm, Watching, restarted, started, watch
from .live import Live
from .loading import Batch, Batches
from .pair import Pair
from .pipeline import run
from .planner import Proposal
from .redial import Absence, dialled_again
from .reports import Event, Happening, StepReport
from .standing import Standing, guard_from, guard_numbers

# A training that goes astray so often is not saved by going back once more.
_MOST_DIVERGENCES = 5
# A cloud that is lost so often between two checkpoints is not found by dialling once more.
_MOST_LOSSES = 20
_T = TypeVar("_T")


class _Astray(Exception):
    """The guard's alarm, on its way out of the pipeline."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm.reason)
        self.alarm = alarm


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
        self._losses = 0
        self._torn = False
        self._absence: Absence | None = None
        self._leaving: Proposal | None = None
        self._last = monotonic()
        pair.setup = replace(pair.setup, meanwhile=self._look)

    # -- beginning ---------------------------------------------------------------------------------------------------

    def take_up(self, first: Callable[[], Plan]) -> None:
        """Go on where the run was, or put the first plan in force."""
        try:
            self._take_up(first)
        except (ConnectionLost, Unreachable) as error:
            self._tell_loss(error)
            dialled_again(self.pair, self._company.patience, error, lambda: self._take_up(first))

    def _take_up(self, first: Callable[[], Plan]) -> None:
        pair = self.pair
        if pair.line is None and pair.dial is not None:
            pair.connect()
        if pair.saved:
            self.standing = pair.back()
            self._guard = guard_from(self.standing.guard)
            self.say("resumed", f"the run goes on after step {self.standing.step}")
            return
        pair.anew()
        plan = self.windowed(first())
        moved = pair.install(plan)
        self._guard = started(plan.window)
        self.say("began", f"{plan}; {_sizes(moved.up, moved.down)} in {moved.seconds:.2f} s")
        pair.save(self.standing)

    def through(self, batches: Batches, judged: Batches | None) -> Iterator[StepReport]:
        """Train to the last epoch."""
        self._batches, self._judged = batches, judged
        if self._torn:
            self._piece_together()
        self._rewind()
        try:
            while not self._home():
                yield from self._mended()
            self.say("ended", f"trained {self.standing.step} steps")
        except GeneratorExit:
            self._torn = self.pair.worker.under_way > 0
            raise
        except BaseException:
            # Whatever is under way may never be answered: nobody waits for it.
            self._torn = True
            raise
        finally:
            self._end_absence()

    def _home(self) -> bool:
        """Whether all epochs are done, and every state is here again."""
        if self.standing.epoch <= self.settings.epochs:
            return False
        self.patiently(self.pair.gather)
        return self.standing.epoch > self.settings.epochs

    def patiently(self, work: Callable[[], _T]) -> _T:
        """Do something over the line, between two steps; where it is lost, once more after it was mended."""
        while True:
            try:
                return work()
            except (ConnectionLost, Unreachable) as error:
                if self.pair.worker.under_way:
                    raise
                self._recover(error)

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
                self._keep_in_touch(self.live)
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
        while count is None or given < count:
            if self.live is not None and self.live.proposal is not None:
                self._take_back(self.live)
                return
            batch = next(self._feed, None)
            if batch is None:
                self._over = True
                return
            given += 1
            yield batch

    def _take_back(self, live: Live) -> None:
        """Before a move: what has not left yet need not go over a link that may have become slow."""
        worker = self.pair.worker
        if self._leaving is live.proposal:
            return
        self._leaving = live.proposal
        worker.hasten(live.link.down / 8)
        taken = worker.withdraw() if self.settings.order == "fixed" else []
        self._feed = chain(taken, self._feed)

    def _look(self) -> None:
        """While an answer is waited for."""
        if self.live is not None:
            self.live.looked(self.pair.worker.plan, self.pair.line, monotonic())
            if self.live.proposal is not None:
                self._take_back(self.live)

    def _keep_in_touch(self, live: Live) -> None:
        """A cloud that is lost while the plan in force does without it is called again while training goes on."""
        pair = self.pair
        if self._absence is not None:
            if self._absence.over():
                self._absence = None
                live.met()
        elif not pair.remote and pair.dial is not None and (live.lost is not None or pair.line is None):
            self._absence = Absence(pair, live.lost, self.say)

    def _account(self, done: Done) -> StepReport:
        """Add a finished step up, and tell of it."""
        now = monotonic()
        seconds, self._last = now - self._last, now
        pair, standing, meter = self.pair, self.standing, self._company.meter
        link = pair.line.link() if pair.line is not None else None
        spent = meter.step(seconds, done.wait, done.work) if meter is not None else None
        joules = spent.joules if spent is not None else None
        totals = standing.totals.plus(done, seconds, joules)
        self.standing = replace(standing, step=done.step + 1, at=standing.at + 1, totals=totals)
        report = report_of(done, pair.worker, standing.epoch, seconds, link, spent)
        if self._company.note is not None:
            self._company.note(report)
        return report

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
        except PartitaError as error:
            lost = isinstance(error, ConnectionLost | Unreachable)
            if lost and (self.pair.remote or self.live is None):
                raise
            self.say("abandoned", f"{plan} was not taken up: {error.problem}")
            if self.live is not None:
                self.live.stayed(self.pair.worker.plan, monotonic())
                self.live.lost = error if lost else self.live.lost
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
        # Told before it is saved: what a checkpoint says to be over was told of, whenever the process dies.
        if self._company.listener is not None:
            self._company.listener(report)
        self._save()
        self._rewind()

    def _save(self) -> None:
        self.standing = replace(self.standing, guard=guard_numbers(self._guard))
        # Before: so that the steps that led here are written down wherever the checkpoint is.
        self.say("checkpoint", f"after step {self.standing.step}")
        self.pair.save(self.standing)
        self._losses = 0

    # -- when things go wrong ----------------------------------------------------------------------------------------

    def _go_astray(self, alarm: Alarm) -> None:
        """Back to the last checkpoint, with half the window."""
        pair, before = self.pair, self.standing.step
        self._end_absence(wait=True)
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
        self._tell_planner()
        self._install(self.windowed(pair.worker.plan), f"K = {window // 2} after a divergence")
        back = f"back from step {before} to {self.standing.step}, K from {window} to {window // 2}"
        self.say("diverged", f"{alarm.reason}; {back}")
        # Not saved: it would take the place of the checkpoint it came from, on one side first. Killed now, the
        # training diverges at the same step again.
        self._rewind()

    def _recover(self, error: PartitaError) -> None:
        """Find the cloud again, and go back to what both sides have."""
        pair, before = self.pair, self.standing.step
        pair.worker.forget()
        self._end_absence(wait=True)
        self._losses += 1
        if not pair.saved or self._losses > _MOST_LOSSES:
            why = "lost again and again" if pair.saved else "there is no checkpoint to go back to"
            self.say("lost", f"{error.problem}; {why}")
            raise error
        self._tell_loss(error)
        self.standing = dialled_again(pair, self._company.patience, error, pair.back)
        self._guard = guard_from(self.standing.guard)
        self._tell_planner()
        self.say("back", f"the cloud is there again; from step {before} back to {self.standing.step}")
        self._rewind()

    def _tell_loss(self, error: PartitaError) -> None:
        self.say("lost", f"{error.problem}; trying again for {self._company.patience:.0f} s")

    def _tell_planner(self) -> None:
        """A checkpoint has a plan of its own."""
        if self.live is not None:
            self.live.met()
            self.live.moved(self.pair.worker.plan, monotonic())
            self.restrict()

    def _piece_together(self) -> None:
        """After a training was interrupted in the middle of a step: both sides go back to where they were whole."""
        before = self.standing.step
        self.pair.worker.forget()
        if not self.pair.saved:
            raise SessionMisused(
                f"the training was interrupted in the middle of step {before}, and has no checkpoint",
                fix="begin a new session; with a folder it goes on from its last checkpoint",
            )
        self.standing = self.patiently(self.pair.back)
        self._guard = guard_from(self.standing.guard)
        self._tell_planner()
        self._torn = False
        self.say("back", f"from step {before} back to {self.standing.step}")

    def _end_absence(self, *, wait: bool = False) -> None:
        absence, self._absence = self._absence, None
        if absence is not None:
            absence.end(wait=wait)


def _sizes(up: int, down: int) -> str:
    return f"{print_size(up)} of state up, {print_size(down)} down"
