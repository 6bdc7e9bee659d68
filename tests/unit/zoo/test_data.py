"""Data from disk through its door: splits, classes, limits, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partita.errors import BadDocument, BadReference, MissingExtra, NotFound
from partita.zoo import DataSet, Normalisation, open_data

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
real = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs the real data beside the repository: ../shared/data"
)


def image(file: Path, value: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(file)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of twenty pictures; the brightness of each is its number."""
    for label, name in enumerate(("cats", "dogs")):
        for number in range(20):
            image(tmp_path / "pets" / name / f"{number:02}.png", 100 * label + number)
    return tmp_path / "pets"


def test_without_a_split_of_its_own_a_fifth_is_held_out_and_halved(pets: Path) -> None:
    """Class by class."""
    counts = {split: open_data(pets, split=split).counts for split in ("train", "val", "test")}

    assert counts == {
        "train": {"cats": 16, "dogs": 16},
        "val": {"cats": 2, "dogs": 2},
        "test": {"cats": 2, "dogs": 2},
    }


def test_the_splits_share_nothing_and_leave_nothing_out(pets: Path) -> None:
    """Together they are the folder."""
    names = [set(open_data(pets, split=split).names) for split in ("train", "val", "test")]

    assert len(set.union(*names)) == sum(map(len, names)) == 40


def test_the_draw_is_the_same_on_every_machine(pets: Path) -> None:
    """These names are fixed for the seed 404; another seed draws others."""
    held = open_data(pets, split="val+test").names

    assert held == tuple(sorted(held))
    assert held == ("cats/05.png", "cats/06.png", "cats/10.png", "cats/15.png",
                    "dogs/03.png", "dogs/04.png", "dogs/16.png", "dogs/17.png")  # fmt: skip
    assert open_data(pets, split="val+test", seed=1).names != held


def test_a_new_class_leaves_the_draw_of_the_others_alone(pets: Path) -> None:
    """Nobody's test samples become training samples."""
    before = open_data(pets, split="test").names
    image(pets / "birds" / "0.png")

    assert open_data(pets, split="test").names == before


def test_a_split_of_its_own_is_taken_and_the_missing_one_is_drawn_from_training(tmp_path: Path) -> None:
    """A tenth of it, so that the test stays what it is."""
    for split, count in (("train", 20), ("test", 5)):
        for number in range(count):
            image(tmp_path / split / "a" / f"{number}.png")

    assert [len(open_data(tmp_path, split=s)) for s in ("train", "val", "test", "train+val")] == [
        18,
        2,
        5,
        20,
    ]


def test_a_sample_is_an_array_and_its_label(pets: Path) -> None:
    """Float32, channels first, scaled and normalised."""
    data = open_data(pets).normalised(None)
    sample, label = data[-1]

    assert (sample.dtype, sample.shape, label, data.shape) == (np.float32, (3, 8, 8), 1, (3, 8, 8))
    assert np.all(sample == np.float32(119) / np.float32(255))


def test_classes_are_chosen_by_name_in_their_order(pets: Path) -> None:
    """Labels count anew."""
    data = open_data(pets, classes=["dogs", "cats"])

    assert data.classes == ("dogs", "cats")
    assert data.names[0].startswith("cats")
    assert data.labels[0] == 1
    assert open_data(pets, classes=1).counts == {"cats": 16}


def test_choosing_classes_moves_no_sample_into_another_split(pets: Path) -> None:
    """The draw comes first."""
    dogs = [n for n in open_data(pets, split="test").names if n.startswith("dogs")]

    assert list(open_data(pets, split="test", classes=["dogs"]).names) == dogs


def test_a_limit_is_even_over_the_classes(pets: Path) -> None:
    """And takes the same samples each time."""
    data = open_data(pets, limit=5)

    assert sorted(data.counts.values()) == [2, 3]
    assert data.names == open_data(pets, limit=5).names
    assert set(data.names) < set(open_data(pets).names)


def test_a_data_set_is_divided_without_overlap(pets: Path) -> None:
    """To calibrate on one part and test on the other, many times."""
    data = open_data(pets)
    first, second = data.divided(0.5, seed=7)

    assert set(first.names) | set(second.names) == set(data.names)
    assert not set(first.names) & set(second.names)
    assert first.counts == {"cats": 8, "dogs": 8}
    assert data.divided(0.5, seed=8)[0].names != first.names


def test_the_digest_follows_what_a_network_sees(pets: Path) -> None:
    """Samples, size, normalisation, classes, files."""
    data = open_data(pets)
    digests = {
        data.digest,
        open_data(pets, seed=1).digest,
        open_data(pets, size=4).digest,
        open_data(pets, classes=["dogs", "cats"]).digest,
        data.normalised(None).digest,
        data.subset([0, 1]).digest,
    }
    image(pets / "cats" / "00.png", 7, (80, 90))

    assert len(digests | {open_data(pets).digest}) == 7


