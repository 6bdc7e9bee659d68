"""Made-up data, for where nothing is on disk: small samples that a small network can learn, some easy, some hard.

    made:shapes    eight figures in any colour, size and turn        uint8 [3, 32, 32]
    made:digits    ten digits of a dot matrix, bent and noisy        uint8 [1, 28, 28]
    made:tones     six ways of a sound to move                       float32 [4000]
    made:phrases   good or bad, also said by a negation              text

Behind ? stand `train`, `val` and `test` (how many samples), `noise` (0 to 1) and `draw` (another draw of the same kind).

Rules: a sample depends on its number, the draw and the noise alone; labels take turns, so classes are even; every sample
has its own difficulty, so that early exits have something to leave to later ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import BadReference
from .data_made_draw import DIGITS, SHAPES, TONES, phrase, picture_of_digit, picture_of_shape, sound_of_tone
from .data_source import Kind, Listing, Size, pair
from .data_text import Texts

PREFIX = "made:"
_COUNTS = {"train": 4000, "val": 500, "test": 1000}
_MOST = 10_000_000
# Raised when samples change, so that digests do.
_EDITION = 1
_Draw = Callable[[Generator, int, float, tuple[int, int]], NDArray[Any]]


@dataclass(frozen=True)
class Made:
    """A source of made-up samples, made anew each time they are asked for."""

    listing: Listing
    kind: Kind
    draw: str
    shape: tuple[int, ...]
    noise: float
    number: int

    def name(self, index: int) -> str:
        """Set and number."""
        return f"{self.listing.where}#{index}"

    def load(self, index: int) -> NDArray[Any]:
        """One sample."""
        rng = np.random.default_rng([_EDITION, self.number, index])
        size = (self.shape[-2], self.shape[-1]) if len(self.shape) > 1 else (1, self.shape[0])
        return _DRAWS[self.draw](rng, int(self.listing.labels[index]), self.noise, size)

    def stamp(self) -> str:
        """What the samples depend on."""
        return f"{self.draw} {_EDITION} {self.number} {self.noise} {self.shape}"


_DRAWS: Mapping[str, _Draw] = {
    "shapes": picture_of_shape,
    "digits": picture_of_digit,
    "tones": sound_of_tone,
}
_SETS: Mapping[str, tuple[Kind, tuple[str, ...], tuple[int, ...]]] = {
    "shapes": ("image", SHAPES, (3, 32, 32)),
    "digits": ("image", DIGITS, (1, 28, 28)),
    "tones": ("audio", TONES, (4000,)),
    "phrases": ("text", ("bad", "good"), ()),
}


def open_made(reference: str, name: str, options: Mapping[str, object], size: Size) -> Made | Texts:
    """The made-up set of that name."""
    if name not in _SETS:
        near = difflib.get_close_matches(name, _SETS, n=1)
        raise BadReference(
            f"{reference!r}: there is no made-up set {name!r}",
            fix=f"did you mean made:{near[0]}?" if near else "write made:" + ", made:".join(_SETS),
        )
    counts, noise, number = _read(reference, options)
    kind, classes, shape = _SETS[name]
    ends = np.cumsum([0, *counts.values()])
    labels = np.arange(ends[-1], dtype=np.int64) % len(classes)
    parts = {split: np.arange(ends[at], ends[at + 1]) for at, split in enumerate(counts)}
    listing = Listing(reference.partition("?")[0], f"made {name}", classes, labels, parts)
    if name == "phrases":
        rngs = (np.random.default_rng([_EDITION, number, index]) for index in range(len(labels)))
        texts = tuple(phrase(rng, int(label), noise) for rng, label in zip(rngs, labels, strict=True))
        return Texts(listing, tuple(f"{listing.where}#{n}" for n in range(len(labels))), texts)
    return Made(listing, kind, name, _sized(kind, shape, size), noise, number)


def _sized(kind: Kind, shape: tuple[int, ...], size: Size) -> tuple[int, ...]:
    wanted = pair(size)
    if wanted is None:
        return shape
    return (shape[0], *wanted) if kind == "image" else (wanted[-1],)


def _read(reference: str, options: Mapping[str, object]) -> tuple[dict[str, int], float, int]:
    problems = [f"{key}: is no option" for key in options if key not in (*_COUNTS, "noise", "draw")]
    given: dict[str, object] = {**_COUNTS, "noise": 0.3, "draw": 0, **options}
    for key in (*_COUNTS, "draw"):
        value = given[key]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            problems.append(f"{key}: {value!r} is no count from 0 to {_MOST}")
    noise = given["noise"]
    if (
        not isinstance(noise, int | float)
        or isinstance(noise, bool)
        or not (isfinite(noise) and 0 <= noise <= 1)
    ):
        problems.append(f"noise: {noise!r} is not from 0 to 1")
    if problems:
        raise BadReference(
            f"{reference!r}: {'; '.join(problems)}", fix="options are train, val, test, noise and draw"
        )
    return {key: int(str(given[key])) for key in _COUNTS}, float(str(noise)), int(str(given["draw"]))
