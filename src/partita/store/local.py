"""A store in a folder: `objects/ab/cdef...`, `names/...`, and `partial/` for what is still being written.

Three rules. A file appears under its digest by one rename, after its bytes are on the disk (fsync): never in part.
A writer holds a lock on its partial file, so whoever opens the folder later can tell the abandoned ones and sweeps them.
Names move under one lock file, so that compare-and-swap holds between processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, final

from ..errors import NotFound, StoreUnavailable
from .base import Artifact, Source, check_digest, check_name, chunks_of, missing, read_bounded, verified

__all__ = ["LocalStore", "write_whole"]


@final
class LocalStore:
    """Artifacts and names in one folder of one file system. POSIX only: it relies on flock and rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects, self._names, self._partial = root / "objects", root / "names", root / "partial"
        try:
            for folder in (self._objects, self._names, self._partial):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fix = "choose a folder that you may write to"
            raise StoreUnavailable(f"store folder {root} cannot be made: {error}", fix=fix) from error
        self.sweep()

    def put(self, source: Source) -> Artifact:
        """Keep these bytes. An artifact that is there already is replaced by the same bytes, which heals it."""
        found, size = hashlib.sha256(), 0
        with _partial_file(self._partial) as partial:
            for piece in chunks_of(source):
                found.update(piece)
                size += len(piece)
                partial.write(piece)
            artifact = Artifact(found.hexdigest(), size)
            partial.appear(self._path(artifact.digest))
        return artifact

    def stat(self, digest: str) -> Artifact:
        """The artifact without its bytes."""
        bare = check_digest(digest)
        try:
            return Artifact(bare, self._path(bare).stat().st_size)
        except FileNotFoundError:
            raise missing(bare) from None

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes in pieces, checked at the end."""
        artifact = self.stat(digest)
        return verified(artifact.digest, _pieces(self._path(artifact.digest)))

    def read(self, digest: str, *, limit: int) -> bytes:
        """All bytes of a small artifact."""
        return read_bounded(self.stat(digest), self.chunks(digest), limit)

    def fetch(self, digest: str, path: Path) -> Path:
        """Write the artifact to a file, complete or not at all."""
        return write_whole(path, self.chunks(digest))

    def delete(self, digest: str) -> None:
        """Forget the artifact."""
        self._path(check_digest(digest)).unlink(missing_ok=True)

    def artifacts(self) -> Iterator[Artifact]:
        """All artifacts, in the order of their digests."""
        for path in sorted(self._objects.glob("??/*")):
            with suppress(NotFound):  # deleted since the folder was read
                yield self.stat(path.parent.name + path.name)

    def resolve(self, name: str) -> str | None:
        """The digest a name points to."""
        try:
            return check_digest(self._name_path(name).read_text("ascii").strip())
        except FileNotFoundError:
            return None

    def swap(self, name: str, old: str | None, new: str | None) -> bool:
        """Compare and swap, between threads and processes alike."""
        path = self._name_path(name)
        wanted = None if new is None else check_digest(new)
        with (self.root / "names.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.resolve(name) != (None if old is None else check_digest(old)):
                return False
            if wanted is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, iter([wanted.encode("ascii")]), partial=self._partial)
        return True

    def names(self) -> Iterator[tuple[str, str]]:
        """All names with their digests."""
        for path in sorted(self._names.glob("*")):
            name = path.name.replace("%", "/")
            if digest := self.resolve(name):
                yield name, digest

    def sweep(self) -> int:
        """Remove partial files whose writer is gone; says how many."""
        return sum(_sweep(path) for path in self._partial.iterdir())

    def _path(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest[2:]

    def _name_path(self, name: str) -> Path:
        # Flat, so that `a` and `a/b` can both be names; `%` is not a letter of names.
        return self._names / check_name(name).replace("/", "%")


def write_whole(path: Path, pieces: Iterator[bytes], *, partial: Path | None = None) -> Path:
    """Write a file that appears complete or not at all, also across a power cut."""
    with _on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _partial_file(partial or path.parent) as unfinished:
        for piece in pieces:
            unfinished.write(piece)
        unfinished.appear(path)
    return path


@final
class _Partial:
    """A file that is still being written."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self._file = file

    def write(self, piece: bytes | memoryview) -> None:
        with _on_disk(self.path):
            self._file.write(piece)

    def appear(self, path: Path) -> None:
        """Give the file its name, after its bytes are on the disk."""
        with _on_disk(path):
            self._file.flush()
            os.fsync(self._file.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the rename itself must survive a power cut
            finally:
                os.close(folder)


@contextmanager
def _partial_file(folder: Path) -> Iterator[_Partial]:
    """A new file that this process holds the lock of; removed unless it was renamed."""
    while True:
        path = folder / f".partial-{secrets.token_hex(8)}"
        with _on_disk(path):
            file = path.open("xb")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                continue  # swept between its creation and its lock
            try:
                yield _Partial(path, file)
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """A disk that is full, read-only or gone is this store's fault, and not that of what was being stored."""
    try:
        yield
    except OSError as error:
        fix = "free some space, or check that the folder is there and may be written to"
        raise StoreUnavailable(f"{path} cannot be written: {error}", fix=fix) from error


def _sweep(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False  # its writer lives, or has just finished
    return True


def _pieces(path: Path) -> Iterator[bytes]:
    yield from chunks_of(path)  # type: ignore[misc]  # of a path, the pieces are bytes
