"""Batches of a training: inputs and targets by name, with the ids of their samples, in an order that can be repeated.

    for batch in Batches.of(loader, settings, model).epoch(3, start=17): ...

Rules: anything that gives inputs and targets will do, and is told how if it does not; the first batch is checked before
a training begins; the caller's random numbers stay as they were; an epoch begins at any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Values
from ..engine.torch_model import TorchModel
from ..errors import BadDocument, PartitaError
from ..graph import TensorSpec
from .loading_example import arguments
from .loading_feed import Feed, Raw, open_feed
from .loading_fit import fit
from .loading_structure import Structure
from .settings import Settings


# Compared by identity: arrays have no one truth value.
@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs by the names of the model's, targets under `label` or `label/KEY`; ids are None where nobody knows them."""

    inputs: Values
    targets: Values
    ids: NDArray[np.int64] | None
    size: int


@final
class Batches:
    """The batches of one data for one model. Epochs count from 1; data that is judged goes in a fixed order."""

    def __init__(self, feed: Feed, specs: Sequence[TensorSpec]) -> None:
        self._feed, self._specs = feed, tuple(specs)
        self._first, self._structure = self._fitted(_first_of(feed), 0)

    @classmethod
    def of(
        cls, data: Any, settings: Settings, model: TorchModel | Sequence[TensorSpec], *, augment: str = ""
    ) -> Self:
        """A DataLoader, a data set, (inputs, targets) as arrays, or batches; refused if the first does not fit the model.

        `augment` changes the training samples of a data set of ours: see `parse_augment`.
        """
        if isinstance(model, TorchModel):
            model = [model.chain.tensors[name] for name in model.chain.inputs]
        return cls(open_feed(data, settings, augment), model)

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of an epoch; None where only its end will tell."""
        return self._feed.count

    @property
    def notes(self) -> tuple[str, ...]:
        """What the caller of a training should know of its data."""
        if self._feed.last() != 1:
            return ()
        return (
            "the last batch of an epoch holds one sample, on which batch normalisation cannot train: choose another"
            " batch size, or drop_last=True",
        )

    def first(self) -> Batch:
        """The batch that was looked at."""
        return self._first

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `start` on."""
        return self._batches(number, start, shuffle=True)

    def in_order(self) -> Iterator[Batch]:
        """All samples, the same way each time: for judging."""
        return self._batches(0, 0, shuffle=False)

    def pick(self, ids: NDArray[np.int64]) -> Values:
        """The inputs of these samples, and their targets under `label...`: for a side that is told ids only."""
        found = fit(self._feed.rows(ids), self._specs, "the samples asked for")
        return {**found.inputs, **found.targets}

    def structure(self, values: Mapping[str, Any]) -> Any:
        """Targets by name in the structure in which the user's loader gives them."""
        return self._structure.build(values)

    def _batches(self, number: int, start: int, *, shuffle: bool) -> Iterator[Batch]:
        feed = self._feed.epoch(number, start, shuffle=shuffle)
        for at in count(start):
            with _told(at):
                raw = next(feed, None)
            if raw is None:
                return
            batch, structure = self._fitted(raw, at)
            if structure != self._structure:
                raise BadDocument(
                    f"batch {at} of the data",
                    ["its targets are put together in another way than those of the first batch"],
                    fix="give the same keys and the same number of targets in every batch",
                )
            yield batch

    def _fitted(self, raw: Raw, at: int) -> tuple[Batch, Structure]:
        found = fit(raw[0], self._specs, f"batch {at} of the data")
        ids, targets = raw[1], found.targets
        size = found.size
        if size is None:
            size = len(ids) if ids is not None else next((len(t) for t in targets.values() if t.ndim), 1)
        # Ids that do not belong to rows would give a sample the memory of another.
        known = ids if ids is None or len(ids) == size else None
        return Batch(found.inputs, targets, known, size), found.structure


def example_of(
    data: Any, model: torch.nn.Module | None = None, settings: Settings | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a module from the first batch of the data: what it is captured with."""
    raw, _ = _first_of(open_feed(data, settings or Settings()))
    return arguments(raw, model, "batch 0 of the data")


def _first_of(feed: Feed) -> Raw:
    with _told(0):
        first = feed.first()
    if first is None:
        raise BadDocument(
            "the data", ["gives no batch"], fix="add samples; drop_last=True needs at least one whole batch"
        )
    return first


@contextmanager
def _told(at: int) -> Iterator[None]:
    """What a user's own code raises, as what it is."""
    try:
        yield
    except PartitaError:
        raise
    except Exception as problem:  # the loader, its transforms and its workers are a user's own
        said = [line for line in str(problem).splitlines() if line.strip()]
        raise BadDocument(
            f"batch {at} of the data",
            [f"{type(problem).__name__}: {said[-1].strip() if said else 'no more was said'}"],
            fix="read the batch without Partita to see where: next(iter(loader))",
        ) from problem
