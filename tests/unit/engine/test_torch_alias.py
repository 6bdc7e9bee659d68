"""Writes in place, and the cuts they forbid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine import largest_difference
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import IllegalCut

X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Three(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)


class WritesThroughView(Three):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.a(x)
        corner = whole[:, :2]
        y = self.b(x)
        corner.add_(1)
        return self.c(whole) + y


class WritesToInput(Three):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return self.b(torch.relu_(self.a(x)))


class WritesAndReads(Three):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        y = self.b(h)
        h.add_(1)
        return self.c(h) + y


class Counts(Three):
    """Writes to a buffer where no gradients flow, through a view of it, and uses it two stages later."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        with torch.no_grad():
            self.seen[:4].add_(h.mean(0)[:4])
        return self.c(self.b(h)) + self.seen


class NormTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.a, self.b = nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.b(self.norm(self.a(x))))


def assert_equal_at(model: TorchModel, position: int) -> None:
    values = model.example()
    have = dict(values)
    for part in (model.part(0, position), model.part(position, len(model.chain))):
        have.update(part.forward({n: have[n] for n in part.inputs}))
    assert largest_difference({"output": have["output"]}, model.whole(values)) == 0.0


def test_a_cut_between_two_views_of_one_memory_is_blocked_while_one_is_still_written() -> None:
    """Copies on the far side would not see the write; the reason names both values and the operator."""
    model = capture_torch(WritesThroughView(), (X,), depth=9)
    reason = model.chain.cut(1).reason

    assert "add" in reason
    assert "'a.linear' and 'a.slice'" in reason
    with pytest.raises(IllegalCut, match="changes in place"):
        model.part(0, 1)


def test_the_same_model_is_cut_where_the_write_is_over() -> None:
    """Blocked positions end with the writer."""
    model = capture_torch(WritesThroughView(), (X,), depth=9)
    legal = [cut.position for cut in model.chain.cuts if cut.legal]

    assert legal == [0, 3, 4, 5]
    for position in legal:
        assert_equal_at(model, position)


@pytest.mark.parametrize("module", [WritesToInput, WritesAndReads])
def test_a_value_that_is_written_on_one_side_only_may_cross(module: type[nn.Module]) -> None:
    """The far side writes to its own copy."""
    model = capture_torch(module(), (X,), depth=9)

    assert not model.chain.blocked
    for position in range(len(model.chain) + 1):
        assert_equal_at(model, position)


def test_the_callers_array_is_never_written_to() -> None:
    """Not by a part whose first operator writes to its input, in any of the three ways to run it."""
    model = capture_torch(WritesToInput(), (X,), depth=9)
    part = model.part(0, 1)
    values = model.example()
    before = values["x"].copy()
    part.forward(values)
    part.forward_kept(values)
    model.whole(values)

    assert np.array_equal(values["x"], before)


def test_a_written_input_still_gets_its_gradient() -> None:
    """Autograd forbids writing to a leaf; the part writes to a clone."""
    model = capture_torch(WritesToInput(), (X,), depth=9)
    part = model.part(0, len(model.chain))
    answer = part.forward_kept(model.example())
    gradients = part.backward({name: np.ones_like(a) for name, a in answer.items()})

    assert gradients["x"].shape == (4, 8)


def test_values_share_one_name_after_an_operator_in_place() -> None:
    """Readers after `relu_` read its result: one tensor crosses, not two."""

    class Reads(Three):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.a(x)
            h.relu_()
            return self.c(self.b(h)) + h

    model = capture_torch(Reads(), (X,), depth=9)

    assert [t.name for t in model.chain.cut(3).tensors] == ["relu", "b"]


def test_running_statistics_on_both_sides_block_the_cut_in_train_mode_only() -> None:
    """In eval mode nobody writes them."""
    model = capture_torch(NormTwice(), (X,))

    assert model.legal_cuts("eval") == (0, 1, 2, 3, 4)
    assert model.legal_cuts("train") == (0, 1, 4)
    model.set_mode("train")
    with pytest.raises(IllegalCut, match=r"in train mode .*buffer 'norm\.") as caught:
        model.part(0, 2)
    assert "0, 1, 4 are near" in caught.value.fix


def test_outputs_share_no_memory_with_inputs_or_parameters() -> None:
    """What a part gave does not change when its caller or its optimizer goes on."""

    class Views(Three):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.view(8, 4), self.a.weight.t()

    model = capture_torch(Views(), (X,))
    values = model.example()
    out = model.part(0, len(model.chain)).forward(values)

    assert not np.shares_memory(out["output.0"], values["x"])
    assert not np.shares_memory(out["output.1"], model.module.a.weight.detach().numpy())


def test_a_write_where_no_gradients_flow_is_seen_too() -> None:
    """Averages that a module keeps by itself are written under `no_grad`."""
    model = capture_torch(Counts(), (X,), mode="train")
    reasons = set(model.chain.blocked.values())

    assert reasons == {"buffer 'seen' is written on one side and used on the other"}
    assert model.legal_cuts("train") == (0, 1, len(model.chain))
