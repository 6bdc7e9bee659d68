"""Where a training stands, through a checkpoint and back."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partita.train.edge import Done
from partita.train.guard import Watching, started, watch
from partita.train.part import Outcome
from partita.train.reports import EpochReport
from partita.train.standing import (
    Standing,
    Totals,
    guard_from,
    guard_numbers,
    with_lanes,
    without_lanes,
)


def done(loss: float = 0.5, right: int = 2, count: int = 4, batch: int = 4) -> Done:
    return Done(0, batch, Outcome(loss, right, count, {}), 0.1, 0.2, 0, 10, 20, 0.0, 0.0, {})


def test_an_epoch_is_the_mean_over_its_samples() -> None:
    """A smaller last batch weighs less."""
    totals = Totals().plus(done(1.0, 4, 4, 4), 0.5, 2.0).plus(done(3.0, 0, 2, 2), 0.25, 1.0)
    report = totals.report(2, (0.7, 0.5))

    assert report == EpochReport(2, 2, 0.75, 10 / 6, 4 / 6, 0.7, 0.5, 20, 40, 3.0)


def test_what_is_no_question_has_no_accuracy_and_no_meter_no_joules() -> None:
    report = Totals().plus(done(right=-1), 0.5, None).report(1, None)

    assert (report.accuracy, report.held_out_loss, report.joules) == (None, None, None)


def test_a_loss_that_is_no_number_does_not_spoil_the_sum() -> None:
    """JSON has no word for it either."""
    assert Totals().plus(done(nan), 0.5, None).plus(done(2.0), 0.5, None).loss == 8.0


def test_an_epoch_without_steps_is_told_all_the_same() -> None:
    assert Totals().report(1, None).loss == 0.0


def test_a_standing_comes_back_from_its_document() -> None:
    totals = Totals().plus(done(), 0.5, 1.0)
    epoch = totals.report(1, None)
    guard = guard_numbers(started(2))
    standing = Standing("m", 7, 2, 3, "edge[0:2]", 1, ("a", "b"), totals, guard, (epoch,))

    assert Standing.read(standing.document()) == standing


def test_the_next_epoch_begins_at_its_first_batch() -> None:
    standing = Standing(step=9, epoch=1, at=9, totals=Totals(steps=9))
    report = standing.totals.report(1, None)

    assert standing.next_epoch(report) == replace(standing, epoch=2, at=0, totals=Totals(), epochs=(report,))


@given(st.lists(st.floats(0.001, 100), max_size=80), st.integers(0, 4))
def test_the_guard_goes_on_as_if_nothing_had_happened(losses: list[float], window: int) -> None:
    """Infinities before the first loss among its numbers."""
    state: Watching = started(window)
    for step, loss in enumerate(losses):
        state, _ = watch(state, loss, step)

    assert guard_from(guard_numbers(state)) == state


class Remembers:
    def __init__(self, **values: float) -> None:
        self.values = {name: np.array(value) for name, value in values.items()}

    def export(self) -> dict[str, np.ndarray]:
        return {f"h/{name}": value for name, value in self.values.items()}


def test_memories_of_lanes_travel_beside_the_states() -> None:
    """And are told apart again."""
    lanes = {"features_up": Remembers(ids=1, rows=2), "slopes_down": Remembers()}
    states = {"weight/lane/x": np.array(3.0)}
    found = without_lanes(with_lanes(dict(states), lanes))

    assert found == (states, {"features_up": {"h/ids": np.array(1), "h/rows": np.array(2)}})
