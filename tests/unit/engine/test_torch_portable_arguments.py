"""Sizes in the arguments of operators, judged before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from partita.engine.torch_portable_arguments import grown, may_grow, misfit, named, too_large
from partita.engine.torch_portable_guards import GUARDS
from partita.engine.torch_portable_operators import operator_of

MOST = 1 << 20
X = torch.ones(2, 3)
IMAGE = torch.ones(2, 3, 4, 4)
Call = tuple[str, list[Any]]


def given(name: str, args: list[Any]) -> tuple[Any, dict[str, Any]]:
    target = operator_of(f"aten.{name}")
    found, problem = named(target, args, {})
    assert not problem
    return target, found


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("zeros.default", [[1 << 40]]),
        ("zeros.default", [[1 << 10, 1 << 10, 1 << 10]]),
        ("zeros.default", [[-(1 << 40)]]),
        ("full.default", [[1 << 19, 4], 0.0]),
        ("arange.default", [1 << 40]),
        ("arange.start_step", [0, 1, 1e-12]),
        ("arange.start_step", [1 << 40, 0, -1]),
        ("linspace.default", [0, 1, 1 << 40]),
        ("eye.default", [1 << 12]),
        ("tril_indices.default", [1 << 12, 1 << 12]),
        ("hann_window.default", [1 << 30]),
        ("randperm.default", [1 << 30]),
        ("new_zeros.default", [X, [1 << 30]]),
        ("expand.default", [X, [1 << 30, 3]]),
        ("repeat.default", [X, [1 << 30, 1]]),
        ("one_hot.default", [X, 1 << 30]),
        ("constant_pad_nd.default", [X, [1 << 21, 0]]),
        ("conv2d.default", [IMAGE, IMAGE, None, [1, 1], [1 << 30, 0]]),
        ("upsample_nearest2d.vec", [IMAGE, None, [1e6, 1e6]]),
        ("upsample_nearest2d.vec", [IMAGE, None, [float("nan"), 1.0]]),
        ("split.Tensor", [X, 0]),
        ("avg_pool2d.default", [IMAGE, [0, 0]]),
        ("group_norm.default", [IMAGE, -1]),
    ],
)
def test_numbers_that_are_too_large_or_cannot_be_divided_by_are_refused(name: str, args: list[Any]) -> None:
    """A megabyte is allowed."""
    assert too_large(*given(name, args), MOST)


def test_the_element_type_counts() -> None:
    """The same number of elements in four and in eight bytes."""
    target = operator_of("aten.zeros.default")
    for dtype, refused in ((torch.float32, False), (torch.float64, True)):
        found, _ = named(target, [[1 << 18]], {"dtype": dtype})
        assert bool(too_large(target, found, MOST)) is refused


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("zeros.default", [[1 << 10, 100]]),
        ("arange.start_step", [1 << 40, (1 << 40) + 5, 1]),
        ("arange.start_step", [10, 0, -1]),
        ("arange.default", [float("nan")]),
        ("randint.low", [-(1 << 62), 1 << 62, [3]]),
        ("slice.Tensor", [X, 0, 0, (1 << 63) - 1]),
        ("slice.Tensor", [X, 0, -(1 << 63), 5]),
        ("masked_fill.Scalar", [X, X > 0, -(1 << 62)]),
        ("view.default", [X, [-1, 2]]),
        ("conv2d.default", [IMAGE, IMAGE, None, [2, 2], [3, 3], [1, 1], 1]),
        ("max_pool2d.default", [IMAGE, [3, 3], [], [1, 1]]),
        ("_assert_tensor_metadata.default", [X, [2, 3], [1 << 21, 0]]),
    ],
)
def test_numbers_that_models_have_are_let_through(name: str, args: list[Any]) -> None:
    """Values are not sizes, and the end of a slice is no size either."""
    assert not too_large(*given(name, args), MOST)


WIDE = torch.ones(1 << 9, 1 << 9)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("repeat.default", [WIDE, [2, 1]]),
        ("tile.default", [WIDE, [2, 1]]),
        ("repeat_interleave.self_int", [WIDE, 2]),
        ("expand.default", [WIDE, [2, -1, -1]]),
        ("broadcast_to.default", [WIDE, [2, 1 << 9, 1 << 9]]),
        ("one_hot.default", [torch.zeros(1 << 10, dtype=torch.int64), 1 << 9]),
        ("pad.default", [WIDE, [1 << 9, 0]]),
        ("reflection_pad2d.default", [IMAGE, [1 << 9] * 4]),
        ("upsample_nearest2d.vec", [IMAGE, None, [200.0, 200.0]]),
        ("upsample_bilinear2d.vec", [IMAGE, [800, 800], False, None]),
        ("mul.Tensor", [torch.ones(1 << 10, 1), torch.ones(1 << 10)]),
        ("matmul.default", [torch.ones(1 << 10, 1), torch.ones(1, 1 << 10)]),
        ("bmm.default", [torch.ones(1 << 4, 1 << 8, 1), torch.ones(1 << 4, 1, 1 << 8)]),
        ("outer.default", [torch.ones(1 << 10), torch.ones(1 << 10)]),
        ("linear.default", [torch.ones(1 << 10, 1), torch.ones(1 << 10, 1)]),
    ],
)
def test_results_that_outgrow_what_goes_in_are_refused(name: str, args: list[Any]) -> None:
    """By the tensors at hand."""
    target, found = given(name, args)

    assert may_grow(target)
    assert "would give" in grown(target, found, MOST)
    assert not grown(target, found, 1 << 30)


def test_what_has_no_tensor_has_not_grown() -> None:
    """Factories are judged by their numbers."""
    assert not grown(*given("zeros.default", [[3]]), 0)
    assert not grown(*given("relu.default", [X]), 0)


def test_a_list_of_numbers_may_be_one_number_and_a_list_of_tensors_is_a_list() -> None:
    """As the schema says; a list without end is none."""
    assert not misfit(*given("sum.dim_IntList", [X, 1]))
    assert misfit(*given("cat.default", [X])) == "tensors is no List[Tensor]"
    assert misfit(*given("sum.dim_IntList", [X, [1] * (1 << 17)])).startswith("dim is no")


W, ZERO = torch.ones(8, 2), torch.zeros(1, 2, 2)
GRU = [torch.ones(2, 3, 2), ZERO, [torch.ones(6, 2)] * 2, False, 1, 0.0, False, False, True]


@pytest.mark.parametrize(
    ("name", "args", "problem"),
    [
        ("gru.input", GRU, ""),
        ("gru.input", [torch.ones(3, 2), *GRU[1:]], "three dimensions"),
        ("gru.input", [GRU[0], torch.zeros(2, 2, 2), *GRU[2:]], "for 1 layers in 1 directions"),
        ("gru.input", [*GRU[:2], [torch.ones(6, 2), torch.ones(6, 3)], *GRU[3:]], "do not fit"),
        (
            "gru.input",
            [*GRU[:2], [torch.ones(6, 2), torch.ones(6, 2).double()], *GRU[3:]],
            "mixes element types",
        ),
        ("lstm.input", [GRU[0], [ZERO], [W, W], *GRU[3:]], "three dimensions"),
        ("lstm.input", [GRU[0], [ZERO, ZERO], [W, W], *GRU[3:]], ""),
        ("gru_cell.default", [X, X[0], X, X], "two dimensions"),
        ("gru_cell.default", [X, X, X, X], ""),
        ("_weight_norm.default", [X, torch.ones(2, 1), 0], ""),
        ("_weight_norm.default", [X, torch.ones(2, 3), 0], "has lengths"),
        ("_weight_norm.default", [X, torch.ones(2, 1), 2], "has lengths"),
        ("pdist.default", [X], ""),
        ("pdist.default", [X[:0]], "something in it"),
    ],
)
def test_kernels_that_trust_shapes_get_shapes_that_fit(name: str, args: list[Any], problem: str) -> None:
    """Each of these corrupted memory or ended the process before."""
    _, found = given(name, args)
    said = GUARDS[name.partition(".")[0]](name.partition(".")[0], {"dim": 0, **found})

    assert (problem in said) if problem else not said
