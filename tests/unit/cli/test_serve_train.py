"""`partita serve train`, on made-up shapes, as one types it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TINY = ("--model", "early-cnn", "--data", "made:shapes", "--limit", "60", "--epochs", "1", "--threads", "1")


def test_a_training_leaves_a_run_and_says_how_to_go_on(partita: Any, tmp_path: Path) -> None:
    told = partita("serve", "train", *TINY, "-o", "run")

    assert told.code == 0
    assert "partita serve export run" in told.out
    wanted = {"spec.json", "weights.safetensors", "training_trace.csv", "validation_results.csv"}
    assert wanted <= {path.name for path in (tmp_path / "run").iterdir()}


def test_json_is_one_document_with_a_share_for_every_exit(partita: Any) -> None:
    run = partita("serve", "train", *TINY, "--exits", "2", "--json").document

    assert run["finished"]
    assert run["exits"] == ["two-thirds", "final"]
    assert len(run["accuracy"]) == len(run["flops"]) == 2


def test_a_training_with_other_arguments_is_not_mixed_into_a_run(partita: Any) -> None:
    assert partita("serve", "train", *TINY).code == 0
    told = partita("serve", "train", *TINY, "--batch-size", "16")

    assert told.code == 2
    assert "train into another folder" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--weights", "0.5", "0.5"), "give one weight for every exit"),
        (("--exits", "9"), "ask for 1 to 4"),
        (("--batch-size", "0"), "batch_size: 0 is not positive"),
        (("--learning-rate", "nan"), "learning_rate: nan is not positive"),
        (("--augment", "spin"), "write some of: crop, flip"),
        (("--pretrained", "absent.safetensors"), "there is no weights file absent.safetensors"),
        (("--seed", "-1"), "--seed: -1 is below 0"),
        (("--threads", "0"), "--threads: 0 is not a positive number"),
        (("--cuts", "a"), "early-cnn has its exits already"),
        (("--limit", "0"), "limit: 0 is not above 0"),
        (("--data", "nowhere"), "give a folder, a file, or made:shapes"),
        (("--data", "made:nothing"), "write made:shapes"),
        (("--model", "nothing"), "there is no network with exits named 'nothing'"),
        (("--optimizer", "foo"), 'Choose from: "sgd", "adam", "adamw"'),
    ],
)
def test_what_cannot_be_trained_is_said_and_leaves_nothing(
    partita: Any, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """One sentence, the way out, and no run folder that the next command would stumble over."""
    kept = list(zip(TINY[::2], TINY[1::2], strict=True))
    base = [word for pair in kept if pair[0] != words[0] for word in pair]
    told = partita("serve", "train", *base, *words, "-o", "run")

    assert told.code == 2
    assert said in told.err
    assert "fix: " in told.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("output", ["notes.txt", "notes.txt/run"])
def test_a_file_in_the_runs_place_is_left_alone(partita: Any, tmp_path: Path, output: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    told = partita("serve", "train", *TINY, "-o", output)

    assert told.code == 2
    assert "is a file, not a folder" in told.err
    assert (tmp_path / "notes.txt").read_text() == "mine"
