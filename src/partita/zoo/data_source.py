"""What every kind of data gives, wherever it comes from: samples by index, read when they are asked for.

Rules: a source is immutable and can be pickled, so that loader processes can have it; it lists at opening and reads at
`load`; a sample that cannot be read is refused with the name of its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from .data_split import Indices

Kind = Literal["image", "audio", "text", "table", "record"]
Size = int | tuple[int, int] | None
_T = TypeVar("_T")
_TRIES = 32


# Compared by identity: arrays have no one truth value.
@dataclass(frozen=True, eq=False)
class Listing:
    """Samples by index: their files or rows, labels, the names of the classes, and the splits that the data brings.

    `targets` are numbers to predict, one or several a sample; every label is -1 then, and there are no classes.
    """

    where: str
    layout: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    parts: Mapping[str, Indices] = field(default_factory=dict)
    targets: NDArray[np.float32] | None = None


class Source(Protocol):
    """Samples of one kind. `load` gives uint8 [channels, height, width] for images, int64 ids for text,
    a structured scalar for records, else float32."""

    @property
    def kind(self) -> Kind:
        """What the samples are."""
        ...

    @property
    def listing(self) -> Listing:
        """What there is."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    def name(self, index: int) -> str:
        """What a sample is called: a file, or a row of one."""
        ...

    def load(self, index: int) -> NDArray[Any]:
        """One sample."""
        ...

    def stamp(self) -> str:
        """A text that changes when the data does."""
        ...


def first_readable(read: Callable[[int], _T], count: int) -> _T:
    """What the first sample says of all; where it is broken, the next, for a while. Then the first one's error."""
    problems = []
    for index in range(min(count, _TRIES)):
        try:
            return read(index)
        except BadDocument as problem:
            problems.append(problem)
    raise problems[0]


def pair(size: Size) -> tuple[int, int] | None:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size
