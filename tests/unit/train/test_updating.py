"""What an optimizer's update costs, as a part of the way back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.graph import Device, Profile, StageCost, Timing
from partita.train import updating
from partita.train.settings import Optimizing
from partita.train.updating import with_updates

SGD = Optimizing("sgd", 0.1, {"momentum": 0.9})


@pytest.fixture
def model() -> TorchModel:
    """Two layers that learn and two that do not."""
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    net[2].requires_grad_(False)
    return capture_torch(net, (torch.zeros(2, 4),), mode="train")


@pytest.fixture
def profile(model: TorchModel) -> Profile:
    """One second forward and two back, in every stage."""
    costs = [StageCost(s.name, {2: Timing(1.0)}, {2: Timing(2.0)}) for s in model.chain.stages]
    whole = StageCost("whole", {2: Timing(4.0)}, {2: Timing(8.0)})
    return Profile(model.chain.name, model.chain.digest, Device("d"), tuple(costs), whole)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which everything takes a second."""
    now = iter(range(10_000))
    monkeypatch.setattr(updating, "perf_counter", lambda: float(next(now)))


@pytest.mark.usefixtures("clock")
def test_stages_that_learn_take_longer_on_the_way_back(model: TorchModel, profile: Profile) -> None:
    """A call is paid once: half a second for each of two."""
    found = with_updates(profile, model, SGD)

    assert [stage.seconds(2, "backward") for stage in found.stages] == [2.5, 2.0, 2.0, 2.5]


@pytest.mark.usefixtures("clock")
def test_the_whole_takes_longer_by_the_sum(model: TorchModel, profile: Profile) -> None:
    """And forward stays as it was."""
    found = with_updates(profile, model, SGD)

    assert (found.whole.seconds(2, "backward"), found.whole.seconds(2)) == (9.0, 4.0)


def test_nothing_of_the_model_moves(model: TorchModel, profile: Profile) -> None:
    """The updates are those of copies."""
    before = {name: tensor.clone() for name, tensor in model.book.all().items()}

    with_updates(profile, model, SGD)

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.book.all().items())
    assert all(tensor.grad is None for tensor in model.module.parameters())
