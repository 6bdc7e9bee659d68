"""The edge's work on the steps of one plan: its front and tail, its lanes to the cloud, what is under way.

Rules: computing happens in the caller's thread and nowhere else; a step's values are kept until its last use and no
longer; an answer is waited for only when its turn has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar, final

import numpy as np

from ..engine import Values
from ..errors import ProtocolViolation
from ..graph import Chain
from ..plan import Plan
from ..run import Pace, Reply
from ..wire import Encoded, decode, encode
from .holding import Holding
from .lanes import lanes_of
from .line import Line, Ticket
from .loading import Batch
from .losses import Loss
from .messages import IDS, LABEL, RNG, Features, Hasten, Slope, Slopes, Step
from .part import Outcome, TrainedPart
from .roles import Roles, passing, roles_of, upstream
from .settings import AUTO, Settings

_T = TypeVar("_T")
# While an answer is waited for, somebody may look around so often.
_LOOK_SECONDS = 0.1
# What is under way before a move may take this long.
_LATE = 0.5


@dataclass(frozen=True, slots=True)
class Done:
    """One step, finished. `work` is the seconds of the edge's own work by kind; `wait` those it waited."""

    step: int
    batch: int
    outcome: Outcome
    rate: float
    latency: float
    staleness: int
    up: int
    down: int
    cloud: float
    wait: float
    work: Mapping[str, float]


