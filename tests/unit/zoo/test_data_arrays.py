"""CIFAR's, MNIST's and numpy's files."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument, BadReference
from partita.zoo import open_data


def cifar(root: Path, *, count: int = 4, top: int = 9, labels: int = 1) -> Path:
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    files = (
        ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")
        if labels == 1
        else ("train.bin", "test.bin")
    )
    for name in files:
        pixels = rng.integers(0, 256, (count, 3072), np.uint8)
        marks = np.stack([np.full(count, top - n, np.uint8) for n in range(labels)][::-1], 1)
        (root / name).write_bytes(np.concatenate([marks, pixels], 1).tobytes())
    return root


def idx(values: np.ndarray) -> bytes:
    return (
        struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        + values.astype(np.uint8).tobytes()
    )


def mnist(root: Path, *, packed: bool = False) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", 20), ("t10k", 5)):
        pixels = np.arange(count * 12).reshape(count, 4, 3) % 256
        for name, values in (
            (f"{stem}-images-idx3-ubyte", pixels),
            (f"{stem}-labels-idx1-ubyte", np.arange(count) % 3),
        ):
            data = idx(values)
            (root / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return root


def test_cifar_10_is_read_record_by_record(tmp_path: Path) -> None:
    """One byte of label, then three planes of 32 by 32."""
    data = open_data(cifar(tmp_path / "cifar-10-batches-bin"), split="train+val").normalised(None)
    record = np.frombuffer(
        (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").read_bytes()[:3073], np.uint8
    )
    sample, label = data[4]

    assert (len(data), data.layout, data.classes[9], label) == (8, "CIFAR-10", "truck", 9)
    assert data.names[4] == "data_batch_2.bin#0"
    assert np.array_equal(np.rint(sample * 255).astype(np.uint8), record[1:].reshape(3, 32, 32))
    assert len(open_data(tmp_path, split="test")) == 4


def test_cifar_100_takes_the_fine_label(tmp_path: Path) -> None:
    """The second of two bytes."""
    cifar(tmp_path, labels=2, top=7)
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"class{n}" for n in range(8)))

    assert set(open_data(tmp_path).labels) == {7}
    assert open_data(tmp_path).classes[7] == "class7"


def test_cifar_opens_inside_a_zip(tmp_path: Path) -> None:
    """As it is, below the folder of its archive."""
    cifar(tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
        for file in (tmp_path / "c").iterdir():
            packed.write(file, f"cifar-10-batches-bin/{file.name}")

    assert np.array_equal(open_data(tmp_path / "c.zip")[0][0], open_data(tmp_path / "c")[0][0])


def test_cifar_cut_off_is_refused_with_every_file(tmp_path: Path) -> None:
    """Before anything is read from it."""
    cifar(tmp_path)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-7])
    with pytest.raises(BadDocument) as caught:
        open_data(tmp_path)
    assert [p.split(":")[0] for p in caught.value.problems] == ["data_batch_1.bin", "test_batch.bin"]


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    """With the file and the label."""
    with pytest.raises(
        BadDocument, match=r"data_batch_1.bin: label 11 is out of range: there are 10 classes"
    ):
        open_data(cifar(tmp_path, top=11))


def test_the_pickled_cifar_is_never_opened(tmp_path: Path) -> None:
    """A pickle runs code."""
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02]q\x00.")
    with pytest.raises(BadReference, match="runs what is in it") as caught:
        open_data(tmp_path)
    assert "cifar-10-binary" in caught.value.fix


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    """Images and labels are paired by how their names begin."""
    data = open_data(mnist(tmp_path, packed=packed), split="test").normalised(None)

    assert (len(data), data.shape, list(data.labels)) == (5, (1, 4, 3), [0, 1, 2, 0, 1])
    assert np.allclose(data[1][0][0, 0] * 255, [12, 13, 14])


def test_mnist_is_scaled_on_demand(tmp_path: Path) -> None:
    """To any size."""
    assert open_data(mnist(tmp_path), size=8)[0][0].shape == (1, 8, 8)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_cut_off_is_refused(tmp_path: Path, packed: bool) -> None:
    """What it states and what it holds."""
    file = mnist(tmp_path, packed=packed) / f"train-images-idx3-ubyte{'.gz' * packed}"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        BadDocument, match="cannot be unpacked" if packed else "states 20x4x3 and holds 231 bytes"
    ):
        open_data(tmp_path)


def test_mnist_without_labels_is_refused(tmp_path: Path) -> None:
    """The file that has no mate is named."""
    (mnist(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(BadDocument, match="t10k-images-idx3-ubyte: no labels"):
        open_data(tmp_path)


def test_mnist_with_more_images_than_labels_is_refused(tmp_path: Path) -> None:
    """Both counts are told."""
    (mnist(tmp_path) / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(4)))
    with pytest.raises(BadDocument, match=r"5 images, t10k-labels-idx1-ubyte 4 labels"):
        open_data(tmp_path)


@pytest.mark.parametrize("shape", [(10, 6, 5), (10, 6, 5, 3), (10, 3, 6, 5)])
def test_an_npz_of_images_puts_channels_first(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Wherever it has them."""
    np.savez(tmp_path / "set.npz", images=np.zeros(shape, np.uint8), labels=np.arange(10) % 2)
    data = open_data(tmp_path / "set.npz")

    assert data.shape == ((1 if len(shape) == 3 else 3), 6, 5)
    assert (data.kind, data.classes, len(data)) == ("image", ("0", "1"), 8)


