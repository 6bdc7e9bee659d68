"""`partita serve export`, `profile` and `calibrate`, on a network trained for a moment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partita.cli import main

HELD = ("--data", "made:shapes", "--limit", "60")
QUICK = ("--batches", "1,2", "--runs", "3", "--seconds", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the model exported from it; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    words = ["--limit", "60", "-n", "1", "--threads", "1", "-o", str(folder / "run")]
    assert main(["serve", "train", "-m", "early-cnn", "--data", "made:shapes", *words]) == 0
    assert main(["serve", "export", str(folder / "run"), "-o", str(folder / "model")]) == 0
    return folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "model", tmp_path / "model"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_exported_folder_holds_every_stage_and_every_span(made: Path) -> None:
    assert {"exits.json", *(f"stage-{k}.onnx" for k in range(4)), "span-0-3.onnx"} <= names(made / "model")


def test_an_export_says_that_the_chain_equals_the_whole(partita: Any, made: Path) -> None:
    told = partita("serve", "export", made / "run", "-o", "again", "--no-spans", "--json")

    assert told.code == 0
    assert told.document["parity"]["chain"] == 0
    assert len(told.document["exits"]) == 4


def test_a_profile_has_times_and_the_accuracy_of_held_out_data(partita: Any, model: Path) -> None:
    told = partita("serve", "profile", "model", *HELD, *QUICK, "--watts", "5", "--json")

    assert told.code == 0
    assert len(told.document["stages"]) == len(told.document["exits"]) == 4
    assert all(0 <= cost["accuracy"] <= 1 and cost["joules"] > 0 for cost in told.document["exits"])
    assert {"profile.json", "truth.npz"} <= names(model)


def test_times_measured_again_do_not_forget_accuracies(partita: Any, model: Path) -> None:
    """What was collected of this very network is still there."""
    assert partita("serve", "profile", "model", *HELD, *QUICK).code == 0
    told = partita("serve", "profile", "model", *QUICK, "--json")

    assert all(cost["accuracy"] is not None for cost in told.document["exits"])


def test_a_profile_without_data_says_that_accuracy_is_unknown(partita: Any, model: Path) -> None:
    told = partita("serve", "profile", "model", *QUICK)

    assert told.code == 0
    assert "accuracy is unknown" in told.out
    assert "truth.npz" not in names(model)


def test_a_calibration_collects_and_keeps_what_the_exits_say(partita: Any, model: Path) -> None:
    told = partita("serve", "calibrate", "model", *HELD)

    assert told.code == 0
    written = json.loads((model / "calibration.json").read_text())
    assert written["samples"] == 60
    assert len(written["thresholds"]) == 4
    again = partita("serve", "calibrate", "model", "--json")
    assert again.document == written


def test_too_few_samples_for_a_promise_leave_thresholds_off(partita: Any, model: Path) -> None:
    told = partita("serve", "calibrate", "model", *HELD, "--max-drop", "0.01")

    assert told.code == 0
    assert "thresholds are off" in told.out


def test_unlabelled_samples_are_measured_against_the_last_exit(partita: Any, model: Path) -> None:
    told = partita("serve", "calibrate", "model", *HELD, "--unlabelled", "--json")

    assert told.document["labelled"] is False
    assert told.document["accuracy"][-1] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("profile", "nowhere"), "nowhere holds no exported network"),
        (("profile", "model", "--batches", "abc"), "--batches 1,8"),
        (("profile", "model", "--threads", "0"), "--threads: 0 is not above 0"),
        (("profile", "model", "--runs", "0"), "runs: 0 is less than 1"),
        (("profile", "model", "--watts", "-3"), "--watts: -3 is not above 0"),
        (("profile", "model", "--data", "nowhere"), "there is no data at 'nowhere'"),
        (
            ("profile", "model", "--data", "made:shapes", "--limit", "9", "--size", "16"),
            "must have the shape",
        ),
        (("calibrate", "nowhere"), "nowhere holds no exported network"),
        (("calibrate", "model"), "partita serve calibrate model --data FOLDER"),
        (("calibrate", "model", *HELD, "--max-drop", "2"), "max_drop: 2.0 is not between 0 and 1"),
        (("calibrate", "model", *HELD, "--split", "nonsense"), "write train, val or test"),
        (("calibrate", "model", *HELD, "--bins", "0"), "bins: 0 is not 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_said_and_leaves_no_results(
    partita: Any, model: Path, words: tuple[str, ...], said: str
) -> None:
    told = partita("serve", *words)

    assert told.code == 2
    assert said in told.err
    assert "fix: " in told.err
    assert not {"profile.json", "calibration.json"} & names(model)


def test_a_truth_file_of_something_else_is_named(partita: Any, model: Path) -> None:
    np.savez(model / "truth.npz", other=np.ones(3))
    told = partita("serve", "calibrate", "model")

    assert told.code == 2
    assert "truth.npz" in told.err
    assert "collect it again" in told.err


def test_a_damaged_model_is_the_worlds_fault(partita: Any, model: Path) -> None:
    (model / "stage-1.data").unlink()
    told = partita("serve", "profile", "model", *QUICK)

    assert told.code == 3
    assert "stage-1.data: is missing" in told.err


def test_an_unfinished_training_cannot_be_exported(partita: Any, made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    (run / "weights.safetensors").unlink()
    told = partita("serve", "export", "run", "-o", "out")

    assert told.code == 2
    assert "run the same training again: it goes on" in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("run", "said"), [("nowhere", "partita serve train"), ("notes.onnx", "notes.onnx")])
def test_what_is_no_run_cannot_be_exported(partita: Any, tmp_path: Path, run: str, said: str) -> None:
    (tmp_path / "notes.onnx").write_text("hello")
    told = partita("serve", "export", run, "-o", "out")

    assert told.code == 2
    assert said in told.err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_not_written_into(partita: Any, made: Path, model: Path) -> None:
    before = names(model)
    told = partita("serve", "export", made / "run", "-o", "model")

    assert told.code == 2
    assert "name another folder" in told.err
    assert names(model) == before
