"""The board of a training: what it says after which reports."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from partita.cli.train_board import Board, Curve, Smooth, duration, epoch_line
from partita.train import EpochReport, Event, StepReport

PLAN = "edge[0:9] -int8/int8-> cloud[9:22] | K=2 batch=32 mode=train"
STEP = StepReport(
    0, 1, 0.5, 24, 32, 0.04, 0.12, PLAN, 1, 2, 2, "int8", "int8", 1000, 2000, 0.02, 0.01, 0.01, 1.25e6, 2.5e6, 0.041, 0.1
)  # fmt: skip
EPOCH = EpochReport(1, 10, 4.0, 0.25, 0.9, 0.3, 0.8512, 10_000, 20_000)


def board(reports: int = 5, *, steps: int | None = 10, epochs: int = 2, **changed: object) -> Board:
    """A board that has seen so many steps."""
    found = Board(epochs, steps, clock=lambda: 0.0)
    for number in range(reports):
        found.step(replace(STEP, step=number, **changed))  # type: ignore[arg-type]
    return found


def rows(of: Board) -> dict[str, str]:
    return dict(of.rows())


def test_before_the_first_step_the_board_says_so() -> None:
    assert rows(board(0)) == {"training": "the first step is on its way"}
    assert board(0).line() == "the first step is on its way"


def test_a_very_fast_link_is_told_in_gigabits() -> None:
    assert rows(board(rate_up=2e9))["link"].startswith("up 16 Gbit/s, down 20 Mbit/s")


def test_everything_that_is_known_has_its_row() -> None:
    shown = rows(board(joules=0.5, joules_source="RAPL"))

    assert "1 of 2, step 5 of 10" in shown["epoch"]
    assert shown["epoch"].endswith("25%, 1 s left")
    assert shown["plan"] == "edge[0:9] -int8/int8-> cloud[9:22]"
    assert shown["window"] == "K 2, staleness 2; codecs int8 up, int8 down"
    assert shown["link"] == "up 10 Mbit/s, down 20 Mbit/s, round trip 41 ms"
    assert shown["loss"].startswith("0.5 ")
    assert shown["right"] == "75.0% in training"
    assert shown["speed"] == "800 samples/s, 40 ms per step, 120 ms for one, waiting 25%"
    assert shown["sent"] == "5 KB up, 10 KB down"
    assert shown["energy"] == "0.5 J per step, 2.5 J so far (RAPL)"


def test_what_is_not_known_is_left_out() -> None:
    shown = rows(
        board(right=-1, count=0, rate_up=None, rate_down=None, rtt=None, bytes_up=0, bytes_down=0, window=0)
    )

    assert not {"link", "right", "sent", "energy"} & shown.keys()
    assert shown["speed"] == "40 ms per step, waiting 25%"


def test_the_time_left_is_that_of_the_steps_left() -> None:
    assert board(5).left == pytest.approx(15 * 0.04)
    assert board(5, steps=None).left is None
    assert board(0).left is None
    assert "left" not in rows(board(5, steps=None))["epoch"]


def test_the_length_of_an_epoch_is_learned_from_the_first() -> None:
    seen = board(10, steps=None)
    seen.epoch(EPOCH)
    seen.step(replace(STEP, step=10, epoch=2))

    assert "2 of 2, step 1 of 10" in rows(seen)["epoch"]
    assert rows(seen)["right"] == "75.0% in training, 85.1% held out after epoch 1"


def test_a_training_that_runs_past_its_length_stays_at_the_end() -> None:
    assert "100%" in rows(board(30))["epoch"]


def test_a_loss_that_is_no_number_is_left_out_of_the_mean() -> None:
    seen = board(3)
    seen.step(replace(STEP, step=3, loss=nan))

    assert rows(seen)["loss"].startswith("0.5 ")
    assert rows(board(2, loss=nan))["loss"].startswith("not a number")


def test_the_last_events_are_told_in_their_words_with_their_time() -> None:
    now = [0.0]
    seen = Board(1, clock=lambda: now[0])
    for number in range(6):
        now[0] = 60.0 * number
        seen.event(Event("moved", number, f"move {number}"))

    assert list(rows(seen).items())[1:] == [(f"+{n} min 0 s", f"move {n}") for n in range(2, 6)]


def test_a_line_says_the_same_in_short() -> None:
    assert board(5).line() == (
        "epoch 1/2 step 5/10, loss 0.5, right 75.0%, 800 samples/s, 40 ms per step, 120 ms for one, waiting 25%, "
        "edge[0:9] -int8/int8-> cloud[9:22] K=2, up 10 Mbit/s, down 20 Mbit/s, round trip 41 ms, 1 s left"
    )


def test_an_epoch_is_one_line() -> None:
    assert epoch_line(replace(EPOCH, joules=12.5)) == (
        "epoch 1: loss 0.2500, right 90.00%, held out 85.12%, 10 steps in 4 s, 10 KB up, 20 KB down, 12.5 J"
    )
    bare = replace(EPOCH, accuracy=None, held_out_accuracy=None, bytes_up=0, bytes_down=0)
    assert epoch_line(bare) == "epoch 1: loss 0.2500, held-out loss 0.3000, 10 steps in 4 s"
    assert epoch_line(replace(bare, held_out_loss=None)) == "epoch 1: loss 0.2500, 10 steps in 4 s"


def test_the_mean_forgets_and_starts_without_a_bias() -> None:
    smooth = Smooth()
    assert smooth.value is None
    smooth.add(4.0)
    assert smooth.value == pytest.approx(4.0)
    for _ in range(100):
        smooth.add(1.0)
    assert smooth.value == pytest.approx(1.0, abs=1e-3)


def test_a_long_curve_keeps_its_shape_in_a_few_bars() -> None:
    curve = Curve()
    for number in range(5000):
        curve.add(5000.0 - number)
    sparks = curve.sparks()

    assert len(sparks) <= 32
    assert (sparks[0], sparks[-1]) == ("█", "▁")
    assert list(sparks) == sorted(sparks, reverse=True)


def test_a_flat_or_empty_curve_is_no_error() -> None:
    curve = Curve()
    assert curve.sparks() == ""
    curve.add(1.0)
    assert curve.sparks() == "▁"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.25, "250 ms"), (41.6, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (59.7, "1 min 0 s")],
)  # fmt: skip
def test_a_duration_is_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said
