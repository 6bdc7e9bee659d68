"""Joules: what a meter is, the two ways to build one, and the stated model for machines without any.

Rules: a value says where it comes from and whether it was measured; a modelled one never says measured; where
nothing can be known the answer is None, never 0. Sensors are in `sensors`; clocks and readings are arguments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final, Protocol, TypeVar, final

from ..errors import BadDocument, UserError
from ..graph import Energy

Clock = Callable[[], float]
_T = TypeVar("_T")
# A value now, or None where the sensor does not answer.
Reading = Callable[[], float | None]

# INA3221 and NVML renew their values about every 20 ms to 100 ms; asking faster only costs power.
_SAMPLE_SECONDS: Final = 0.02


class Meter(Protocol):
    """Something that knows the energy between `start` and `stop`."""

    @property
    def source(self) -> str:
        """What stands behind its numbers, as in `Energy.source`."""
        ...

    def start(self) -> None: ...

    def stop(self) -> Energy | None:
        """The energy since `start`, or None where the sensor did not answer."""
        ...


@final
class CounterMeter:
    """A sensor that counts joules: the difference of two readings.

    `wraps` is the value at which each counter begins again at zero, or 0 for never. One turn between start and stop
    is seen and corrected; that is a minute or more on the largest processors.
    """

    def __init__(self, source: str, counters: tuple[Reading, ...], wraps: tuple[float, ...]) -> None:
        self.source = source
        self._counters, self._wraps = counters, wraps
        self._begun: list[float | None] | None = None

    def start(self) -> None:
        self._begun = [read() for read in self._counters]

    def stop(self) -> Energy | None:
        begun, self._begun = _started(self.source, self._begun), None
        joules = 0.0
        for first, read, wrap in zip(begun, self._counters, self._wraps, strict=True):
            last = read()
            if first is None or last is None or (last < first and not wrap):
                return None
            joules += last - first + (wrap if last < first else 0.0)
        return Energy(joules, self.source, measured=True)


@final
class PowerMeter:
    """A sensor that tells watts: sampled by a thread, summed as trapezoids."""

    def __init__(
        self, source: str, watts: Reading, *, clock: Clock = time.perf_counter, every: float = _SAMPLE_SECONDS
    ) -> None:
        self.source = source
        self._watts, self._clock, self._every = watts, clock, every
        self._samples: list[tuple[float, float]] | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._samples = []
        self._over.clear()
        self._sample()
        self._thread = threading.Thread(target=self._run, name=f"meter {self.source}", daemon=True)
        self._thread.start()

    def stop(self) -> Energy | None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._sample()
        samples, self._samples = _started(self.source, self._samples), None
        if len(samples) < 2:
            return None
        joules = sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(samples))
        return Energy(joules, self.source, measured=True)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._sample()

    def _sample(self) -> None:
        watts = self._watts()
        if watts is not None and self._samples is not None:
            self._samples.append((self._clock(), watts))


@final
class PowerModel:
    """No sensor: the processor seconds of this process (all threads) times the watts that one busy core takes."""

    def __init__(self, watts: float, *, clock: Clock = time.process_time) -> None:
        if not 0 < watts < float("inf"):
            raise BadDocument("watts", [f"{watts!r} is not a positive number"], fix="give --watts 6")
        self.source = f"model: processor seconds x {watts:g} W"
        self._watts, self._clock = watts, clock
        self._begun: float | None = None

    def start(self) -> None:
        self._begun = self._clock()

    def stop(self) -> Energy | None:
        begun, self._begun = _started(self.source, self._begun), None
        return Energy((self._clock() - begun) * self._watts, self.source, measured=False)


def _started(name: str, begun: _T | None) -> _T:
    if begun is None:
        raise UserError(f"the meter {name!r} was stopped before it was started", fix="call start() first")
    return begun
