"""Conditional execution: stage after stage, until the condition of an exit holds or the next stage would be too late.

Rules: the last exit always answers; a bound on the response time is kept by looking ahead, not noticed when it has passed;
samples of a batch leave one by one; conditions change between two requests and never within one; clocks are injected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, SessionMisused
from .model_features import Answers, answers
from .policy import Policy
from .policy_condition import Condition
from .policy_decide import Decisions
from .policy_forecast import StageForecast
from .policy_words import Facts, Task, TaskState
from .tables import Bounds, Calibration, ExitProfile

Clock = Callable[[], float]


class StageRunner(Protocol):
    """A network with exits that runs stage by stage; stage 0 takes the inputs, each later one the features before it.

    Where it has `start(inputs)`, stage 0 takes what that gives; where it has `take(features, rows)`, that picks the
    samples that go on. Otherwise features are arrays with the samples first, alone, in a sequence, or by name.
    """

    def run_stage(self, k: int, features: Any) -> tuple[Any, NDArray[Any]]:
        """Features for the next stage, and the logits of exit k: one row per sample."""
        ...


def answers_of(logits: NDArray[Any]) -> Answers:
    """What the logits of an exit say, per sample. A network that broke answers with infinities or NaN; its confidence is
    NaN then, which no condition trusts."""
    with np.errstate(invalid="ignore"):
        return answers(np.asarray(logits))


@dataclass(frozen=True, slots=True)
class _Request:
    """What was fixed when one request started."""

    decisions: Decisions
    bounds: Bounds
    first: int
    last: int
    arrived: float
    origin: float
    around: Facts


class _Group:
    """The samples of one task on their way. `rows` are those in the batch, `alive` the places of those in it that have
    not left; a network that cannot take fewer carries the others along."""

    def __init__(self, around: Facts) -> None:
        self._around = around
        self._label: NDArray[Any] = np.zeros(0, np.intp)
        self._fresh = True
        self.rows = self.alive = self.agreement = np.zeros(0, np.intp)
        self.statuses: list[Facts] = []
        self.reasons: list[str] = []

    def heard(self, said: Answers) -> None:
        """An exit answered for the whole batch."""
        if self._fresh:
            self._fresh = False
            self.rows = self.alive = np.arange(len(said.label))
            self.agreement = np.zeros(len(self.rows), np.intp)
            self.statuses, self.reasons = [self._around for _ in self.rows], [""] * len(self.rows)
        else:
            self.agreement = np.where(said.label == self._label, self.agreement + 1, 0)
        self._label = said.label

    def leave(self, outputs: Any, logits: NDArray[Any], found: list[Facts], why: list[str]) -> NDArray[Any]:
        """Those with a reason leave with their logits; the outputs with theirs written in."""
        count, classes = len(self.statuses), logits.shape[1]
        written: NDArray[Any] = np.empty((count, classes), logits.dtype) if outputs is None else outputs
        for place, facts, reason in zip(self.alive, found, why, strict=True):
            row = self.rows[place]
            self.statuses[row], self.reasons[row] = facts, reason
            if reason:
                written[row] = logits[place]
        self.alive = self.alive[[not reason for reason in why]] if why else self.alive
        return written

    def shrink(self) -> None:
        """The batch holds only those that have not left."""
        self.rows, self.agreement = self.rows[self.alive], self.agreement[self.alive]
        self._label, self.alive = self._label[self.alive], np.arange(len(self.alive))


class ConditionalExecutor:
    """Runs tasks one after another under a policy. `around` holds what conditions can see of the world (load, battery,
    temperature); whoever measures it writes there."""

    def __init__(
        self,
        model: StageRunner,
        conditions: Policy | Sequence[Condition],
        profile: ExitProfile,
        *,
        clock: Clock = time.perf_counter,
        calibration: Calibration | None = None,
    ) -> None:
        self.profile, self.around = profile, Facts()
        self._model, self._clock, self._calibration = model, clock, calibration
        self._forecast = StageForecast(profile)
        self._exits = len(profile.exits)
        self._decisions = self._compiled(conditions)

    @property
    def clock(self) -> Clock:
        """The clock by which it keeps bounds."""
        return self._clock

    @property
    def decisions(self) -> Decisions:
        """What holds for the next request."""
        return self._decisions

    def update_conditions(self, conditions: Policy | Sequence[Condition]) -> None:
        """Other conditions from the next request on. What does not fit is refused, and what held before still holds."""
        self._decisions = self._compiled(conditions)

    def _compiled(self, conditions: Policy | Sequence[Condition]) -> Decisions:
        policy = conditions if isinstance(conditions, Policy) else Policy(exits=tuple(conditions))
        drops = [policy.max_drop, *(dict(rule.then).get("max_drop") for rule in policy.rules)]
        wanted = [drop for drop in drops if drop is not None]
        held = self._calibration.max_drop if self._calibration else None
        if wanted and (held is None or held > min(wanted)):
            problem = "there is none" if held is None else f"this one allows {held:g}"
            raise BadDocument(
                "policy",
                [f"calibration.max_drop: {min(wanted):g} needs a calibration, {problem}"],
                fix="calibrate for it: partita serve calibrate --max-drop",
            )
        return policy.compiled(self._exits, self.profile)

    def warm(self, inputs: Any, rounds: int = 20) -> None:
        """Runs every stage a few times, so that the first request finds everything loaded and its times known."""
        for turn in range(rounds):
            features = self._started(inputs)
            for k in range(self._exits):
                before = self._clock()
                features, logits = self._model.run_stage(k, features)
                found = answers_of(logits)
                if turn and len(found.label):  # the first run loads and allocates
                    self._forecast.saw(k, len(found.label), self._clock() - before)

    def execute(self, task: Task) -> Task:
        """Runs one task; the same task comes back, with its outputs, status and state."""
        start = self._clock()
        task.state, task.start_t, task.outputs = TaskState.STARTED, start, None
        try:
            self._run(task, self._request(task, start))
        except BaseException:
            task.state, task.end_t = TaskState.FAILED, self._clock()
            raise
        task.end_t = self._clock()
        return task

    def _request(self, task: Task, start: float) -> _Request:
        decisions = self._decisions
        arrived = start if task.arrived is None else task.arrived
        around = replace(self.around, queue_time=start - arrived, tenant=task.tenant)
        deadline = decisions.bounds(task.bounds).deadline
        around.slack = None if deadline is None else deadline - (start - arrived)
        task.policy_version = decisions.version
        decisions = decisions.under(around)
        bounds = decisions.bounds(task.bounds)
        first, last = decisions.depths(bounds)
        origin = arrived if decisions.policy.clock == "arrival" else start
        return _Request(decisions, bounds, first, last, arrived, origin, around)

    def _run(self, task: Task, request: _Request) -> None:
        if request.decisions.policy.on_infeasible == "reject" and self._hopeless(request):
            self._reject(task, request)
            return
        features, group = self._started(task.inputs), _Group(request.around)
        k = 0
        while True:  # ends at the last exit that may run, where everybody leaves
            began = self._clock()
            features, logits = self._model.run_stage(k, features)
            said = answers_of(logits)
            if len(said.label):
                self._forecast.saw(k, len(said.label), self._clock() - began)
            group.heard(said)
            found = [self._facts(request, k, said, i, group) for i in group.alive.tolist()]
            why = self._why(request, k, found)
            if why is None:
                self._reject(task, request)
                return
            task.outputs = group.leave(task.outputs, np.asarray(logits), found, why)
            if not len(group.alive):
                break
            if (
                len(group.alive) < len(group.rows)
                and (left := self._picked(features, group.alive)) is not None
            ):
                features = left
                group.shrink()
            k += 1
        task.statuses, task.reasons = tuple(group.statuses), tuple(group.reasons)
        task.status = max(
            group.statuses, key=lambda facts: facts.response_time or 0.0, default=request.around
        )
        task.state = TaskState.FINISHED

    def _started(self, inputs: Any) -> Any:
        start = getattr(self._model, "start", None)
        return inputs if start is None else start(inputs)

    def _picked(self, features: Any, rows: NDArray[np.intp]) -> Any:
        """The samples that go on; None where the network takes whole batches only and all go on together."""
        take = getattr(self._model, "take", None)
        if take is not None:
            try:
                return take(features, rows.tolist())
            except SessionMisused:
                return None
        if isinstance(features, dict):
            return {name: array[rows] for name, array in features.items()}
        if isinstance(features, list | tuple):
            return type(features)(array[rows] for array in features)
        return features[rows]

    def _facts(self, request: _Request, k: int, said: Answers, i: int, group: _Group) -> Facts:
        facts = replace(request.around)
        request.decisions.describe(k, facts)
        now = self._clock()
        facts.response_time = now - request.origin
        facts.confidence, facts.margin = float(said.confidence[i]), float(said.margin[i])
        facts.entropy, facts.agreement = float(said.entropy[i]), int(group.agreement[i])
        if request.bounds.deadline is not None:
            facts.slack = request.bounds.deadline - (now - request.arrived)
        ahead = self._ahead(request, k, len(group.rows)) if k + 1 < self._exits else 0.0
        facts.predicted_response_time = facts.response_time + ahead
        return facts

    def _ahead(self, request: _Request, k: int, batch: int) -> float:
        """Seconds that the stage after exit k will take; firm policies take the long side."""
        return self._forecast.seconds(k + 1, batch, tail=request.decisions.policy.mode == "firm")

    def _why(self, request: _Request, k: int, found: list[Facts]) -> list[str] | None:
        """Why each sample leaves at exit k, empty for those that go on; None where the request is to be refused."""
        if k >= request.last:
            last = request.last == self._exits - 1
            return ["last exit" if last else f"no deeper than exit {k}"] * len(found)
        allowed = k >= request.first
        why = [self._chosen(request, k, facts) if allowed else "" for facts in found]
        going = why.count("")
        late = self._late(request, k, going) if going else ""
        if not late:
            return why
        policy = request.decisions.policy
        if not allowed:
            if policy.on_infeasible == "best_effort":
                return why
            if policy.on_infeasible == "reject":
                return None
            late = f"degraded: {late}"
        return [reason or late for reason in why]

    def _chosen(self, request: _Request, k: int, facts: Facts) -> str:
        """Why a sample leaves though there is time: its condition holds, or the network is sure enough."""
        if request.decisions.should_exit(k, facts):
            return f"condition: {request.decisions.conditions[k]}"
        if request.decisions.policy.max_drop is not None and self._calibration is not None:
            threshold = self._calibration.thresholds[k]
            if facts.confidence is not None and facts.confidence >= threshold:
                return f"confidence is at least {threshold:g}"
        return ""

    def _late(self, request: _Request, k: int, batch: int) -> str:
        """Which bound the next stage would probably break."""
        now, bounds = self._clock(), request.bounds
        ahead = self._ahead(request, k, batch)
        limit = request.decisions.limit(k + 1)
        if bounds.deadline is not None and now - request.arrived + ahead > bounds.deadline:
            self._forecast.skipped(k + 1, batch)
            return f"exit {k + 1} would pass the deadline of {bounds.deadline * 1e3:g} ms"
        if limit is not None and now - request.origin + ahead > limit:
            self._forecast.skipped(k + 1, batch)
            return f"exit {k + 1} would pass the response time of {limit * 1e3:g} ms"
        joules = self.profile.exits[k + 1].joules
        if bounds.energy_budget is not None and joules is not None and joules > bounds.energy_budget:
            return f"exit {k + 1} would pass the energy budget of {bounds.energy_budget * 1e3:g} mJ"
        return ""

    def _hopeless(self, request: _Request) -> bool:
        """Whether even one sample could not reach the first exit that is good enough, by time or by energy."""
        bounds, stages = request.bounds, range(request.first + 1)
        tail = request.decisions.policy.mode == "firm"
        needed = sum(self._forecast.seconds(j, 1, tail=tail) for j in stages)
        joules = self.profile.exits[request.first].joules
        late = bounds.deadline is not None and self._clock() - request.arrived + needed > bounds.deadline
        dear = bounds.energy_budget is not None and joules is not None and joules > bounds.energy_budget
        if late:
            for j in stages:
                self._forecast.skipped(j, 1)
        return late or dear

    def _reject(self, task: Task, request: _Request) -> None:
        task.outputs, task.statuses = None, ()  # who asked for refusal wants no lesser answer
        task.reasons = (f"no answer of exit {request.first} or deeper fits the bounds",)
        task.status, task.state = request.around, TaskState.REJECTED