def test_a_data_set_can_be_copied_and_held_in_memory(pets: Path) -> None:
    """Loader processes get a copy; both give the same samples."""
    data = open_data(pets)
    for other in (copy.deepcopy(data), data.in_memory()):
        assert np.array_equal(other[3][0], data[3][0])
        assert other.digest == data.digest
        assert other.names == data.names


def test_what_is_too_large_for_memory_is_refused(pets: Path) -> None:
    """With the bytes it takes."""
    with pytest.raises(BadReference, match=r"32 samples take 6144 bytes"):
        open_data(pets).in_memory(largest=6000)


def test_the_normalisation_can_be_measured(pets: Path) -> None:
    """Brightness 0 to 19 and 100 to 119."""
    data = open_data(pets)
    measured = data.measured_normalisation()
    pixels = np.stack([data.normalised(None)[n][0] for n in range(len(data))])

    assert np.allclose(measured.mean, pixels.mean(axis=(0, 2, 3)), atol=1e-6)
    assert np.allclose(measured.std, pixels.std(axis=(0, 2, 3)), atol=1e-6)
    assert abs(float(np.mean([data.normalised(measured)[n][0].mean() for n in range(len(data))]))) < 1e-5


def test_a_normalisation_for_other_channels_is_refused(pets: Path) -> None:
    """And one that divides by nothing."""
    with pytest.raises(BadDocument, match="2 channels"):
        open_data(pets).normalised(Normalisation((0, 0), (1, 1)))
    with pytest.raises(BadDocument, match="std"):
        Normalisation((0.0,), (0.0,))


@pytest.mark.parametrize(
    ("options", "sentence", "fix"),
    [
        ({"split": "tran"}, "'tran'", "did you mean train?"),
        ({"size": 0}, "size: 0", "numbers from 1"),
        ({"limit": 0, "seed": -1}, "limit: 0 is not above 0; seed", "numbers from 1"),
        ({"classes": ["dog"]}, "'dog'", "did you mean dogs?"),
        ({"classes": 3}, "classes: 3 of the 2", "1 to 2"),
        ({"vocabulary": "words.json"}, "is no text", "leave vocabulary away"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    pets: Path, options: dict[str, object], sentence: str, fix: str
) -> None:
    """With what to write."""
    with pytest.raises(BadReference) as caught:
        open_data(pets, **options)  # type: ignore[arg-type]
    assert sentence in caught.value.problem
    assert fix in caught.value.fix


def test_a_place_that_is_not_there_names_what_is_near(pets: Path) -> None:
    """A typing error is the usual cause."""
    with pytest.raises(NotFound) as caught:
        open_data(pets.parent / "pest")
    assert "pets" in caught.value.fix


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """With everything that could lie there."""
    with pytest.raises(BadReference, match="is empty") as caught:
        open_data(tmp_path)
    assert "idx" in caught.value.fix


def test_a_split_too_small_to_be_drawn_is_refused(tmp_path: Path) -> None:
    """One sample cannot be in two splits."""
    image(tmp_path / "a" / "0.png")
    with pytest.raises(BadReference, match="no samples for test"):
        open_data(tmp_path, split="test")


def test_images_without_pillow_say_what_to_install(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing needs none; decoding does."""
    data = open_data(pets, size=8)
    monkeypatch.setattr("partita.zoo.data_images.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="Pillow"):
        data[0]


@real
@pytest.mark.parametrize(("split", "count"), [("train", 9000), ("val", 1000), ("test", 2000)])
def test_the_cifar_subset_opens_from_its_zip(split: str, count: int) -> None:
    """Ten classes of JPEGs, never unpacked."""
    data = open_data(SHARED / "cifar10-subset.zip", split=split)

    assert (len(data), data.shape, len(data.classes)) == (count, (3, 32, 32), 10)
    assert len(set(data.counts.values())) == 1
    assert data[0][0].shape == (3, 32, 32)


@real
def test_the_sentiment_sentences_open() -> None:
    """Three tables, of which the training one makes the vocabulary of all."""
    sets: dict[str, DataSet] = {s: open_data(SHARED / "sst2", split=s) for s in ("train", "val", "test")}

    assert {s: len(d) for s, d in sets.items()} == {"train": 6920, "val": 872, "test": 1821}
    assert sets["val"].text(0) == "one long string of cliches"
    assert sets["test"].vocabulary.digest == sets["train"].vocabulary.digest


@real
def test_the_wikipedia_lines_open_and_have_no_training_split() -> None:
    """Which is said, with those there are."""
    data = open_data(SHARED / "wikitext-2", split="val", limit=10, size=32)

    assert (data.kind, data.shape, data.labels[0]) == ("text", (32,), -1)
    with pytest.raises(BadReference, match="it brings val, test"):
        open_data(SHARED / "wikitext-2")
