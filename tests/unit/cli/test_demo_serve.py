"""The act of `serve` in the demo, with few samples."""

from __future__ import annotations

import pytest

from partita.cli import demo_serve
from partita.cli.demo_serve import _seconds, act
from partita.cli.render import Screen
from partita.serve import ExitCost, ExitProfile, Measuring, StageTime

STAGES = tuple(StageTime({1: s}, {1: s}) for s in (0.25, 0.5))
EXITS = (ExitCost("early"), ExitCost("late"))


def test_the_whole_takes_what_its_span_takes() -> None:
    span = StageTime({1: 0.6}, {1: 0.7})

    assert _seconds(ExitProfile("two", EXITS, STAGES, spans={"0-1": span})) == 0.6


def test_without_a_span_the_whole_takes_what_its_stages_take() -> None:
    assert _seconds(ExitProfile("two", EXITS, STAGES)) == 0.75


def test_the_act_shows_an_exact_chain_and_what_a_burst_leaves(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"SAMPLES": 60, "HELD_OUT": 60, "EPOCHS": 1, "SECONDS": 0.3}.items():
        monkeypatch.setattr(demo_serve, name, value)
    monkeypatch.setattr(demo_serve, "Measuring", lambda **_: Measuring(runs=3, seconds=0.5))
    served = act(Screen(as_json=False))
    said = capfd.readouterr().out

    assert served.equal
    assert 0 < served.in_time <= 1
    assert 0 <= served.accuracy <= 1
    assert "a network with four exits" in said
    assert [value for name, value, _ in served.claims if "chain" in name] == ["0, bit for bit"]
