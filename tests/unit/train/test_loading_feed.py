"""Streams, and what is no data at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.train.loading import Batches
from partita.train.settings import Settings
from partita.zoo import open_data

ONE = (TensorSpec("x", DType.FLOAT32, ("batch", 2)),)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for at in range(7):
            yield torch.rand(2), at


def rows(data: Any, epoch: int = 1, start: int = 0) -> list[list[list[float]]]:
    return [b.inputs["x"].tolist() for b in Batches.of(data, Settings(batch=3), ONE).epoch(epoch, start)]


@pytest.mark.parametrize("data", [Stream(), DataLoader(Stream(), 3)])
def test_a_stream_is_read_in_its_own_order_and_goes_on_where_it_was(data: Any) -> None:
    """With random numbers that are a function of seed and epoch, and without ids."""
    batches = Batches.of(data, Settings(batch=3), ONE)

    assert [(b.size, b.ids) for b in batches.epoch(1)] == [(3, None), (3, None), (1, None)]
    assert [b.targets["label"].tolist() for b in batches.epoch(1, 1)] == [[3, 4, 5], [6]]
    assert rows(data)[1:] == rows(data, start=1)
    assert rows(data) != rows(data, epoch=2)
    assert not batches.notes


def test_a_stream_draws_apart_from_the_training() -> None:
    """A draw between two batches changes neither."""
    batches = Batches.of(Stream(), Settings(batch=3), ONE)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    found, draws = [], []
    for batch in batches.epoch(1):
        found.append(batch.inputs["x"].tolist())
        draws.append(torch.rand(1))

    assert found == rows(Stream())
    assert torch.equal(torch.cat(draws), expected)


def test_a_loader_that_iterates_in_a_way_of_its_own_is_a_stream() -> None:
    """Taking it apart would undo what it does."""

    class Doubling(DataLoader[Any]):
        def __iter__(self) -> Any:
            for x, y in super().__iter__():
                yield x * 2, y

    data = [(torch.ones(2), 1)] * 4

    assert rows(Doubling(data, batch_size=2))[0] == [[2, 2], [2, 2]]  # type: ignore[arg-type]


def test_a_list_of_batches_is_read_as_batches() -> None:
    """As many as it holds, arrays or tensors."""
    batches = Batches.of([(np.zeros((n, 2)), torch.zeros(n)) for n in (2, 5)], Settings(), ONE)

    assert (batches.steps_per_epoch, [b.size for b in batches.epoch(1)]) == (2, [2, 5])


def test_a_buffer_that_is_filled_again_and_again_does_no_harm() -> None:
    """Batches wait while others are made."""

    class Refilling:
        def __iter__(self) -> Iterator[Any]:
            buffer, tensor = np.zeros((2, 2), np.float32), torch.zeros(2)
            for at in range(3):
                buffer[:], tensor[:] = at, at
                yield {"x": buffer, "labels": [tensor]}

    found = list(Batches.of(Refilling(), Settings(), ONE).epoch(1))

    assert [(b.inputs["x"][0, 0], b.targets["label/0"][0]) for b in found] == [(0, 0), (1, 1), (2, 2)]


def test_a_generator_is_refused_because_it_ends() -> None:
    """With what to give instead."""
    with pytest.raises(BadDocument, match="can be read only once") as caught:
        Batches.of(((np.zeros((2, 2)), np.zeros(2)) for _ in range(3)), Settings(), ONE)
    assert "DataLoader" in caught.value.fix


def test_a_stream_has_no_samples_by_id() -> None:
    """It says so."""
    with pytest.raises(BadDocument, match="by id"):
        Batches.of([(np.zeros((2, 2)), np.zeros(2))], Settings(), ONE).pick(np.array([0]))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (7, "int gives no batches"),
        ({"x": 1}, "dict gives no batches"),
        (torch.zeros(3, 2), "Tensor gives no batches"),
        ([], "gives no batch"),
        ((np.zeros((3, 2)), np.zeros(4)), "different numbers of rows, or none: inputs 3, targets 4"),
        ((np.zeros((0, 2)), np.zeros(0)), "inputs 0, targets 0"),
        ((np.zeros((3, 2)), 5), "targets 0"),
        (
            ((np.zeros((2, 2)), np.zeros(2)), (np.zeros((3, 2)), np.zeros(3))),
            "inputs/0 2, inputs/1 2, targets/0 3",
        ),
    ],
)
def test_what_is_no_data_is_refused(data: Any, problem: str) -> None:
    """With what was seen."""
    with pytest.raises(BadDocument) as caught:
        Batches.of(data, Settings(), ONE)
    assert problem in caught.value.problem


def test_changes_are_for_data_of_ours() -> None:
    """A user's own data set changes its samples itself."""
    with pytest.raises(BadDocument, match="for data that Partita opens"):
        Batches.of([(np.zeros((2, 2)), np.zeros(2))], Settings(), ONE, augment="flip")


def test_judging_data_of_ours_goes_in_its_order() -> None:
    """By position."""
    spec = (TensorSpec("x", DType.FLOAT32, ("batch", 1, 8, 8)),)
    batches = Batches.of(open_data("made:digits?train=20", size=8), Settings(batch=8), spec)

    assert [b.ids[0] for b in batches.in_order()] == [0, 8, 16]
    assert batches.pick(np.array([4]))["label"].tolist() == [4]
