"""Joules of steps, with meters and clocks that do what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from partita.errors import BadDocument
from partita.graph import Energy
from partita.train import energy as module
from partita.train.energy import EnergyMeter, Watts, energy_of, parse_watts


class Bench:
    """A clock, and a meter of constant power on it; counts how often it is read."""

    def __init__(self, watts: float = 10.0) -> None:
        self.now, self.watts, self.reads, self.silent = 0.0, watts, 0, False
        self.source, self._joules = "RAPL package-0", 0.0

    def clock(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds
        self._joules += seconds * self.watts

    def start(self) -> None:
        self._joules = 0.0

    def stop(self) -> Energy | None:
        self.reads += 1
        return None if self.silent else Energy(self._joules, self.source, measured=True)

    def sampler(self) -> EnergyMeter:
        sampler = EnergyMeter(self, clock=self.clock)
        sampler.begin()
        return sampler


def steps(bench: Bench, sampler: EnergyMeter, count: int, seconds: float) -> list[float]:
    """The joules of steps of equal length."""
    found = []
    for _ in range(count):
        bench.go(seconds)
        step = sampler.step(seconds, 0.0)
        assert step is not None
        found.append(step.joules)
    return found


def test_the_joules_of_steps_add_up_to_those_of_the_meter() -> None:
    bench = Bench()
    sampler = bench.sampler()
    found = steps(bench, sampler, 100, 0.01)
    bench.watts = 30.0
    found += steps(bench, sampler, 100, 0.01)
    found += steps(bench, sampler, 1, 0.3)

    assert sum(found) == pytest.approx(10 + 30 + 9)


def test_a_meter_is_not_read_at_every_step() -> None:
    bench = Bench()
    steps(bench, bench.sampler(), 1000, 0.001)

    assert bench.reads <= 7


def test_what_was_charged_too_much_is_taken_back_from_later_steps() -> None:
    bench = Bench(watts=50.0)
    sampler = bench.sampler()
    found = steps(bench, sampler, 1, 0.3)
    bench.watts = 5.0
    found += steps(bench, sampler, 200, 0.01)

    assert min(found) >= 0
    assert sum(found) == pytest.approx(50 * 0.3 + 5 * 2.0)


def test_what_is_spent_between_steps_is_no_steps() -> None:
    bench = Bench()
    sampler = bench.sampler()
    steps(bench, sampler, 1, 0.1)
    bench.go(10.0)

    assert steps(bench, sampler, 1, 0.1) == [pytest.approx(1.0)]


def test_a_meter_that_does_not_answer_gives_nothing_and_may_come_back() -> None:
    bench = Bench()
    sampler = bench.sampler()
    bench.silent = True
    bench.go(1.0)
    assert sampler.step(1.0, 0.0) is None
    bench.silent = False
    bench.go(1.0)
    step = sampler.step(1.0, 0.0)

    assert step is not None
    assert step.joules == pytest.approx(10.0)


def test_a_meter_is_measured_and_goes_before_a_model() -> None:
    bench = Bench()
    sampler = EnergyMeter(bench, Watts(5, 2), clock=bench.clock)
    sampler.begin()
    bench.go(1.0)
    step = sampler.step(1.0, 0.25, {"front": 0.5, "tail": 0.25})
    sampler.end()

    assert step is not None
    assert (step.measured, step.source, sampler.source) == (True, "RAPL package-0", "RAPL package-0")
    assert step.phases == {"front": 5.0, "tail": 2.5, "waiting": 2.5}


def test_stated_watts_are_a_model_and_say_so() -> None:
    sampler = EnergyMeter(None, Watts(5, 2))
    sampler.begin()
    step = sampler.step(2.0, 1.5, {"front": 0.5})
    sampler.end()

    assert step is not None
    assert step.joules == pytest.approx(5 * 0.5 + 2 * 1.5)
    assert not step.measured
    assert step.source == sampler.source == "model: 5 W busy, 2 W waiting"
    assert step.phases == {"front": 2.5, "waiting": 3.0}


def test_a_step_without_a_length_costs_nothing_by_the_model() -> None:
    step = EnergyMeter(None, Watts(5, 2)).step(0.0, 0.0)

    assert step is not None
    assert (step.joules, dict(step.phases)) == (0.0, {"waiting": 0.0})


def test_nothing_known_is_none_and_not_zero() -> None:
    sampler = EnergyMeter()

    assert sampler.step(1.0, 0.5) is None
    assert sampler.source == ""


def test_a_machine_gives_its_best_meter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = Bench()
    monkeypatch.setattr(module, "find_meters", lambda: (bench,))
    assert energy_of().source == bench.source
    monkeypatch.setattr(module, "find_meters", lambda: ())
    assert energy_of(Watts(6, 1)).source == "model: 6 W busy, 1 W waiting"


def test_watts_are_read_as_busy_and_idle() -> None:
    assert parse_watts("5, 2.5") == Watts(5.0, 2.5)


@pytest.mark.parametrize("text", ["5", "5,2,1", "a,b", "", "nan,1", "-1,0", "2,5"])
def test_watts_that_make_no_sense_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadDocument, match="watts") as refusal:
        parse_watts(text)

    assert "--watts 5,2" in refusal.value.fix
