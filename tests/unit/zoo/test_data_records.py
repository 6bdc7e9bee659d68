"""Samples of several arrays, for models with several inputs; numbers to predict in an npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument, BadReference
from partita.zoo import as_torch, open_data

ALL = "train+val+test"


def test_records_hold_several_arrays(tmp_path: Path) -> None:
    """Under their names and with their types; torch gets a dictionary."""
    np.savez(
        tmp_path / "r.npz",
        userId=np.arange(20), item=np.ones((20, 3), np.float32), y=np.arange(20) % 2, notes=np.zeros(7),
    )  # fmt: skip
    data = open_data(tmp_path / "r.npz", split=ALL)
    samples, labels = next(data.batches(8))

    assert (data.kind, data.classes, len(data.names)) == ("record", ("0", "1"), 20)
    assert (samples["userId"].dtype, samples["item"].shape, list(labels[:2])) == (np.int64, (8, 3), [0, 1])
    assert sorted(as_torch(data)[3][0]) == ["item", "userId"]
    assert data.in_memory()[5][0]["userId"] == 5
    np.savez(
        tmp_path / "r.npz", userId=np.arange(20), item=np.zeros((20, 3), np.float32), y=np.arange(20) % 2
    )
    assert open_data(tmp_path / "r.npz", split=ALL).digest != data.digest


def test_records_may_bring_their_splits_and_be_chosen(tmp_path: Path) -> None:
    """By the ends or beginnings of the arrays' names."""
    arrays = {
        f"{k}_{s}": np.arange(n) for s, n in (("train", 6), ("test", 4)) for k in ("x", "mask", "answer")
    }
    np.savez(tmp_path / "r.npz", **arrays)
    data = open_data(f"{tmp_path / 'r.npz'}?inputs=x,mask&targets=answer", split="test")

    assert (len(data), data[3][0]["mask"], data[3][1], data.classes) == (4, 3, 3.0, ())
    assert data.names[3] == "r.npz:test#3"


@pytest.mark.parametrize(
    ("arrays", "query", "problem"),
    [
        ({"a": np.zeros(3), "b": np.zeros(3)}, "", "the arrays a, b are none that we know"),
        ({"a": np.zeros(3), "y": np.zeros(4, int)}, "", "no array has as many rows"),
        ({"a": np.zeros(3), "y": np.zeros(3, int)}, "?inputs=b", "there is no array 'b'"),
        ({"a": np.zeros(2), "y": np.zeros(3, int)}, "?inputs=a", "is no input of 3 samples"),
        ({"a": np.zeros(3), "y": np.full(3, -1)}, "", "negative"),
        ({"a": np.zeros(3), "y": np.zeros(3)}, "", "are no labels"),
        ({"a": np.zeros(3), "y": np.full(3, np.nan)}, "?targets=y", "not finite"),
    ],
)
def test_records_that_cannot_be_used_say_why(
    tmp_path: Path, arrays: dict[str, np.ndarray], query: str, problem: str
) -> None:
    """With the array."""
    np.savez(tmp_path / "r.npz", **arrays)

    with pytest.raises(BadDocument) as caught:
        open_data(f"{tmp_path / 'r.npz'}{query}")
    assert problem in caught.value.problem


def test_an_npz_may_hold_numbers_to_predict(tmp_path: Path) -> None:
    """Where it is asked for."""
    np.savez(tmp_path / "t.npz", x=np.zeros((10, 4)), y=np.linspace(0, 1, 10))
    data = open_data(f"{tmp_path / 't.npz'}?targets=y", split=ALL)

    assert (data.kind, data.classes, data[9][1]) == ("table", (), 1.0)
    with pytest.raises(BadReference, match="holds numbers to predict"):
        open_data(f"{tmp_path / 't.npz'}?targets=y", classes=2)
