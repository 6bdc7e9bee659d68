"""How deep each request runs: earliest deadline first, at the smallest price per millisecond that lets everybody be in time.

    scheduler.submit(request, now)           Admitted or Rejected, at once
    scheduler.next(now, worker)              the next Batch for a free worker, or None
    scheduler.done(batch, confidences, now)  the answers that this settles
    scheduler.expire(now)                    the answers that time settles; call it after submit and next too

Rules: no clock, no I/O, no threads: the simulator and the server run this same code; every admitted request ends in
exactly one Answer; an answer that a request accepts is given at the deadline at the latest, never dropped; floors give
way only for requests that say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from ..errors import SessionMisused
from .scheduler_admission import Doors, Reach
from .scheduler_answers import Answers, Why
from .scheduler_batches import Former
from .scheduler_costs import Costs
from .scheduler_energy import Bucket
from .scheduler_orders import Admitted, Answer, Batch, Entry, Rejected, Request, Settings, Tenant
from .scheduler_prices import ENERGY_PRICES, Floats, Prices, Worth
from .scheduler_queue import Queue
from .scheduler_steps import Steady, smallest
from .scheduler_tenants import Tenants
from .tables import Calibration, ExitProfile

# A late answer stretches every prediction by this, up to a limit; each answer in time takes back a little.
_STRETCH, _RELAX, _STRETCHED = 1.03, 0.001, 3.0
# Stage times that moved by this share since the price tables were made ask for new tables.
_MOVED = 0.1
# The shortest deadline seen is forgotten by this share per request, so that a tenant that left stops mattering.
_FORGET = 1.001
# An arrival may push out at most this many requests of greedier tenants: admission is microseconds.
_PUSHED_OUT = 4


class Scheduler:
    """Decides for one network on one device."""

    def __init__(
        self,
        profile: ExitProfile,
        calibration: Calibration | None = None,
        *,
        tenants: Iterable[Tenant] = (),
        settings: Settings | None = None,
    ) -> None:
        self.profile, self.calibration = profile, calibration
        self.settings = s = settings or Settings()
        self.costs = Costs(profile, s.max_batch)
        worth = Worth.of(profile, calibration, thresholds=s.thresholds)
        self.thresholds = calibration.thresholds if calibration else ()
        self.prices = Prices(worth, self.costs.units(), self.costs.joules, s.prices)
        self.tenants = Tenants(tenants, s.workers, s.memory, s.energy_window)
        self.queue = Queue()
        self._steady = Steady(s.memory, self.prices.middle)
        self.margin = s.margin
        self.step = 0
        self._doors = Doors(profile, worth.fresh.tolist())
        self._former = Former(self.costs, self.prices, self.thresholds)
        self._answers = Answers(profile, self.prices, self.thresholds)
        self._bucket = Bucket(s.joules_per_second, s.energy_window) if s.joules_per_second else None
        self._free = [-inf] * s.workers
        self._running: dict[int, tuple[Batch, float]] = {}
        self._ready: list[Answer] = []
        self._built = dict(self.costs.scale)
        self._number = 0
        self._shortest = inf

    # -- requests in ---------------------------------------------------------------------------------------------

    def submit(self, request: Request, now: float) -> Admitted | Rejected:
        """Take a request, or say at once why not and when to come back."""
        deadline = request.bounds.deadline
        # Written so that nan, which has no place in any order, is refused too.
        if deadline is not None and not deadline > 0:
            return Rejected(f"deadline is {deadline!r} seconds from now, and has to be above 0", inf)
        reach = self._doors.reach(request)
        if isinstance(reach, str):
            return Rejected(reach, inf)
        account = self.tenants.find(request.tenant)
        whole = self.prices.seconds[0][self.prices.best(reach.floor, reach.ceiling)]
        for changed in self.tenants.asks(account, whole, now):
            self.queue.move(changed.number, self.prices.states if changed.over else -self.prices.states)
        if len(self.queue) >= self.settings.most_waiting:
            return Rejected(f"{len(self.queue)} requests wait already", self.costs.alone(0, reach.floor))
        entry = self._entry(request, account.number, reach, now)
        self._shortest = min(self._shortest * _FORGET, entry.due - now)
        refused = self._without_joules(entry, now) or self._admit(entry, now)
        if refused and request.infeasible == "degrade" and entry.floor > 0 and not self._dry(entry, now):
            loose = self._doors.loosened(reach)
            entry.floor = loose.floor
            refused = self._admit(entry, now)
        if refused and request.infeasible == "best_effort":
            entry.patient, refused = True, None
            self._wait(entry, now)
        return refused or Admitted(entry.floor, entry.ceiling, degraded=entry.floor < entry.wanted)

    # -- work out ------------------------------------------------------------------------------------------------

    def next(self, now: float, worker: int = 0) -> Batch | None:
        """The next batch for a worker that is free, or None if there is nothing to do."""
        self._free[worker] = now
        self._settle(now)
        if not len(self.queue):
            return None
        formed = self._former.form(self.queue, self.step, now, self.margin, self._shortest)
        members = tuple(self.queue.take(formed.places))
        batch = Batch(formed.first, formed.last, worker, now, formed.seconds, members)
        self._free[worker] = now + formed.seconds
        # What the members must still have after this, to reach their floors.
        owed = sum(self.prices.seconds[formed.last + 1][e.floor] for e in members if e.floor > formed.last)
        self._running[id(batch)] = (batch, owed)
        self._leave_before(min(self._free), now)
        return batch

    def done(self, batch: Batch, confidences: Sequence[float], now: float) -> list[Answer]:
        """A batch came back, with how sure the exit is of each member, in order."""
        if len(confidences) != len(batch.members):
            raise SessionMisused(
                f"{len(confidences)} confidences for a batch of {len(batch.members)}",
                fix="report one confidence per request of the batch, in its order",
            )
        self._came_back(batch, now)
        self._learn(batch, now)
        for entry, confidence in zip(batch.members, confidences, strict=True):
            entry.ran += now - batch.began
            entry.exit, entry.stage, entry.confidence = batch.last, batch.last + 1, confidence
            entry.bin = self.calibration.bin(confidence) if self.calibration else 0
            self._after_exit(entry, now)
        return self.expire(now)

    def revise(
        self,
        now: float,
        *,
        calibration: Calibration | None = None,
        tenants: Iterable[Tenant] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Other settings between two batches: what waits and what runs stays, and meets the new ones from here on.

        The number of workers stays; what is not given stays too.
        """
        fresh = Scheduler(
            self.profile,
            calibration or self.calibration,
            tenants=self.tenants.declared if tenants is None else tenants,
            settings=replace(settings or self.settings, workers=self.settings.workers),
        )
        fresh.costs.scale.update(self.costs.scale)
        fresh.prices.reprice(fresh.costs.units())
        waiting = list(self.queue)
        kept = ("_free", "_running", "_ready", "_number", "_shortest")
        state = {name: value for name, value in vars(fresh).items() if name not in kept}
        vars(self).update(state, _built=dict(fresh.costs.scale))
        running = [entry for batch, _ in self._running.values() for entry in batch.members]
        for entry in (*waiting, *running):
            entry.account = self.tenants.find(entry.request.tenant).number
            if entry.confidence is not None and self.calibration:
                entry.bin = self.calibration.bin(entry.confidence)
            entry.thresholds = entry.thresholds and bool(self.thresholds)
        for entry in waiting:
            self._after_exit(entry, now) if entry.exit >= 0 else self._wait(entry, now)

    def failed(self, batch: Batch, now: float) -> list[Answer]:
        """The worker broke: who holds an answer keeps it, the others are told."""
        self._came_back(batch, now)
        for entry in batch.members:
            entry.ran += now - batch.began
            self._give(entry, "failed", now)
        return self.expire(now)

    def expire(self, now: float) -> list[Answer]:
        """Every answer that is settled by now and was not handed out yet."""
        self._overdue(now)
        ready, self._ready = self._ready, []
        return ready

    @property
    def due(self) -> float:
        """When `expire` has something to do at the latest, if nothing else happens; infinite if never."""
        return float(self.queue.latest.min(initial=inf))

    @property
    def price(self) -> float:
        """What a second has to bring now, in expected accuracy: 0 while nothing presses."""
        return self.prices.price(self.step, over=True)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Find the price, and let go whom it tells to leave."""
        self._overdue(now)
        if not len(self.queue):
            self.step = 0
            return
        step = self._find(self._room(now))
        while step is None:
            # The margin is for those who come; who is in gives way only when even the plain times do not fit.
            self.step = self.prices.steps - 1
            if not self._shed(self._room(now, margin=1.0), now, above=-1.0):
                break
            step = self._find(self._room(now))
        else:
            self.step = self._steady.step(step, now)
        leave = self.prices.leave[self.step].take(self.queue.rows)
        if leave.any():
            for entry in self.queue.take(leave.nonzero()[0].tolist()):
                self._give(entry, "price", now)

    def _find(self, room: Floats) -> int | None:
        cost = self.prices.cost
        return smallest(lambda step: self.queue.fits(cost[step], room), self.prices.steps, self.step)

    def _room(self, now: float, margin: float | None = None) -> Floats:
        """Worker seconds before each deadline, the margin and the work owed to running requests taken off."""
        owed = sum(owed for _, owed in self._running.values())
        return self.queue.room(self._free, now, margin or self.margin, owed)

    def _overdue(self, now: float) -> None:
        """Let go whom time tells to leave: nothing more can be done before the deadline."""
        latest = self.queue.latest
        if len(latest) and latest.min() < now:
            for entry in self.queue.take((latest < now).nonzero()[0].tolist()):
                self._give_way(entry, "time" if entry.answerable else "late", now)

    def _give_way(self, entry: Entry, why: Why, now: float) -> None:
        """It cannot stay as it is: who may be late goes to the end of the queue, the others leave."""
        if entry.request.infeasible == "best_effort" and not entry.answerable:
            entry.patient = True
            self._wait(entry, now)
        else:
            self._give(entry, why, now)

    def _leave_before(self, horizon: float, now: float) -> None:
        """Let go who holds an answer and cannot go deeper once a worker is free again."""
        if horizon <= now or not len(self.queue):
            return
        places = (self.queue.latest < horizon).nonzero()[0].tolist()
        holding = [at for at in places if self.queue.entries[at].answerable]
        for entry in self.queue.take(holding):
            self._give(entry, "time", now)

    def _after_exit(self, entry: Entry, now: float) -> None:
        """An exit has spoken: leave, or wait for the next stage."""
        if entry.answerable:
            if entry.exit >= self.prices.best(entry.floor, entry.ceiling):
                return self._give(entry, "deepest", now)
            if entry.thresholds and (entry.confidence or 0.0) >= self.thresholds[entry.exit]:
                return self._give(entry, "confident", now)
        self._wait(entry, now)
        return None

    def _wait(self, entry: Entry, now: float) -> int:
        """Put an entry into the queue, in the block that the energy left allows."""
        account = self.tenants[entry.account]
        energy = 0
        if self._bucket or account.bucket:
            pressure = max(bucket.pressure(now) for bucket in self._buckets(entry))
            energy = round(pressure * (ENERGY_PRICES - 1))
        entry.block, over = self.prices.block(entry.floor, entry.ceiling, energy), account.over
        row = self.prices.row(entry.block, entry.exit, entry.bin, over)
        if entry.answerable:
            need = self.costs.tail(entry.stage, self.margin)
        else:
            need = self.costs.alone(entry.stage, max(entry.floor, entry.stage))
        return self.queue.add(entry, row, entry.deadline - need)

    def _give(self, entry: Entry, why: Why, now: float) -> None:
        over = self.tenants[entry.account].over
        answer = self._answers.give(entry, why, now, step=self.step, over=over)
        if answer.outcome == "answered" and entry.deadline < inf:
            if answer.in_time:
                self.margin += _RELAX * (self.settings.margin - self.margin)
            else:
                self.margin = min(self.margin * _STRETCH, max(_STRETCHED, self.settings.margin))
        self._ready.append(answer)

    # -- admission -----------------------------------------------------------------------------------------------

    def _entry(self, request: Request, account: int, reach: Reach, now: float) -> Entry:
        self._number += 1
        deadline = request.bounds.deadline
        due = inf if deadline is None else now + deadline
        asked = self.settings.thresholds if request.thresholds is None else request.thresholds
        thresholds = asked and bool(self.thresholds)
        return Entry(
            request, self._number, now, due, account, reach.floor, reach.ceiling, thresholds, reach.wanted
        )

    def _admit(self, entry: Entry, now: float) -> Rejected | None:
        """Let an entry in if everybody still fits at the highest price; None is yes."""
        start = max(now, min(self._free))
        short = start + self.margin * self.costs.alone(0, entry.floor) - entry.deadline
        if short > 0:
            never = self.margin * self.costs.alone(0, entry.floor) > entry.deadline - now
            first = self.profile.exits[entry.floor].name
            return Rejected(
                f"exit {first}, the first that may answer, comes {1e3 * short:.3g} ms after the deadline",
                inf if never else short,
            )
        self._wait(entry, now)
        if self.queue.fits(self.prices.cost[self.prices.steps - 1], self._room(now)):
            return None
        own, pushed = self.tenants.excess(self.tenants[entry.account]), 0
        while (over := self._overrun(entry, start, now)) > 0:
            if pushed == _PUSHED_OUT or not self._shed(self._room(now), now, above=own):
                self.queue.take([self.queue.entries.index(entry)])
                return Rejected("more work waits than fits before the deadlines, even at the floors", over)
            pushed += 1
        return None

    def _overrun(self, entry: Entry, start: float, now: float) -> float:
        """By how much the least work overruns from an entry on, leaving out whom no worker can save.

        Whoever stands before it is not delayed by it, and their trouble must not keep it out.
        """
        least = self.prices.cost[self.prices.steps - 1].take(self.queue.rows)
        least[self.queue.latest < start] = 0.0
        overrun = np.cumsum(least) - self._room(now)
        return float(overrun[self.queue.entries.index(entry) :].max())

    def _shed(self, room: Floats, now: float, above: float) -> bool:
        """Make room before the first deadline that breaks, at the cost of the tenant furthest over its share.

        Only tenants whose demand in shares exceeds `above` give way; at exactly that, only floors that may.
        """
        least = self.prices.cost[self.prices.steps - 1]
        broken = (self.queue.excess(least, room) > 0).nonzero()[0]
        best, place = above, -1
        for at in range(int(broken[0]) + 1 if len(broken) else 0):
            entry = self.queue.entries[at]
            if not entry.answerable:
                greed = self.tenants.excess(self.tenants[entry.account])
                # The last of the greediest: it is the one that the others could have done without.
                if greed >= best and (greed > above or _may_loosen(entry)):
                    best, place = greed, at
        if place < 0:
            return False
        for entry in self.queue.take([place]):
            if _may_loosen(entry):
                entry.floor = 0
                self._wait(entry, now)
            else:
                self._give_way(entry, "shed", now)
        return True

    def _buckets(self, entry: Entry) -> list[Bucket]:
        own = self.tenants[entry.account].bucket
        return [bucket for bucket in (self._bucket, own) if bucket is not None]

    def _dry(self, entry: Entry, now: float) -> float:
        return max((b.wait(0.0, now) for b in self._buckets(entry)), default=0.0)

    def _without_joules(self, entry: Entry, now: float) -> Rejected | None:
        wait = self._dry(entry, now)
        return Rejected("the joules allowed are spent", wait) if wait > 0 else None

    # -- what came back ------------------------------------------------------------------------------------------

    def _came_back(self, batch: Batch, now: float) -> None:
        if self._running.pop(id(batch), None) is None:
            raise SessionMisused(
                "this batch is not running: it was reported before, or by another scheduler",
                fix="report each batch that `next` gave exactly once",
            )
        self._free[batch.worker] = now

    def _learn(self, batch: Batch, now: float) -> None:
        """Times and joules of a run."""
        size, span = len(batch.members), (batch.first, batch.last)
        self.costs.observe(*span, size, now - batch.began)
        if abs(self.costs.scale[span] / self._built[span] - 1) > _MOVED:
            self._built = dict(self.costs.scale)
            self.prices.reprice(self.costs.units())
        each = sum(self.costs.joules[batch.first : batch.last + 1])
        if self._bucket:
            self._bucket.spend(size * each, now)
        for entry in batch.members:
            own = self.tenants[entry.account].bucket
            if own:
                own.spend(each, now)


def _may_loosen(entry: Entry) -> bool:
    """Whether it has a floor left to give up."""
    return entry.request.infeasible == "degrade" and entry.floor > 0
