"""Where batches come from: whatever a user has, as numbered batches of an epoch.

    our own data sets      (X, y) as arrays      a DataLoader or Dataset of torch      anything that gives batches

Rules: the order of an epoch is a function of seed and epoch, and batch k can be had without making those before it, but
for streams, whose order is theirs; sample ids are positions in the data; what can be read only once is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.torch_values import to_torch
from ..errors import BadDocument
from ..zoo import DataSet, parse_augment
from .loading_loader import LoaderFeed, is_mapped, loader_of
from .loading_numbers import Apart, data_seed
from .loading_structure import as_array, is_leaf, structure_of, walk
from .settings import Settings

Ids = NDArray[np.int64]
# What the user's loader gave, and the ids of its samples where they are known.
Raw = tuple[Any, Ids | None]


class Feed(Protocol):
    """Batches by epoch."""

    @property
    def count(self) -> int | None:
        """Batches of an epoch, if that is known."""
        ...

    def first(self) -> Raw | None:
        """The first batch of the first epoch; None where there is none."""
        ...

    def epoch(self, number: int, start: int, *, shuffle: bool) -> Iterator[Raw]:
        """The batches of an epoch from one on."""
        ...

    def rows(self, ids: Ids) -> Any:
        """These samples as one batch."""
        ...

    def last(self) -> int | None:
        """How many samples the last batch of an epoch holds, if that is known."""
        ...


def open_feed(data: Any, settings: Settings, augment: str = "") -> Feed:
    """The feed of whatever was given."""
    if isinstance(data, DataSet):
        return SetFeed(_labelled(data.sound() if data.skip_broken else data), settings, augment)
    if augment:
        raise BadDocument(
            "augment",
            [f"{augment!r} is for data that Partita opens"],
            fix="change samples in your data set's transform",
        )
    if isinstance(data, torch.utils.data.DataLoader):
        return LoaderFeed(data, settings.seed) if is_mapped(data) else StreamFeed(data, settings.seed)
    if isinstance(data, tuple) and len(data) == 2:
        return ArraysFeed(*data, settings)
    if isinstance(data, torch.utils.data.IterableDataset):
        return StreamFeed(torch.utils.data.DataLoader(data, batch_size=settings.batch), settings.seed)
    if _is_map_style(data):
        return LoaderFeed(loader_of(data, settings.batch), settings.seed, ours=True)
    if isinstance(data, Iterable) and not isinstance(data, Mapping | str | bytes | np.ndarray | torch.Tensor):
        return StreamFeed(data, settings.seed)
    raise BadDocument(
        "data",
        [f"{type(data).__name__} gives no batches"],
        fix="give a DataLoader, a data set, (inputs, targets) as arrays, or a list of batches",
    )


def _is_map_style(data: Any) -> bool:
    """A data set of samples, be it torch's or of another library; lists hold batches."""
    if isinstance(data, list | Mapping | str | bytes | np.ndarray | torch.Tensor):
        return False
    indexed = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    theirs = isinstance(data, torch.utils.data.Dataset) or hasattr(data, "__getitems__")
    return indexed and (theirs or not hasattr(data, "__iter__"))


def _labelled(data: DataSet) -> DataSet:
    if data.source.listing.targets is None and (data.labels < 0).any():
        raise BadDocument(
            data.source.listing.where,
            [f"{int((data.labels < 0).sum())} of {len(data)} samples have no label"],
            fix="give a table with labels, or a loader of (inputs, targets)",
        )
    return data


