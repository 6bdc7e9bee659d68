"""Names and keys of runs, and the store in a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, FrameCorrupt, NotFound, StoreUnavailable
from partita.slice.event import Event, FolderStore, check_run, key_of, new_run
from partita.slice.payload import pack

UGLY = ["../../etc/passwd", "..", "/", "", "a" * 5000, "ü/b:c\\d", "a\0b"]


@pytest.mark.parametrize("run", ["", "..", "a/b", "-x", "a" * 65, "a b", "ü"])
def test_a_run_is_named_by_a_plain_word(run: str) -> None:
    with pytest.raises(BadDocument):
        check_run(run)


def test_every_run_has_a_name_of_its_own() -> None:
    assert len({check_run(new_run()) for _ in range(100)}) == 100


@pytest.mark.parametrize("tensor", UGLY)
def test_no_name_of_a_tensor_leaves_the_folder_of_its_run(tensor: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of("r", tensor), b"here")

    assert store.get(key_of("r", tensor)) == b"here"
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "runs" / "r"]


@given(st.text(), st.text())
def test_two_tensors_have_two_keys(left: str, right: str) -> None:
    assert (key_of("r", left) == key_of("r", right)) == (left == right)


@pytest.mark.parametrize("key", ["", "../x", "a//b", "/a", "a/.b", "a/../b"])
def test_a_key_that_is_no_key_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(BadDocument):
        FolderStore(tmp_path).get(key)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        FolderStore(tmp_path).get("runs/a/b")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder must be")
    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path).put("runs/a/b", b"x")


def test_a_run_is_forgotten_as_a_whole(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for run in ("a", "b"):
        store.put(key_of(run, "x"), b"1")
    store.forget("a")

    assert store.get(key_of("b", "x")) == b"1"
    with pytest.raises(NotFound):
        store.get(key_of("a", "x"))


@pytest.mark.parametrize("data", [b"", pack({}), pack({}, note=b"\x94\x01\x02\x03\x04")])
def test_bytes_that_are_no_event_are_refused(data: bytes) -> None:
    with pytest.raises(FrameCorrupt):
        Event.unpack(data)


def test_an_event_of_a_run_with_a_wild_name_is_refused() -> None:
    with pytest.raises(BadDocument, match="run"):
        Event.unpack(Event("../x", "p", 0).pack())