def test_an_npz_may_hold_its_splits_and_class_names(tmp_path: Path) -> None:
    """Under the names that are usual; compressed or not."""
    x, y = np.zeros((4, 5, 5), np.uint8), np.array([[0], [1], [1], [0]])
    np.savez_compressed(
        tmp_path / "set.npz",
        train_images=x,
        train_labels=y,
        x_test=x[:2],
        y_test=y[:2],
        classes=np.array(["a", "b"]),
    )

    assert open_data(tmp_path, split="train+val").counts == {"a": 2, "b": 2}
    assert open_data(tmp_path, split="test").names == ("set.npz:test#0", "set.npz:test#1")


def test_a_table_of_numbers_is_a_table(tmp_path: Path) -> None:
    """Two dimensions, taken as they are."""
    np.savez(tmp_path / "t.npz", x=np.arange(40.0).reshape(10, 4), y=np.arange(10) % 2)
    data = open_data(tmp_path / "t.npz")

    assert (data.kind, data.shape, data.normalisation) == ("table", (4,), None)
    assert data[0][0].dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"pixels": np.zeros(3)}, "the arrays pixels are none that we know"),
        ({"images": np.zeros((3, 2, 2), np.uint8)}, "images: there are no labels"),
        ({"x": np.zeros((3, 2, 2), np.uint8), "y": np.zeros(2, int)}, "y: 2 labels for 3 samples"),
        ({"x": np.zeros((3, 2, 2), np.uint8), "y": np.zeros(3)}, "y: float64"),
        ({"x": np.zeros((3, 2, 2), np.int32), "y": np.zeros(3, int)}, "pixels of int32"),
        ({"x": np.full((3, 2, 2), 9.0), "y": np.zeros(3, int)}, "range from 9 to 9"),
        ({"x": np.full((3, 2, 2), np.nan), "y": np.zeros(3, int)}, "range from nan"),
        ({"x": np.zeros((3, 2, 2), np.uint8), "y": np.array([0, -1, 2])}, "negative"),
        (
            {"x": np.zeros((2, 2, 2), np.uint8), "y": np.array([0, 2]), "classes": np.array(["a"])},
            "2 is out of range",
        ),
        ({"x": np.zeros((3, 2, 9, 9), np.uint8), "y": np.zeros(3, int)}, "neither images nor a table"),
        ({"x": np.array([{}, {}], object), "y": np.zeros(2, int)}, "pickled"),
    ],
)
def test_an_npz_that_cannot_be_used_says_why(
    tmp_path: Path, arrays: dict[str, np.ndarray], problem: str
) -> None:
    """With the array."""
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(BadDocument) as caught:
        open_data(tmp_path / "set.npz")
    assert problem in caught.value.problem


def test_an_npz_cut_off_is_refused(tmp_path: Path) -> None:
    """By its name."""
    np.savez(tmp_path / "set.npz", x=np.zeros((9, 9)), y=np.zeros(9, int))
    (tmp_path / "set.npz").write_bytes((tmp_path / "set.npz").read_bytes()[:300])
    with pytest.raises(BadDocument, match=r"set\.npz"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("data", "sentence", "fix"),
    [
        (b"\x80\x04]\x94.", "is a pickle", "plain files"),
        (gzip.compress(b"x" * 99), "is packed with gzip", "tar -xzf"),
        (b"\x93NUMPY\x01\0", "without labels", ".npz"),
        (b"\0" * 257 + b"ustar" + b"\0" * 99, "is a tar archive", "tar -xf"),
        (b"\xff\xfe\0\0" * 9, "no data that is recognised", "made:shapes"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_first_bytes(
    tmp_path: Path, data: bytes, sentence: str, fix: str
) -> None:
    """Whatever it is called."""
    (tmp_path / "data.txt").write_bytes(data)
    with pytest.raises(BadReference) as caught:
        open_data(tmp_path / "data.txt")
    assert sentence in caught.value.problem
    assert fix in caught.value.fix
