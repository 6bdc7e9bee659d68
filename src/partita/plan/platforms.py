"""A kind of place that runs functions: its limits, how its memory is sold, what it charges, where it keeps values.

Rules: pure data; what a place does not have is None or zero; every figure names its source and the day it was read,
and says so where it is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from types import MappingProxyType

from ..errors import BadDocument
from .limits import Limits

# What every provider here calls a GB of a function's memory: 1024 MB of 1024 KB.
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Note:
    """Where a figure comes from. `assumed` marks what nobody published."""

    source: str
    date: str
    assumed: bool = False


@dataclass(frozen=True)
class Prices:
    """US dollars. `transition` is what the workflow charges for one step; `put` and `get` are of the store.

    `gb_second` is charged for the memory that was ordered, `cpu_second` for the processors that come with it. A call
    is billed for `billed_least` seconds at least, and then in steps of `billed_step` (0: to the instant).
    """

    gb_second: float = 0.0
    cpu_second: float = 0.0
    request: float = 0.0
    transition: float = 0.0
    put: float = 0.0
    get: float = 0.0
    billed_least: float = 0.0
    billed_step: float = 0.0

    def billed(self, seconds: float) -> float:
        """The seconds that are charged for a call of so many seconds."""
        longer = max(seconds, self.billed_least)
        if not self.billed_step:
            return longer
        # A little slack: 0.3 s is three steps of 0.1 s, although 0.3 / 0.1 comes out a little above 3 in floats.
        return ceil(longer / self.billed_step - 1e-9) * self.billed_step


@dataclass(frozen=True)
class Platform:
    """What planning must know of a place. Sizes in bytes, times in seconds, rates in bits per second.

    `event` bounds what one step of the workflow hands to the next; `payload_growth` is what a byte of a tensor becomes
    in a request (4/3 where it must be text). A function is ordered with one of `memory_choices`, or where there are
    none with `memory_least` to `limits.memory` in steps of `memory_step`. Its processors are those of the first of
    `cpu_steps` (memory, processors) that has its memory; where there are none one per `memory_per_cpu`, at most
    `cpus_most`; and where that is 0 too, `cpus`. `invoke` is what a warm call costs beside its work, `start` what a
    cold one adds before any weight is read, `package_rate` how fast a package or the store's weights arrive. `store`
    and `store_rate` are the delay and rate of the object store beside it; without one, `store_rate` is 0.
    """

    name: str
    title: str
    limits: Limits
    event: int | None = None
    payload_growth: float = 1.0
    memory_least: int = 0
    memory_step: int = 1
    memory_choices: tuple[int, ...] = ()
    memory_per_cpu: int = 0
    cpu_steps: tuple[tuple[int, float], ...] = ()
    cpus: float = 1.0
    cpus_most: float = inf
    invoke: float = 0.0
    start: float = 0.0
    package_rate: float = 0.0
    store: float = 0.0
    store_rate: float = 0.0
    prices: Prices = Prices()
    notes: Mapping[str, Note] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", MappingProxyType(dict(self.notes)))
        object.__setattr__(self, "memory_choices", tuple(sorted(self.memory_choices)))
        object.__setattr__(self, "cpu_steps", tuple(sorted(self.cpu_steps)))
        if problems := list(self._problems()):
            raise BadDocument(f"platform {self.name!r}", problems, fix="correct the figures named")

    def _problems(self) -> Iterator[str]:
        most = self.limits.memory
        if self.memory_step < 1:
            yield f"memory_step: {self.memory_step} is below 1"
        if most is not None and self.memory_least > most:
            yield f"memory_least: {self.memory_least} is above memory, {most}"
        if most is not None and self.memory_choices and self.memory_choices[0] > most:
            yield f"memory_choices: all are above memory, {most}"
        if self.payload_growth < 1:
            yield f"payload_growth: {self.payload_growth} is below 1"
        if self.store and not self.store_rate:
            yield "store_rate: is missing beside store"

    @property
    def has_store(self) -> bool:
        """Whether values can rest between two functions."""
        return self.store_rate > 0

    def function_memory(self, need: int) -> int | None:
        """The smallest memory that can be ordered and holds `need` bytes; None where none does."""
        most = self.limits.memory
        if self.memory_choices:
            return next((c for c in self.memory_choices if c >= need and (most is None or c <= most)), None)
        if most is not None and need > most:
            return None
        steps = -(-max(need - self.memory_least, 0) // self.memory_step)
        size = self.memory_least + steps * self.memory_step
        # The largest size can be ordered also where it is no whole number of steps from the smallest.
        return size if most is None else min(size, most)

    def processors(self, memory: int) -> float:
        """The processors of a function with so much memory; below 1 it has a share of one."""
        if self.cpu_steps:
            return next((cpus for size, cpus in self.cpu_steps if size >= memory), self.cpu_steps[-1][1])
        if self.memory_per_cpu:
            return min(memory / self.memory_per_cpu, self.cpus_most)
        return self.cpus

    def call_price(self, memory: int, seconds: float) -> float:
        """Dollars for one call of a function with so much memory that works for so many seconds."""
        prices = self.prices
        rate = prices.gb_second * memory / _GIB + prices.cpu_second * self.processors(memory)
        return prices.request + prices.billed(seconds) * rate
