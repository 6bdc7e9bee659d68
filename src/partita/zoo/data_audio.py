"""Sounds as files, a folder a class: 16-bit PCM WAV, or arrays that somebody made of them.

Rules: channels are averaged; a shorter sound is filled with silence at its end, a longer one cut; all files have one
rate; recordings of one speaker stay in one split.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from .data_folders import Filed
from .data_images import stamp_files
from .data_source import Kind, Listing, Size, first_readable
from .data_tree import Tree

SUFFIXES = (".wav", ".npy")
# What stands between speaker and number in the file names of Speech Commands.
_SPEAKER = "_nohash_"
_FIX = "replace or remove it, or pass skip_broken=True to leave such files out"


@dataclass(frozen=True)
class AudioFiles:
    """A source of sounds. `size` is how many values a sample gets along its last axis; one second without it."""

    tree: Tree
    filed: Filed
    size: Size = None
    kind: Kind = "audio"

    @property
    def listing(self) -> Listing:
        """What there is."""
        return self.filed.listing

    @cached_property
    def _first(self) -> tuple[tuple[int, ...], int]:
        """Shape and rate of the first file; arrays state no rate: 0."""
        return first_readable(self._looked_at, len(self.filed.files))

    def _looked_at(self, index: int) -> tuple[tuple[int, ...], int]:
        name, title = self.name(index), self.tree.title(self.name(index))
        if name.lower().endswith(".npy"):
            return _npy(self.tree.read(name), title).shape, 0
        values, rate = _wav(self.tree.read(name), title)
        return values.shape, rate

    @property
    def rate(self) -> int:
        """Values a second, as the first WAV states it; 0 for arrays, which state none."""
        return self._first[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        own, rate = self._first
        return (self._length or rate,) if rate else (*own[:-1], self._length or own[-1])

    @property
    def _length(self) -> int | None:
        return self.size[-1] if isinstance(self.size, tuple) else self.size

    def name(self, index: int) -> str:
        """The file."""
        return self.filed.files[index]

    def group(self, index: int) -> str:
        """The speaker, where the file name tells one; else the file."""
        stem = self.name(index).rpartition("/")[2]
        return stem.partition(_SPEAKER)[0] if _SPEAKER in stem else self.name(index)

    @cached_property
    def grouped(self) -> bool:
        """Whether file names tell the speaker."""
        return any(_SPEAKER in name for name in self.filed.files)

    def load(self, index: int) -> NDArray[Any]:
        """One sound, float32 from -1 to 1; arrays as they are."""
        name, title = self.name(index), self.tree.title(self.name(index))
        data = self.tree.read(name)
        if name.lower().endswith(".npy"):
            values = _npy(data, title)
        else:
            values, rate = _wav(data, title)
            if rate != self.rate:
                raise BadDocument(
                    title,
                    [f"has {rate} values a second, the first file {self.rate}"],
                    fix="convert it to one rate",
                )
        if values.shape[:-1] != self.shape[:-1]:
            raise BadDocument(title, [f"has shape {values.shape}, not {self.shape}"], fix=_FIX)
        values = values[..., : self.shape[-1]]
        missing = self.shape[-1] - values.shape[-1]
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]) if missing else values

    def stamp(self) -> str:
        """Names and sizes of the files."""
        return stamp_files(self.tree, self.filed.files)


def _wav(data: bytes, title: str) -> tuple[NDArray[np.float32], int]:
    try:
        with wave.open(BytesIO(data)) as sound:
            width, channels, rate = sound.getsampwidth(), sound.getnchannels(), sound.getframerate()
            stated, frames = sound.getnframes(), sound.readframes(sound.getnframes())
    except Exception as problem:  # a reader of foreign bytes raises whatever it stumbles over
        raise BadDocument(
            title, [f"is no WAV file that can be read: {str(problem) or 'it ends too early'}"], fix=_FIX
        ) from None
    problems = []
    if width != 2:
        problems.append(f"has {8 * width} bits a value: 16-bit PCM is read")
    elif len(frames) != stated * channels * 2:
        problems.append(f"states {stated} values and holds {len(frames) // (channels * 2)}: it is cut off")
    elif not stated:
        problems.append("is empty")
    if problems:
        raise BadDocument(title, problems, fix=_FIX)
    values = np.frombuffer(frames, "<i2").reshape(-1, channels).astype(np.float32).mean(axis=1) / 32768
    return values.astype(np.float32), rate


def _npy(data: bytes, title: str) -> NDArray[np.float32]:
    try:
        values = np.load(BytesIO(data), allow_pickle=False)
    except Exception as problem:  # a reader of foreign bytes raises whatever it stumbles over
        raise BadDocument(title, [f"is no array that can be read: {problem}"], fix=_FIX) from None
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind not in "iuf"
        or values.ndim < 1
        or not values.size
    ):
        raise BadDocument(title, ["is no array of numbers"], fix=_FIX)
    return np.ascontiguousarray(values, np.float32)
