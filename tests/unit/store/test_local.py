"""The store in a folder: the contract, and what files and processes add to it."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from partita.errors import BadDocument, StoreUnavailable
from partita.store import LocalStore
from partita.store.local import write_whole
from partita.testing.store_suite import StoreSuite

# Says when it is in the middle of a write, and then waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from partita.store import LocalStore
def pieces():
    yield bytes(3_000_000)
    print("writing", flush=True)
    time.sleep(60)
LocalStore(Path(sys.argv[1])).put(pieces())
"""


class TestLocalStore(StoreSuite):
    """The contract of stores."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "store")

    def spoil(self, store: LocalStore, digest: str, data: bytes) -> None:
        (store.root / "objects" / digest[:2] / digest[2:]).write_bytes(data)


def test_a_writer_killed_in_the_middle_leaves_a_partial_file_that_the_next_one_sweeps(tmp_path: Path) -> None:
    """While it lives its file is left alone; after SIGKILL it is gone, and no artifact ever appeared."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            alive = LocalStore(tmp_path)
            assert len(list((tmp_path / "partial").iterdir())) == 1
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()

    assert alive.sweep() == 1
    assert list((tmp_path / "partial").iterdir()) == []
    assert list(alive.artifacts()) == []


def test_a_put_heals_a_corrupt_file(tmp_path: Path) -> None:
    """The rename puts the right bytes over the wrong ones."""
    store = LocalStore(tmp_path)
    digest = store.put(b"right").digest
    (tmp_path / "objects" / digest[:2] / digest[2:]).write_bytes(b"wrong")

    store.put(b"right")

    assert store.read(digest, limit=9) == b"right"


def test_a_large_file_passes_through_in_pieces(tmp_path: Path) -> None:
    """No more than a chunk is read at once."""
    source = tmp_path / "source"
    source.write_bytes(bytes(5_000_000))
    store = LocalStore(tmp_path / "store")

    sizes = [len(piece) for piece in store.chunks(store.put(source).digest)]

    assert max(sizes) == 1 << 20
    assert sum(sizes) == 5_000_000


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="file"):
        LocalStore(tmp_path / "file")


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    """And leaves no partial file behind."""
    path = tmp_path / "file"
    path.write_text("old")

    def broken() -> object:
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_whole(path, broken())

    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_name_file_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    """A pointer must be a digest."""
    store = LocalStore(tmp_path)
    (tmp_path / "names" / "odd").write_text("/etc/passwd")

    with pytest.raises(BadDocument, match="SHA-256"):
        store.resolve("odd")


def test_a_file_swept_between_its_creation_and_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which a living writer looks dead."""
    store = LocalStore(tmp_path)
    lock, swept = fcntl.flock, []

    def late(file: object, how: int) -> None:
        if not swept:
            swept.extend(path.unlink() or path for path in (tmp_path / "partial").iterdir())
        lock(file, how)

    monkeypatch.setattr("partita.store.local.fcntl.flock", late)
    digest = store.put(b"data").digest

    assert len(swept) == 1
    assert store.read(digest, limit=9) == b"data"


def test_a_name_that_goes_while_names_are_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing is not a transaction."""
    store = LocalStore(tmp_path)
    store.swap("here", None, store.put(b"data").digest)

    monkeypatch.setattr(LocalStore, "resolve", lambda *_: None)

    assert list(store.names()) == []


def test_a_full_disk_is_the_stores_fault_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the way out, and no partial file stays."""
    store = LocalStore(tmp_path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("partita.store.local.os.fsync", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            store.put(b"data")

    assert list(store.artifacts()) == []
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_folder_as_a_source_is_refused(tmp_path: Path) -> None:
    """It cannot be read as a file."""
    with pytest.raises(BadDocument, match="cannot be read"):
        LocalStore(tmp_path / "store").put(tmp_path)
