"""Joules from the input to every exit, for one sample.

Rules: an exit is run again and again between two readings, long enough for slow sensors; a modelled number never says
measured; where the sensor does not answer there is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..profile import Meter
from .model import ExitModel, made_inputs

# Sensors renew their values every 20 to 100 ms: a window of this length is read with an error below a tenth.
_WINDOW = 0.5
_TURNS = 2


@dataclass(frozen=True, slots=True)
class Joules:
    """Of each exit, and where the numbers come from; empty where there is nothing."""

    exits: tuple[float | None, ...] = ()
    source: str = ""


def measure_joules(
    model: ExitModel, meter: Meter, clock: Callable[[], float], *, window: float = _WINDOW
) -> Joules:
    """Run every exit from the input, one sample at a time, and read the meter around it; the exits take turns."""
    batch = model.manifest.batch or 1
    given = model.start(made_inputs(model.manifest, batch))
    count = len(model.exits)
    spent, runs, broken, measured = [0.0] * count, [0] * count, [False] * count, True
    for k in range(count):
        model.run_span(0, k, given)
    for _ in range(_TURNS):
        for k in range(count):
            meter.start()
            until = clock() + window / _TURNS
            while True:
                model.run_span(0, k, given)
                runs[k] += batch
                if clock() >= until:
                    break
            energy = meter.stop()
            if energy is None:
                broken[k] = True
            else:
                spent[k] += energy.joules
                measured = measured and energy.measured
    exits = tuple(None if broken[k] else spent[k] / runs[k] for k in range(count))
    if all(broken):
        return Joules()
    return Joules(exits, f"measured by {meter.source}" if measured else f"modelled: {_plain(meter.source)}")


def _plain(source: str) -> str:
    return source.removeprefix("model: ")
