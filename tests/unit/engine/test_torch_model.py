"""A captured module as a whole: structure of answers, modes, examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine import largest_difference
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import IllegalCut, UnboundDimension

X = torch.linspace(-1, 1, 32).reshape(4, 8)


@dataclass
class Seen:
    scores: torch.Tensor
    size: int
    more: tuple[Any, ...]


class Rich(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.free = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor, deep: bool = True, nothing: None = None) -> Seen:
        h = self.a(x)
        return Seen(self.b(h) if deep else h, x.shape[0], (x, None, self.free, 7))


class Helper(nn.Module):
    """Answers with one tensor more in train mode, and adds noise there."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aid = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> Any:
        h = self.a(x)
        if self.training:
            h = h + 0.1 * torch.randn_like(h)
            aid = self.aid(h)
            return self.b(h), aid
        return self.b(h)


def run(model: TorchModel, position: int) -> dict[str, np.ndarray]:
    have = dict(model.example())
    for part in (model.part(0, position), model.part(position, len(model.chain))):
        have.update(part.forward({n: have[n] for n in part.inputs}))
    return have


def test_answers_come_back_in_the_users_own_structure() -> None:
    """A dataclass with a size, an input, None, a parameter and a number in it."""
    model = capture_torch(Rich(), (X,))
    seen = model.unflatten(run(model, 1))

    assert isinstance(seen, Seen)
    assert (int(seen.size), seen.more[1], seen.more[3]) == (4, None, 7)
    assert np.array_equal(seen.more[0], X.numpy())
    assert seen.more[2].tolist() == [1, 1, 1]


def test_sizes_travel_as_numbers_where_nothing_else_tells_them() -> None:
    """The batch size is an output here, at any batch."""
    model = capture_torch(Rich(), (X,))
    part = model.part(0, len(model.chain))

    assert part.forward(model.example(9))["size"] == 9


def test_arguments_that_are_no_tensors_are_constants_of_the_capture() -> None:
    """`deep=False` takes another way through the model."""
    assert len(capture_torch(Rich(), (X, False)).chain.stages) < len(capture_torch(Rich(), (X,)).chain.stages)


def test_each_mode_runs_its_own_operators_with_the_same_random_numbers() -> None:
    """Noise and a second answer in train mode; the parts draw what the module draws."""
    model = capture_torch(Helper(), (X,))
    model.set_mode("train")
    torch.manual_seed(3)
    whole = model.whole(model.example())
    torch.manual_seed(3)
    have = run(model, 1)

    assert set(whole) == {"output.0", "output.1"}
    assert largest_difference(whole, {n: have[n] for n in whole}) == 0.0


def test_state_that_only_train_mode_uses_is_trained_too() -> None:
    """The helper's parameters belong to the part that runs it."""
    model = capture_torch(Helper(), (X,))
    model.set_mode("train")

    assert "aid.weight" in dict(model.part(0, 1).named_parameters())


class Skips(nn.Module):
    """Runs two of its layers in eval mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        return self.d(x if self.training else self.c(self.b(x)))


def test_a_cut_that_one_mode_does_not_have_is_refused_there() -> None:
    """Between two stages that run in eval mode only there is nothing to cut in train mode."""
    model = capture_torch(Skips(), (X,))
    model.set_mode("train")

    assert model.legal_cuts("train") == (0, 1, 3, 4)
    with pytest.raises(IllegalCut, match=r"in train mode .* at 2 \(before 'c'\): it runs neither") as caught:
        model.part(0, 2)
    assert "1, 3" in caught.value.fix


def test_cuts_around_what_one_mode_skips_meet_there() -> None:
    """The part between them is empty in train mode, and the numbers are those of the whole."""
    model = capture_torch(Skips(), (X,))
    model.set_mode("train")
    whole = model.whole(model.example())

    assert model.part(1, 3).forward({}) == {}
    for position in (1, 3):
        assert largest_difference({"output": run(model, position)["output"]}, whole) == 0.0


def test_examples_of_other_batch_sizes_are_made_in_the_likeness_of_the_users() -> None:
    """Tokens stay legal tokens; floats have the same spread; the same seed gives the same values."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e = nn.Embedding(5, 8)

        def forward(self, tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.e(tokens) + x

    model = capture_torch(Both(), (torch.tensor([1, 4, 4, 1]), X))
    made = model.example(500, seed=1)

    assert set(made["tokens"].tolist()) == {1, 4}
    assert abs(made["x"].std() - X.numpy().std()) < 0.1
    assert all(np.array_equal(a, model.example(500, seed=1)[n]) for n, a in made.items())
    assert np.array_equal(model.example()["x"], X.numpy())


def test_a_fixed_batch_is_told_when_another_is_asked_for() -> None:
    """With the size it was captured for."""
    model = capture_torch(nn.Linear(8, 2), (X,), dynamic_shapes={"input": None})
    with pytest.raises(UnboundDimension, match="captured for a batch of 4 only, not 5"):
        model.example(5)
