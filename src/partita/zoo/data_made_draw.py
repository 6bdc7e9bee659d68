"""How made-up samples are drawn: figures by their distance, digits by a dot matrix, tones by their pitch, phrases by words.

Rules: pure functions of a generator, a label and the noise; the label is never in anything but the figure itself: colour,
place, size and loudness say nothing about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SHAPES = ("circle", "ring", "square", "triangle", "cross", "bar", "star", "dots")
DIGITS = tuple("0123456789")
TONES = ("low", "high", "rising", "falling", "pulses", "warble")

_Plane = NDArray[np.float64]

# Five columns and seven rows a digit; each number is a row, its bits the dots.
_DOTS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)
_GOOD = ("good", "lovely", "great", "warm", "clever", "delightful", "strong", "brilliant")
_BAD = ("bad", "dull", "awful", "cold", "stupid", "tiresome", "weak", "dreadful")
_THINGS = ("film", "story", "meal", "song", "book", "room", "play", "trip", "game", "photo")
_FILLERS = ("this", "really", "quite", "so", "today", "again", "to me", "in the end", "all in all", "somehow")


def picture_of_shape(rng: Generator, label: int, noise: float, size: tuple[int, int]) -> NDArray[Any]:
    """A figure, uint8 [3, height, width]."""
    x, y = _turned(rng, size, scale=(0.5, 0.8), turn=np.pi)
    # One pixel of soft edge, measured in the figure's own units.
    cover = np.clip(0.5 - _distance(label, x, y) * min(size) * 0.33, 0, 1)
    back, front = _colours(rng)
    pixels = back[:, None, None] * (1 - cover) + front[:, None, None] * cover
    return _noisy(rng, pixels, noise)


def picture_of_digit(rng: Generator, label: int, noise: float, size: tuple[int, int]) -> NDArray[Any]:
    """A digit, uint8 [1, height, width]."""
    x, y = _turned(rng, size, scale=(0.6, 0.9), turn=0.3)
    x = x + rng.uniform(-0.3, 0.3) * y
    dots = np.array([[row >> (4 - column) & 1 for column in range(5)] for row in _DOTS[label]], float)
    grid = np.pad(dots, 2)
    # The matrix is 5 wide and 7 high; between its dots, brightness runs linearly.
    column, row = (x / 0.7 + 1) * 2.5 + 1.5, (y + 1) * 3.5 + 1.5
    cover = _between(grid, row, column)
    back, front = sorted(rng.uniform((0, 0.55), (0.35, 1)))
    return _noisy(rng, (back + (front - back) * cover)[None], noise)


def sound_of_tone(rng: Generator, label: int, noise: float, size: tuple[int, int]) -> NDArray[Any]:
    """A sound, float32 [length], from -1 to 1. Pitches are stated in cycles a sample length."""
    length = size[1]
    at = np.arange(length) / length
    low, high = rng.uniform(0.02, 0.04) * length, rng.uniform(0.09, 0.12) * length
    middle = (low + high) / 2
    pitch = {
        "low": low + 0 * at,
        "high": high + 0 * at,
        "rising": low + (high - low) * at,
        "falling": high + (low - high) * at,
        "pulses": middle + 0 * at,
        "warble": middle * (1 + 0.35 * np.sin(2 * np.pi * rng.uniform(5, 8) * at)),
    }[TONES[label]]
    wave = np.sin(2 * np.pi * (np.cumsum(pitch) / length + rng.uniform()))
    if TONES[label] == "pulses":
        wave *= np.sin(2 * np.pi * (rng.uniform(5, 8) * at + rng.uniform())) > 0
    heard = rng.uniform(0.3, 0.9) * wave + rng.normal(0, noise * rng.uniform(0, 0.6), length)
    return np.clip(heard, -1, 1).astype(np.float32)


def phrase(rng: Generator, label: int, noise: float) -> str:
    """A sentence that is good (1) or bad (0). A third say it by the contrary; noise adds words that mean nothing."""
    negated = rng.uniform() < 1 / 3
    words = _GOOD if bool(label) != negated else _BAD
    verdict = f"{'not ' if negated else ''}{words[rng.integers(len(words))]}"
    before = [_FILLERS[n] for n in rng.integers(len(_FILLERS), size=rng.integers(0, 2 + round(6 * noise)))]
    after = [_FILLERS[n] for n in rng.integers(len(_FILLERS), size=rng.integers(0, 2 + round(6 * noise)))]
    return " ".join([*before, "the", _THINGS[rng.integers(len(_THINGS))], "was", verdict, *after])


def _distance(label: int, x: _Plane, y: _Plane) -> Any:
    """How far a point lies outside a figure of about radius one; negative inside."""
    radius = np.hypot(x, y)
    wide, high = np.abs(x), np.abs(y)
    match SHAPES[label]:
        case "circle":
            return radius - 0.95
        case "ring":
            return np.abs(radius - 0.78) - 0.2
        case "square":
            return np.maximum(wide, high) - 0.8
        case "triangle":
            return np.maximum(0.866 * wide + 0.5 * y, -y) - 0.5
        case "cross":
            return np.minimum(np.maximum(wide - 0.28, high - 1), np.maximum(wide - 1, high - 0.28))
        case "bar":
            return np.maximum(wide - 1, high - 0.25)
        case "star":
            return radius - (0.62 + 0.36 * np.cos(5 * np.arctan2(y, x)))
        case _:
            return np.minimum(np.hypot(x - 0.6, y), np.hypot(x + 0.6, y)) - 0.36


def _turned(
    rng: Generator, size: tuple[int, int], *, scale: tuple[float, float], turn: float
) -> tuple[_Plane, _Plane]:
    """The points of a picture as a figure sees them that was scaled, turned and moved."""
    height, width = size
    grow = rng.uniform(*scale)
    room = 1 - grow
    y, x = np.mgrid[:height, :width]
    x = (2 * x + 1 - width) / min(size) - rng.uniform(-room, room)
    y = (2 * y + 1 - height) / min(size) - rng.uniform(-room, room)
    angle = rng.uniform(-turn, turn)
    cos, sin = np.cos(angle) / grow, np.sin(angle) / grow
    return cos * x - sin * y, sin * x + cos * y


def _colours(rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two colours that differ by at least a quarter of the brightness in the mean of their channels."""
    back = rng.uniform(0, 1, 3)
    front = rng.uniform(0, 1, 3)
    while np.abs(back - front).mean() < 0.25:
        front = rng.uniform(0, 1, 3)
    return back, front


def _between(grid: _Plane, row: _Plane, column: _Plane) -> Any:
    """Values of a grid between its points; the grid's border beyond it."""
    row, column = np.clip(row, 0, grid.shape[0] - 1.001), np.clip(column, 0, grid.shape[1] - 1.001)
    top, left = row.astype(int), column.astype(int)
    down, right = row - top, column - left
    upper = grid[top, left] * (1 - right) + grid[top, left + 1] * right
    lower = grid[top + 1, left] * (1 - right) + grid[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _noisy(rng: Generator, pixels: _Plane, noise: float) -> NDArray[np.uint8]:
    """Pixels from 0 to 1 with noise of a strength of the sample's own."""
    pixels = pixels + rng.normal(0, noise * rng.uniform(0, 1) * 0.5 + 1e-9, pixels.shape)
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
