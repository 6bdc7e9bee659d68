"""Images as files: decoded when they are asked for, cropped to one size.

Rules: every image becomes RGB; a picture of another shape is scaled until it covers the size asked for and cropped at the
centre, never distorted; without a size all pictures must have that of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, MissingExtra
from .data_folders import Filed
from .data_source import Kind, Listing, Size, first_readable, pair
from .data_tree import Tree

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
# Far above any photograph: more than this is a file made to fill the memory.
_LARGEST_PIXELS = 256 * 1024 * 1024


@dataclass(frozen=True)
class ImageFiles:
    """A source of image files."""

    tree: Tree
    filed: Filed
    size: Size = None

    kind: Kind = "image"

    @property
    def listing(self) -> Listing:
        """What there is."""
        return self.filed.listing

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Channels, height, width: as asked for, or as the first image has them."""
        wanted = pair(self.size)
        if wanted:
            return (3, *wanted)
        return first_readable(lambda index: self._decoded(index, None).shape, len(self.filed.files))

    def name(self, index: int) -> str:
        """The file."""
        return self.filed.files[index]

    def load(self, index: int) -> NDArray[Any]:
        """One image, uint8 [3, height, width]."""
        wanted = pair(self.size)
        image = self._decoded(index, wanted)
        if image.shape != self.shape:
            width, height = image.shape[2], image.shape[1]
            raise BadDocument(
                self.tree.title(self.name(index)),
                [
                    f"is {width}x{height}, the first image is {self.shape[2]}x{self.shape[1]}: "
                    "a network takes images of one size"
                ],
                fix="say which size they get: size=224",
            )
        return image

    def stamp(self) -> str:
        """Names and sizes of the files: reading every picture for it would take longer than training."""
        return stamp_files(self.tree, self.filed.files)

    def _decoded(self, index: int, wanted: tuple[int, int] | None) -> NDArray[np.uint8]:
        name = self.name(index)
        return decode(self.tree.read(name), wanted, self.tree.title(name))


def stamp_files(tree: Tree, files: tuple[str, ...]) -> str:
    """One line a file: name and bytes."""
    return sha256("\n".join(f"{name} {tree.sizes[name]}" for name in files).encode()).hexdigest()


def decode(data: bytes, wanted: tuple[int, int] | None, title: str) -> NDArray[np.uint8]:
    """The bytes of an image file as uint8 [3, height, width]."""
    require_pillow()
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as image:
            _check_pixels(image)
            if wanted:
                # A JPEG can be decoded at an eighth of its size, which saves most of the time of large photographs.
                image.draft("RGB", (wanted[1], wanted[0]))
            return _fitted(image.convert("RGB"), wanted)
    except Exception as problem:  # a decoder of foreign bytes raises whatever it stumbles over
        raise BadDocument(
            title,
            [f"is no image that can be read: {_line(problem)}"],
            fix="replace or remove it, or pass skip_broken=True to leave such files out",
        ) from None


def _check_pixels(image: Any) -> None:
    """Before a pixel is decoded."""
    if image.width * image.height > _LARGEST_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are too many")


def fit(pixels: NDArray[np.uint8], wanted: tuple[int, int]) -> NDArray[np.uint8]:
    """An array [channels, height, width] at another size; each channel on its own, so any number will do."""
    require_pillow()
    from PIL import Image

    return np.concatenate([_fitted(Image.fromarray(channel), wanted) for channel in pixels])


def require_pillow() -> None:
    """Refuse where Pillow is not installed."""
    if find_spec("PIL") is None:
        raise MissingExtra("Pillow", extra="vision", purpose="reading images")


def _fitted(image: Any, wanted: tuple[int, int] | None) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if wanted and (image.height, image.width) != wanted:
        image = ImageOps.fit(image, (wanted[1], wanted[0]), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(pixels)


def _line(problem: BaseException) -> str:
    """The first line of what a library says, without the address of a buffer in it."""
    return str(problem).partition("\n")[0].partition(" <_io")[0] or type(problem).__name__
