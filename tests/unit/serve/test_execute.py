"""The conditional executor: stage after stage until an answer leaves, in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from partita.errors import BadDocument, SessionMisused
from partita.serve import Bounds, Calibration, ExitCost, ExitProfile, StageTime
from partita.serve.execute import ConditionalExecutor, answers_of
from partita.serve.policy import Policy
from partita.serve.policy_condition import CompoundCondition, SingleCondition
from partita.serve.policy_read import parse_policy
from partita.serve.policy_words import BooleanOperators, Facts, Task, TaskState

MS = 1e-3


class Clock:
    """A clock that moves when a stage runs."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """Stage k takes `seconds[k]`; its exit gives class 1 a logit of `sure[sample][k]` against zero for class 0."""

    def __init__(self, clock: Clock, sure: list[list[float]], seconds: list[float]) -> None:
        self.clock, self.sure, self.seconds = clock, np.array(sure), seconds
        self.ran: list[tuple[int, int]] = []

    def run_stage(self, k: int, features: Any) -> tuple[Any, np.ndarray]:
        ids = (
            features["x"]
            if isinstance(features, dict)
            else features[0]
            if isinstance(features, tuple)
            else features
        )
        self.clock.now += self.seconds[k]
        self.ran.append((k, len(ids)))
        wanted = self.sure[ids, k]
        return features, np.stack([np.zeros_like(wanted), wanted], axis=1).astype(np.float32)


def profile(
    *p99_ms: float, joules: float | None = None, accuracies: tuple[float, ...] = (0.4, 0.7, 0.8)
) -> ExitProfile:
    exits = tuple(
        ExitCost(f"e{k}", accuracy=a, flops=(k + 1) * 1e9, joules=joules and joules * (k + 1))
        for k, a in enumerate(accuracies)
    )
    return ExitProfile("m", exits, tuple(StageTime({1: p * 0.5 * MS}, {1: p * MS}) for p in p99_ms))


def executor(
    policy: Any,
    *,
    seconds: tuple[float, ...] = (0.01, 0.01, 0.01),
    sure: list[list[float]] | None = None,
    known: ExitProfile | None = None,
    **keywords: Any,
) -> ConditionalExecutor:
    clock = Clock()
    model = Fake(clock, sure or [[0.0, 0.0, 0.0]], list(seconds))
    conditions = policy if isinstance(policy, (Policy, list)) and _made(policy) else parse_policy(policy)
    made = ConditionalExecutor(model, conditions, known or profile(), clock=clock, **keywords)
    made.fake = model
    return made


def _made(policy: Any) -> bool:
    return isinstance(policy, Policy) or bool(
        policy and isinstance(policy[0], (SingleCondition, CompoundCondition))
    )


def slower_than(seconds: float, exits: int = 3) -> list[Any]:
    return [{"metric": "response_time", "op": "greater", "threshold": seconds}] * exits


def task(samples: int = 1, **fields: Any) -> Task:
    return Task(np.arange(samples), **fields)


def test_a_request_runs_until_the_condition_of_an_exit_holds() -> None:
    sure = {"metric": "confidence", "op": ">", "threshold": 0.9}
    made = executor([sure] * 3, sure=[[0.0, 5.0, 9.0]])
    done = made.execute(task())

    assert (done.state, done.status.exit) == (TaskState.FINISHED, 1)
    assert done.outputs.tolist() == [[0.0, 5.0]]
    assert done.reasons == ("condition: confidence > 0.9",)
    assert made.fake.ran == [(0, 1), (1, 1)]


def test_the_last_exit_answers_whatever_its_condition_says() -> None:
    done = executor([None] * 3).execute(task())

    assert (done.status.exit, done.reasons) == (2, ("last exit",))
    assert done.outputs is not None


def test_the_bound_is_kept_by_leaving_before_it_would_be_passed() -> None:
    done = executor(slower_than(0.025), known=profile(10, 10, 10)).execute(task())

    assert done.status.exit == 1
    assert done.end_t - done.start_t == pytest.approx(0.02)
    assert done.reasons == ("exit 2 would pass the response time of 25 ms",)


def test_without_times_they_are_learned_and_then_the_bound_is_kept() -> None:
    made = executor(slower_than(0.025))
    first = made.execute(task())
    made.warm(np.arange(1))
    second = made.execute(task())

    assert (first.status.exit, second.status.exit) == (2, 1)


def test_warming_runs_every_stage_and_learns_from_all_rounds_but_the_first() -> None:
    made = executor([None] * 3)
    made.warm(np.arange(1), rounds=2)

    assert made.fake.ran == [(0, 1), (1, 1), (2, 1)] * 2


def test_a_soft_deadline_is_judged_by_the_median() -> None:
    known = profile(10, 10, 20)
    firm, soft = ({"slo": {"deadline_ms": 35, "mode": mode}} for mode in ("firm", "soft"))

    assert executor(firm, known=known).execute(task()).status.exit == 1
    assert executor(soft, known=known).execute(task()).status.exit == 2


def test_waiting_counts_against_the_bound_unless_the_clock_is_that_of_execution() -> None:
    known = profile(10, 10, 10)
    waited = executor(slower_than(0.035), known=known).execute(task(arrived=99.98))
    working = executor({"exits": slower_than(0.035), "clock": "exec"}, known=known).execute(
        task(arrived=99.98)
    )

    assert (waited.status.exit, working.status.exit) == (0, 2)
    assert waited.status.queue_time == pytest.approx(0.02)


def test_confidence_is_that_of_each_sample_and_samples_leave_one_by_one() -> None:
    sure = {"metric": "confidence", "op": ">", "threshold": 0.9}
    made = executor([sure] * 3, sure=[[0, 5, 5], [5, 5, 5], [0, 0, 1], [5, 5, 5]])
    done = made.execute(task(4))

    assert [status.exit for status in done.statuses] == [1, 0, 2, 0]
    assert made.fake.ran == [(0, 4), (1, 2), (2, 1)]
    assert done.outputs[:, 1].tolist() == [5, 5, 1, 5]
    assert done.status.exit == 2


@pytest.mark.parametrize("wrap", [lambda ids: (ids,), lambda ids: {"x": ids}], ids=["tuple", "names"])
def test_features_may_be_several_arrays(wrap: Any) -> None:
    sure = {"metric": "confidence", "op": ">", "threshold": 0.9}
    done = executor([sure] * 3, sure=[[5, 5, 5], [0, 5, 5]]).execute(Task(wrap(np.arange(2))))

    assert [status.exit for status in done.statuses] == [0, 1]


def test_agreement_counts_exits_that_name_the_same_class_in_a_row() -> None:
    agree = {"metric": "agreement", "op": ">=", "threshold": 1}
    done = executor([agree] * 3, sure=[[1, -1, -1], [1, 2, 3]]).execute(task(2))

    assert [status.exit for status in done.statuses] == [2, 1]
    assert [status.agreement for status in done.statuses] == [1, 1]


def test_conditions_from_python_work_as_in_the_original() -> None:
    sure = SingleCondition("confidence", "greater", 0.9)
    slow = SingleCondition("response_time", "greater", 0.015)
    done = executor([CompoundCondition(BooleanOperators.OR, sure, slow)] * 3).execute(task())

    assert done.status.exit == 1


def test_the_status_holds_what_the_profile_and_the_clock_say() -> None:
    done = executor({"slo": {"deadline_ms": 100}}, known=profile(10, 10, 10, joules=0.05)).execute(
        task(tenant="cam")
    )
    status = done.status

    assert (status.accuracy, status.energy, status.computation) == (0.8, pytest.approx(150), 3.0)
    assert status.response_time == pytest.approx(0.03)
    assert status.slack == pytest.approx(0.07)
    assert status.tenant == "cam"
    assert status.confidence == 0.5


def test_other_conditions_hold_from_the_next_request_on() -> None:
    made = executor([None] * 3)
    before = made.execute(task())
    made.update_conditions(parse_policy([True] * 3))
    after = made.execute(task())

    assert (before.status.exit, after.status.exit) == (2, 0)
    assert before.policy_version != after.policy_version


def test_conditions_changed_within_a_request_wait_for_the_next() -> None:
    made = executor([None] * 3)
    run = made.fake.run_stage

    def changing(k: int, features: Any) -> Any:
        made.update_conditions(parse_policy([True] * 3))
        return run(k, features)

    made.fake.run_stage = changing

    assert [made.execute(task()).status.exit for _ in range(2)] == [2, 0]


def test_conditions_for_another_network_are_refused_and_the_old_ones_stay() -> None:
    made = executor([True] * 3)
    with pytest.raises(BadDocument, match="2 conditions for a network with 3 exits"):
        made.update_conditions(parse_policy([None] * 2))

    assert made.execute(task()).status.exit == 0


def test_a_request_can_ask_for_less_depth_or_less_energy() -> None:
    made = executor({}, known=profile(joules=0.1))

    assert made.execute(task(bounds=Bounds(max_exit=1))).reasons == ("no deeper than exit 1",)
    dear = made.execute(task(bounds=Bounds(energy_budget=0.15)))
    assert (dear.status.exit, dear.reasons) == (0, ("exit 1 would pass the energy budget of 150 mJ",))


def test_no_answer_leaves_before_the_first_that_is_good_enough() -> None:
    done = executor({"exits": [True] * 3, "slo": {"accuracy_floor": 0.7}}).execute(task())

    assert done.status.exit == 1


@pytest.mark.parametrize(
    ("what", "state", "exit_", "ran"),
    [
        ("degrade", TaskState.FINISHED, 0, 1),
        ("best_effort", TaskState.FINISHED, 2, 3),
        ("reject", TaskState.REJECTED, -1, 0),
    ],
)
def test_what_cannot_be_done_is_degraded_done_late_or_refused(
    what: str, state: TaskState, exit_: int, ran: int
) -> None:
    made = executor(
        {"slo": {"deadline_ms": 15, "min_exit": 2}, "on_infeasible": what}, known=profile(10, 10, 10)
    )
    done = made.execute(task())

    assert (done.state, done.status.exit, len(made.fake.ran)) == (state, exit_, ran)


def test_a_degraded_answer_says_so() -> None:
    done = executor({"slo": {"deadline_ms": 15, "min_exit": 2}}, known=profile(10, 10, 10)).execute(task())

    assert done.reasons == ("degraded: exit 1 would pass the deadline of 15 ms",)


def test_a_request_that_turns_out_too_slow_is_refused_on_the_way() -> None:
    policy = {"slo": {"deadline_ms": 32, "min_exit": 2}, "on_infeasible": "reject"}
    made = executor(policy, seconds=(0.025, 0.01, 0.01), known=profile(10, 10, 10))
    done = made.execute(task())

    assert (done.state, done.outputs, len(made.fake.ran)) == (TaskState.REJECTED, None, 1)
    assert done.reasons == ("no answer of exit 2 or deeper fits the bounds",)


def test_rules_see_the_world_around() -> None:
    low = {"if": {"metric": "battery", "op": "<", "threshold": 0.2}, "then": {"slo": {"max_exit": 0}}}
    made = executor({"rules": [low]})
    made.around.battery = 0.1

    assert made.execute(task()).status.exit == 0
    made.around.battery = 0.9
    assert made.execute(task()).status.exit == 2


def calibration(**changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "edges": (),
        "worth": (((0.4, 0.7, 0.8),),) * 3,
        "accuracy": (0.4, 0.7, 0.8),
        "thresholds": (0.9, 1.1, 0.0),
        "stays": (0.5, 1.0, 0.0),
        "samples": 100,
        "max_drop": 0.01,
    }
    return Calibration(**{**fields, **changes})


def test_calibrated_thresholds_let_sure_answers_leave_where_they_are_switched_on() -> None:
    on = {"calibration": {"max_drop": 0.01}}
    sure = [[5.0, 5.0, 5.0]]

    assert executor(on, sure=sure, calibration=calibration()).execute(task()).reasons == (
        "confidence is at least 0.9",
    )
    assert executor({}, sure=sure, calibration=calibration()).execute(task()).status.exit == 2
    assert executor(on, calibration=calibration()).execute(task()).status.exit == 2


@pytest.mark.parametrize(("held", "told"), [(None, "there is none"), (0.05, "this one allows 0.05")])
def test_a_drop_that_nobody_calibrated_is_refused(held: float | None, told: str) -> None:
    with pytest.raises(BadDocument, match=told):
        executor(
            {"calibration": {"max_drop": 0.01}}, calibration=calibration(max_drop=held) if held else None
        )


def test_a_model_that_raises_leaves_a_failed_task() -> None:
    made, failed = executor([None] * 3, sure=[[0.0]]), task()
    with pytest.raises(IndexError):
        made.execute(failed)

    assert failed.state is TaskState.FAILED
    assert failed.end_t is not None


def test_an_empty_batch_is_answered_with_nothing() -> None:
    made = executor([None] * 3)
    made.warm(np.arange(0))
    done = made.execute(task(0))

    assert (done.state, done.outputs.shape, done.statuses) == (TaskState.FINISHED, (0, 2), ())


def test_a_network_that_broke_is_not_sure_of_anything() -> None:
    found = answers_of(np.array([[np.nan, 1.0], [np.inf, 1.0]]))

    assert np.isnan(found.confidence).all()
    assert not SingleCondition("confidence", "<", 1).evaluate(Facts(confidence=float(found.confidence[0])))


class Whole(Fake):
    """Takes inputs through `start`, and picks samples only if it can."""

    taken: Any = None
    rigid = False

    def start(self, inputs: Any) -> Any:
        return inputs["image"]

    def take(self, features: Any, rows: list[int]) -> Any:
        if self.rigid:
            raise SessionMisused("batches of exactly 2", fix="none")
        self.taken = rows
        return features[rows]


@pytest.mark.parametrize(
    ("rigid", "ran"), [(False, [(0, 2), (1, 1), (2, 1)]), (True, [(0, 2), (1, 2), (2, 2)])]
)
def test_a_model_that_picks_samples_itself_does_and_one_that_cannot_carries_all(
    rigid: bool, ran: list[Any]
) -> None:
    clock = Clock()
    model = Whole(clock, [[0, 0, 3], [5, -5, -5]], [0.01] * 3)
    model.rigid = rigid
    sure = parse_policy([{"metric": "confidence", "op": ">", "threshold": 0.9}] * 3)
    done = ConditionalExecutor(model, sure, profile(), clock=clock).execute(Task({"image": np.arange(2)}))

    assert model.ran == ran
    assert [status.exit for status in done.statuses] == [2, 0]
    assert done.outputs[:, 1].tolist() == [3, 5]
    assert done.reasons[1] == "condition: confidence > 0.9"
    assert model.taken == (None if rigid else [0])


def test_an_exported_model_runs_under_conditions_and_each_sample_gets_its_own_answer(exit_model: Any) -> None:
    (spec,) = exit_model.manifest.inputs
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(5, *[int(size) for size in spec.shape[1:]])).astype(np.float32)
    first = [float(c) for c in exit_model.answers(exit_model.run_to(0, samples)).confidence]
    middle = sorted(first)[2]
    known = ExitProfile("m", tuple(ExitCost(name) for name in exit_model.exits))
    some = SingleCondition("confidence", ">", middle)
    made = ConditionalExecutor(
        exit_model, [some] + [SingleCondition("exit", "null")] * (len(known.exits) - 1), known
    )
    done = made.execute(Task(samples))

    assert [status.exit for status in done.statuses] == [
        0 if c > middle else len(known.exits) - 1 for c in first
    ]
    for row, status in enumerate(done.statuses):
        alone = exit_model.run_to(status.exit, samples[row : row + 1])
        np.testing.assert_allclose(done.outputs[row], alone[0], rtol=1e-4, atol=1e-5)