@dataclass(slots=True)
class _Flight:
    """One step under way."""

    batch: Batch
    rate: float
    began: float
    updates: int
    values: Values
    rng: bytes | None = None
    asked: Step | None = None
    awaited: bool = False
    features: Ticket | None = None
    slopes: Ticket | None = None
    skipped: Values = field(default_factory=dict)
    outcome: Outcome | None = None
    up: int = 0
    down: int = 0
    cloud: float = 0.0
    wait: float = 0.0
    work: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What stays the same while plans change. `rate_at` gives the learning rate of a step; `meanwhile` is called now
    and then while an answer is waited for."""

    holding: Holding
    settings: Settings
    loss: Loss
    line: Line | None
    pace: Pace
    rate_at: Callable[[int], float]
    capacity: int = 1 << 20
    meanwhile: Callable[[], None] | None = None


@final
class EdgeWorker:
    """See `pipeline.Worker`. One for each plan version."""

    def __init__(self, setup: Setup, chain: Chain, plan: Plan, version: int) -> None:
        self.plan, self.version, self.window = plan, version, plan.window
        self.roles: Roles = roles_of(plan, chain)
        self._setup, self._chain = setup, chain
        self._flights: dict[int, _Flight] = {}
        self._acks: deque[tuple[_Flight, Ticket]] = deque()
        self._updates = 0
        self.newest = -1
        # Of a plan that comes back, how long its work takes is known already.
        self._same = str(plan)
        self._down = 0
        self._rest_at = perf_counter()
        holding, roles = setup.holding, self.roles
        self._frozen = holding.frozen()
        self.front = self._front()
        self.tail = self._tail()
        self._rng_travels = plan.window == 0 and roles.away is not None and self._later_draws()
        self.lanes = lanes_of(roles, setup.settings, version, setup.capacity)

    def _front(self) -> TrainedPart | None:
        span = self.roles.front
        if span is None or span[0] == span[1] or self.roles.away is None:
            return None
        return self._setup.holding.part(span, window=self.window, wanted=frozenset())

    def _tail(self) -> TrainedPart | None:
        roles = self.roles
        span = roles.front if roles.away is None else roles.tail
        if span is None:
            return None
        holding, given = self._setup.holding, self._chain.part_inputs(*span) if span[0] < span[1] else ()
        by = passing(self._chain, span)
        wanted = (
            frozenset[str]() if roles.away is None else upstream((*given, *by), self._chain, self._frozen)
        )
        return holding.part(span, window=self.window, wanted=wanted, loss=self._setup.loss, passing=by)

    def _later_draws(self) -> bool:
        spans = [self.roles.away, self.roles.tail]
        return any(
            self._setup.holding.draws(span) for span in spans if span is not None and span[0] < span[1]
        )

    # -- pipeline.Worker ---------------------------------------------------------------------------------------------

    @property
    def turns(self) -> bool:
        return self.tail is not None

    @property
    def codec_up(self) -> str:
        """The codec of what goes to the cloud; empty where nothing does."""
        roles = self.roles
        return "" if roles.away is None else roles.up_hop.forward if roles.up else roles.down_hop.back

    @property
    def codec_down(self) -> str:
        """The codec of what comes from the cloud; empty where nothing does."""
        roles = self.roles
        return "" if roles.away is None else roles.down_hop.forward if roles.down else roles.up_hop.back

    @property
    def under_way(self) -> int:
        """How many steps were begun and not finished."""
        return len(self._flights)

    def begin(self, step: int, batch: Batch) -> None:
        flight = _Flight(batch, self._setup.rate_at(step), perf_counter(), self._updates, dict(batch.inputs))
        self._flights[step], self.newest = flight, step
        front = self.front
        if front is not None:
            given = {name: flight.values[name] for name in front.inputs}
            made, flight.rng = self._work(flight, "front", lambda: front.forward(step, given))
            flight.values.update(made)
        if self.roles.away is not None:
            tensors = self._work(flight, "encode up", lambda: self._sent(step, flight))
            flight.up += sum(tensor.nbytes for tensor in tensors.values())
            line = self._line
            message = Step(line.number(), self.version, step, flight.rate)
            ticket = line.post(message, tensors)
            flight.asked = message
            if self.tail is None:
                flight.slopes = ticket
                flight.values.clear()
            else:
                flight.features = ticket

    def _sent(self, step: int, flight: _Flight) -> dict[str, Encoded]:
        roles, batch, settings = self.roles, flight.batch, self._setup.settings
        values = {name: flight.values[name] for name in roles.up}
        tensors = self.lanes["features_up"].encode(step, values, batch.ids)
        if roles.loss_at == "cloud":
            tensors |= {f"{LABEL}{name}": encode(value) for name, value in batch.targets.items()}
        remembers = settings.feedback == "delta" or settings.feedback_down in ("delta", "residual")
        if batch.ids is not None and (remembers or roles.inputs_at == "cloud"):
            tensors[IDS] = encode(batch.ids)
        if self._rng_travels and flight.rng is not None:
            tensors[RNG] = encode(np.frombuffer(flight.rng, np.uint8))
        return tensors

    def turn(self, step: int) -> None:
        flight, tail = self._flights[step], self.tail
        if tail is None:  # pragma: no cover - the pipeline asks `turns` first
            raise AssertionError(step)
        if flight.features is not None:
            self._receive_features(step, flight)
        given = {name: flight.values[name] for name in tail.inputs}
        outcome = self._work(
            flight,
            "tail",
            lambda: tail.finish(step, given, flight.batch.targets, flight.rate, rng=flight.rng),
        )
        flight.outcome = outcome
        flight.values.clear()
        if self.roles.away is None:
            self._updates += 1
            return
        down = set(self.roles.down)
        slopes = {name: value for name, value in outcome.slopes.items() if name in down}
        flight.skipped = {name: value for name, value in outcome.slopes.items() if name not in down}
        tensors = self._work(
            flight,
            "encode slopes",
            lambda: self.lanes["slopes_up"].encode(step, slopes, flight.batch.ids),
        )
        flight.up += sum(tensor.nbytes for tensor in tensors.values())
        message = Slope(self._line.number(), self.version, step, self._calm(flight.rate))
        flight.slopes = self._line.post(message, tensors)

    def _receive_features(self, step: int, flight: _Flight) -> None:
        reply = self._answer(flight, flight.features, Features)
        tensors = dict(reply.tensors)
        rng = tensors.pop(RNG, None)
        if rng is not None:
            flight.rng = decode(rng).tobytes()
        lane = self.lanes["features_down"]
        values = self._work(flight, "decode down", lambda: lane.decode(tensors, flight.batch.ids))
        missing = [name for name in self.roles.down if name not in values]
        if missing:
            raise ProtocolViolation(
                f"step {step}: the cloud's answer lacks {', '.join(missing)}",
                fix="check that both sides run the same version",
            )
        flight.values.update(values)

    def finish(self, step: int) -> Done:
        flight = self._flights.pop(step)
        if self.roles.away is not None:
            if self.front is None and self.tail is not None:
                self._acknowledge(flight)
            else:
                self._learn(step, flight)
        outcome = flight.outcome or Outcome(float("nan"), -1, 0, {})
        return Done(
            step=step,
            batch=flight.batch.size,
            outcome=outcome,
            rate=flight.rate,
            latency=perf_counter() - flight.began,
            staleness=self._staleness(flight),
            up=flight.up,
            down=flight.down,
            cloud=flight.cloud,
            wait=flight.wait,
            work=flight.work,
        )

    def _staleness(self, flight: _Flight) -> int:
        """Updates of the front between its two looks at a step, the step's own left out."""
        return max(self._updates - flight.updates - 1, 0)

    def _learn(self, step: int, flight: _Flight) -> None:
        reply = self._answer(flight, flight.slopes, Slopes)
        if isinstance(reply.message, Slopes) and self.tail is None:
            told = reply.message
            flight.outcome = Outcome(told.loss, told.right, told.count, {})
        self._updates += 1
        front = self.front
        if front is None:
            return
        lanes = self.lanes
        slopes = self._work(
            flight, "decode slopes", lambda: lanes["slopes_down"].decode(reply.tensors, flight.batch.ids)
        )
        slopes = lanes["features_up"].correct(step, slopes)
        for name, value in flight.skipped.items():
            slopes[name] = slopes[name] + value if name in slopes else value
        mine = {name: value for name, value in slopes.items() if name in front.outputs}
        self._work(flight, "back", lambda: front.backward(step, mine, self._calm(flight.rate)))

    def _acknowledge(self, flight: _Flight) -> None:
        """The cloud's front learns without anybody here waiting for it; its answers are read as they come."""
        self._updates += 1
        if flight.slopes is not None:
            self._acks.append((flight, flight.slopes))
        while self._acks and (self._acks[0][1].done() or len(self._acks) > self.window + 1):
            late, ticket = self._acks.popleft()
            self._answer(late, ticket, Slopes)

    def drained(self) -> None:
        """Wait for what the cloud still does after the last step was finished here."""
        while self._acks:
            flight, ticket = self._acks.popleft()
            self._answer(flight, ticket, Slopes)
        if self.front is not None and self.front.kept and not self._flights:
            self.front.forget()  # what was taken back

    def ready(self, step: int, *, turned: bool) -> bool:
        flight = self._flights[step]
        ticket = flight.slopes if turned or self.tail is None else flight.features
        return ticket is None or ticket.done()

    def wait(self) -> None:
        began = perf_counter()
        open_ = [t for f in self._flights.values() for t in (f.features, f.slopes) if t and not t.done()]
        wait(open_, return_when=FIRST_COMPLETED)
        oldest = next(iter(self._flights.values()))
        oldest.wait += perf_counter() - began

    def hasten(self, rate: float) -> None:
        """Before a move: where gradients under way would take long at so many bytes per second, have them shortened.

        Not where the caller chose their codec, or bounds its error.
        """
        asked, late = self._setup.settings, len(self._flights) * self._down / max(rate, 1.0)
        if asked.codec_down == AUTO and asked.max_error is None and self.codec_down == "raw" and late > _LATE:
            self._line.post(Hasten(self._line.number()))

    def withdraw(self) -> list[Batch]:
        """Take back the latest steps of which nothing has left yet: their batches, for another plan.

        Nothing has learnt from them. Memories that both sides keep of what was sent would differ: then none is taken.
        """
        taken: list[Batch] = []
        while self._setup.settings.feedback != "delta" and self.newest in self._flights:
            flight = self._flights[self.newest]
            ticket = flight.features if self.tail is not None else flight.slopes
            if flight.asked is None or ticket is None or flight.awaited:
                break
            if not self._line.withdraw(flight.asked, ticket):
                break
            taken.append(self._flights.pop(self.newest).batch)
            self.newest -= 1
        return taken[::-1]

    def forget(self) -> None:
        """Drop everything under way: what was asked is waited for, and its answers are not used."""
        tickets = [t for f in self._flights.values() for t in (f.features, f.slopes) if t is not None]
        wait([*tickets, *(ticket for _, ticket in self._acks)])
        self._flights.clear()
        self._acks.clear()
        for part in (self.front, self.tail):
            if part is not None:
                part.forget()
        for lane in self.lanes.values():
            lane.forget()

    # -- within ------------------------------------------------------------------------------------------------------

    @property
    def _line(self) -> Line:
        if self._setup.line is None:  # pragma: no cover - plans with a cloud come with a line
            raise AssertionError(self.plan)
        return self._setup.line

    def _calm(self, rate: float) -> float:
        """The rate of parts whose gradients are stale."""
        return rate / (self.window + 1) if self._setup.settings.calm else rate

    def _work(self, flight: _Flight, kind: str, work: Callable[[], _T]) -> _T:
        began = perf_counter()
        try:
            return work()
        finally:
            self._setup.pace.keep((self._same, kind), began)
            flight.work[kind] = flight.work.get(kind, 0.0) + perf_counter() - began

    def _answer(self, flight: _Flight, ticket: Ticket | None, kind: type[Features] | type[Slopes]) -> Reply:
        if ticket is None:
            raise ProtocolViolation("a step was answered that was not sent", fix="report this as a defect")
        began, flight.awaited = perf_counter(), True
        meanwhile = self._setup.meanwhile
        while meanwhile is not None and not wait((ticket,), timeout=_LOOK_SECONDS).done:
            meanwhile()
        reply = ticket.result()
        flight.wait += perf_counter() - began
        if not isinstance(reply.message, kind):
            raise ProtocolViolation(
                f"the cloud answered with {type(reply.message).__name__}, not {kind.__name__}",
                fix="check that both sides run the same version",
            )
        flight.cloud += reply.message.seconds
        self._down = sum(tensor.nbytes for tensor in reply.tensors.values())
        flight.down += self._down
        return reply
