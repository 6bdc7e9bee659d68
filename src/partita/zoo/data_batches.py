"""Samples in batches: the order of an epoch, and threads that read ahead.

Rules: a batch depends on seed, epoch and step alone, so training that stops after any step goes on with the very batch
that came next, with however many threads; threads end with the loop that asked for the batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_T = TypeVar("_T")
# Streams of random numbers that must not be the same: the order of an epoch, and the changes to one batch.
_ORDER, _CHANGE = 0, 1


def order(count: int, seed: int, epoch: int, *, shuffle: bool) -> NDArray[np.int64]:
    """The positions of an epoch."""
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(count)


def generator(seed: int, epoch: int, step: int) -> Generator:
    """Random numbers of one batch."""
    return np.random.default_rng([_CHANGE, seed, epoch, step])


def ahead(make: Callable[[int], _T], first: int, end: int, workers: int) -> Iterator[_T]:
    """make(first), ... make(end - 1), in order; with workers, some of them are made while the caller is busy."""
    if workers <= 0:
        yield from map(make, range(first, end))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="partita-data")
    waiting: deque[Future[_T]] = deque()
    try:
        for step in range(first, end):
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
