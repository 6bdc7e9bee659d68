"""The inputs of a cut model, checked and made up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.slice import Manifest, Preparation
from partita.slice.inputs import check_inputs, made_inputs
from partita.slice.slicer import cut, plan_at, prepare
from partita.testing.onnx_models import write_onnx


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder: Path = tmp_path_factory.mktemp("inputs")
    ready = prepare(write_onnx("two_inputs", folder), Preparation())
    return cut(ready, plan_at(ready.chain, (), batch=2, dims={"seq": 5}), folder / "slices")


def ids(*shape: int, dtype: Any = np.int64) -> Any:
    return np.zeros(shape, dtype)


def mask(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"ids": ids(2, 5), "mask": mask(3, 5)}, ["batch is 2 in 'ids' and 3 in 'mask'"]),
        ({"ids": ids(2), "mask": mask(2, 5)}, ["'ids' must have the shape [batch, seq], not [2]"]),
        ({"ids": ids(2, 5), "mask": [[1.0]]}, ["'mask' must be a numpy array, not list"]),
        ({"ids": ids(2, 5), "mask": mask(2, 5, dtype=">f4")}, ["'mask' must be in this machine's byte order, not >f4"]),
        ({}, ["'ids' is missing", "'mask' is missing"]),
    ],
)  # fmt: skip
def test_wrong_values_are_named(manifest: Manifest, values: Any, problems: list[str]) -> None:
    with pytest.raises(BadDocument) as caught:
        check_inputs(manifest, values)

    assert list(caught.value.problems) == problems


def test_right_values_pass(manifest: Manifest) -> None:
    check_inputs(manifest, {"ids": ids(4, 9), "mask": mask(4, 9)})


def test_made_up_values_pass_and_repeat(manifest: Manifest) -> None:
    one, two = made_inputs(manifest, 3), made_inputs(manifest, 3)
    check_inputs(manifest, one)

    assert one["ids"].shape == (2, 5)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["mask"], made_inputs(manifest, 4)["mask"])


@pytest.mark.parametrize("dtype", [d for d in DType if d.travels or d is DType.STRING])
def test_every_type_can_be_made_up(manifest: Manifest, dtype: DType) -> None:
    spec = TensorSpec("ids", dtype, ("batch", 3))
    changed = replace(manifest, tensors={**manifest.tensors, "ids": spec})
    values = made_inputs(changed)
    check_inputs(changed, {**values, "mask": mask(2, 5)})

    assert values["ids"].shape == (2, 3)


def test_what_has_no_size_cannot_be_made_up(manifest: Manifest) -> None:
    spec = TensorSpec("ids", DType.FLOAT32, None)
    with pytest.raises(BadDocument, match="'ids'"):
        made_inputs(replace(manifest, tensors={**manifest.tensors, "ids": spec}))
