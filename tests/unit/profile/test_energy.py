"""Meters of both kinds, and the stated model."""

import threading

import pytest

from partita.errors import BadDocument, UserError
from partita.graph import Energy
from partita.profile import CounterMeter, PowerMeter, PowerModel


def readings(*values):
    """A sensor that gives these values one after the other."""
    return iter(values).__next__


def test_a_counter_gives_the_difference():
    """Two zones of one machine are added."""
    meter = CounterMeter("zones", (readings(10.0, 14.0), readings(1.0, 2.0)), (0.0, 0.0))

    meter.start()

    assert meter.stop() == Energy(5.0, "zones", measured=True)


def test_a_counter_that_began_again_is_corrected():
    """A counter that turns at 100 went from 98 over 100 to 3."""
    meter = CounterMeter("zone", (readings(98.0, 3.0),), (100.0,))

    meter.start()

    assert meter.stop() == Energy(5.0, "zone", measured=True)


@pytest.mark.parametrize("values", [(None, 1.0), (1.0, None), (5.0, 4.0)])
def test_a_counter_that_does_not_answer_gives_nothing(values):
    """No answer, or a fall without a known turn, is None and not 0."""
    meter = CounterMeter("zone", (readings(*values),), (0.0,))

    meter.start()

    assert meter.stop() is None


def test_power_is_summed_as_trapezoids():
    """2 W rising to 4 W over 10 s are 30 J."""
    meter = PowerMeter("rail", readings(2.0, 4.0), clock=readings(0.0, 10.0), every=3600)

    meter.start()

    assert meter.stop() == Energy(30.0, "rail", measured=True)


def test_power_is_sampled_while_the_work_goes_on():
    """Between start and stop a thread keeps asking, and ends with the measurement."""
    asked = threading.Semaphore(0)

    def watts():
        asked.release()
        return 1.0

    meter = PowerMeter("rail", watts, every=0.001)
    meter.start()
    for _ in range(5):
        assert asked.acquire(timeout=5)
    spent = meter.stop()

    assert spent is not None
    assert not [t for t in threading.enumerate() if t.name == "meter rail"]


def test_a_sensor_that_falls_silent_gives_nothing():
    """One value is no measurement."""
    meter = PowerMeter("rail", readings(2.0, None), clock=readings(0.0, 10.0), every=3600)

    meter.start()

    assert meter.stop() is None


def test_the_model_multiplies_processor_seconds_and_says_so():
    """3 processor seconds at 6 W are 18 J, and they are not measured."""
    meter = PowerModel(6, clock=readings(1.0, 4.0))

    meter.start()

    assert meter.stop() == Energy(18.0, "model: processor seconds x 6 W", measured=False)


@pytest.mark.parametrize("watts", [0, -1, float("inf"), float("nan")])
def test_impossible_watts_are_refused(watts):
    """Power is a positive number."""
    with pytest.raises(BadDocument, match="watts"):
        PowerModel(watts)


@pytest.mark.parametrize(
    "meter",
    [PowerModel(6), CounterMeter("c", (), ()), PowerMeter("p", lambda: 1.0)],
    ids=["model", "counter", "power"],
)
def test_a_meter_that_was_not_started_cannot_be_stopped(meter):
    """A caller's mistake is named as one."""
    with pytest.raises(UserError, match="before it was started"):
        meter.stop()
