"""Files of pieces: the right bytes, the right digest, all of a group or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.engine import onnx_copy
from partita.engine.onnx_copy import together, write_pieces
from partita.engine.onnx_wire import Piece, Span
from partita.errors import BadReference, CannotCapture


def refusing(number: int) -> Callable[..., Any]:
    """A system call that fails."""

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


def tree(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fill(folder: Path, *names: str, fail: bool = False) -> None:
    """Write a group of new files."""
    with together(folder) as scratch:
        for name in names:
            (scratch / name).write_bytes(b"new")
        if fail:
            raise ZeroDivisionError


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_is_its_pieces_with_zeros_between(data: st.DataObject, tmp_path: Path) -> None:
    """Bytes, ranges of the model, ranges of another file, gaps; whatever the chunk."""
    raw = data.draw(st.binary(min_size=1, max_size=300))
    model, other = tmp_path / "model", tmp_path / "other"
    model.write_bytes(raw)
    other.write_bytes(raw[::-1])
    pieces: list[tuple[Piece, int]] = []
    wanted = b""
    for _ in range(data.draw(st.integers(0, 5))):
        wanted += bytes(data.draw(st.integers(0, 40)))
        start, stop = sorted(data.draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
        kind = data.draw(st.sampled_from(["bytes", "model", "other"]))
        piece = raw[start:stop] if kind == "bytes" else Span(start, stop, other if kind == "other" else None)
        pieces.append((piece, len(wanted)))
        wanted += (raw[::-1] if kind == "other" else raw)[start:stop]
    target = tmp_path / "target"
    target.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_copy, "_CHUNK", 32)
        patch.setattr(onnx_copy, "_SMALL_COPY", 16)
        length, digest = write_pieces(pieces, model, target)

    assert target.read_bytes() == wanted
    assert (length, digest) == (len(wanted), hashlib.sha256(wanted).hexdigest())


@pytest.mark.parametrize("failing", ["copy_file_range", "lseek"])
def test_file_systems_that_do_not_help_cost_time_only(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without shared ranges and without holes the bytes are the same."""
    (tmp_path / "model").write_bytes(os.urandom(3 << 20))
    monkeypatch.setattr(os, failing, refusing(errno.EXDEV))
    span = Span(12345, (3 << 20) - 1)
    length, digest = write_pieces([(span, 8192)], tmp_path / "model", tmp_path / "part")
    wanted = bytes(8192) + (tmp_path / "model").read_bytes()[span.start : span.stop]

    assert (tmp_path / "part").read_bytes() == wanted
    assert (length, digest) == (len(wanted), hashlib.sha256(wanted).hexdigest())


@pytest.mark.parametrize("written", ["front", "middle", "back"])
def test_holes_stay_holes_and_are_digested_as_zeros(written: str, tmp_path: Path) -> None:
    """Eight megabytes of which four kilobytes are there."""
    size = 8 << 20
    at = {"front": 0, "middle": size // 2, "back": size - 4096}[written]
    with (tmp_path / "model").open("wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(b"\7" * 4096)
    if (tmp_path / "model").stat().st_blocks * 512 > size // 2:
        pytest.skip("this file system has no sparse files")
    _, digest = write_pieces([(Span(0, size), 0)], tmp_path / "model", tmp_path / "part")

    assert digest == hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest()
    assert digest == hashlib.sha256((tmp_path / "part").read_bytes()).hexdigest()
    assert (tmp_path / "part").stat().st_blocks * 512 < size // 2


def test_a_range_beyond_the_end_of_its_file_is_refused(tmp_path: Path) -> None:
    """It was all there when it was captured."""
    (tmp_path / "model").write_bytes(bytes(100))

    with pytest.raises(CannotCapture, match="ends at byte 100, but a weight goes on to byte 101"):
        write_pieces([(Span(50, 101), 0)], tmp_path / "model", tmp_path / "part")


def test_a_file_cut_short_while_it_is_copied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size was right a moment ago."""
    (tmp_path / "model").write_bytes(bytes(100))
    monkeypatch.setattr(os, "preadv", lambda *_: 0)

    with pytest.raises(CannotCapture, match="cut short while it was read"):
        write_pieces([(Span(0, 100), 0)], tmp_path / "model", tmp_path / "part")


def test_a_group_appears_at_its_end(tmp_path: Path) -> None:
    """Nothing before, all of it after, nothing beside it; an older file of the same name is replaced."""
    folder = tmp_path / "deep" / "parts"
    with together(folder) as scratch:
        (scratch / "a").write_bytes(b"1")
        assert tree(folder).keys() == {f"{scratch.name}/a"}
    with together(folder) as scratch:
        (scratch / "a").write_bytes(b"2")
        (scratch / "b").write_bytes(b"3")

    assert tree(folder) == {"a": b"2", "b": b"3"}


@pytest.mark.parametrize("there", [False, True])
def test_a_group_that_fails_leaves_the_folder_as_it_was(there: bool, tmp_path: Path) -> None:
    """With its files, or not there at all, like its parents."""
    folder = tmp_path / "deep" / "parts"
    if there:
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        fill(folder, "a", fail=True)

    assert tree(tmp_path) == ({"deep/parts/a": b"old"} if there else {})
    assert (tmp_path / "deep").exists() == there


@pytest.mark.parametrize("links", [False, True])
def test_a_move_that_fails_half_way_is_undone(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file was new, the second replaced an old one, the third could not be moved."""
    for name in ("b", "c"):
        (tmp_path / name).write_bytes(b"old")
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == tmp_path / "c" and self.parent.name.startswith(".partita-"):
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(BadReference, match="Input/output error"):
        fill(tmp_path, "a", "b", "c")

    assert tree(tmp_path) == {"b": b"old", "c": b"old"}


def test_a_folder_of_the_same_name_is_not_replaced(tmp_path: Path) -> None:
    """It is named, and nothing else is moved either."""
    (tmp_path / "b").mkdir()

    with pytest.raises(BadReference, match="b is a folder"):
        fill(tmp_path, "a", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.ENOSPC, "make room there"), (errno.EROFS, "that you may write to")]
)
def test_a_folder_that_takes_no_files_is_named(
    number: int, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason that the system gives, and the way out that fits it."""
    monkeypatch.setattr("tempfile.mkdtemp", refusing(number))
    with pytest.raises(BadReference, match=f"cannot write into .*parts: {os.strerror(number)}") as error:
        fill(tmp_path / "parts", "a")

    assert fix in error.value.fix
    assert not (tmp_path / "parts").exists()


def test_durable_files_are_on_the_disk_before_they_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file, and then the folder; not durable ones are left to the kernel."""
    seen: list[tuple[str, bool]] = []
    sync = os.fsync

    def counted(handle: int) -> None:
        seen.append((os.path.realpath(f"/proc/self/fd/{handle}"), (tmp_path / "parts" / "a").exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    for durable in (True, False):
        with together(tmp_path / "parts", durable=durable) as scratch:
            (scratch / "a").touch()
        if durable:
            assert seen == [(str(scratch / "a"), False), (str(tmp_path / "parts"), True)]

    assert len(seen) == 2
