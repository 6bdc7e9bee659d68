"""What a loader gives against what a model takes: names, order, types, shapes."""

from __future__ import annotations

from collections import UserDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.train.loading_fit import fit

X = TensorSpec("x", DType.FLOAT32, ("batch", 2))
MASK = TensorSpec("mask", DType.INT64, ("batch", "length"))
IDS = TensorSpec("ids", DType.INT64, ("batch", "length"))
x = torch.zeros(4, 2)
y = torch.zeros(4, dtype=torch.int64)
words = torch.zeros(4, 5, dtype=torch.int32)


class Pair(NamedTuple):
    ids: Any
    mask: Any


@pytest.mark.parametrize(
    ("raw", "specs", "targets"),
    [
        ((x, y), [X], ["label"]),
        ([x, y], [X], ["label"]),
        ((x, y, y), [X], ["label/0", "label/1"]),
        ((words, words, y), [IDS, MASK], ["label"]),
        (((words, words), y), [IDS, MASK], ["label"]),
        ((Pair(words, words), y), [IDS, MASK], ["label"]),
        (({"mask": words, "ids": words, "more": y}, y), [IDS, MASK], ["label"]),
        (({"mask": words, "ids": words}, y, y), [IDS, MASK], ["label/0", "label/1"]),
        ({"ids": words, "mask": words, "labels": y, "idx": y}, [IDS, MASK], ["label"]),
        (UserDict({"x": x, "labels": {"a": y, "b": y}}), [X], ["label/a", "label/b"]),
        ({"x": x, "boxes": y, "kinds": y}, [X], ["label/boxes", "label/kinds"]),
        ({"pixels": x, "y": y}, [X], ["label"]),
        (({"x": x}, y), [TensorSpec("batch.x", DType.FLOAT32, ("batch", 2))], ["label"]),
        ((x, None), [X], []),
        (([[0.0, 1.0]] * 4, [0, 1, 0, 1]), [X], ["label"]),
    ],
)
def test_inputs_and_targets_are_told_apart(raw: Any, specs: list[TensorSpec], targets: list[str]) -> None:
    """By name where there are names, else by order."""
    found = fit(raw, specs, "batch 0")

    assert list(found.inputs) == [spec.name for spec in specs]
    assert sorted(found.targets) == targets
    assert found.size == 4


@pytest.mark.parametrize(
    ("raw", "specs", "problem", "fix"),
    [
        (x, [X], "is one Tensor, without targets", "(inputs, targets)"),
        ([x], [X], "is 1 value, without targets", "(inputs, inputs)"),
        ((x, x, x), [X, IDS, MASK], "is 3 values for 3 inputs, without targets", "labels"),
        ({"x": x}, [X], "is a dictionary of 'x', without targets", "labels"),
        ((x, y), [IDS, MASK], "1 inputs for the 2 of the model", "one input; the model takes ids:int64"),
        (
            {"id": words, "mask": words, "labels": y},
            [IDS, MASK],
            "there is no 'ids'",
            "the data gives id, mask;",
        ),
        (
            (x, y),
            [TensorSpec("x", DType.FLOAT32, ("batch", 3))],
            "x: is [4, 2], and the model takes x:",
            "drop_last",
        ),
        ((x, y), [TensorSpec("x", DType.FLOAT32, (8, 2))], "x: is [4, 2]", "drop_last=True"),
        ((x, y), [TensorSpec("x", DType.FLOAT32, ("batch", 2, 2))], "x: is [4, 2]", "takes"),
        (((words, words[:, :3]), y), [IDS, MASK], "mask: is [4, 3]", "takes"),
        (
            (x, y),
            [TensorSpec("x", DType.INT64, ("batch", 2))],
            "x: is float32, and the model takes int64",
            "takes",
        ),
        ((x.byte(), y), [X], "x: is uint8, and the model takes float32: divide", "takes"),
        (
            (words + 300, y),
            [TensorSpec("x", DType.UINT8, ("batch", 5))],
            "x: holds 300 to 300, beyond",
            "takes",
        ),
        ((words - 1, y), [TensorSpec("x", DType.UINT64, ("batch", 5))], "x: holds -1 to -1, beyond", "takes"),
        (
            (words + 2, y),
            [TensorSpec("x", DType.BOOL, ("batch", 5))],
            "x: holds 2 to 2, beyond bool",
            "takes",
        ),
        ((x.to_sparse(), y), [X], "x: is a torch.sparse_coo tensor", "to_dense"),
        ((Image.new("L", (2, 2)), y), [X], "x: is a picture of PIL", "ToTensor"),
        ((["a b", "c"], y), [X], "x: holds words", "collate_fn"),
        ((np.array([object()]), y), [X], "x: is ndarray of object", "tensors"),
        (([[1, 2], [3]], y), [X], "x: is no array", "one length"),
    ],
)
def test_what_does_not_fit_is_told_with_both_sides(
    raw: Any, specs: list[TensorSpec], problem: str, fix: str
) -> None:
    """Before torch sees it."""
    with pytest.raises(BadDocument) as caught:
        fit(raw, specs, "batch 0")
    assert problem in caught.value.problem
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("float64", DType.FLOAT32),
        ("float32", DType.FLOAT64),
        ("float16", DType.FLOAT32),
        ("int64", DType.FLOAT32),
        ("bool", DType.FLOAT32),
        ("int64", DType.INT32),
        ("bool", DType.INT64),
        ("float32", DType.BFLOAT16),
    ],
)
def test_element_types_become_those_of_the_model(given: str, wanted: DType) -> None:
    """Where nothing that counts is lost."""
    found = fit((np.ones((4, 2), given), y), [TensorSpec("x", wanted, ("batch", 2))], "b").inputs["x"]

    assert (str(found.dtype), float(found[0, 0])) == (wanted, 1)


def test_all_inputs_that_do_not_fit_are_told_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(BadDocument) as caught:
        fit(((x, x), y), [IDS, MASK], "b")
    assert len(caught.value.problems) == 2


def test_sizes_that_follow_from_others_are_checked() -> None:
    """A formula over the open dimensions."""
    double = TensorSpec("ids", DType.INT32, ("2*batch", 5))
    given = {"x": torch.zeros(2, 2), "ids": words, "labels": y}

    assert fit(given, [X, double], "b").size == 2
    with pytest.raises(BadDocument, match=r"ids: is \[4, 5\].*where batch is 4"):
        fit(given | {"x": x}, [X, double], "b")


def test_samples_are_counted_along_the_batch_wherever_it_is() -> None:
    """Networks over time may have it second."""
    spec = TensorSpec("x", DType.FLOAT32, ("x_0", "batch", 2))

    assert fit((torch.zeros(7, 3, 2), y), [spec], "b").size == 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("int32", "int64"),
        ("uint8", "int64"),
        ("float64", "float32"),
        ("float16", "float16"),
        ("bool", "bool"),
    ],
)
def test_labels_are_int64_and_targets_float32(given: str, kept: str) -> None:
    """Everything else stays as it is."""
    assert fit((x, np.ones(4, given)), [X], "b").targets["label"].dtype == kept


def test_structures_without_end_are_refused() -> None:
    """A list that holds itself."""
    endless: list[Any] = [x]
    endless.append(endless)
    with pytest.raises(BadDocument, match="nested deeper"):
        fit((x, {"a": endless}), [X], "b")
