"""Many steps of one plan with a window, and what they took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import final

from ..engine import Array, Values
from ..errors import BadDocument
from .driver import Driver, StepTimes

# Called with (steps done, steps in all).
Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run took: seconds per step once it flows, seconds of one step alone, and the shares of each side."""

    steps: int
    window: int
    step_seconds: float
    latency: float
    local_seconds: float
    remote_seconds: float
    bytes_up: int
    bytes_down: int


async def run_steps(
    driver: Driver,
    values: Mapping[str, Array],
    *,
    steps: int,
    window: int = 0,
    warmup: int = 2,
    on_outputs: Callable[[int, Values], None] | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Run `warmup` steps one by one, then `steps` with at most `window` + 1 on their way at once."""
    if steps < 1 or window < 0 or warmup < 0:
        problem = f"--steps {steps}, --window {window}, warm-up {warmup}: steps must be 1 or more, the others 0 or more"
        raise BadDocument("run", [problem], fix="give --steps 20")
    for index in range(warmup):
        await driver.forward(values, index=index)
    done: list[StepTimes] = []
    indices = iter(range(warmup, warmup + steps))

    async def work() -> None:
        # As many of these as steps may be on their way; each takes the next index when its step is done.
        for index in indices:
            outputs, times = await driver.forward(values, index=index)
            done.append(times)
            if on_outputs is not None:
                on_outputs(index, outputs)
            if progress is not None:
                progress(len(done), steps)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(window + 1, steps)):
                group.create_task(work())
    except BaseExceptionGroup as several:
        # The first failure is the cause; the others are steps that were cancelled for it.
        raise several.exceptions[0] from None
    return _report(done, window)


def _report(done: list[StepTimes], window: int) -> RunReport:
    ends = sorted(times.ended for times in done)
    # From the end of one full window to the last end: neither filling nor draining of the pipeline counts.
    first = min(window, len(ends) - 2)
    if len(ends) > 1:
        step_seconds = (ends[-1] - ends[first]) / (len(ends) - 1 - first)
    else:
        step_seconds = done[0].ended - done[0].began
    return RunReport(
        steps=len(done),
        window=window,
        step_seconds=step_seconds,
        latency=median(times.ended - times.began for times in done),
        local_seconds=median(times.local for times in done),
        remote_seconds=median(times.remote for times in done),
        bytes_up=round(median(times.up for times in done)),
        bytes_down=round(median(times.down for times in done)),
    )
