"""The files of a data set, whether they lie in a folder or in a zip: names, sizes, bytes.

Rules: names are listed once, sorted, with `/` between, so that two machines see the same list; nothing is read before it
is asked for; hidden files count for nothing; what is read stays below a bound.
"""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, BadReference

# One file of a data set that is read whole. The largest text of the sets we know is 1.3 GB, of images 190 MB.
LARGEST = 2 * 1024**3


class Files(Protocol):
    """Where bytes come from, by name."""

    def read(self, name: str, count: int | None = None) -> bytes:
        """The first `count` bytes of a file, or all."""
        ...

    def path(self, name: str) -> Path | None:
        """Where it lies on disk, if it does."""
        ...


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """Files on disk."""

    root: Path

    def read(self, name: str, count: int | None = None) -> bytes:
        """The first `count` bytes of a file, or all."""
        with (self.root / name).open("rb") as file:
            return file.read(-1 if count is None else count)

    def path(self, name: str) -> Path | None:
        """Where it lies."""
        return self.root / name


class ZipFiles:
    """Files in a zip. Every process opens its own: two that share a handle would move each other's position."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ZipFiles, (self.file,)

    def read(self, name: str, count: int | None = None) -> bytes:
        """The first `count` bytes of a file, or all; a checksum that does not match is told."""
        try:
            with self._lock:
                if self._opened is None or self._opened[0] != os.getpid():
                    self._opened = (os.getpid(), zipfile.ZipFile(self.file))
                with self._opened[1].open(name) as member:
                    return member.read(-1 if count is None else count)
        except (OSError, KeyError):
            raise
        except Exception as problem:  # a reader of foreign bytes raises whatever it stumbles over
            raise BadDocument(
                f"{self.file}/{name}", [f"cannot be unpacked: {problem}"], fix="fetch the zip again"
            ) from None

    def path(self, name: str) -> Path | None:  # noqa: ARG002  # the other kind has one
        """Nowhere: a member of a zip has no path."""
        return None


@dataclass(frozen=True)
class Tree:
    """The files below a place. `sizes` maps each name to its bytes, `folders` holds the empty ones too."""

    where: str
    files: Files
    sizes: Mapping[str, int]
    folders: frozenset[str]
    prefix: str = ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All files, sorted."""
        return tuple(sorted(self.sizes))

    @cached_property
    def top_files(self) -> tuple[str, ...]:
        """Files that lie here and in no sub-folder."""
        return tuple(n for n in self.names if "/" not in n)

    @cached_property
    def top_folders(self) -> tuple[str, ...]:
        """Sub-folders of this place."""
        return tuple(sorted(f for f in self.folders if "/" not in f))

    def below(self, folder: str) -> Tree:
        """The tree of one sub-folder."""
        start = f"{folder}/"
        return Tree(
            f"{self.where}/{folder}",
            self.files,
            {n.removeprefix(start): s for n, s in self.sizes.items() if n.startswith(start)},
            frozenset(f.removeprefix(start) for f in self.folders if f.startswith(start)),
            self.prefix + start,
        )

    def title(self, name: str) -> str:
        """A file as an error names it."""
        return f"{self.where}/{name}" if name else self.where

    def path(self, name: str) -> Path | None:
        """Where a file lies on disk, if it does."""
        return self.files.path(self.prefix + name)

    def read(self, name: str, count: int | None = None) -> bytes:
        """The first `count` bytes of a file, or all of it if it is not too large."""
        if count is None and self.sizes.get(name, 0) > LARGEST:
            size = self.sizes[name]
            raise BadDocument(
                self.title(name), [f"{size} bytes are more than the {LARGEST} read at once"], fix="divide it"
            )
        try:
            return self.files.read(self.prefix + name, count)
        except (OSError, KeyError) as problem:
            raise BadDocument(
                self.title(name),
                [f"cannot be read: {problem}"],
                fix="the files changed after they were listed, or may not be read: open the data again",
            ) from None

    def text(self, name: str) -> str:
        """A text file; what is no UTF-8 is told with its position."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise BadDocument(
                self.title(name), [f"is no UTF-8 text: {problem}"], fix="save it as UTF-8"
            ) from None

    def lines(self, name: str) -> list[str]:
        """The lines of a text file that are not empty, without the blanks around them."""
        return [line for raw in self.text(name).splitlines() if (line := raw.strip())]

    def array(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a file as an array: mapped where it lies on disk, read where it does not."""
        place = self.path(name)
        if place is not None and self.sizes[name]:
            return np.memmap(place, np.uint8, mode="r")
        return np.frombuffer(self.read(name), np.uint8)


def open_data_tree(place: Path) -> Tree:
    """The tree of a folder, of a zip, or of one file alone."""
    if place.is_dir():
        return _folder(place)
    if zipfile.is_zipfile(place):
        try:
            with zipfile.ZipFile(place) as opened:
                members = opened.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
            raise BadDocument(
                str(place), [f"is no zip that can be read: {problem}"], fix="fetch it again"
            ) from None
        # Arrays and nothing else are an npz: numpy reads those.
        if not all(m.filename.endswith(".npy") and "/" not in m.filename for m in members):
            return _zip(place, members)
    return Tree(str(place.parent), FolderFiles(place.parent), {place.name: place.stat().st_size}, frozenset())


def _folder(root: Path) -> Tree:
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    # Links to folders are common where data is shared; a folder already seen is not entered again.
    seen: set[str] = set()
    for here, below, files in os.walk(root, followlinks=True, onerror=_unreadable):
        seen.add(os.path.realpath(here))
        below[:] = sorted(
            b
            for b in below
            if _shown(b) and os.path.realpath(os.path.join(here, b)) not in seen  # noqa: PTH118  # a million files
        )
        at = Path(here).relative_to(root).as_posix()
        start = "" if at == "." else f"{at}/"
        folders.update(start + b for b in below)
        for name in filter(_shown, files):
            try:
                sizes[start + name] = os.stat(os.path.join(here, name)).st_size  # noqa: PTH116, PTH118
            except OSError as problem:
                _unreadable(problem)
    return Tree(str(root), FolderFiles(root), sizes, frozenset(folders))


def _unreadable(problem: OSError) -> None:
    raise BadReference(
        f"{problem.filename} cannot be read: {problem.strerror}", fix="give yourself the right to read it"
    ) from None


def _zip(file: Path, members: Sequence[zipfile.ZipInfo]) -> Tree:
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    for member in members:
        steps = member.filename.rstrip("/").split("/")
        if not all(map(_shown, steps)):
            continue
        last = len(steps) + 1 if member.is_dir() else len(steps)
        folders.update("/".join(steps[:n]) for n in range(1, last))
        if not member.is_dir():
            sizes[member.filename] = member.file_size
    return Tree(str(file), ZipFiles(file), sizes, frozenset(folders))


def _shown(name: str) -> bool:
    """Whether a name counts: not hidden, and not what a Mac puts into zips."""
    return bool(name) and not name.startswith(".") and name != "__MACOSX"
