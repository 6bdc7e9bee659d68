"""Damaged files: whatever their bytes are, data opens, or is refused with the file's name and a way out."""

from __future__ import annotations

import io
import tempfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partita.errors import BadDocument, BadReference, MissingExtra, NotFound, PartitaError
from partita.zoo import open_data
from partita.zoo.data_tree import FolderFiles, Tree


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9), (3, 4, 5)).save(out, "PNG")
    return out.getvalue()


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, 50, 50, "NONE", ""))
        sound.writeframes(b"\1\2" * 50)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.zeros((20, 4, 4), np.uint8), y=np.arange(20) % 3)
    return out.getvalue()


def packed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in ("a/1.png", "a/2.png", "b/1.png"):
            made.writestr(name, png())
    return out.getvalue()


CASES: dict[str, Callable[[], bytes]] = {
    "a/1.png": png,
    "a/1.wav": wav,
    "set.npz": npz,
    "set.zip": packed,
    "t.tsv": lambda: b"sentence\tlabel\n" + b"good one\t1\nbad one\t0\n" * 5,
    "data_batch_1.bin": lambda: bytes(3073 * 3),
}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.data())
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it repairs
def test_no_damage_escapes_as_anything_but_an_error_of_ours(name: str, data: st.DataObject) -> None:
    """Cut off anywhere, any byte changed."""
    bytes_ = bytearray(CASES[name]())
    for _ in range(data.draw(st.integers(0, 3))):
        bytes_[data.draw(st.integers(0, min(len(bytes_) - 1, 200)))] = data.draw(st.integers(0, 255))
    bytes_ = bytes_[: data.draw(st.integers(0, len(bytes_)) | st.just(len(bytes_)))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes_)
        place = file if name in ("set.zip", "t.tsv") else Path(folder)
        try:
            samples = open_data(place, split="train+val+test")
            count = sum(len(labels) for _, labels in samples.batches(4))
        except PartitaError as problem:
            assert isinstance(problem, BadDocument | BadReference | NotFound | MissingExtra)
            assert problem.fix
        else:
            assert count == len(samples) > 0


def test_a_zip_that_is_damaged_inside_names_its_member(tmp_path: Path) -> None:
    """The others can still be used."""
    data = bytearray(packed())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    (tmp_path / "set.zip").write_bytes(data)
    samples = open_data(tmp_path / "set.zip", split="train+val+test", skip_broken=True)

    assert sum(len(labels) for _, labels in samples.batches(3)) == 2
    assert "cannot be unpacked" in samples.skipped["a/1.png"]


def test_a_file_far_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """By the size that was listed."""
    tree = Tree(str(tmp_path), FolderFiles(tmp_path), {"x.txt": 3 * 1024**3}, frozenset())
    with pytest.raises(BadDocument, match="more than the 2147483648 read at once"):
        tree.read("x.txt")


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    """And the file is listed once."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(png())
    (tmp_path / "a" / "back").symlink_to(tmp_path)

    assert open_data(tmp_path).names == ("a/1.png",)


def test_several_arrays_without_splits_in_their_names_are_refused(tmp_path: Path) -> None:
    """Nobody can know what each is for."""
    for name in ("one.npz", "train.npz"):
        (tmp_path / name).write_bytes(npz())
    with pytest.raises(BadReference, match=r"one\.npz names no split"):
        open_data(tmp_path)


def test_arrays_of_bytes_are_scaled_and_arrays_of_shares_are_not(tmp_path: Path) -> None:
    """A picture of floats cannot go through Pillow."""
    np.savez(tmp_path / "b.npz", x=np.zeros((9, 4, 4), np.uint8), y=np.zeros(9, int))
    np.savez(tmp_path / "f.npz", x=np.ones((9, 4, 4)), y=np.zeros(9, int))

    assert open_data(tmp_path / "b.npz", size=6)[0][0].shape == (1, 6, 6)
    assert open_data(tmp_path / "f.npz", size=4).normalised(None)[0][0].max() == 1
    with pytest.raises(BadDocument, match="cannot be scaled"):
        open_data(tmp_path / "f.npz", size=6)[0]


def test_a_validation_table_that_names_missing_files_is_refused(tmp_path: Path) -> None:
    """Line by line."""
    for name in ("train/n1/images/a.JPEG", "val/images/v0.JPEG"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(png())
    (tmp_path / "val" / "val_annotations.txt").write_text("v0.JPEG\n\nv9.JPEG\tn1\n")
    with pytest.raises(BadDocument) as caught:
        open_data(tmp_path)
    assert caught.value.problems == ("line 1: no class for 'v0.JPEG'", "line 3: no file val/images/v9.JPEG")


def test_a_share_that_is_none_and_a_position_that_is_not_there_are_refused() -> None:
    """As any sequence does it."""
    data = open_data("made:digits?train=10")
    with pytest.raises(BadReference, match="share"):
        data.divided(1.5)
    with pytest.raises(IndexError):
        data[10]
    with pytest.raises(BadReference, match="no channels"):
        open_data("made:phrases?train=10").measured_normalisation()


def test_a_broken_first_file_does_not_hide_the_shape_of_the_others(tmp_path: Path) -> None:
    """The next one states it; if none can be read, the first one's error does."""
    for number in range(3):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.wav").write_bytes(wav() if number else b"x")
    data = open_data(tmp_path, split="train+val+test", skip_broken=True)

    assert (data.shape, len(data.sound())) == ((50,), 2)
    for number in (1, 2):
        (tmp_path / "a" / f"{number}.wav").write_bytes(b"x")
    with pytest.raises(BadDocument, match=r"a/0\.wav"):
        _ = open_data(tmp_path).shape
