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

    assert clock[1:] == [2.0]


def test_the_noise_of_this_machine_is_not_multiplied(clock: list[float]) -> None:
    """Work that once took 1 s and now 2 s is stretched to 3 s, not to 6; other work has its own measure."""
    pace = Pace(3.0)
    clock[0] = 1.0
    pace.keep("forward", 0.0)
    clock[0] = 2.0
    pace.keep("forward", 0.0)
    pace.keep("decode", 0.0)

    assert clock[1:] == [2.0, 1.0, 4.0]


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_device_as_fast_as_this_one_waits_for_nothing(clock: list[float], factor: float) -> None:
    """Nothing can be made faster than it is."""
    pace: Any = Pace(factor)
    clock[0] = 5.0
    pace.keep("forward", 0.0)

    assert clock[1:] == []
