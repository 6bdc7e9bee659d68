"""Folders of classes in the layouts that people keep."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from partita.errors import BadDocument, BadReference
from partita.zoo import open_data


def images(root: Path, *names: str, size: tuple[int, int] = (6, 4)) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(file)
    return root


@pytest.fixture
def food(tmp_path: Path) -> Path:
    """Two dishes, four pictures, with lists."""
    images(tmp_path, *(f"images/{dish}/{n}.jpg" for dish in ("pie", "ramen") for n in (1, 2)))
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "train.txt").write_text("pie/1\nramen/1\n")
    (tmp_path / "meta" / "test.txt").write_text("pie/2\nramen/2\n")
    return tmp_path


def test_food_101_keeps_its_lists(food: Path) -> None:
    """Files stand there without suffix."""
    data = open_data(food, split="test")

    assert data.layout == "Food-101"
    assert data.names == ("images/pie/2.jpg", "images/ramen/2.jpg")
    assert data.classes == ("pie", "ramen")


def test_food_101_keeps_the_order_of_its_classes(food: Path) -> None:
    """meta/classes.txt states it."""
    (food / "meta" / "classes.txt").write_text("ramen\npie\n")

    assert open_data(food).classes == ("ramen", "pie")


def test_food_101_without_lists_is_drawn(food: Path) -> None:
    """All four take part."""
    for name in ("train.txt", "test.txt"):
        (food / "meta" / name).unlink()

    assert len(open_data(food)) == 4


def test_a_list_with_a_file_that_is_missing_is_refused(food: Path) -> None:
    """With the list and the line."""
    (food / "meta" / "test.txt").write_text("pie/2\npie/99\n")
    with pytest.raises(BadDocument, match=r"meta/test.txt: 'pie/99' is no file"):
        open_data(food)


def test_split_folders_may_be_called_as_people_call_them(tmp_path: Path) -> None:
    """training, validation, testing."""
    images(tmp_path, "training/a/1.png", "training/b/1.png", "validation/a/2.png", "testing/b/3.png")

    assert open_data(tmp_path, split="val").names == ("validation/a/2.png",)
    assert open_data(tmp_path, split="test").counts == {"a": 0, "b": 1}


def test_tiny_imagenet_finds_validation_classes_in_its_table(tmp_path: Path) -> None:
    """Its test pictures carry no labels and take no part."""
    images(tmp_path, *(f"train/{c}/images/{c}_{n}.JPEG" for c in ("n01", "n02") for n in range(10)))
    images(tmp_path, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    (tmp_path / "train" / "n01" / "n01_boxes.txt").write_text("n01_0.JPEG\t0\t0\t1\t1\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\nval_1.JPEG\tn01\t0\t0\n")
    data = open_data(tmp_path, split="val")

    assert (data.layout, data.classes, list(data.labels)) == ("Tiny-ImageNet", ("n01", "n02"), [1, 0])
    assert open_data(tmp_path, split="test").counts == {"n01": 1, "n02": 1}
    assert all(name.startswith("train/") for name in open_data(tmp_path, split="test").names)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    """A network would have an answer that never is right."""
    images(tmp_path, "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(BadDocument, match="class 'b' holds no image"):
        open_data(tmp_path)


def test_many_empty_classes_are_counted(tmp_path: Path) -> None:
    """Five are named."""
    images(tmp_path, "a/1.png")
    for number in range(8):
        (tmp_path / f"empty{number}").mkdir()
    with pytest.raises(BadDocument, match="and 3 more like these") as caught:
        open_data(tmp_path)
    assert len(caught.value.problems) == 6


def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    """Its answers could not be right."""
    images(tmp_path, "train/a/1.png", "test/a/1.png", "test/z/1.png")
    with pytest.raises(BadDocument, match="class 'z'"):
        open_data(tmp_path)


def test_images_without_folders_of_classes_are_refused(tmp_path: Path) -> None:
    """The way out says where they go."""
    images(tmp_path, "1.png", "2.png")
    with pytest.raises(BadReference) as caught:
        open_data(tmp_path)
    assert "sub-folder" in caught.value.fix


def test_hidden_and_foreign_files_count_for_nothing(tmp_path: Path) -> None:
    """Those that systems leave behind."""
    images(tmp_path, "a/1.png", "a/._1.png", ".cache/x/1.png")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "a" / "notes.txt").write_text("x")

    assert open_data(tmp_path).names == ("a/1.png",)


def test_a_folder_around_the_data_is_entered_also_in_a_zip(tmp_path: Path) -> None:
    """As archives have one."""
    images(tmp_path / "in", "outer/train/a/1.png", "outer/test/a/2.png")
    with zipfile.ZipFile(tmp_path / "data.bin", "w") as packed:
        for file in sorted((tmp_path / "in").rglob("*.png")):
            packed.write(file, file.relative_to(tmp_path / "in").as_posix())

    assert open_data(tmp_path / "in").names == ("train/a/1.png",)
    data = open_data(tmp_path / "data.bin", split="test")
    assert data.names == ("test/a/2.png",)
    assert data[0][0].shape == (3, 4, 6)


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    """The file that differs is named; with a size all fit."""
    images(tmp_path, "a/1.png")
    images(tmp_path, "a/2.png", size=(30, 20))
    with pytest.raises(BadDocument, match=r"a/2.png: is 30x20, the first image is 6x4") as caught:
        list(open_data(tmp_path).batches(2))
    assert "size=" in caught.value.fix
    assert [x.shape for x, _ in open_data(tmp_path, size=(5, 7)).batches(2)] == [(2, 3, 5, 7)]


def test_a_picture_is_cropped_and_never_distorted(tmp_path: Path) -> None:
    """The middle of a wide one stays."""
    wide = Image.new("RGB", (30, 10), (255, 0, 0))
    wide.paste((0, 255, 0), (10, 0, 20, 10))
    (tmp_path / "a").mkdir()
    wide.save(tmp_path / "a" / "1.png")
    sample, _ = open_data(tmp_path, size=10).normalised(None)[0]

    assert sample[1].min() == 1
    assert sample[0].max() == 0


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_a_broken_picture_is_named(tmp_path: Path, data: bytes) -> None:
    """And left out only where that was asked for."""
    images(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    (tmp_path / "a" / "2.png").write_bytes(data)
    with pytest.raises(BadDocument, match=r"a/2\.png") as caught:
        list(open_data(tmp_path).batches(3))
    lenient = open_data(tmp_path, skip_broken=True)

    assert "skip_broken" in caught.value.fix
    assert [len(labels) for _, labels in lenient.batches(3)] == [2]
    assert list(lenient.skipped) == ["a/2.png"]
    assert lenient.sound().names == ("a/1.png", "b/1.png")


def test_a_picture_cut_off_in_the_middle_is_broken(tmp_path: Path) -> None:
    """Its head alone would decode to half a picture."""
    images(tmp_path, "a/1.jpg", size=(64, 64))
    file = tmp_path / "a" / "1.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BadDocument, match=r"a/1.jpg: is no image that can be read"):
        open_data(tmp_path)[0]


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    """After it was listed."""
    data = open_data(images(tmp_path, "a/1.png"), size=4)
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(BadDocument, match=r"a/1.png: cannot be read"):
        data[0]
