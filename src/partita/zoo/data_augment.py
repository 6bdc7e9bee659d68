"""Changed copies of training samples, so that a network sees more than there is: whole batches, bare numpy.

    crop     moved by up to `pixels`, the border mirrored        flip     left and right exchanged
    colour   brightness, contrast and saturation changed         shift    sounds moved in time

Rules: a step takes a float32 batch and a generator, and depends on nothing else; it runs before normalisation, on pixels
from 0 to 1; what it gets is not changed in place.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import BadReference

Batch = NDArray[np.float32]
Augment = Callable[[Batch, Generator], Batch]


@dataclass(frozen=True)
class Crop:
    """Images moved by up to so many pixels each way; what comes in at the border is mirrored."""

    pixels: int = 4

    def __call__(self, batch: Batch, rng: Generator) -> Batch:
        """Each image on its own."""
        reach = min(self.pixels, min(batch.shape[2:]) - 1)
        if reach <= 0:
            return batch
        padded = np.pad(batch, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
        top, left = rng.integers(0, 2 * reach + 1, (2, len(batch)))
        height, width = batch.shape[2:]
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        return np.ascontiguousarray(windows[np.arange(len(batch)), :, top, left])


@dataclass(frozen=True)
class Flip:
    """Images mirrored left to right, this share of them."""

    share: float = 0.5

    def __call__(self, batch: Batch, rng: Generator) -> Batch:
        """Each image on its own."""
        chosen = rng.random(len(batch)) < self.share
        return np.where(chosen[:, None, None, None], batch[..., ::-1], batch)


@dataclass(frozen=True)
class Colour:
    """Brightness, contrast and saturation changed by up to these shares."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __call__(self, batch: Batch, rng: Generator) -> Batch:
        """Each image on its own; pixels stay from 0 to 1."""
        bright, contrast, colour = (
            rng.uniform(1 - by, 1 + by, (len(batch), 1, 1, 1)).astype(np.float32)
            for by in (self.brightness, self.contrast, self.saturation)
        )
        batch = batch * bright
        middle = batch.mean(axis=(1, 2, 3), keepdims=True)
        batch = middle + (batch - middle) * contrast
        grey = batch.mean(axis=1, keepdims=True)
        changed: Batch = np.clip(grey + (batch - grey) * colour, 0, 1)
        return changed


@dataclass(frozen=True)
class Shift:
    """Sounds moved in time by up to this share of their length; silence comes in."""

    share: float = 0.1

    def __call__(self, batch: Batch, rng: Generator) -> Batch:
        """Each sound on its own."""
        reach = int(batch.shape[-1] * self.share)
        moved = np.zeros_like(batch)
        for row, by in enumerate(rng.integers(-reach, reach + 1, len(batch))):
            stop = batch.shape[-1] - abs(by)
            moved[row, ..., max(by, 0) : max(by, 0) + stop] = batch[
                row, ..., max(-by, 0) : max(-by, 0) + stop
            ]
        return moved


@dataclass(frozen=True)
class Steps:
    """Several, one after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, batch: Batch, rng: Generator) -> Batch:
        """In their order."""
        for step in self.steps:
            batch = step(batch, rng)
        return batch


_NAMES: dict[str, tuple[str, Callable[[], Augment]]] = {
    "crop": ("image", Crop),
    "flip": ("image", Flip),
    "colour": ("image", Colour),
    "shift": ("audio", Shift),
}


def parse_augment(text: str, kind: str) -> Steps:
    """`crop,flip,colour` for a kind of data; empty for none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in _NAMES or _NAMES[word][0] != kind:
            mine = [name for name, (of, _) in _NAMES.items() if of == kind]
            near = difflib.get_close_matches(word, mine, n=1)
            raise BadReference(
                f"augment: {word!r} is no change of {kind} samples",
                fix=f"did you mean {near[0]}?"
                if near
                else f"write some of: {', '.join(mine) or '(there are none)'}",
            )
    return Steps(tuple(_NAMES[word][1]() for word in words))
