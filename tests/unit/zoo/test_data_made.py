"""Made-up data: the same everywhere, even over the classes, and learnable."""

from __future__ import annotations

import numpy as np
import pytest

from partita.errors import BadReference
from partita.zoo import DataSet, open_data


def pixels(data: DataSet) -> tuple[np.ndarray, np.ndarray]:
    samples, labels = next(iter(data.batches(len(data))))
    return samples, labels


@pytest.mark.parametrize(
    ("name", "kind", "shape", "classes"),
    [
        ("shapes", "image", (3, 32, 32), 8),
        ("digits", "image", (1, 28, 28), 10),
        ("tones", "audio", (4000,), 6),
        ("phrases", "text", (64,), 2),
    ],
)
def test_every_kind_of_sample_can_be_made(name: str, kind: str, shape: tuple[int, ...], classes: int) -> None:
    """With the counts asked for."""
    data = open_data(f"made:{name}?train=30", split="train")

    assert (data.kind, data.shape, len(data.classes), len(data)) == (kind, shape, classes, 30)
    assert data[3][0].shape == shape
    assert max(data.counts.values()) - min(data.counts.values()) <= 1


def test_the_same_reference_gives_the_same_samples() -> None:
    """And another draw gives others."""
    first, again, other = (open_data(f"made:shapes?train=16{more}") for more in ("", "", "&draw=1"))

    assert np.array_equal(pixels(first)[0], pixels(again)[0])
    assert first.digest == again.digest != other.digest
    assert not np.array_equal(pixels(first)[0], pixels(other)[0])


def test_the_splits_hold_different_samples() -> None:
    """The test was never seen."""
    train, test = (open_data("made:digits?train=40&test=40", split=s) for s in ("train", "test"))
    seen = {sample.tobytes() for sample in pixels(train)[0]}

    assert not seen & {sample.tobytes() for sample in pixels(test)[0]}


def test_images_come_in_the_size_asked_for() -> None:
    """Drawn in it, not scaled."""
    assert open_data("made:shapes", size=(20, 40))[0][0].shape == (3, 20, 40)
    assert open_data("made:tones", size=800)[0][0].shape == (800,)


def test_digits_can_be_told_apart_without_a_network() -> None:
    """The nearest mean of a class is right most of the time: the label is in the picture."""
    train, test = (open_data("made:digits?train=1500&test=300&noise=0.1", split=s) for s in ("train", "test"))
    samples, labels = pixels(train)
    means = np.stack([samples[labels == c].mean(axis=0).ravel() for c in range(10)])
    held, truth = pixels(test)
    answers = ((held.reshape(len(held), 1, -1) - means) ** 2).sum(axis=2).argmin(axis=1)

    assert (answers == truth).mean() > 0.4


def test_the_colour_of_a_shape_says_nothing() -> None:
    """The mean colour of a class is that of all."""
    samples, labels = pixels(open_data("made:shapes?train=1600").normalised(None))
    means = np.array([samples[labels == c].mean() for c in range(8)])

    assert np.ptp(means) < 0.08


def test_a_phrase_says_what_its_label_says() -> None:
    """`not` turns it round."""
    data = open_data("made:phrases?train=200")
    good = {"good", "lovely", "great", "warm", "clever", "delightful", "strong", "brilliant"}
    for position in range(200):
        words = data.text(position).split()
        assert (bool(good & set(words)) != ("not" in words)) == bool(data.labels[position])


def test_a_limit_and_classes_work_on_made_samples_too() -> None:
    """As on any other."""
    assert open_data("made:shapes", limit=8).counts == dict.fromkeys(open_data("made:shapes").classes, 1)
    assert open_data("made:shapes", classes=["star", "ring"], split="test").counts == {
        "star": 125,
        "ring": 125,
    }


@pytest.mark.parametrize(
    ("reference", "sentence", "fix"),
    [
        ("made:shape", "no made-up set 'shape'", "did you mean made:shapes?"),
        ("made:", "no made-up set ''", "made:digits"),
        ("made:shapes?n=3&noise=2", "n: is no option; noise: 2 is not from 0 to 1", "train, val, test"),
        ("made:shapes?train=many", "train: 'many' is no count", "train"),
        ("made:shapes?train=-1", "train: -1 is no count", "train"),
        ("made:shapes?train=true&noise=nan", "train: True is no count", "noise"),
    ],
)
def test_a_made_set_that_does_not_exist_is_refused(reference: str, sentence: str, fix: str) -> None:
    """With those that do."""
    with pytest.raises(BadReference) as caught:
        open_data(reference)
    assert sentence in caught.value.problem
    assert fix in caught.value.fix
