from typing import Any

import pytest

from partita.run import pace as module
from partita.run.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at its first entry; the others are the sleeps."""
    rows = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: rows[0])
    monkeypatch.setattr(module, "sleep", rows.append)
    return rows


def test_work_is_stretched_to_its_time_on_the_slower_device(clock: list[float]) -> None:
    """Three times as slow: a second of work is followed by two of waiting."""
    pace = Pace(3.0)
    clock[0] = 11.0
    pace.keep("forward", 10.0)

    assert clock[1:] == pytest.approx([2.0], abs=1e-3)


def test_the_noise_of_this_machine_is_not_multiplied(clock: list[float]) -> None:
    """Work that once took 1 s and now 2 s is stretched to 3 s, not to 6; other work has its own measure."""
    pace = Pace(3.0)
    clock[0] = 1.0
    pace.keep("forward", 0.0)
    clock[0] = 2.0
    pace.keep("forward", 0.0)
    pace.keep("decode", 0.0)

    assert clock[1:] == pytest.approx([2.0, 1.0, 4.0], abs=1e-3)


def test_waking_up_is_not_stretched(clock: list[float]) -> None:
    """Of 1 ms of work 0.2 were waking; of 0.1 ms half."""
    pace = Pace(3.0)
    clock[0] = 1e-3
    pace.keep("forward", 0.0)
    clock[0] = 1e-4
    pace.keep("decode", 0.0)

    assert clock[1:] == pytest.approx([0.8e-3 * 2, 0.05e-3 * 2])


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_device_as_fast_as_this_one_waits_for_nothing(clock: list[float], factor: float) -> None:
    """Nothing can be made faster than it is."""
    pace: Any = Pace(factor)
    clock[0] = 5.0
    pace.keep("forward", 0.0)

    assert clock[1:] == []
