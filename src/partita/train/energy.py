"""The joules that this device spends on each step: metered, or modelled from watts that somebody stated, or unknown.

Rules: a meter of this machine goes before a model; every number says where it comes from, and what is not known is
None, never 0. A meter is read a few times a second, not at every step: between two readings a step is charged by its
time at the latest power, and the next reading puts the sum right. What is spent between steps, on an evaluation say,
is no step's. Shares of a step are shares of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from time import perf_counter
from typing import Final, final

from ..errors import BadDocument
from ..profile import Meter, find_meters

# Reading a counter costs some 20 us and a meter with a thread 200 us: at this pace that is nothing.
_EVERY: Final = 0.2
WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class Watts:
    """A stated power model: what the device draws while it computes, and while it waits."""

    busy: float
    idle: float

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not a number of watts"
            for name, value in (("busy", self.busy), ("idle", self.idle))
            if not (isfinite(value) and value >= 0)
        ]
        if not problems and self.idle > self.busy:
            problems = [f"idle: {self.idle:g} W is more than the {self.busy:g} W of a busy device"]
        if problems:
            raise BadDocument("watts", problems, fix="give busy and idle watts, like --watts 5,2")

    @property
    def source(self) -> str:
        """What stands behind its numbers."""
        return f"model: {self.busy:g} W busy, {self.idle:g} W waiting"


@dataclass(frozen=True, slots=True)
class StepEnergy:
    """One step's joules; `phases` divides them."""

    joules: float
    source: str
    measured: bool
    phases: Mapping[str, float] = field(default_factory=dict)


def parse_watts(text: str) -> Watts:
    """`5,2`: busy and idle."""
    try:
        busy, idle = (float(word) for word in text.split(","))
    except ValueError:
        raise BadDocument(
            "watts", [f"{text!r} is not two numbers"], fix="give busy and idle watts, like --watts 5,2"
        ) from None
    return Watts(busy, idle)


def energy_of(watts: Watts | None = None) -> EnergyMeter:
    """The sampler for this machine: its best meter, else the stated model, else one that knows nothing."""
    meters = find_meters()
    return EnergyMeter(meters[0] if meters else None, watts)


@final
class EnergyMeter:
    """Asked at the end of every step. `begin` starts the meter, `end` stops it."""

    def __init__(
        self,
        meter: Meter | None = None,
        watts: Watts | None = None,
        *,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._meter, self._watts, self._clock = meter, watts, clock
        self._running = False
        self._read_at = 0.0
        self._power: float | None = None
        # Since the last reading: seconds of steps, and joules charged to them; before it: joules charged too much.
        self._stepped = self._charged = self._owed = 0.0

    @property
    def source(self) -> str:
        """Where its numbers come from; empty where there will be none."""
        if self._meter is not None:
            return self._meter.source
        return self._watts.source if self._watts is not None else ""

    def begin(self) -> None:
        """From here on joules count."""
        if self._meter is not None and not self._running:
            self._meter.start()
            self._running, self._read_at = True, self._clock()

    def end(self) -> None:
        """No more steps."""
        if self._meter is not None and self._running:
            self._meter.stop()
            self._running = False

    def step(
        self, seconds: float, waiting: float, work: Mapping[str, float] | None = None
    ) -> StepEnergy | None:
        """The joules of a step of so many seconds, `waiting` among them; `work` names what the others went to."""
        waiting = min(max(waiting, 0.0), seconds)
        if self._meter is not None:
            joules = self._metered(self._meter, seconds)
            if joules is None:
                return None
            return StepEnergy(joules, self._meter.source, True, _shared(joules, seconds, waiting, work or {}))
        if self._watts is None:
            return None
        busy, idle = self._watts.busy * (seconds - waiting), self._watts.idle * waiting
        phases = {**_shared(busy, seconds - waiting, 0.0, work or {}), WAITING: idle}
        return StepEnergy(busy + idle, self._watts.source, False, phases)

    def _metered(self, meter: Meter, seconds: float) -> float | None:
        self.begin()
        now = self._clock()
        passed = now - self._read_at
        self._stepped += seconds
        if self._power is not None and passed < _EVERY:
            joules = self._power * seconds
            taken_back = min(self._owed, joules)
            self._charged += joules
            self._owed -= taken_back
            return joules - taken_back
        found = meter.stop()
        meter.start()
        self._read_at = now
        stepped, charged, self._stepped, self._charged = self._stepped, self._charged, 0.0, 0.0
        if found is None or passed <= 0:
            # A sensor that does not answer tells nothing of this while; what was charged stays charged.
            self._power = None
            return None
        self._power = found.joules / passed
        rest = found.joules * min(stepped / passed, 1.0) - charged - self._owed
        self._owed = max(-rest, 0.0)
        return max(rest, 0.0)


def _shared(joules: float, seconds: float, waiting: float, work: Mapping[str, float]) -> dict[str, float]:
    """Joules by phase, each by its share of the time; what no phase claims is left out."""
    spent = {**work, WAITING: waiting} if waiting else dict(work)
    whole = max(seconds, sum(spent.values()))
    return {name: joules * part / whole for name, part in spent.items()} if whole > 0 else {}
