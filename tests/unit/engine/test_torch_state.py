"""State: by name, as arrays and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import BadDocument, NotFound


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embed(tokens)) * self.scale)


def tied(seed: int) -> TorchModel:
    torch.manual_seed(seed)
    return capture_torch(Tied(), (torch.tensor([1, 2, 3]),))


def test_state_has_the_modules_names_a_tied_tensor_once_and_counters_too() -> None:
    """The counter of a normalisation is state although eval mode never reads it."""
    model = tied(0)

    assert set(model.part(0, len(model.chain)).state()) == {
        "embed.weight",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }


def test_both_parts_of_a_tied_parameter_hold_it_under_its_first_name() -> None:
    """The cut says that they share it."""
    model = tied(0)
    last = len(model.chain) - 1

    assert model.chain.cut(1).shared == ("embed.weight",)
    assert "embed.weight" in model.part(last, last + 1).state()


def test_a_file_carries_a_part_to_another_process(tmp_path: Path) -> None:
    """What was saved here runs there."""
    one, two = tied(0), tied(1)
    end = len(one.chain)
    one.part(0, end).save_state(tmp_path / "state.safetensors")
    two.part(0, end).load_state_file(tmp_path / "state.safetensors")

    assert np.array_equal(one.whole(one.example())["output"], two.whole(two.example())["output"])


def test_a_file_of_the_whole_model_serves_every_part_under_any_name(tmp_path: Path) -> None:
    """Checkpoints of other tools may hold a tied tensor under its other name."""
    from safetensors.torch import save_file

    one, two = tied(0), tied(1)
    state = {k: v.clone() for k, v in one.module.state_dict().items() if k != "embed.weight"}
    save_file(state, tmp_path / "whole.safetensors")
    two.part(0, 1).load_state_file(tmp_path / "whole.safetensors")

    assert torch.equal(two.module.embed.weight, one.module.embed.weight)


def test_a_state_that_does_not_fit_is_refused_with_every_problem_and_changes_nothing() -> None:
    """Names, types and shapes at once; all or nothing."""
    model = tied(0)
    part = model.part(0, 2)
    state = part.state()
    before = model.module.embed.weight.detach().clone()
    del state["norm.bias"]
    state |= {"norm.weight": np.ones(5, np.float32), "norm.running_mean": np.zeros(4), "more": np.zeros(1)}
    with pytest.raises(BadDocument) as caught:
        part.load_state({**state, "embed.weight": np.zeros((6, 4), np.float32)})

    assert sorted(caught.value.problems) == [
        "'more' is not part of it",
        "'norm.bias' is missing",
        "'norm.running_mean' is float64, not float32",
        "'norm.weight' has shape (5,), not (4,)",
    ]
    assert torch.equal(model.module.embed.weight, before)


def test_a_saved_state_does_not_change_when_training_goes_on() -> None:
    """State is a copy."""
    model = tied(0)
    part = model.part(0, 1)
    state = part.state()
    with torch.no_grad():
        model.module.embed.weight.zero_()

    assert state["embed.weight"].any()


def test_buffers_are_found_after_the_module_moved() -> None:
    """`module.double().float()` puts new buffers in their places; parts read those."""
    model = tied(0)
    part = model.part(0, len(model.chain))
    model.module.double().float()
    model.module.norm.running_mean.fill_(3.0)

    assert part.state()["norm.running_mean"].tolist() == [3.0] * 4
    assert np.array_equal(part.forward(model.example())["output"], model.whole(model.example())["output"])


def test_a_file_that_is_not_there_or_is_none_is_refused(tmp_path: Path) -> None:
    """Each with its own error."""
    part = tied(0).part(0, 1)
    (tmp_path / "bad.safetensors").write_bytes(b"not tensors")

    with pytest.raises(NotFound, match="there is no state file"):
        part.load_state_file(tmp_path / "none.safetensors")
    with pytest.raises(BadDocument, match="is no safetensors file"):
        part.load_state_file(tmp_path / "bad.safetensors")
