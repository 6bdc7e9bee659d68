"""What optimizers remember, by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from partita.train.optimizers import OPTIMIZERS, make_optimizer, parse_optimizing
from partita.train.optimizers_book import OptimizerBook

ALL = [*OPTIMIZERS, "sgd,momentum=0.9", "adam,amsgrad=1", "rmsprop,momentum=0.9,centered=1"]


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape).to(dtype)) for name, shape in (("a", (3, 2)), ("b", ()))}


def give_gradients(own: dict[str, nn.Parameter], step: int) -> None:
    for parameter in own.values():
        parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("text", ALL)
def test_memory_that_moves_by_name_changes_nothing(text: str, dtype: torch.dtype) -> None:
    """Three books, one after the other, against torch's optimizer at work all the time."""
    spec = parse_optimizing(text)
    own, plain = parameters(dtype), parameters(dtype)
    theirs = make_optimizer(spec, plain.items())
    book = OptimizerBook(own.__getitem__, spec)
    for step in range(6):
        give_gradients(own, step)
        give_gradients(plain, step)
        theirs.step()
        book.update(("a", "b") if step % 2 else ("b", "a"), spec.rate)
        if step % 2:
            memory = book.export(["a", "b"])
            book = OptimizerBook(own.__getitem__, spec)
            for name in own:
                given = {
                    k.rpartition("/")[2]: v for k, v in memory.items() if k.startswith(f"optimizer/{name}/")
                }
                assert book.problems(name, given) == []
                book.put(name, given)

    assert all(torch.equal(own[name], plain[name]) for name in own)


def test_the_rate_is_that_of_the_update() -> None:
    """Not the one the optimizer was made with."""
    own = parameters()
    before = own["a"].detach().clone()
    book = OptimizerBook(own.__getitem__, parse_optimizing("sgd:9"))
    give_gradients(own, 0)
    book.update(("a",), 0.5)

    assert torch.allclose(own["a"], before - 0.05)


def test_gradients_go_with_the_update() -> None:
    """The next step begins without them."""
    own = parameters()
    give_gradients(own, 0)
    OptimizerBook(own.__getitem__, parse_optimizing("adam")).update(("a",), 0.1)

    assert own["a"].grad is None
    assert own["b"].grad is not None


def test_clip_bounds_every_value_of_a_gradient() -> None:
    """Both ways."""
    own = parameters()
    before = own["a"].detach().clone()
    own["a"].grad = torch.tensor([[5.0, -5.0], [0.1, 0.0], [1.0, -1.0]])
    OptimizerBook(own.__getitem__, parse_optimizing("sgd,clip=0.5")).update(("a",), 1.0)

    assert torch.allclose(before - own["a"], torch.tensor([[0.5, -0.5], [0.1, 0], [0.5, -0.5]]))


def test_a_parameter_without_a_gradient_stays_and_remembers_nothing() -> None:
    """As with torch's own."""
    own = parameters()
    own["a"].grad = torch.ones(3, 2)
    book = OptimizerBook(own.__getitem__, parse_optimizing("adam"))
    book.update(("a", "b"), 0.1)

    assert {key.split("/")[1] for key in book.export(["a", "b"])} == {"a"}


def test_what_is_given_out_is_a_copy() -> None:
    """Training on does not change it."""
    own = parameters()
    book = OptimizerBook(own.__getitem__, parse_optimizing("adam"))
    give_gradients(own, 0)
    book.update(("a",), 0.1)
    told = book.export(["a"])
    give_gradients(own, 1)
    book.update(("a",), 0.1)

    assert told["optimizer/a/step"] == 1
    assert book.export(["a"])["optimizer/a/step"] == 2


def test_its_size_is_that_of_what_it_gives_out() -> None:
    """Two moments and a counter."""
    own = parameters()
    book = OptimizerBook(own.__getitem__, parse_optimizing("adam"))
    give_gradients(own, 0)
    book.update(("a",), 0.1)

    assert book.nbytes("a") == sum(array.nbytes for array in book.export(["a"]).values()) == 2 * 24 + 4
    assert book.nbytes("b") == 0


@pytest.mark.parametrize("text", ALL)
def test_putting_nothing_clears_what_was_there(text: str) -> None:
    """And the parameter learns on from the beginning, with those that begin with numbers of their own too."""
    spec = parse_optimizing(text)
    own, plain = parameters(), parameters()
    book = OptimizerBook(own.__getitem__, spec)
    give_gradients(own, 0)
    book.update(("a", "b"), 0.1)
    book.put("a", {})
    with torch.no_grad():
        own["a"].copy_(plain["a"])
    give_gradients(own, 3)
    give_gradients(plain, 3)
    book.update(("a", "b"), spec.rate)
    make_optimizer(spec, [("a", plain["a"])]).step()

    assert torch.equal(own["a"], plain["a"])


def test_another_tensor_under_the_same_name_goes_on() -> None:
    """A cloud lets a parameter's memory go and takes new one."""
    own = parameters()
    book = OptimizerBook(own.__getitem__, parse_optimizing("sgd"))
    give_gradients(own, 0)
    book.update(("a",), 0.1)
    own["a"] = nn.Parameter(torch.zeros(3, 2))
    give_gradients(own, 0)
    book.update(("a",), 1.0)

    assert torch.allclose(own["a"], torch.full((3, 2), -0.1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": np.float32(1)}, "exp_avg: is missing"),
        ({"speed": np.zeros(1)}, "speed: adam keeps step, exp_avg, exp_avg_sq"),
        ({"exp_avg": np.zeros((2, 3), np.float32)}, r"exp_avg: is float32\[2, 3\], not float32\[3, 2\]"),
        ({"exp_avg": np.zeros((3, 2))}, r"exp_avg: is float64\[3, 2\], not float32\[3, 2\]"),
        ({"step": np.zeros(3, np.float32)}, r"step: is float32\[3\], not float32\[\]"),
    ],
)
def test_memory_that_does_not_fit_is_told(given: dict[str, np.ndarray], said: str) -> None:
    """By key, type and shape."""
    import re

    found = OptimizerBook(parameters().__getitem__, parse_optimizing("adam")).problems("a", given)

    assert re.search(said, "; ".join(found))


def test_buffers_have_no_memory() -> None:
    """A visitor cannot give them one."""
    book = OptimizerBook({"mean": torch.zeros(2)}.__getitem__, parse_optimizing("adam"))

    assert book.problems("mean", {"step": np.zeros((), np.float32)}) == ["optimizer/mean: is no parameter"]
