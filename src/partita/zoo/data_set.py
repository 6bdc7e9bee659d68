"""A data set: some samples of a source, as arrays that a network takes.

Rules: immutable; a part of a data set is a data set; pixels leave as float32, scaled and normalised, everything else as
its source gives it; nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, BadReference
from .data_augment import Augment
from .data_batches import ahead, generator, order
from .data_source import Kind, Listing, Source
from .data_split import SEED, Indices, Roll, divided
from .data_table import Column, Table
from .data_text import Texts
from .data_vocabulary import Encoded, Encoder

_IN_MEMORY = 2 * 1024**3


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from each channel, and what it is divided by, after pixels were scaled to 0 to 1."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise BadDocument(
                "normalisation",
                [f"mean {self.mean} and std {self.std}"],
                fix="give one mean and one std above 0 for each channel",
            )

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """A batch [n, channels, ...], normalised."""
        shape = (-1, *[1] * (batch.ndim - 2))
        mean, std = (np.array(v, np.float32).reshape(shape) for v in (self.mean, self.std))
        return (batch - mean) / std


# Networks trained on ImageNet expect these; for one channel, the middle.
RGB = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = Normalisation((0.5,), (0.5,))


# Compared by identity: arrays have no one truth value.
@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples of a source, by position. See `open_data`."""

    source: Source
    indices: Indices
    split: str
    normalisation: Normalisation | None = None
    skip_broken: bool = False
    # Samples that could not be read while `skip_broken` was set, by name, with what was wrong.
    skipped: dict[str, str] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[NDArray[Any], Any]:
        index = self._index(position)
        answer = self._answers(np.array([index]))[0]
        sample = self._prepared(self.source.load(index)[None])[0]
        return sample, int(answer) if self.source.listing.targets is None else answer

    @property
    def kind(self) -> Kind:
        """`image`, `audio`, `text`, `table`, or `record` for samples of several arrays."""
        return self.source.kind

    @property
    def layout(self) -> str:
        """What the data was recognised as."""
        return self.source.listing.layout

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, by label."""
        return self.source.listing.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: [channels, height, width], [values], or [numbers of words]."""
        return self.source.shape

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of all samples, in their order."""
        return self.source.listing.labels[self.indices]

    @property
    def targets(self) -> NDArray[Any]:
        """What is to be learnt of each sample: numbers where the data holds some, else the labels."""
        return self._answers(self.indices)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table file, with the texts behind categories; empty for everything else."""
        source = self.source.source if isinstance(self.source, _Held) else self.source
        return source.columns if isinstance(source, Table) else ()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many samples each class has here."""
        found = np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, map(int, found), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """What the samples are called: the list of files."""
        return tuple(self.source.name(int(index)) for index in self.indices)

    @cached_property
    def digest(self) -> str:
        """Of the samples, their labels and how they are prepared. Files of folders count by name and bytes."""
        listing = self.source.listing
        told = (self.source.stamp(), listing.classes, self.shape, self.normalisation)
        digest = sha256(repr(told).encode())
        digest.update("\n".join(self.names).encode())
        digest.update(np.ascontiguousarray(self.labels).astype("<i8").data)
        if listing.targets is not None:
            digest.update(np.ascontiguousarray(self.targets).astype("<f4").data)
        return digest.hexdigest()

    @property
    def vocabulary(self) -> Encoder:
        """What turns the texts into numbers. A test split needs that of the training split: `encoded`."""
        if not isinstance(self.source, Encoded):
            raise BadReference(f"{self.source.listing.where} is no text", fix="only text has a vocabulary")
        return self.source.encoder

    def text(self, position: int) -> str:
        """One text as it stands there."""
        return self._texts().text(self._index(position))

    def encoded(self, encoder: Encoder, length: int | None = None) -> DataSet:
        """The same texts through another vocabulary."""
        return replace(self, source=Encoded(self._texts(), encoder, length or self.shape[0]))

    def normalised(self, normalisation: Normalisation | None) -> DataSet:
        """The same samples, normalised otherwise; None leaves pixels from 0 to 1."""
        if normalisation and len(normalisation.mean) not in (1, self.shape[0]):
            raise BadDocument(
                "normalisation",
                [f"{len(normalisation.mean)} channels for samples of shape {self.shape}"],
                fix=f"give 1 or {self.shape[0]} values",
            )
        return replace(self, normalisation=normalisation)

    def measured_normalisation(self, samples: int = 1000) -> Normalisation:
        """Mean and deviation of each channel over samples that lie evenly among these."""
        if self.kind in ("text", "record"):
            raise BadReference(
                f"{self.kind} data has no channels to normalise", fix="normalise images, sounds or tables"
            )
        chosen = np.unique(np.linspace(0, len(self) - 1, min(samples, len(self))).astype(int))
        axes = {"image": tuple(range(1, len(self.shape))), "table": ()}.get(self.kind)
        # Sums of squares in 64 bits: the pixels of all samples need not be held at once.
        sums = [
            (loaded.mean(axis=axes), (loaded**2).mean(axis=axes))
            for p in chosen
            for loaded in [_scaled(self.source.load(self._index(int(p)))).astype(np.float64)]
        ]
        mean, square = (np.atleast_1d(np.mean([pair[n] for pair in sums], axis=0)) for n in (0, 1))
        std = np.sqrt(np.maximum(square - mean**2, 1e-12))
        if self.kind == "table":
            # A column that is the same everywhere would turn its smallest change into a large number.
            std = np.where(std > 1e-6, std, 1.0)
        return Normalisation(tuple(map(float, mean)), tuple(map(float, std)))

    def subset(self, positions: Sequence[int] | NDArray[np.int64]) -> DataSet:
        """The samples at these positions, in this order."""
        chosen = [self._index(int(position)) for position in positions]
        return replace(self, indices=np.array(chosen, np.int64))

    def divided(self, share: float, *, seed: int = SEED) -> tuple[DataSet, DataSet]:
        """Two disjoint parts, class by class, the first with this share: to calibrate on one and test on the other."""
        if not 0 <= share <= 1:
            raise BadReference(f"share: {share!r} is not from 0 to 1", fix="write 0.5 for halves")
        roll = Roll(self.source.listing.labels, self.source.name)
        first, second = divided(self.indices, share, roll, seed)
        return replace(self, indices=first), replace(self, indices=second)

    def in_memory(self, largest: int = _IN_MEMORY) -> DataSet:
        """The same samples, read once and held; refused above `largest` bytes."""
        first = self.source.load(self._index(0))
        if (size := first.nbytes * len(self)) > largest:
            raise BadReference(
                f"{len(self)} samples take {size} bytes in memory, more than the {largest} allowed",
                fix="leave them on disk, or take fewer: limit=",
            )
        whole = self.sound() if self.skip_broken else self
        block = np.stack([whole.source.load(int(index)) for index in whole.indices])
        return replace(whole, source=_Held(whole.source, block, whole.indices))

    def sound(self) -> DataSet:
        """The same without samples that cannot be read: every one is read once."""
        good = [p for p in range(len(self)) if self._try(int(self.indices[p])) is not None]
        return self.subset(good)

    def batches(
        self,
        size: int,
        *,
        seed: int = SEED,
        epoch: int = 0,
        step: int = 0,
        shuffle: bool = False,
        augment: Augment | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The batches of an epoch, from a step on: samples, and labels or targets. The last one may be smaller."""
        if size < 1 or min(seed, epoch, step) < 0:
            raise BadReference(
                f"batches of {size}, seed {seed}, epoch {epoch}, step {step}",
                fix="a batch holds at least 1 sample; seed, epoch and step count from 0",
            )
        positions = self.order(seed, epoch, shuffle=shuffle)

        def make(at: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
            chosen = self.indices[positions[at * size : (at + 1) * size]]
            return self._batch(chosen, augment, (seed, epoch, at))

        return (found for found in ahead(make, step, -(-len(self) // size), workers) if found is not None)

    def order(self, seed: int = SEED, epoch: int = 0, *, shuffle: bool = False) -> NDArray[np.int64]:
        """The positions of an epoch, as `batches` walks through them."""
        return order(len(self), seed, epoch, shuffle=shuffle)

    def _batch(
        self, chosen: Indices, augment: Augment | None, place: tuple[int, int, int]
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        loaded = [(sample, index) for index in chosen if (sample := self._try(int(index))) is not None]
        if not loaded:
            return None
        samples = np.stack([sample for sample, _ in loaded])
        answers = self._answers(np.array([index for _, index in loaded]))
        return self._prepared(samples, augment, place), answers

    def _answers(self, indices: Indices) -> NDArray[Any]:
        listing = self.source.listing
        return listing.labels[indices] if listing.targets is None else listing.targets[indices]

    def _try(self, index: int) -> NDArray[Any] | None:
        """A sample; None where it is broken and that is allowed."""
        try:
            return self.source.load(index)
        except BadDocument as problem:
            if not self.skip_broken:
                raise
            self.skipped[self.source.name(index)] = "; ".join(problem.problems)
            return None

    def _prepared(
        self, samples: NDArray[Any], augment: Augment | None = None, place: tuple[int, int, int] = (0, 0, 0)
    ) -> NDArray[Any]:
        if self.kind in ("text", "record"):
            return samples
        batch = _scaled(samples)
        if augment is not None:
            batch = augment(batch, generator(*place))
        return batch if self.normalisation is None else self.normalisation(batch)

    def _texts(self) -> Texts:
        if not isinstance(self.source, Encoded):
            raise BadReference(f"{self.source.listing.where} is no text", fix="only text has a vocabulary")
        return self.source.texts

    def _index(self, position: int) -> int:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        return int(self.indices[position])


def _scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Bytes become shares of 255."""
    scale = np.float32(255) if samples.dtype == np.uint8 else np.float32(1)
    return samples.astype(np.float32) / scale


@dataclass(frozen=True, eq=False)
class _Held:
    """A source whose samples were read."""

    source: Source
    block: NDArray[Any]
    indices: Indices

    @property
    def kind(self) -> Kind:
        return self.source.kind

    @property
    def listing(self) -> Listing:
        return self.source.listing

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {int(index): row for row, index in enumerate(self.indices)}

    def name(self, index: int) -> str:
        return self.source.name(index)

    def load(self, index: int) -> NDArray[Any]:
        sample: NDArray[Any] = self.block[self._rows[index]]
        return sample

    def stamp(self) -> str:
        return self.source.stamp()
