"""The order in which the edge does its work on many steps at once.

Rules: `fixed` is one cyclic order, so that weights are a function of seed and window whatever the timing: begin step
i, turn step i - inner (where the loss is here), finish step i - window. `eager` takes whatever is there, the latest
work first. Both finish everything they began: who wants to stop stops giving batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol, TypeVar

from .settings import Order

_Batch_contra = TypeVar("_Batch_contra", contravariant=True)
_B = TypeVar("_B")
_Done_co = TypeVar("_Done_co", covariant=True)
_D = TypeVar("_D")


class Worker(Protocol[_Batch_contra, _Done_co]):
    """What can be done with a step, in this order. `turns` says whether there is anything to do between."""

    @property
    def turns(self) -> bool: ...
    @property
    def newest(self) -> int:
        """The last step that was begun and not taken back."""
        ...

    def begin(self, step: int, batch: _Batch_contra) -> None:
        """The work before the other side's part."""
        ...

    def turn(self, step: int) -> None:
        """The work between the other side's two parts; waits for the first."""
        ...

    def finish(self, step: int) -> _Done_co:
        """The work after the other side's part; waits for it."""
        ...

    def ready(self, step: int, *, turned: bool) -> bool:
        """Whether `turn` (or, once turned, `finish`) would not wait."""
        ...

    def wait(self) -> None:
        """Sleep until one more step is ready."""
        ...


def run(
    worker: Worker[_B, _D],
    batches: Iterator[_B],
    *,
    first: int,
    window: int,
    inner: int,
    order: Order = "fixed",
) -> Iterator[_D]:
    """Work through the batches from step `first` on; gives what `finish` gives, in the order of the steps."""
    if order == "fixed":
        return _fixed(worker, batches, first, window, inner)
    return _eager(worker, batches, first, window)


def _fixed(
    worker: Worker[_B, _D], batches: Iterator[_B], first: int, window: int, inner: int
) -> Iterator[_D]:
    step = first
    for batch in batches:
        worker.begin(step, batch)
        yield from _cycle(worker, step, first, step, window, inner)
        step += 1
    last = min(step - 1, worker.newest)
    for late in range(step, step + window):
        yield from _cycle(worker, late, first, last, window, inner)


def _cycle(  # the six numbers of one turn of the wheel
    worker: Worker[_B, _D], step: int, first: int, last: int, window: int, inner: int
) -> Iterator[_D]:
    if worker.turns and first <= step - inner <= last:
        worker.turn(step - inner)
    if first <= step - window <= last:
        yield worker.finish(step - window)


def _eager(worker: Worker[_B, _D], batches: Iterator[_B], first: int, window: int) -> Iterator[_D]:
    turning: deque[int] = deque()
    finishing: deque[int] = deque()
    step, more = first, True
    while more or turning or finishing:
        if finishing and worker.ready(finishing[0], turned=True):
            yield worker.finish(finishing.popleft())
        elif turning and worker.ready(turning[0], turned=False):
            worker.turn(turning[0])
            finishing.append(turning.popleft())
        elif more and len(turning) + len(finishing) <= window:
            batch = next(batches, None)
            if batch is None:
                more = False
                continue
            worker.begin(step, batch)
            (turning if worker.turns else finishing).append(step)
            step += 1
        else:
            worker.wait()