@dataclass(frozen=True)
class SetFeed:
    """A data set of ours. A thread reads the next batches: they depend on seed, epoch and number alone."""

    data: DataSet
    settings: Settings
    augment: str = ""

    @property
    def count(self) -> int:
        """The last batch may be smaller."""
        return -(-len(self.data) // self.settings.batch)

    def last(self) -> int:
        """What is left."""
        return (len(self.data) - 1) % self.settings.batch + 1

    def first(self) -> Raw | None:
        """What `epoch` begins with."""
        return next(self._batches(1, 0, shuffle=True, workers=0), None)

    def epoch(self, number: int, start: int, *, shuffle: bool) -> Iterator[Raw]:
        """In the order of seed and epoch."""
        return self._batches(number, start, shuffle=shuffle, workers=1)

    def _batches(self, number: int, start: int, *, shuffle: bool, workers: int) -> Iterator[Raw]:
        size, seed = self.settings.batch, self.settings.seed
        change = parse_augment(self.augment, self.data.kind) if self.augment and shuffle else None
        order = self.data.order(seed, number, shuffle=shuffle)
        batches = self.data.batches(
            size, seed=seed, epoch=number, step=start, shuffle=shuffle, augment=change, workers=workers
        )
        for at, (samples, answers) in enumerate(batches, start):
            yield (_fields(samples), answers), order[at * size : (at + 1) * size]

    def rows(self, ids: Ids) -> Any:
        """Without changes to the samples."""
        _check_ids(ids, len(self.data))
        samples, answers = next(self.data.subset(ids).batches(len(ids)))
        return _fields(samples), answers


def _fields(samples: NDArray[Any]) -> Any:
    """Records as arrays by name."""
    names = samples.dtype.names
    return samples if names is None else {name: np.ascontiguousarray(samples[name]) for name in names}


@dataclass(frozen=True)
class ArraysFeed:
    """Inputs and targets as arrays with a row for each sample."""

    inputs: Any
    targets: Any
    settings: Settings
    _leaves: dict[str, NDArray[Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._leaves.update((name, as_array(name, leaf)) for name, leaf in self._walked())
        rows = {name: len(leaf) if leaf.ndim else 0 for name, leaf in self._leaves.items()}
        if len(set(rows.values())) != 1 or not all(rows.values()):
            told = ", ".join(f"{name} {count}" for name, count in rows.items()) or "none"
            raise BadDocument(
                "data",
                [f"inputs and targets have different numbers of rows, or none: {told}"],
                fix="give arrays with one row a sample; a list of batches instead of a tuple is read as batches",
            )

    def _walked(self) -> Iterator[tuple[str, Any]]:
        yield from walk(self.inputs, "inputs")
        yield from walk(self.targets, "targets")

    @property
    def _rows(self) -> int:
        return len(next(iter(self._leaves.values())))

    @property
    def count(self) -> int:
        """The last batch may be smaller."""
        return -(-self._rows // self.settings.batch)

    def last(self) -> int:
        """What is left."""
        return (self._rows - 1) % self.settings.batch + 1

    def first(self) -> Raw | None:
        """What `epoch` begins with."""
        return next(self.epoch(1, 0, shuffle=True), None)

    def epoch(self, number: int, start: int, *, shuffle: bool) -> Iterator[Raw]:
        """In the order of seed and epoch."""
        size = self.settings.batch
        rng = np.random.default_rng(data_seed(self.settings.seed, number))
        order = rng.permutation(self._rows) if shuffle else np.arange(self._rows)
        for at in range(start, self.count):
            ids = order[at * size : (at + 1) * size].astype(np.int64)
            yield self.rows(ids), ids

    def rows(self, ids: Ids) -> Any:
        """Copies of the rows."""
        _check_ids(ids, self._rows)
        taken = {
            name: to_torch(leaf[ids]) if name in self._tensors else leaf[ids]
            for name, leaf in self._leaves.items()
        }
        return self._structures[0].build(taken), self._structures[1].build(taken)

    @cached_property
    def _tensors(self) -> frozenset[str]:
        """Those that came as tensors leave as tensors: of them, float64 was chosen."""
        return frozenset(name for name, leaf in self._walked() if isinstance(leaf, torch.Tensor))

    @cached_property
    def _structures(self) -> tuple[Any, Any]:
        return structure_of(self.inputs, "inputs"), structure_of(self.targets, "targets")


@dataclass(frozen=True)
class StreamFeed:
    """Anything that gives batches when it is iterated over. Its order is its own, its random numbers are ours."""

    stream: Iterable[Any]
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.stream, Iterator):
            raise BadDocument(
                "data",
                [f"a {type(self.stream).__name__} can be read only once"],
                fix="give something that can be read again for each epoch and after a stop: a list, a DataLoader, or an"
                " object whose __iter__ begins anew",
            )

    @property
    def count(self) -> int | None:
        """What the stream says of its length."""
        try:
            return len(self.stream)  # type: ignore[arg-type]  # asked, not known
        except (TypeError, NotImplementedError):
            return None

    def last(self) -> None:
        """Nobody knows."""

    def first(self) -> Raw | None:
        """What `epoch` begins with."""
        return next(self.epoch(1, 0, shuffle=True), None)

    def epoch(self, number: int, start: int, *, shuffle: bool) -> Iterator[Raw]:
        """As it comes; those before `start` are made and dropped."""
        own = getattr(self.stream, "generator", None)
        number = number if shuffle else 0
        apart = Apart(data_seed(self.seed, number), [own] if isinstance(own, torch.Generator) else [])
        for told in (self.stream, getattr(self.stream, "dataset", None)):
            if callable(tell := getattr(told, "set_epoch", None)):
                tell(number)
        with apart:
            stream = iter(self.stream)
        done, at = object(), 0
        while True:
            with apart:
                raw = next(stream, done)
            if raw is done:
                return
            if at >= start:
                yield _copied(raw), None
            at += 1

    def rows(self, ids: Ids) -> Any:  # noqa: ARG002  # the others need them
        """Refused: a stream has no positions."""
        raise BadDocument(
            "data", ["a stream cannot be asked for samples by id"], fix="give a data set, or a loader of one"
        )


def _copied(raw: Any) -> Any:
    """Batches wait while others are made; who fills one buffer again and again must not change them."""
    if isinstance(raw, np.ndarray):
        return raw.copy()
    if isinstance(raw, torch.Tensor):
        return raw.detach().clone()
    if is_leaf(raw) or raw is None:
        return raw
    if isinstance(raw, Mapping):
        return {key: _copied(value) for key, value in raw.items()}
    kind = type(raw)
    items = [_copied(value) for value in raw]
    return kind(*items) if hasattr(kind, "_fields") else tuple(items) if isinstance(raw, tuple) else items


def _check_ids(ids: Ids, count: int) -> None:
    if not len(ids) or ids.min() < 0 or ids.max() >= count:
        raise BadDocument(
            "ids", [f"are not among the {count} samples"], fix="both sides must hold the same data"
        )
