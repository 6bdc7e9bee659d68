"""Whatever happens, in whatever order: nobody is lost, nobody is answered twice, and what was promised is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from partita.serve import Bounds, Calibration, ExitCost, ExitProfile, StageTime
from partita.serve.scheduler import Scheduler
from partita.serve.scheduler_orders import Admitted, Answer, Batch, Request, Settings, Tenant

ACCURACY = (0.6, 0.8, 0.9)
STAGE = StageTime({1: 0.01, 2: 0.02, 4: 0.04}, {1: 0.011, 2: 0.022, 4: 0.044})
SPAN = StageTime({1: 0.03, 2: 0.06, 4: 0.12}, {1: 0.033, 2: 0.066, 4: 0.132})
PROFILE = ExitProfile(
    "net",
    tuple(ExitCost(f"e{k}", accuracy=a, joules=1.0 + k) for k, a in enumerate(ACCURACY)),
    (STAGE,) * 3,
    {"0-2": SPAN},
)
WORTH = tuple(
    (tuple(max(0.1, a - 0.3) if e <= k else a for e, a in enumerate(ACCURACY)), (0.95,) * 3) for k in range(3)
)
CALIBRATION = Calibration((0.5,), WORTH, ACCURACY, (0.9, 0.9, 0.0), (1.0,) * 3, 1000)
DEADLINES = st.sampled_from([None, 0.02, 0.05, 0.1, 0.3, 1.0])
REQUESTS = st.builds(
    lambda deadline, floor, low, high, tenant, infeasible, thresholds: Request(
        None, Bounds(deadline, floor, None, low, high), tenant, infeasible, thresholds
    ),
    DEADLINES,
    st.sampled_from([None, None, 0.7, 0.85]),
    st.sampled_from([None, None, 1, 2]),
    st.sampled_from([None, None, 2, 1]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["degrade", "reject", "best_effort"]),
    st.sampled_from([None, False, True]),
)


def lowest(request: Request) -> int:
    """The floor that the bounds ask for."""
    b = request.bounds
    accurate = next(k for k, a in enumerate(ACCURACY) if a >= (b.accuracy_floor or 0))
    return max(accurate, b.min_exit or 0)


class Serving(RuleBasedStateMachine):
    """Requests, workers, delays and failures in any order."""

    @initialize(
        workers=st.integers(1, 3),
        thresholds=st.booleans(),
        joules=st.sampled_from([None, 20.0]),
        most=st.sampled_from([5, 100]),
    )
    def start(self, workers: int, thresholds: bool, joules: float | None, most: int) -> None:
        tenants = (Tenant("a", weight=2.0), Tenant("b", joules_per_second=30.0))
        chosen = Settings(
            workers,
            thresholds=thresholds,
            joules_per_second=joules,
            most_waiting=most,
            prices=12,
            max_batch=4,
        )
        self.scheduler = Scheduler(PROFILE, CALIBRATION, tenants=tenants, settings=chosen)
        self.now = 0.0
        self.idle = list(range(workers))
        self.running: list[Batch] = []
        self.admitted: dict[int, Request] = {}
        self.answered: dict[int, Answer] = {}
        self.came: dict[object, float] = {}
        self.count = 0

    def note(self, answers: list[Answer]) -> None:
        for answer in answers:
            key: Any = answer.request.key
            assert key in self.admitted
            assert key not in self.answered
            self.answered[key] = answer
            self.check(answer)

    def check(self, answer: Answer) -> None:
        request = answer.request
        assert answer.reason
        assert answer.at <= self.now
        assert (answer.exit is not None) == (answer.outcome == "answered")
        if answer.exit is None:
            return
        due = request.bounds.deadline
        assert answer.in_time == (due is None or answer.at <= self.came[request.key] + due)
        assert request.bounds.max_exit is None or answer.exit <= request.bounds.max_exit
        if answer.exit < lowest(request):
            assert request.infeasible != "reject"
            assert answer.degraded

    @rule(request=REQUESTS, times=st.integers(1, 6))
    def submit(self, request: Request, times: int) -> None:
        for _ in range(times):
            self.count += 1
            keyed = Request(
                self.count, request.bounds, request.tenant, request.infeasible, request.thresholds
            )
            self.came[self.count] = self.now
            # Before it is asked: it may push others out, and their answers come first.
            if isinstance(self.scheduler.submit(keyed, self.now), Admitted):
                self.admitted[self.count] = keyed
        self.note(self.scheduler.expire(self.now))

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.04, 0.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.note(self.scheduler.expire(self.now))

    @precondition(lambda self: self.idle)
    @rule()
    def work(self) -> None:
        worker = self.idle[0]
        waiting = len(self.scheduler.queue)
        batch = self.scheduler.next(self.now, worker)
        self.note(self.scheduler.expire(self.now))
        if batch is None:
            assert len(self.scheduler.queue) == 0
            return
        assert 1 <= len(batch.members) <= min(4, waiting)
        assert {entry.stage for entry in batch.members} == {batch.first}
        # The leader has the earliest deadline of all, and the members keep the order.
        deadlines = [entry.deadline for entry in batch.members]
        assert deadlines == sorted(deadlines)
        assert all(deadlines[0] <= entry.deadline for entry in self.scheduler.queue)
        self.idle.remove(worker)
        self.running.append(batch)

    @precondition(lambda self: self.running)
    @rule(late=st.sampled_from([1.0, 1.0, 1.05, 5.0]), sure=st.floats(0, 1), fails=st.integers(0, 9))
    def finish(self, late: float, sure: float, fails: int) -> None:
        batch = min(self.running, key=lambda b: b.began + b.seconds)
        self.running.remove(batch)
        self.now = max(self.now, batch.began + late * batch.seconds)
        self.idle.append(batch.worker)
        if fails == 0:
            self.note(self.scheduler.failed(batch, self.now))
        else:
            self.note(self.scheduler.done(batch, [sure] * len(batch.members), self.now))

    @rule(thresholds=st.booleans())
    def revise(self, thresholds: bool) -> None:
        self.scheduler.revise(
            self.now, settings=Settings(thresholds=thresholds, prices=12, max_batch=4, most_waiting=50)
        )

    @invariant()
    def the_queue_is_in_order(self) -> None:
        deadlines = self.scheduler.queue.deadlines
        assert (deadlines[:-1] <= deadlines[1:]).all()

    @invariant()
    def everybody_is_somewhere(self) -> None:
        waiting = {entry.request.key for entry in self.scheduler.queue}
        running = {entry.request.key for batch in self.running for entry in batch.members}
        settled = set(self.answered) | {a.request.key for a in self.scheduler._ready}
        assert waiting | running | settled == set(self.admitted)

    @invariant()
    def rows_say_where_entries_stand(self) -> None:
        s = self.scheduler
        for entry, row, stage in zip(s.queue, s.queue.rows, s.queue.stages, strict=True):
            over = s.tenants[entry.account].over
            assert row == s.prices.row(entry.block, entry.exit, entry.bin, over)
            assert stage == entry.stage

    def teardown(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        while True:
            while self.running:
                self.finish(1.0, 0.5, 1)
            self.work()
            if not self.running:
                break
        assert set(self.answered) == set(self.admitted)


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0, 0.05), min_size=1, max_size=40),
    deadlines=st.lists(st.sampled_from([0.08, 0.1, 0.2, 0.4]), min_size=40, max_size=40),
    seed=st.integers(0, 2**16),
)
def test_who_is_admitted_is_in_time_while_stages_take_what_they_should(
    gaps: list[float], deadlines: list[float], seed: int
) -> None:
    s = Scheduler(PROFILE, CALIBRATION, settings=Settings(max_batch=4))
    draw = np.random.default_rng(seed)
    arrivals = list(np.cumsum(gaps))
    admitted, answers, batch, ends, now = 0, [], None, np.inf, 0.0
    while arrivals or batch is not None or len(s.queue):
        if batch is None:
            batch = s.next(now)
            answers += s.expire(now)
            ends = now + batch.seconds if batch else np.inf
        if batch is not None and (not arrivals or ends <= arrivals[0]):
            now = ends
            answers += s.done(batch, draw.random(len(batch.members)).tolist(), now)
            batch = None
        elif arrivals:
            now = float(arrivals.pop(0))
            deadline = deadlines[len(arrivals)]
            admitted += isinstance(s.submit(Request(len(arrivals), Bounds(deadline)), now), Admitted)
            answers += s.expire(now)

    assert len(answers) == admitted
    assert [a for a in answers if not a.in_time] == []
