"""Batches: reproducible, resumable, changed by augmentation, and as torch takes them."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partita.errors import BadDocument, BadReference, MissingExtra
from partita.zoo import DataSet, as_torch, open_data, parse_augment


@pytest.fixture
def data() -> DataSet:
    return open_data("made:digits?train=50", size=12).normalised(None)


def same(
    first: Iterator[tuple[np.ndarray, np.ndarray]], second: Iterator[tuple[np.ndarray, np.ndarray]]
) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in pairs)


def test_an_epoch_gives_every_sample_once(data: DataSet) -> None:
    """The last batch is what is left."""
    batches = list(data.batches(16, shuffle=True))

    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    assert np.array_equal(np.sort(np.concatenate([y for _, y in batches])), np.sort(data.labels))
    assert (batches[0][0].dtype, batches[0][0].shape) == (np.float32, (16, 1, 12, 12))


def test_epochs_and_seeds_have_orders_of_their_own(data: DataSet) -> None:
    """And each its own again and again."""
    first = [y.tolist() for _, y in data.batches(50, shuffle=True)]

    assert first == [y.tolist() for _, y in data.batches(50, shuffle=True)]
    assert first != [y.tolist() for _, y in data.batches(50, shuffle=True, epoch=1)]
    assert first != [y.tolist() for _, y in data.batches(50, shuffle=True, seed=1)]


def test_without_shuffling_the_order_is_that_of_the_data(data: DataSet) -> None:
    """For testing."""
    assert np.array_equal(np.concatenate([y for _, y in data.batches(7)]), data.labels)


def test_training_goes_on_with_the_batch_that_came_next(data: DataSet) -> None:
    """Augmentation included."""
    change = parse_augment("crop,flip,colour", "image")
    whole = list(data.batches(8, shuffle=True, epoch=3, augment=change))
    rest = data.batches(8, shuffle=True, epoch=3, step=4, augment=change)

    assert same(iter(whole[4:]), rest)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing_but_the_time(data: DataSet, workers: int) -> None:
    """Not the order, not the changes."""
    change = parse_augment("crop,flip", "image")
    alone = data.batches(8, shuffle=True, augment=change)

    assert same(alone, data.batches(8, shuffle=True, augment=change, workers=workers))


def test_threads_end_with_the_loop(data: DataSet) -> None:
    """Also when it is left early."""
    batches = data.batches(4, workers=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    assert not [t for t in threading.enumerate() if t.name.startswith("partita-data")]


def test_what_breaks_in_a_thread_reaches_the_loop(tmp_path: Path) -> None:
    """As the error it is."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    with pytest.raises(BadDocument, match=r"a/1\.png"):
        list(open_data(tmp_path, size=4).batches(1, workers=2))


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 1, "epoch": -1}, {"size": 1, "step": -1}])
def test_batches_that_mean_nothing_are_refused(data: DataSet, options: dict[str, int]) -> None:
    """At the call, not at the first batch."""
    with pytest.raises(BadReference, match="batches of"):
        data.batches(**options)


@pytest.mark.parametrize("name", ["crop", "flip", "colour"])
def test_augmentation_changes_copies_within_the_range_of_pixels(data: DataSet, name: str) -> None:
    """And not what it was given."""
    batch = np.random.default_rng(1).random((6, 3, 9, 9), np.float32)
    before = batch.copy()
    changed = parse_augment(name, "image")(batch, np.random.default_rng(0))

    assert np.array_equal(batch, before)
    assert (changed.shape, changed.dtype) == (batch.shape, np.float32)
    assert not np.array_equal(changed, batch)
    assert 0 <= changed.min() <= changed.max() <= 1


def test_a_flip_mirrors_some_and_a_crop_moves_each() -> None:
    """Pixel by pixel."""
    batch = np.random.default_rng(1).random((40, 1, 9, 9), np.float32)
    flipped = parse_augment("flip", "image")(batch, np.random.default_rng(0))
    moved = parse_augment("crop", "image")(batch, np.random.default_rng(0))
    mirrored = [np.array_equal(a, b[..., ::-1]) for a, b in zip(flipped, batch, strict=True)]

    assert 5 < sum(mirrored) < 35
    assert all(m or np.array_equal(a, b) for m, a, b in zip(mirrored, flipped, batch, strict=True))
    assert all(np.isin(a, b).all() for a, b in zip(moved, batch, strict=True))


def test_a_shift_moves_sounds_and_lets_silence_in() -> None:
    """By at most a tenth."""
    batch = np.ones((30, 100), np.float32)
    moved = parse_augment("shift", "audio")(batch, np.random.default_rng(0))
    silent = (moved == 0).sum(axis=1)

    assert 0 < silent.max() <= 10
    assert len(np.unique(silent)) > 3


def test_a_crop_of_a_tiny_picture_leaves_it() -> None:
    """There is nowhere to move."""
    batch = np.ones((2, 1, 1, 1), np.float32)

    assert np.array_equal(parse_augment("crop", "image")(batch, np.random.default_rng(0)), batch)


@pytest.mark.parametrize(
    ("text", "kind", "fix"), [("flop", "image", "flip"), ("crop", "audio", "shift"), ("x", "text", "none")]
)
def test_a_change_that_does_not_exist_is_refused(text: str, kind: str, fix: str) -> None:
    """With those of that kind."""
    with pytest.raises(BadReference, match=text) as caught:
        parse_augment(text, kind)
    assert fix in caught.value.fix


def test_normalisation_comes_after_augmentation(data: DataSet) -> None:
    """The border that a crop lets in is of the picture's own kind."""
    change = parse_augment("crop", "image")
    plain, _ = next(data.batches(50, augment=change))
    measured = data.measured_normalisation()
    normal, _ = next(data.normalised(measured).batches(50, augment=change))

    assert np.allclose(normal, measured(plain), atol=1e-6)


def test_torch_loads_the_same_samples(data: DataSet) -> None:
    """Through its own loader, with tensors of their own."""
    torch = pytest.importorskip("torch")
    batches = list(torch.utils.data.DataLoader(as_torch(data), batch_size=20))

    assert [tuple(x.shape) for x, _ in batches] == [(20, 1, 12, 12), (20, 1, 12, 12), (10, 1, 12, 12)]
    assert np.array_equal(batches[0][0].numpy(), next(data.batches(20))[0])
    assert batches[0][1].tolist() == data.labels[:20].tolist()


def test_every_process_opens_a_zip_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle that two share would give bytes of the wrong place; a process opens its own once."""
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as packed:
        for number in range(4):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "x.png")
            packed.write(tmp_path / "x.png", f"a/{number}.png")
    data = open_data(tmp_path / "z.zip", split="train+val+test", size=8).normalised(None)
    opened: list[object] = []
    plain = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda file: opened.append(file) or plain(file))
    for process in (1, 2):
        monkeypatch.setattr("os.getpid", lambda process=process: process)
        assert [round(float(data[n][0][0, 0, 0]) * 255) for n in range(4)] == [0, 1, 2, 3]

    assert len(opened) == 2


def test_torch_leaves_out_what_is_broken_where_that_is_allowed(tmp_path: Path) -> None:
    """A loader cannot skip."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"x")

    assert len(as_torch(open_data(tmp_path, size=4, skip_broken=True))) == 1


def test_without_torch_a_loader_cannot_be_had(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setattr("partita.zoo.data_torch.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="torch"):
        as_torch(data)
