"""The order of the edge's work: fixed, and as things come."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.train.pipeline import run


@dataclass
class Written:
    """A worker that writes down what it is asked to do; answers come when `arrive` says so."""

    turns: bool
    arrivals: list[int] = field(default_factory=list)
    newest: int = -1
    log: list[tuple[str, int]] = field(default_factory=list)
    here: set[tuple[str, int]] = field(default_factory=set)

    def begin(self, step: int, batch: str) -> None:
        assert batch == f"batch {step}"
        self.newest = step
        self.log.append(("F", step))

    def turn(self, step: int) -> None:
        self.log.append(("T", step))

    def finish(self, step: int) -> int:
        self.log.append(("B", step))
        return step

    def ready(self, step: int, *, turned: bool) -> bool:
        return ("B" if turned or not self.turns else "T", step) in self.here

    def wait(self) -> None:
        """One more answer: which of those that are waited for, the test decides."""
        waiting = [(kind, step) for kind, step in self._waited() if (kind, step) not in self.here]
        self.here.add(waiting[self.arrivals.pop() % len(waiting) if self.arrivals else 0])
        self.log.append(("wait", 0))

    def _waited(self) -> list[tuple[str, int]]:
        done = set(self.log)
        begun = [step for kind, step in self.log if kind == "F" and ("B", step) not in done]
        return [("T" if self.turns and ("T", s) not in done else "B", s) for s in begun]


def batches(first: int, count: int) -> list[str]:
    return [f"batch {step}" for step in range(first, first + count)]


def order_of(worker: Written, count: int, window: int, inner: int, first: int = 0) -> str:
    found = list(run(worker, iter(batches(first, count)), first=first, window=window, inner=inner))
    assert found == list(range(first, first + count))
    return " ".join(f"{kind}{step}" for kind, step in worker.log)


@pytest.mark.parametrize(
    ("turns", "window", "inner", "wanted"),
    [
        (False, 0, 0, "F0 B0 F1 B1 F2 B2"),
        (True, 0, 0, "F0 T0 B0 F1 T1 B1 F2 T2 B2"),
        (False, 2, 0, "F0 F1 F2 B0 B1 B2"),
        (True, 2, 1, "F0 F1 T0 F2 T1 B0 T2 B1 B2"),
        (True, 1, 1, "F0 F1 T0 B0 F2 T1 B1 T2 B2"),
        (True, 1, 0, "F0 T0 F1 T1 B0 F2 T2 B1 B2"),
    ],
)
def test_the_fixed_order_is_a_wheel(turns: bool, window: int, inner: int, wanted: str) -> None:
    """Begin i, turn i - inner, finish i - window; and at the end what is under way, in the same order."""
    assert order_of(Written(turns), 3, window, inner) == wanted


def test_steps_count_from_where_the_training_stands() -> None:
    assert order_of(Written(turns=False), 2, 1, 0, first=40) == "F40 F41 B40 B41"


def test_nothing_is_done_without_batches() -> None:
    assert order_of(Written(turns=True), 0, 3, 1) == ""


@given(st.booleans(), st.integers(0, 6), st.data())
def test_every_step_is_begun_turned_and_finished_once_and_in_order(
    turns: bool, window: int, data: st.DataObject
) -> None:
    """Whatever the numbers; at most K + 1 are under way."""
    count, inner = data.draw(st.integers(0, 12)), data.draw(st.integers(0, window))
    worker = Written(turns)
    order_of(worker, count, window, inner)
    for kind in "FB" + "T" * turns:
        assert [step for each, step in worker.log if each == kind] == list(range(count))
    under_way = 0
    for kind, _ in worker.log:
        under_way += {"F": 1, "B": -1}.get(kind, 0)
        assert 0 <= under_way <= window + 1


@given(st.booleans(), st.integers(0, 5), st.integers(0, 10), st.lists(st.integers(0, 99)))
def test_eager_work_finishes_everything_whatever_comes_first(
    turns: bool, window: int, count: int, arrivals: list[int]
) -> None:
    """In the order of the steps, with at most K + 1 under way."""
    worker = Written(turns, arrivals)
    found = list(run(worker, iter(batches(0, count)), first=0, window=window, inner=0, order="eager"))
    under_way = [
        sum({"F": 1, "B": -1}.get(kind, 0) for kind, _ in worker.log[: at + 1])
        for at in range(len(worker.log))
    ]

    assert found == list(range(count))
    assert max(under_way, default=0) <= window + 1


def test_eager_work_prefers_gradients_to_features_to_new_steps() -> None:
    """What is there is used before anything is begun."""
    worker = Written(turns=True)
    worker.here = {("T", 0), ("B", 0)}
    list(run(worker, iter(batches(0, 2)), first=0, window=3, inner=0, order="eager"))

    assert worker.log[:3] == [("F", 0), ("T", 0), ("B", 0)]


def test_steps_that_were_taken_back_are_not_finished() -> None:
    """A worker that withdrew its newest step has nothing to finish there."""
    worker = Written(turns=False)

    def given_up() -> object:
        yield from batches(0, 3)
        worker.newest = 1

    list(run(worker, given_up(), first=0, window=3, inner=0))  # type: ignore[arg-type]

    assert [step for kind, step in worker.log if kind == "B"] == [0, 1]
