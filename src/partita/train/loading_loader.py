"""A DataLoader over a data set with positions, taken apart: its order is drawn here, its samples are made where it says.

Rules: the user's sampler, batch sampler, collate_fn and workers do their work; the order is a function of seed and epoch,
and what a transform draws one of seed, epoch and batch, so that a resumed training sees the very same samples with any
number of workers; nothing is made of the batches that are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

from ..errors import BadDocument
from .loading_numbers import Apart, data_seed

_Ids = NDArray[np.int64]
# Batches of one epoch: a sampler that never ends must not fill the memory.
_MOST: Final = 20_000_000


def is_mapped(loader: DataLoader[Any]) -> bool:
    """Whether a loader can be taken apart: its data has positions, and it iterates as torch's own do."""
    return type(loader).__iter__ is DataLoader.__iter__ and not isinstance(loader.dataset, IterableDataset)


def loader_of(data: Any, batch: int) -> DataLoader[Any]:
    """A loader of single samples, shuffled."""
    return DataLoader(data, batch_size=batch, shuffle=True)


@dataclass(frozen=True)
class LoaderFeed:
    """Batches of a loader. With `ours` the loader was made here, and data in fixed order is simply not shuffled."""

    loader: DataLoader[Any]
    seed: int
    ours: bool = False
    # The order that was drawn last, by epoch: the first batch is looked at before an epoch begins.
    _drawn: dict[int, list[Any]] = field(init=False, default_factory=dict)

    @property
    def count(self) -> int | None:
        """What the sampler says of its length."""
        try:
            return len(self.loader)
        except (TypeError, NotImplementedError):
            return None

    def last(self) -> int | None:
        """By the order of the first epoch; kept for its beginning."""
        orders = self._orders(1)
        found = orders[-1] if orders else None
        return len(found) if isinstance(found, list | tuple) else None

    def first(self) -> tuple[Any, _Ids | None] | None:
        """The first batch of the first epoch, made here: no workers are started for it."""
        orders = self._orders(1)
        return (self._work[data_seed(self.seed, 1, 0), orders[0]], _ids(orders[0])) if orders else None

    def epoch(self, number: int, start: int, *, shuffle: bool) -> Iterator[tuple[Any, _Ids | None]]:
        """In the sampler's order, drawn with the numbers of this epoch; in fixed order, always with the same."""
        number = number if shuffle else 0
        orders = self._in_order() if self.ours and not shuffle else self._orders(number)
        asked = [(data_seed(self.seed, number, at), order) for at, order in enumerate(orders[start:], start)]
        made = DataLoader(
            self._work,
            sampler=asked,
            batch_size=None,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(data_seed(self.seed, number)),
            **_working(self.loader),
        )
        for raw, (_, order) in zip(made, asked, strict=True):
            yield raw, _ids(order)

    def rows(self, ids: _Ids) -> Any:
        """As one batch of the user's own making."""
        count = len(self.loader.dataset)  # type: ignore[arg-type]  # it has positions
        if not len(ids) or ids.min() < 0 or ids.max() >= count:
            raise BadDocument(
                "ids", [f"are not among the {count} samples"], fix="both sides must hold the same data"
            )
        return self._work[data_seed(self.seed, 0), ids.tolist()]

    @property
    def _work(self) -> _Work:
        return _Work(self.loader.dataset, self.loader.collate_fn, self.loader.batch_sampler is not None)

    def _in_order(self) -> list[Any]:
        count, size = len(self.loader.dataset), self.loader.batch_size or 1  # type: ignore[arg-type]  # it has positions
        return [list(range(at, min(at + size, count))) for at in range(0, count, size)]

    def _orders(self, number: int) -> list[Any]:
        """The positions of every batch of an epoch."""
        if number not in self._drawn:
            self._drawn.clear()
            self._drawn[number] = self._draw(number)
        return self._drawn[number]

    def _draw(self, number: int) -> list[Any]:
        loader = self.loader
        sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        holders = [loader, sampler, getattr(sampler, "sampler", None), loader.sampler]
        own = [g for h in holders if isinstance(g := getattr(h, "generator", None), torch.Generator)]
        for holder in {id(h): h for h in holders[1:] if h is not None}.values():
            if callable(tell := getattr(holder, "set_epoch", None)):
                tell(number)
        with Apart(data_seed(self.seed, number), own):
            drawn = list(islice(iter(sampler), _MOST + 1))
        if len(drawn) > _MOST:
            raise BadDocument(
                "data",
                [f"the sampler gives more than {_MOST} batches in one epoch"],
                fix="give it an end: an epoch of a stream is what its sampler says",
            )
        return drawn


class _Work(torch.utils.data.Dataset[Any]):
    """Makes one batch: here, or in a worker of the loader."""

    def __init__(self, dataset: Any, collate: Any, several: bool) -> None:
        self.dataset, self._collate, self._several = dataset, collate, several

    def __getitem__(self, asked: tuple[int, Any]) -> Any:
        seed, order = asked
        with Apart(seed):
            if not self._several:
                return self._collate(self.dataset[order])
            at_once = getattr(self.dataset, "__getitems__", None)
            samples = at_once(order) if at_once else [self.dataset[position] for position in order]
            return self._collate(samples)


def _as_it_is(made: Any) -> Any:
    return made


def _working(loader: DataLoader[Any]) -> dict[str, Any]:
    """What a loader says of its workers."""
    told: dict[str, Any] = {"num_workers": loader.num_workers, "worker_init_fn": loader.worker_init_fn}
    if loader.num_workers:
        told |= {
            "timeout": loader.timeout,
            "prefetch_factor": loader.prefetch_factor,
            "multiprocessing_context": loader.multiprocessing_context,
        }
    return told


def _ids(order: Any) -> _Ids | None:
    """Positions that name samples; a sampler may give anything else."""
    if not isinstance(order, list | tuple) or not order:
        return None
    if not all(isinstance(position, int | np.integer) and position >= 0 for position in order):
        return None
    return np.array(order, np.int64)
