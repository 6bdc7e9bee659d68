"""A comparison as one types it, with arms that only say how fast they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import partita.train
from partita.cli import train_compare
from partita.train import Cell, Contest, Row

NET = """
from torch import nn

def net(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes))
"""
WORDS = ("train", "compare", "--model", "my.py:net", "--data", "made:digits?train=64&val=8&test=8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Contest, list[Cell]]]:
    """What was asked of the comparison; JointDNN takes 0.2 s, auto 0.05 s, and paper fails."""
    heard: list[tuple[Contest, list[Cell]]] = []

    def compare(
        contest: Contest, _cloud: Any, cells: list[Cell], *, on_row: Callable[[Row], None]
    ) -> list[Row]:
        heard.append((contest, cells))
        rows = [
            row
            for cell in cells
            for row in (
                Row(cell, "JointDNN", "edge[0:2]", 0.21, 0.2, 4096, 0, alone=0.3, busiest=0.1),
                Row(cell, "paper", "edge[0:1]", None, None, problem="the line broke"),
                Row(
                    cell, "auto", "cloud[0:2]", 0.04, 0.05, spread=0.07, moves=2, to_target=1.5, accuracy=0.98
                ),
            )
        ]
        for row in rows:
            on_row(row)
        return rows

    @contextmanager
    def cloud(**_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(partita.train, "compare", compare)
    monkeypatch.setattr(partita.train, "local_cloud", cloud)
    (tmp_path / "my.py").write_text(NET)
    return heard


def test_every_rate_meets_every_round_trip(partita: Any, asked: Any) -> None:
    """The links are the product of rates and round trips."""
    assert partita(*WORDS, "--bandwidth", "2,50", "--rtt", "0,40ms").code == 0

    assert asked[0][1] == [Cell(2, 0), Cell(50, 0), Cell(2, 0.04), Cell(50, 0.04)]


def test_a_plain_round_trip_is_in_milliseconds(partita: Any, asked: Any) -> None:
    """Without a unit it is what people mean."""
    partita(*WORDS, "--bandwidth", "2", "--rtt", "40")

    assert asked[0][1] == [Cell(2, 0.04)]


def test_inputs_may_travel_unless_that_is_forbidden(partita: Any, asked: Any) -> None:
    """Cloud only is a baseline too."""
    partita(*WORDS)
    partita(*WORDS, "--inputs-private")

    assert [contest.settings.inputs_private for contest, _ in asked] == [False, True]


def test_the_table_compares_with_jointdnn(partita: Any, asked: Any) -> None:
    """Four times as fast."""
    assert "4.00x" in partita(*WORDS, "--bandwidth", "2").out


def test_an_arm_that_failed_says_why(partita: Any, asked: Any) -> None:
    """In the place of its plan."""
    assert "the line broke" in partita(*WORDS, "--bandwidth", "2").out


def test_the_target_is_shown_where_one_was_asked_for(partita: Any, asked: Any) -> None:
    """Who did not reach it says so."""
    out = partita(*WORDS, "--bandwidth", "2", "--target", "0.97").out

    assert "1.5 s" in out
    assert "not reached" in out


def test_without_a_target_nothing_is_held_out(partita: Any, asked: Any) -> None:
    """Evaluations would only take time."""
    partita(*WORDS)
    partita(*WORDS, "--target", "0.9")

    assert [contest.held_out is None for contest, _ in asked] == [True, False]


def test_the_document_holds_every_row(partita: Any, asked: Any) -> None:
    """With what a full pipeline could gain."""
    rows = partita(*WORDS, "--bandwidth", "2", "--json").document["rows"]

    assert [row["arm"] for row in rows] == ["JointDNN", "paper", "auto"]
    assert rows[0]["overlap"] == pytest.approx(3.0)


def test_the_page_is_written(partita: Any, asked: Any, tmp_path: Path) -> None:
    """Tables and pictures in one file."""
    partita(*WORDS, "--bandwidth", "2,10", "-o", "page.html")

    page = (tmp_path / "page.html").read_text()
    assert "Seconds per step, round trip 0 ms" in page
    assert "<svg" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bandwidth", "fast"), "'fast'"),
        (("--bandwidth", "0"), "'0'"),
        (("--steps", "0", "--blocks", "0"), "--blocks: 0 is below 1"),
        (("--warmup", "-1"), "--warmup: -1 is below 0"),
    ],
)
def test_numbers_out_of_range_are_refused(partita: Any, words: tuple[str, ...], said: str) -> None:
    """Before anything is built."""
    outcome = partita(*WORDS, *words)

    assert outcome.code != 0
    assert said in outcome.err + outcome.out


def test_cores_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process goes to one core for the while, and the cloud gets another."""
    held = [{4, 7, 9}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: held[-1], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: held.append(cores), raising=False)

    with train_compare.pinned() as other:
        assert (held[-1], other) == ({4}, 7)

    assert held[-1] == {4, 7, 9}


def test_one_core_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody is pinned."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)

    with train_compare.pinned() as other:
        assert other is None
