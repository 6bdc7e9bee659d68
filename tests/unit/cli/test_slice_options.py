"""What the slice verbs share: inputs from files, numbers of slices, the platform that was meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.cli.slice_options import SliceOptions, counts, read_inputs
from partita.errors import BadDocument, NotFound, PartitaError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1..4", (1, 2, 3, 4)), ("3", (3,)), ("1,2,5", (1, 2, 5)), (" 2 , 1..3", (2, 1, 3)), ("4..4,4", (4,))],
)
def test_numbers_of_slices_are_lists_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert counts(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "x", "0", "0..3", "5..1", "1..", "..4", "1..x", "-1", "1,,2", "1.5", "1...3"]
)
def test_what_is_no_number_of_slices_is_refused(text: str) -> None:
    with pytest.raises(BadDocument, match="is no number or range of numbers"):
        counts(text)


@given(st.text(st.sampled_from("0123,. -x"), max_size=4))
def test_any_text_is_numbers_or_refused(text: str) -> None:
    try:
        found = counts(text)
    except BadDocument:
        return
    assert min(found) >= 1
    assert len(set(found)) == len(found)


def test_no_file_is_no_inputs() -> None:
    assert read_inputs(None, ("x",)) is None


def test_an_archive_gives_its_arrays_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones(2), y=np.zeros(3, np.int64))
    found = read_inputs(tmp_path / "in.npz", ("x", "y"))

    assert found is not None
    assert {name: (value.shape, value.dtype.str) for name, value in found.items()} == {
        "x": ((2,), "<f8"),
        "y": ((3,), "<i8"),
    }


def test_one_array_is_the_one_input(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.ones(2))

    assert list(read_inputs(tmp_path / "in.npy", ("image",)) or ()) == ["image"]
    with pytest.raises(BadDocument, match="one array for 2 inputs: a, b"):
        read_inputs(tmp_path / "in.npy", ("a", "b"))


def spoiled(path: Path, how: str) -> None:
    match how:
        case "objects":
            np.savez(path, x=np.array([{}]))
        case "text":
            path.write_text("not an archive")
        case "empty":
            path.write_bytes(b"")
        case "cut":
            np.savez(path, x=np.ones(100))
            path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("how", ["objects", "text", "empty", "cut"])
def test_a_file_without_arrays_is_refused_with_how_to_write_one(tmp_path: Path, how: str) -> None:
    spoiled(tmp_path / "in.npz", how)

    with pytest.raises(BadDocument, match=r"in\.npz") as caught:
        read_inputs(tmp_path / "in.npz", ("x",))
    assert "numpy.savez('inputs.npz', **{'x': ...})" in caught.value.fix


def test_a_missing_file_and_a_folder_are_no_inputs(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(NotFound, match="there is no file"):
            read_inputs(path, ("x",))


def test_the_question_is_what_was_asked(tmp_path: Path) -> None:
    asked = SliceOptions(platform="aws-lambda", slices=3, batch=2, dim=("seq=9",), memory="512MiB", cold=True)
    question = asked.question()

    assert (question.platform.name, question.slices, question.batch) == ("aws-lambda", 3, 2)
    assert (dict(question.dims), question.function_memory, question.cold) == ({"seq": 9}, 512 << 20, True)


def test_a_platform_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[mine]\ntitle = "mine"\nlike = "aws-lambda"\nmemory = "1024 MiB"\n')

    assert SliceOptions(platform="mine", platforms=path).place().limits.memory == 1 << 30


@pytest.mark.parametrize(
    "options",
    [
        {"platform": "nowhere"},
        {"platforms": Path("nowhere.toml")},
        {"slices": 0},
        {"batch": 0},
        {"dim": ("seq",)},
        {"dim": ("seq=x",)},
        {"memory": "much"},
        {"memory": "1GB", "platform": "cloudflare-workers"},
        {"slack": -1.0},
        {"transport": "store"},
    ],
)
def test_wrong_wishes_are_refused_before_a_model_is_read(options: Any) -> None:
    with pytest.raises(PartitaError) as caught:
        SliceOptions(**options).question()
    assert caught.value.exit_code == 2


def test_time_is_measured_where_the_objective_asks_for_it() -> None:
    assert SliceOptions().clock() is None
    assert SliceOptions(measure=True).clock() is not None
    assert SliceOptions(objective="latency").clock() is not None
