"""What every store promises, as tests: subclass `StoreSuite`, give it a `store` and a `spoil`, and let pytest run it.

class TestMyStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path): return MyStore(tmp_path)
    def spoil(self, store, digest, data): ...       # overwrite the bytes at rest, behind the store's back
"""

# ruff: noqa: S101  (a suite of tests asserts)

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..errors import BadDocument, CorruptArtifact, NotFound
from ..store import Artifact, Source, Store

__all__ = ["StoreSuite"]

DATA = b"partita" * 1000
# Beyond one part of a multipart upload, and not a multiple of anything.
LARGE = bytes(range(251)) * 40_000
NOWHERE = hashlib.sha256(b"nobody put this").hexdigest()


class StoreSuite(ABC):
    """The contract of `partita.store.Store`."""

    @abstractmethod
    def spoil(self, store: Store, digest: str, data: bytes) -> None:
        """Overwrite what is at rest under a digest, as a failing disk would."""

    def test_it_is_a_store(self, store: Store) -> None:
        """All methods of the protocol are there."""
        assert isinstance(store, Store)

    @pytest.mark.parametrize("data", [b"", b"x", DATA, LARGE], ids=["empty", "byte", "small", "large"])
    def test_what_was_put_is_read(self, store: Store, data: bytes) -> None:
        """Digest and size are those of the bytes."""
        artifact = store.put(data)

        assert artifact == Artifact(hashlib.sha256(data).hexdigest(), len(data))
        assert store.stat(artifact.digest) == artifact
        assert store.read(artifact.digest, limit=len(data)) == data
        assert b"".join(store.chunks(str(artifact))) == data

    def test_every_kind_of_source_gives_the_same_artifact(self, store: Store, tmp_path: Path) -> None:
        """Bytes, views, files by path or handle, and pieces."""
        path = tmp_path / "source"
        path.write_bytes(LARGE)
        pieces = (LARGE[at : at + 99_999] for at in range(0, len(LARGE), 99_999))
        sources: list[Source] = [LARGE, bytearray(LARGE), memoryview(LARGE), path, io.BytesIO(LARGE), pieces]

        found = {store.put(source) for source in sources}

        assert len(found) == 1
        assert b"".join(store.chunks(found.pop().digest)) == LARGE

    def test_a_source_that_breaks_leaves_nothing(self, store: Store) -> None:
        """Half an artifact is none."""

        def broken() -> Iterator[bytes]:
            yield DATA
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.put(broken())

        assert list(store.artifacts()) == []

    def test_a_source_file_that_is_not_there_is_named(self, store: Store, tmp_path: Path) -> None:
        """Not the artifact is missing but the file."""
        with pytest.raises(NotFound, match="no-such-file"):
            store.put(tmp_path / "no-such-file")

    def test_an_artifact_is_fetched_into_a_file(self, store: Store, tmp_path: Path) -> None:
        """Folders on the way are made."""
        artifact = store.put(LARGE)

        path = store.fetch(artifact.digest, tmp_path / "deep" / "file")

        assert path.read_bytes() == LARGE

    def test_a_corrupt_artifact_is_never_handed_out_whole(self, store: Store, tmp_path: Path) -> None:
        """Read, chunks and fetch all end in the same error, and no file appears."""
        digest = store.put(DATA).digest
        self.spoil(store, digest, DATA[:-1] + b"?")
        target = tmp_path / "target"

        with pytest.raises(CorruptArtifact, match=digest):
            store.read(digest, limit=len(DATA))
        with pytest.raises(CorruptArtifact, match="put it again"):
            list(store.chunks(digest))
        with pytest.raises(CorruptArtifact, match=digest):
            store.fetch(digest, target)
        assert list(tmp_path.glob("target*")) == []

    def test_a_corrupt_artifact_heals_by_delete_and_put(self, store: Store) -> None:
        """What the error says to do helps."""
        digest = store.put(DATA).digest
        self.spoil(store, digest, b"other")

        store.delete(digest)
        store.put(DATA)

        assert store.read(digest, limit=len(DATA)) == DATA

    def test_what_is_not_there_is_not_found(self, store: Store, tmp_path: Path) -> None:
        """By every way of asking."""
        with pytest.raises(NotFound, match=NOWHERE):
            store.stat(NOWHERE)
        with pytest.raises(NotFound):
            list(store.chunks(NOWHERE))
        with pytest.raises(NotFound):
            store.fetch(NOWHERE, tmp_path / "f")

    def test_delete_forgets_and_may_be_repeated(self, store: Store) -> None:
        """The other artifacts stay."""
        one, two = store.put(b"one"), store.put(b"two")

        store.delete(one.digest)
        store.delete(one.digest)

        assert list(store.artifacts()) == [two]

    def test_artifacts_are_listed_in_order_and_once(self, store: Store) -> None:
        """Putting the same twice is one artifact."""
        put = {store.put(bytes([i % 20])) for i in range(40)}

        assert list(store.artifacts()) == sorted(put)

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "é" * 64])
    def test_a_digest_that_is_none_never_reaches_the_backend(self, store: Store, digest: str) -> None:
        """It could be a path."""
        with pytest.raises(BadDocument, match="SHA-256"):
            store.stat(digest)

    def test_read_refuses_more_than_its_limit(self, store: Store) -> None:
        """Before the bytes are read."""
        digest = store.put(DATA).digest

        with pytest.raises(BadDocument, match=f"{len(DATA)} bytes, and 6999 are read"):
            store.read(digest, limit=6999)

    def test_names_move_only_from_where_they_were(self, store: Store) -> None:
        """Compare and swap: from nothing, on, not from elsewhere, and to nothing again."""
        one, two = store.put(b"one").digest, store.put(b"two").digest

        assert store.resolve("models/a") is None
        assert not store.swap("models/a", one, two)
        assert store.swap("models/a", None, one)
        assert not store.swap("models/a", None, two)
        assert not store.swap("models/a", two, two)
        assert store.swap("models/a", one, two)
        assert store.resolve("models/a") == two
        assert store.swap("models/a", two, None)
        assert store.resolve("models/a") is None
        assert store.swap("models/a", None, one)

    def test_one_of_many_swaps_wins(self, store: Store) -> None:
        """From the same old value, at the same time."""
        digests = [store.put(bytes([i])).digest for i in range(8)]

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda digest: store.swap("latest", None, digest), digests))

        assert won.count(True) == 1
        assert store.resolve("latest") == digests[won.index(True)]

    def test_names_are_listed_in_order(self, store: Store) -> None:
        """Those that point to nothing are not."""
        digest = store.put(DATA).digest
        for name in ("b", "a/b", "a", "gone"):
            store.swap(name, None, digest)
        store.swap("gone", digest, None)

        assert list(store.names()) == [("a", digest), ("a/b", digest), ("b", digest)]

    @pytest.mark.parametrize(
        "name", ["", "/a", "a//b", "../a", "a/../b", ".hidden", "a b", "a%b", "ü", "x" * 300]
    )
    def test_a_name_that_could_lead_elsewhere_is_refused(self, store: Store, name: str) -> None:
        """Names are plain words between slashes."""
        with pytest.raises(BadDocument, match="name"):
            store.swap(name, None, NOWHERE)

    def test_many_writers_of_one_artifact_agree(self, store: Store) -> None:
        """Nobody sees a part of another's bytes."""
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: store.put(LARGE[:300_000]), range(16)))

        assert len(found) == 1
        assert store.read(found.pop().digest, limit=300_000) == LARGE[:300_000]
