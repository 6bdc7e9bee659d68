"""How a training is shown: on a terminal, in a log, quietly."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from partita.cli.train_board import Board
from partita.cli.train_view import Manner, TrainView, manner_of, picture
from partita.train import EpochReport, Event, StepReport

STEP = StepReport(
    0, 1, 0.5, 24, 32, 0.04, 0.12, "edge[0:9]", 1, 2, 2, "raw", "raw", 0, 0, 0.02, 0.01, 0.01, None, None, None, 0.1
)  # fmt: skip
EPOCH = EpochReport(1, 10, 4.0, 0.25, 0.9, None, None, 0, 0)


class Terminal(io.StringIO):
    """A stream on which somebody watches."""

    def isatty(self) -> bool:
        return True


class Bench:
    """A view on a stream, with a clock that moves by hand."""

    def __init__(self, manner: Manner) -> None:
        self.now = 0.0
        self.stream: io.StringIO = Terminal() if manner == "live" else io.StringIO()
        clock = lambda: self.now  # noqa: E731
        self.board = Board(2, 10, clock=clock)
        self.view = TrainView(self.board, manner, stream=self.stream, clock=clock)

    def steps(self, count: int, seconds: float) -> None:
        for number in range(count):
            self.now += seconds
            self.view.step(replace(STEP, step=number))

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_log_gets_a_line_every_few_seconds() -> None:
    bench = Bench("lines")
    with bench.view:
        bench.steps(1000, 0.0111)

    assert len(bench.lines) == 2
    assert all(line.startswith("epoch 1/2 step ") for line in bench.lines)


def test_a_log_gets_epochs_and_events_at_once() -> None:
    bench = Bench("lines")
    with bench.view:
        bench.view.event(Event("moved", 3, "two stages move to the cloud"))
        bench.view.epoch(EPOCH)

    assert bench.lines == [
        "two stages move to the cloud",
        "epoch 1: loss 0.2500, right 90.00%, 10 steps in 4 s",
    ]


def test_checkpoints_are_no_news() -> None:
    bench = Bench("lines")
    with bench.view:
        bench.view.event(Event("checkpoint", 3, "step 3 is safe"))

    assert bench.lines == []


def test_quiet_is_without_steps() -> None:
    bench = Bench("quiet")
    with bench.view:
        bench.steps(100, 1.0)
        bench.view.event(Event("warned", 3, "mind the momentum"))

    assert bench.lines == ["mind the momentum"]


def test_a_terminal_is_drawn_at_most_eight_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("partita.cli.train_view.picture", lambda board: drawn.append(board) or picture(board))
    bench = Bench("live")
    with bench.view:
        bench.steps(1000, 0.001)

    assert 7 <= len(drawn) <= 11


def test_a_terminal_shows_the_board_and_keeps_epochs_above_it() -> None:
    bench = Bench("live")
    with bench.view:
        bench.steps(3, 1.0)
        bench.view.event(Event("moved", 3, "two stages move to the cloud"))
        bench.view.epoch(EPOCH)
    shown = bench.stream.getvalue()

    assert "K 2, staleness 2" in shown
    assert "two stages move to the cloud" in shown
    assert "epoch 1: loss 0.2500" in shown


def test_a_long_event_stands_above_the_board_in_full() -> None:
    bench = Bench("live")
    with bench.view:
        bench.view.event(Event("planned", 0, "edge[0:2] wins\nbecause the link is slow\n"))

    assert "because the link is slow" in bench.stream.getvalue()
    assert "because" not in picture(bench.board).plain


def test_a_terminal_is_given_back_when_a_training_fails() -> None:
    bench = Bench("live")
    with pytest.raises(ZeroDivisionError), bench.view:
        raise ZeroDivisionError

    assert bench.stream.getvalue().endswith("\x1b[?25h")


def test_markup_in_names_is_shown_and_not_interpreted() -> None:
    board = Board(1)
    board.event(Event("moved", 0, "[red]x[/red]"))

    assert "[red]x[/red]" in picture(board).plain


@pytest.mark.parametrize(
    ("stream", "as_json", "quiet", "manner"),
    [
        (Terminal(), False, False, "live"),
        (io.StringIO(), False, False, "lines"),
        (Terminal(), True, False, "lines"),
        (Terminal(), False, True, "quiet"),
    ],
)
def test_live_is_for_those_who_watch(stream: io.StringIO, as_json: bool, quiet: bool, manner: str) -> None:
    assert manner_of(stream, as_json=as_json, quiet=quiet) == manner
