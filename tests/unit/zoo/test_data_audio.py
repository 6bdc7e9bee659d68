"""Folders of sounds."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument
from partita.zoo import open_data


def sound(file: Path, values: np.ndarray, *, rate: int = 100, width: int = 2) -> None:
    """A WAV file; a second dimension is channels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1 if values.ndim == 1 else values.shape[1])
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(values.astype("<i2" if width == 2 else np.uint8).tobytes())


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Speech Commands in small: two words, two speakers, lists, and the noise that is no word."""
    for word in ("no", "yes"):
        for speaker in ("anna", "bert", "cleo"):
            sound(tmp_path / word / f"{speaker}_nohash_0.wav", np.full(100, 16384))
    sound(tmp_path / "_background_noise_" / "rain.wav", np.zeros(500))
    (tmp_path / "testing_list.txt").write_text("no/bert_nohash_0.wav\nyes/bert_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("no/cleo_nohash_0.wav\n")
    return tmp_path


def test_speech_commands_keeps_its_lists(commands: Path) -> None:
    """What no list names is for training; noise is no class."""
    sets = {split: open_data(commands, split=split) for split in ("train", "val", "test")}

    assert {s: len(d) for s, d in sets.items()} == {"train": 3, "val": 1, "test": 2}
    assert (sets["test"].layout, sets["test"].kind, sets["test"].classes) == (
        "Speech Commands",
        "audio",
        ("no", "yes"),
    )


def test_a_listed_recording_that_is_missing_is_refused(commands: Path) -> None:
    """With its list."""
    (commands / "testing_list.txt").write_text("no/nobody_nohash_0.wav\n")
    with pytest.raises(BadDocument, match=r"testing_list\.txt: there is no sound 'no/nobody_nohash_0\.wav'"):
        open_data(commands)


def test_a_sound_is_a_second_from_minus_one_to_one(commands: Path) -> None:
    """The rate of the files says how many values that is."""
    sample, label = open_data(commands)[0]

    assert (sample.shape, sample.dtype, label) == ((100,), np.float32, 0)
    assert np.all(sample == 0.5)


def test_short_sounds_are_filled_and_long_ones_cut(tmp_path: Path) -> None:
    """Silence comes at the end."""
    sound(tmp_path / "a" / "1.wav", np.full(60, 16384))
    sound(tmp_path / "a" / "2.wav", np.full(140, 16384))
    data = open_data(tmp_path)

    assert [int((data[n][0] == 0.5).sum()) for n in (0, 1)] == [60, 100]
    assert data[0][0][60:].max() == 0
    assert open_data(tmp_path, size=30).shape == (30,)


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Left and right become one."""
    sound(tmp_path / "a" / "1.wav", np.tile([32767, -32767], (100, 1)))

    assert np.all(open_data(tmp_path)[0][0] == 0)


def test_a_speaker_stays_in_one_split(tmp_path: Path) -> None:
    """A network must not be tested on voices it was trained on."""
    for speaker in range(40):
        for word in ("a", "b"):
            sound(tmp_path / word / f"s{speaker}_nohash_0.wav", np.ones(100))
    voices = [
        {name.partition("/")[2].partition("_")[0] for name in open_data(tmp_path, split=s).names}
        for s in ("train", "val", "test")
    ]

    assert sum(map(len, voices)) == len(set.union(*voices)) == 40


def test_arrays_made_of_sounds_are_taken_as_they_are(tmp_path: Path) -> None:
    """Filled and cut along their last axis."""
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "1.npy", np.ones((4, 9), np.float32))
    np.save(tmp_path / "a" / "2.npy", np.ones((4, 7), np.float32))
    data = open_data(tmp_path)

    assert (data.shape, data[1][0].sum()) == ((4, 9), 28)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"RIFF", "no WAV file"),
        (b"nothing of that kind", "no WAV file"),
        (b"", "no WAV file"),
    ],
)
def test_a_file_that_is_no_sound_is_named(commands: Path, data: bytes, problem: str) -> None:
    """And left out only on request."""
    (commands / "no" / "anna_nohash_0.wav").write_bytes(data)
    with pytest.raises(BadDocument, match=f"no/anna_nohash_0.wav: is {problem}"):
        open_data(commands)[0]


def test_sounds_that_are_not_16_bit_or_of_another_rate_or_cut_off_are_refused(commands: Path) -> None:
    """Each with its file; the others can still be used."""
    sound(commands / "no" / "bert_nohash_0.wav", np.ones(100), width=1)
    sound(commands / "no" / "cleo_nohash_0.wav", np.ones(100), rate=50)
    file = commands / "yes" / "bert_nohash_0.wav"
    file.write_bytes(file.read_bytes()[:-20])
    data = open_data(commands, split="train+val+test", skip_broken=True)
    kept = sum(len(labels) for _, labels in data.batches(4))

    assert kept == 3
    assert [
        word
        for words in data.skipped.values()
        for word in ("8 bits", "50 values", "cut off")
        if word in words
    ] == [
        "8 bits",
        "50 values",
        "cut off",
    ]


def test_an_array_that_holds_no_numbers_is_named(tmp_path: Path) -> None:
    """Or cannot be read."""
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "1.npy", np.array(["x"]))
    with pytest.raises(BadDocument, match="no array of numbers"):
        _ = open_data(tmp_path).shape
    (tmp_path / "a" / "1.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadDocument, match="no array that can be read"):
        _ = open_data(tmp_path).shape
