"""Tracing: modes and batch sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.engine.torch_export import Modes, batch_of, first_trace, widen
from partita.engine.torch_signature import read_signature

X = torch.ones(1, 8)


def test_every_flag_is_put_back_even_after_a_failure() -> None:
    """Exceptions deep in the module included."""
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    module[1][0].eval()
    before = [m.training for m in module.modules()]
    with pytest.raises(ZeroDivisionError), Modes(module).during("eval"):
        1 / sum(m.training for m in module.modules())

    assert [m.training for m in module.modules()] == before


def test_a_batch_of_one_is_widened_and_other_sizes_are_left_alone() -> None:
    """Only the first axis of tensors that share the batch."""
    example = read_signature(nn.Bilinear(8, 8, 2), (X, X), {})

    assert [tuple(t.shape) for t in widen(example).tensors.values()] == [(2, 8), (2, 8)]
    assert batch_of(example) == 1


def test_the_first_recipe_that_works_is_taken() -> None:
    """An open batch before a fixed one, without strict tracing before with it."""
    example = read_signature(nn.Linear(8, 2), (torch.ones(4, 8),), {})
    _, recipe = first_trace(nn.Linear(8, 2), example, None)

    assert (recipe.batch, recipe.strict) == (4, False)


def test_a_model_without_tensors_of_rank_has_no_batch() -> None:
    """A scalar input is traced with fixed sizes."""
    example = read_signature(nn.Tanh(), (torch.tensor(1.0),), {})
    _, recipe = first_trace(nn.Tanh(), example, None)

    assert (batch_of(example), recipe.batch) == (None, None)
