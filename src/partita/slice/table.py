"""What every span would be as a slice, once it is decided how tensors travel: limits, memory to order, time, dollars.

Rules: a span fits if every limit of the platform holds, and each limit is kept with its values so that an answer can
name it; a function is ordered with the least memory that holds it and its time, with more only where that makes it
faster and time is what is asked for; a processor more than was measured with is not believed to help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .costs import Costs
from .grid import Mask, Numbers
from .transport import Choice, Moved, moved

# Prices are per gigabyte of 2**30 bytes.
_GIB = float(1 << 30)
# What is ordered beyond what is expected: the estimate came within one percent below what was measured.
SPARE = 1.05
# A function sized to just meet a time limit may miss it by a rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limit:
    """One limit of a platform: what every span takes of it, times `scale` and beside `runtime`, and how much there is."""

    name: str
    value: Numbers
    bound: float
    scale: float = 1.0
    runtime: float = 0.0

    @property
    def kept(self) -> Mask:
        """The spans that keep it."""
        return np.asarray(self.value <= (self.bound - self.runtime) / self.scale)

    def taken(self, a: int, b: int) -> float:
        """What one span takes."""
        return float(self.value[a, b] * self.scale + self.runtime)

    @property
    def ratio(self) -> Numbers:
        """How much of it every span takes; above 1 it is broken."""
        return np.asarray((self.value * self.scale + self.runtime) / self.bound)


@dataclass(frozen=True)
class Table:
    """All spans under one choice of transport. `busy` is what is waited for beside `compute`.

    Without a measurement `compute` and `dollars` are None and `busy` is nothing.
    """

    costs: Costs
    choice: Choice
    moved: Moved
    memory: Numbers
    function: Numbers
    compute: Numbers | None
    busy: Numbers
    cold: Numbers
    dollars: Numbers | None
    limits: tuple[Limit, ...]
    fits: Mask

    @property
    def seconds(self) -> Numbers:
        """One warm call with its transfers; nothing where nothing was measured."""
        return self.busy if self.compute is None else self.compute + self.busy

    @property
    def valid(self) -> Mask:
        """The spans that are not empty."""
        return np.triu(np.ones(self.fits.shape, bool), 1)


def table(costs: Costs, choice: Choice) -> Table:
    """Every span of the chain as a slice."""
    question = costs.question
    platform, limits = question.platform, question.platform.limits
    timed = costs.compute is not None
    flow = moved(costs.tensors, costs.positions, choice)
    grown = platform.payload_growth
    memory = costs.held + grown * (flow.event_in + flow.event_out)
    waiting = busy = np.broadcast_to(0.0, memory.shape)
    if timed:
        waiting = _storing(costs, flow)
        busy = platform.invoke + _sending(costs, flow) + waiting
    function, compute = _functions(costs, memory, busy, waiting)
    cold = np.full_like(costs.weights, platform.start)
    if platform.package_rate:
        cold += (limits.runtime_package + costs.weights) * 8 / platform.package_rate
    found = [Limit("memory", memory, question.memory)]
    found += [
        Limit(name, costs.weights, size, runtime=limits.runtime(name))
        for name, size in (("package", limits.package), ("storage", limits.storage), ("tmp", limits.tmp))
        if size is not None
    ]
    found += [
        Limit(name, sent, size, grown)
        for name, sent, size in (
            ("payload_in", flow.event_in, limits.payload_in),
            ("payload_out", flow.event_out, limits.payload_out),
            ("event", np.maximum(flow.event_in, flow.event_out), platform.event),
        )
        if size is not None
    ]
    if compute is not None and limits.seconds is not None:
        found.append(Limit("seconds", compute + busy, limits.seconds * (1 + _ROUNDING)))
    fits = np.triu(np.ones(memory.shape, bool), 1)
    for limit in found:
        fits &= limit.kept
    dollars = None if compute is None else _dollars(costs, flow, function, compute + waiting, cold)
    return Table(costs, choice, flow, memory, function, compute, busy, cold, dollars, tuple(found), fits)


def _sending(costs: Costs, flow: Moved) -> Numbers:
    """Seconds to take an event in and to give one out, over the network that reaches the store."""
    platform = costs.question.platform
    rate = platform.store_rate or platform.package_rate
    if not rate:
        return np.broadcast_to(0.0, flow.event_in.shape)
    return np.asarray((flow.event_in + flow.event_out) * (8 * platform.payload_growth / rate))


def _storing(costs: Costs, flow: Moved) -> Numbers:
    """Seconds spent on the store: one call after the other."""
    platform = costs.question.platform
    if not platform.has_store:
        return np.broadcast_to(0.0, flow.gets.shape)
    return np.asarray(
        (flow.stored_in + flow.stored_out) * (8 / platform.store_rate)
        + platform.store * (flow.gets + flow.puts)
    )


def _rounded(costs: Costs, memory: Numbers) -> Numbers:
    """The next size that a function can be ordered with, up to the largest."""
    platform = costs.question.platform
    if platform.memory_choices:
        choices = np.array([c for c in platform.memory_choices if c <= costs.question.memory], float)
        return choices[np.minimum(np.searchsorted(choices, memory), len(choices) - 1)]
    steps = np.ceil(memory / platform.memory_step)
    steps *= platform.memory_step
    # A span without stages takes nothing, and nothing is divided by.
    np.maximum(steps, max(platform.memory_least, 1), out=steps)
    return np.minimum(steps, costs.question.memory, out=steps)


def _functions(
    costs: Costs, memory: Numbers, busy: Numbers, waiting: Numbers
) -> tuple[Numbers, Numbers | None]:
    """What every span is ordered with, and its seconds of work in such a function."""
    question, platform = costs.question, costs.question.platform
    if question.function_memory is not None:
        function = np.full_like(memory, float(question.function_memory))
    else:
        function = _rounded(costs, memory * (1.0 if platform.limits.memory is None else SPARE))
    if costs.compute is None or not platform.memory_per_cpu:
        return function, costs.compute
    full = float(costs.threads * platform.memory_per_cpu)
    if question.function_memory is None:
        if platform.limits.seconds is not None:
            left = platform.limits.seconds - busy
            needed = np.divide(full * costs.compute, left, out=np.full_like(memory, np.inf), where=left > 0)
            # More than `full` does not help: such a span does not fit and is left as it is.
            slow = (costs.compute * np.maximum(1.0, full / function) > left) & (needed <= full)
            function = np.where(slow, _rounded(costs, np.where(slow, needed, 0.0)), function)
        function = _faster(costs, function, waiting, full)
    return function, costs.compute * np.maximum(1.0, full / function)


def _faster(costs: Costs, function: Numbers, waiting: Numbers, full: float) -> Numbers:
    """The memory to order where processors come with it.

    Work costs the same at any size up to `full`: what is twice as large is done in half the time. Only what is waited
    for becomes dearer, so where nothing is waited for, speed is free.
    """
    question = costs.question
    most = _rounded(costs, np.full_like(function, full))
    if question.objective in ("latency", "throughput"):
        return np.maximum(function, most)
    if question.objective == "cost":
        step = question.platform.memory_step
        free = (waiting <= 0) & (not question.cold)
        whole = min(np.floor(full / step) * step, question.memory)
        return np.where(free, np.maximum(function, whole), function)
    return function


def _dollars(costs: Costs, flow: Moved, function: Numbers, seconds: Numbers, cold: Numbers) -> Numbers:
    """What one call of every span costs; what the first one adds is billed like work."""
    platform = costs.question.platform
    prices = platform.prices
    worked = np.maximum(seconds + cold if costs.question.cold else seconds, prices.billed_least)
    if prices.billed_step:
        worked = np.ceil(worked / prices.billed_step - _ROUNDING) * prices.billed_step
    rate = prices.gb_second * function / _GIB
    if prices.cpu_second:
        sizes, where = np.unique(function, return_inverse=True)
        cpus = np.array([platform.processors(int(size)) for size in sizes])
        rate = rate + prices.cpu_second * cpus[where].reshape(function.shape)
    fixed = prices.request + prices.transition
    return np.asarray(rate * worked + fixed + prices.put * flow.puts + prices.get * flow.gets)
