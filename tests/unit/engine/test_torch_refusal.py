"""What cannot be captured is refused in one sentence, with the line and the way out."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.errors import CannotCapture

X = torch.ones(3, 8)


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if y.sum() > 0:
            return y
        return -y


class Wrong(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(3, 3)


class Opaque:
    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner


class Odd(nn.Module):
    def forward(self, x: torch.Tensor) -> Opaque:
        return Opaque(x * 2)


def test_flow_that_depends_on_data_is_refused_with_its_line_and_torch_cond() -> None:
    """The user sees the line of their own code."""
    with pytest.raises(CannotCapture) as caught:
        capture_torch(Branch(), (X,))

    assert re.search(r"test_torch_refusal\.py:\d+: `if y\.sum\(\) > 0:`", caught.value.problem)
    assert "torch.cond" in caught.value.fix


def test_a_model_that_fails_uncut_is_told_apart_from_one_that_cannot_be_traced() -> None:
    """The example inputs are at fault then."""
    with pytest.raises(CannotCapture, match="fails on the example inputs, even uncut") as caught:
        capture_torch(Wrong(), (X,))
    assert "x.view(3, 3)" in caught.value.problem


def test_a_class_torch_cannot_look_into_is_refused_with_the_registration_that_helps() -> None:
    """Dataclasses are registered by themselves; other classes are the user's to register."""
    with pytest.raises(CannotCapture, match="Opaque") as caught:
        capture_torch(Odd(), (X,))
    assert "register_pytree_node" in caught.value.fix


def test_the_sentence_is_short_and_the_whole_story_is_its_cause(capfd: pytest.CaptureFixture[str]) -> None:
    """No traceback of 80 lines, and nothing of torch's dumps on the terminal."""
    with pytest.raises(CannotCapture) as caught:
        capture_torch(Branch(), (X,))

    assert len(caught.value.problem) < 400
    assert "Could not guard" in str(caught.value.__cause__)
    assert capfd.readouterr() == ("", "")
