"""Names for what goes in and comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from partita.engine.torch_signature import (
    Answer,
    name_outputs,
    read_signature,
    register_dataclasses,
    run_once,
    unique,
)
from partita.errors import CannotCapture


class Nested(nn.Module):
    def forward(self, batch: dict[str, Any], *rest: torch.Tensor, flag: bool = True, mask: Any = None) -> Any:
        return batch["x"]


X = torch.zeros(2, 3)


def test_every_tensor_is_named_after_its_place_in_the_call() -> None:
    """Nested containers, variadic and keyword arguments; what is no tensor has no name."""
    signature = read_signature(
        Nested(), ({"x": X, "more": [X + 1, 5]}, X + 2), {"mask": X + 3, "flag": False}
    )

    assert [n for n in signature.names if n] == ["batch.x", "batch.more.0", "rest.0", "mask"]


def test_arguments_come_back_in_the_users_structure_with_constants_in_place() -> None:
    """The inverse of flattening."""
    signature = read_signature(Nested(), ({"x": X, "more": [X, 5]},), {"flag": False})
    args, kwargs = signature.arguments(dict.fromkeys(signature.tensors, X + 9))

    assert args[0]["more"][1] == 5
    assert torch.equal(args[0]["more"][0], X + 9)
    assert kwargs == {"flag": False}


def test_one_tensor_given_twice_becomes_two() -> None:
    """Otherwise `query is key` would be traced as a fact about the model."""
    tensors = read_signature(Nested(), ({"x": X}, X), {}).tensors

    assert tensors["batch.x"] is not tensors["rest.0"]


def test_example_inputs_that_forward_does_not_take_are_refused_with_its_signature() -> None:
    """The user sees what forward takes and how to pass it."""
    with pytest.raises(
        CannotCapture, match=r"Nested\.forward.*missing a required argument: 'batch'"
    ) as caught:
        read_signature(Nested(), (), {})
    assert "args=(...)" in caught.value.fix


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (X, ["output"]),
        ((X, X), ["output.0", "output.1"]),
        ({"logits": X, "states": (X, None)}, ["logits", "states.0", "states.1"]),
    ],
)
def test_outputs_are_named_where_the_user_finds_them(answer: Any, names: list[str]) -> None:
    """A lone tensor, a tuple, a dictionary."""
    leaves, spec = pytree.tree_flatten(answer)

    assert name_outputs(spec, len(leaves)) == names


def test_an_answer_is_built_back_with_its_constants() -> None:
    """None entries and numbers return to their places."""
    _, spec = pytree.tree_flatten({"a": 0, "b": (0, None)})
    answer = Answer(spec, ("a", None, None), (None, 3, None))

    assert answer.build({"a": "value"}) == {"a": "value", "b": (3, None)}


def test_dataclasses_are_looked_into_once_they_are_met() -> None:
    """A model that returns its own dataclass needs no change."""

    @dataclass
    class Out:
        first: torch.Tensor

    assert register_dataclasses([Out(X)])
    assert not register_dataclasses([Out(X)])
    assert pytree.tree_leaves(Out(X)) == [X]


def test_repeated_names_are_numbered_and_never_collide() -> None:
    """Even with a name that looks like a number was put to it."""
    taken: dict[str, int] = {}

    assert [unique(n, taken) for n in ("relu", "relu/2", "relu", "relu")] == [
        "relu",
        "relu/2",
        "relu/2/2",
        "relu/3",
    ]


def test_running_once_leaves_no_trace() -> None:
    """Neither in running statistics nor in the random numbers."""
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    signature = read_signature(module, (torch.randn(4, 3),), {})
    random = torch.get_rng_state()
    run_once(module, signature)

    assert module[0].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), random)
