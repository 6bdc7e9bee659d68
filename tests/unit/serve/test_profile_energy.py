"""Joules from the input to every exit."""

from __future__ import annotations

import pytest

from partita.graph import Energy
from partita.serve.model import ExitModel
from partita.serve.profile_energy import Joules, measure_joules


class Steps:
    """A clock that moves a tenth of a second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


class Counting:
    """A meter that gives a joule for every run of its model since the start."""

    source = "counter"

    def __init__(self, model: ExitModel, monkeypatch: pytest.MonkeyPatch, *, measured: bool = True) -> None:
        self.runs, self.depths, self.measured = 0, [], measured
        run = ExitModel.run_span

        def counted(this: ExitModel, first: int, last: int, features: object) -> object:
            self.runs += last + 1
            self.depths.append((first, last))
            return run(this, first, last, features)  # type: ignore[arg-type]

        monkeypatch.setattr(ExitModel, "run_span", counted)

    def start(self) -> None:
        self.runs = 0

    def stop(self) -> Energy | None:
        return Energy(float(self.runs), self.source, measured=self.measured)


def test_every_exit_is_metered_from_the_input(exit_model: ExitModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A joule for each stage of each sample is what comes out."""
    meter = Counting(exit_model, monkeypatch)
    found = measure_joules(exit_model, meter, Steps())

    assert found == Joules((1.0, 2.0, 3.0), "measured by counter")
    assert {first for first, _ in meter.depths} == {0}


def test_a_modelled_number_is_called_modelled(exit_model: ExitModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the meter is called."""
    found = measure_joules(exit_model, Counting(exit_model, monkeypatch, measured=False), Steps())

    assert found.source == "modelled: counter"


def test_a_sensor_that_does_not_answer_gives_nothing(
    exit_model: ExitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No zeros, and no source."""
    meter = Counting(exit_model, monkeypatch)
    monkeypatch.setattr(Counting, "stop", lambda self: None)

    assert measure_joules(exit_model, meter, Steps()) == Joules()
