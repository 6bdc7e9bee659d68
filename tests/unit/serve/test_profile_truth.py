"""What every exit says about held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument, NotFound
from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.serve.profile_truth import Truth, collect


def held_out(rows: int = 10) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.standard_normal((rows, 64)).astype(np.float32), random.integers(0, 3, rows)


def test_every_sample_runs_through_every_exit(exit_model: ExitModel) -> None:
    """In batches, the last one smaller; the logits are those of each exit alone."""
    x, labels = held_out()
    found = collect(exit_model, x, labels, batch=4)

    assert found.logits is not None
    assert found.logits.shape == (10, 3, 3)
    for k in range(3):
        np.testing.assert_allclose(found.logits[:, k], exit_model.run_to(k, x), atol=1e-5)


def test_what_is_right_is_right_by_the_labels(exit_model: ExitModel) -> None:
    """And the accuracy its share."""
    x, labels = held_out()
    found = collect(exit_model, x, labels)

    assert found.logits is not None
    assert (found.correct == (found.logits.argmax(axis=2) == labels[:, None])).all()
    assert found.accuracy == tuple(found.correct.mean(axis=0))


def test_confidence_is_the_largest_probability(exit_model: ExitModel) -> None:
    """Of each sample at each exit."""
    found = collect(exit_model, *held_out())
    assert found.logits is not None
    odds = np.exp(found.logits.astype(np.float64))

    np.testing.assert_allclose(found.confidence, (odds / odds.sum(2, keepdims=True)).max(2), rtol=1e-9)


def test_without_labels_the_last_exit_is_the_truth_and_it_says_so(exit_model: ExitModel) -> None:
    """Always right by its own measure."""
    found = collect(exit_model, held_out()[0], None)

    assert not found.labelled
    assert found.correct[:, -1].all()


def test_truth_is_written_and_read_back(exit_model: ExitModel, tmp_path: Path) -> None:
    """Every array, and what it is of."""
    found = collect(exit_model, *held_out())
    read = Truth.load(found.save(tmp_path / "truth.npz"))

    assert (read.labelled, read.digest) == (True, exit_model.digest)
    for name in ("confidence", "correct", "logits", "labels"):
        assert np.array_equal(getattr(read, name), getattr(found, name))
    assert [path.name for path in tmp_path.iterdir()] == ["truth.npz"]


def test_a_file_that_is_no_truth_is_refused(tmp_path: Path) -> None:
    """Whatever it is."""
    (tmp_path / "truth.npz").write_bytes(b"PK but not really")

    with pytest.raises(BadDocument, match="is no npz archive"):
        Truth.load(tmp_path / "truth.npz")


def test_arrays_of_objects_are_never_loaded(tmp_path: Path) -> None:
    """They would be programs."""
    with (tmp_path / "truth.npz").open("wb") as file:
        np.savez(file, confidence=np.asarray([object()], dtype=object))

    with pytest.raises(BadDocument, match="is no npz archive"):
        Truth.load(tmp_path / "truth.npz")


def test_arrays_of_different_sizes_are_refused(exit_model: ExitModel, tmp_path: Path) -> None:
    """Half a file of one network and half of another."""
    found = collect(exit_model, *held_out())
    path = Truth(found.confidence[:5], found.correct, found.logits, found.labels).save(tmp_path / "truth.npz")

    with pytest.raises(BadDocument, match="different sizes"):
        Truth.load(path)


def test_evidence_without_logits_is_enough(exit_model: ExitModel, tmp_path: Path) -> None:
    """As a training run writes it where there are many classes."""
    found = collect(exit_model, *held_out())
    with (tmp_path / "truth.npz").open("wb") as file:
        np.savez(file, confidence=found.confidence, correct=found.correct, labels=found.labels)
    read = Truth.load(tmp_path / "truth.npz")

    assert read.logits is None
    assert (read.labelled, read.digest, read.accuracy) == (True, "", found.accuracy)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """With the command."""
    with pytest.raises(NotFound, match="no file"):
        Truth.load(tmp_path / "truth.npz")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(9, int), "9"),
        (np.full(10, 3), "3 to 3"),
        (np.full(10, -1), "-1"),
        (np.zeros(10), "float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(exit_model: ExitModel, labels: np.ndarray, said: str) -> None:
    """Too few, beyond the classes, no whole numbers."""
    with pytest.raises(BadDocument, match=said):
        collect(exit_model, held_out()[0], labels)


@pytest.mark.parametrize("inputs", [np.zeros((0, 64), np.float32), {}])
def test_no_samples_are_refused(exit_model: ExitModel, inputs: object) -> None:
    """Nothing can be learned from them."""
    with pytest.raises(BadDocument, match="held-out data"):
        collect(exit_model, inputs, None)  # type: ignore[arg-type]


def test_a_fixed_batch_is_filled_up_and_counted_once(
    onnx_exits: Callable[[str], Path], tmp_path: Path
) -> None:
    """Five samples in batches of two."""
    path = onnx_exits("""
        fixed (float[2, 4] x) => (float[2, 3] early, float[2, 3] late) <float[4, 3] h, float[4, 3] g> {
            early = MatMul(x, h)
            t = Tanh(x)
            late = MatMul(t, g)
        }""")
    export(path, tmp_path / "model")
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    model = ExitModel.open(tmp_path / "model")
    found = collect(model, x, [0, 1, 2, 0, 1])

    assert len(found) == 5
    assert found.logits is not None
    np.testing.assert_allclose(found.logits[4, 1], model.run_to(1, np.stack([x[4], x[4]]))[0], atol=1e-6)


def test_exits_of_a_folder_without_stages_are_each_run_from_the_input(three: Path, tmp_path: Path) -> None:
    """The same evidence."""
    export(three, tmp_path / "model", granularity="model")
    x, labels = held_out()
    found = collect(ExitModel.open(tmp_path / "model"), x, labels)

    assert found.logits is not None
    assert found.logits.shape == (10, 3, 3)
