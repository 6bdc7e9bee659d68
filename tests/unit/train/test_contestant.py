"""An arm of a comparison at work, with a session that only says what its steps took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from partita.train import contestant
from partita.train.contestant import Contestant
from partita.train.reports import EpochReport, Event, StepReport


def step(seconds: float, *, version: int = 1, epoch: int = 1, window: int = 0) -> StepReport:
    """A step that took so long."""
    return StepReport(
        0, epoch, 0.5, 1, 1, seconds, seconds, "p", version, window, 0, "raw", "raw", 10, 20, 0, 0, 0, None, None, None, 0.1
    )  # fmt: skip


class Told:
    """A session that tells these reports."""

    plan = "p"

    def __init__(self, rows: list[StepReport | EpochReport | Event], tell: Callable[[Any], None]) -> None:
        self._rows, self._tell, self.closed = rows, tell, False

    def train(self, data: object, *, held_out: object) -> Iterator[StepReport]:
        assert (data, held_out) == ("data", "held out")
        for row in self._rows:
            if isinstance(row, StepReport):
                yield row
            else:
                self._tell(row)

    def close(self) -> None:
        self.closed = True


def entry(*rows: StepReport | EpochReport | Event) -> Contestant:
    """A contestant whose session tells these reports."""
    made: Any = lambda tell: Told(list(rows), tell)  # noqa: E731  # it stands for a class
    return Contestant(made, "data", "held out")


def epoch(accuracy: float) -> EpochReport:
    """An epoch with this held-out accuracy."""
    return EpochReport(1, 1, 1.0, 0.5, None, None, accuracy, 0, 0)


def test_the_first_step_of_a_block_does_not_count() -> None:
    """It follows a pause."""
    found = entry(*[step(s) for s in (9.0, 1.0, 1.0, 9.0, 2.0, 2.0)])

    found.block(2, 60.0)
    found.block(2, 60.0)

    assert found.tally.blocks == [1.0, 2.0]


def test_a_full_pipeline_is_waited_for() -> None:
    """Steps that were under way while nobody asked are here at once."""
    found = entry(*[step(s, window=2) for s in (9.0, 0.0, 0.0, 0.0, 1.0, 1.0)])

    found.block(2, 60.0)

    assert found.tally.blocks == [1.0]


def test_after_a_move_only_the_new_plan_counts() -> None:
    """Blocks of the plan before are thrown away."""
    old, new = [step(5.0)] * 4, [step(9.0, version=2)] + [step(1.0, version=2)] * 3
    found = entry(*old, *new)

    found.block(2, 60.0)
    found.block(2, 60.0)

    assert found.tally.blocks == [1.0]


def test_the_first_step_of_an_epoch_does_not_count() -> None:
    """The pipeline was drained before it."""
    found = entry(step(9.0), step(1.0), step(9.0, epoch=2), step(1.0, epoch=2))

    found.block(2, 60.0)

    assert found.tally.blocks == [1.0]


def test_a_block_ends_when_its_time_is_up() -> None:
    """Two steps are taken however long they are."""
    found = entry(*[step(5.0)] * 9)

    found.block(8, 1.0)

    assert found.tally.steps == 2


def test_the_median_of_the_blocks_is_a_step_and_their_distance_is_known() -> None:
    """One noisy block moves nothing."""
    found = entry(*[step(s) for s in (9.0, 1.0, 1.0, 9.0, 2.0, 2.0, 9.0, 8.0, 8.0)])

    for _ in range(3):
        found.block(2, 60.0)

    assert (found.tally.seconds, found.tally.spread) == (2.0, 3.5)


def test_bytes_are_those_of_the_steps_that_count() -> None:
    """Two of three."""
    found = entry(*[step(1.0)] * 3)

    found.block(2, 60.0)

    assert (found.tally.up, found.tally.down) == (20, 40)


def test_warming_up_counts_nothing() -> None:
    """It takes the steps asked for."""
    found = entry(*[step(1.0)] * 9)

    found.warm(4, restless=False)

    assert (found.steps, found.tally.blocks) == (4, [])


def test_a_planner_is_given_time_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds without a move."""
    clock = iter(range(1000))
    monkeypatch.setattr(contestant, "perf_counter", lambda: float(next(clock)))
    found = entry(*[step(1.0)] * 5, Event("moved", 5, "there"), *[step(1.0, version=2)] * 20)

    found.warm(2, restless=True)

    assert found.steps == 5
    found.warm(2, restless=True)
    assert (found.steps, found.moves) == (10, ["there"])


def test_learning_ends_at_the_target() -> None:
    """With the seconds that training took."""
    found = entry(
        step(1.0),
        step(1.0),
        epoch(0.5),
        step(1.0, epoch=2),
        epoch(0.98),
        step(1.0, epoch=3),
        step(1.0, epoch=3),
    )

    found.learn(0.97)

    assert (found.reached, found.steps) == (4.0, 4)


def test_a_target_out_of_reach_is_not_reached() -> None:
    """Training went to its end."""
    found = entry(step(1.0), step(1.0), epoch(0.5))

    found.learn(0.97)

    assert found.reached is None


def test_it_stops_in_good_order() -> None:
    """The session is closed too."""
    found = entry(step(1.0), step(1.0))
    found.block(1, 1.0)

    found.close()

    session: Any = found.session
    assert session.closed
