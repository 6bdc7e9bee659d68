"""The inputs a module is captured with, as its user would call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.train.loading import Batches, example_of
from partita.train.settings import Settings

x = torch.ones(4, 3)
y = torch.zeros(4, dtype=torch.int64)


class One(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Two(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * mask


class Whole(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["x"] * batch["mask"]


class Options(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, **others: Any) -> torch.Tensor:
        return x * 2 if mask is None else x * mask


@pytest.mark.parametrize(
    ("module", "batch", "args", "kwargs"),
    [
        (One(), (x, y), 1, []),
        (One(), (x, y, y), 1, []),
        (Two(), (x, x, y), 2, []),
        (Two(), ((x, x), y), 2, []),
        (Two(), {"mask": x, "x": x, "labels": y, "idx": y}, 0, ["mask", "x"]),
        (Two(), ({"mask": x, "x": x}, y), 0, ["mask", "x"]),
        (Whole(), ({"mask": x, "x": x}, y), 1, []),
        (Options(), {"x": x, "idx": y, "labels": y}, 0, ["x"]),
        (Options(), (x, x, y), 2, []),
    ],
)
def test_inputs_go_as_the_module_is_called_and_then_fit_it(
    module: nn.Module, batch: Any, args: int, kwargs: list[str]
) -> None:
    """By order, by name, or as one dictionary."""
    found = example_of([batch], module)
    model = capture_torch(module, *found)

    assert (len(found[0]), sorted(found[1])) == (args, kwargs)
    assert list(Batches.of([batch], Settings(), model).first().inputs) == list(model.chain.inputs)


def test_without_a_module_all_inputs_go_as_they_are() -> None:
    """Names as names."""
    assert sorted(example_of([{"a": x, "b": x, "labels": y}])[1]) == ["a", "b"]
    assert len(example_of([(x, x, y)])[0]) == 2


def test_numpys_float64_becomes_float32_and_a_tensors_stays() -> None:
    """Nobody chose the first."""
    assert example_of((np.ones((4, 3)), np.zeros(4)))[0][0].dtype == torch.float32
    assert example_of((x.double(), y))[0][0].dtype == torch.float64


def test_the_example_is_a_copy() -> None:
    """Capturing may write to it."""
    example_of([(x, y)], One())[0][0].zero_()

    assert x.sum() == 12
