"""Capture: any module, without rewriting it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from partita.engine import Captured, Learner, largest_difference
from partita.engine.torch_capture import capture_torch
from partita.errors import CannotCapture
from partita.testing.models import tiny_model


def mlp(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4), *more)


X = torch.ones(3, 8)


def test_a_captured_module_speaks_the_engines_protocols() -> None:
    """A Captured gives Learners."""
    model: Captured = capture_torch(mlp(), (X,))
    part: object = model.part(0, 2)

    assert isinstance(part, Learner)


def test_stages_are_module_calls_in_the_order_of_execution() -> None:
    """Named by their paths, with open batch sizes."""
    chain = capture_torch(mlp(), (X,), name="mlp").chain

    assert (chain.name, chain.engine) == ("mlp", "torch")
    assert [stage.name for stage in chain.stages] == ["0", "1", "2"]
    assert chain.tensors["1"].shape == ("batch", 8)


def test_two_processes_agree_on_the_digest() -> None:
    """The same model captured twice is the same chain, down to every name and reason."""
    script = (
        "from partita.testing.models import tiny_model; from partita.engine.torch_capture import capture_torch\n"
        "for n in ('resnet', 'towers'):\n"
        "    m = tiny_model(n); print(capture_torch(m.module, m.args, m.kwargs).chain.digest)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in running)

    assert first == second
    assert first.count("sha256:") == 2


def test_depth_limits_how_deep_the_stages_go() -> None:
    """Depth one gives the outermost modules; beyond the deepest it gives the finest stages."""
    network = tiny_model("resnet")
    by_depth = {
        depth: [s.name for s in capture_torch(network.module, network.args, depth=depth).chain.stages]
        for depth in (1, 2, 99)
    }

    assert by_depth[1] == ["stem", "layer1", "layer2", "layer3", "pool", "fc"]
    assert "layer1.0" in by_depth[2]
    assert "layer1.0.conv1" in by_depth[99]


def test_the_default_depth_keeps_a_table_of_cuts_on_a_page() -> None:
    """At most 64 stages, where a coarser depth gives that."""
    deep = nn.Sequential(*(mlp(nn.Linear(4, 8)) for _ in range(30)))

    assert len(capture_torch(deep, (X,)).chain) == 30
    assert len(capture_torch(deep, (X,), depth=2).chain) == 120


def test_an_example_of_one_still_leaves_the_batch_open() -> None:
    """Torch takes a dimension of one for a constant; the capture widens it."""
    model = capture_torch(mlp(), (torch.ones(1, 8),))

    assert model.chain.tensors["x" if "x" in model.chain.tensors else model.chain.inputs[0]].shape == (
        "batch",
        8,
    )
    assert model.example()[model.chain.inputs[0]].shape == (1, 8)


def test_a_model_with_a_fixed_batch_is_captured_with_fixed_sizes() -> None:
    """No symbols, and the same numbers."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x).reshape(24).reshape(3, 8))

    model = capture_torch(Fixed(), (X,))
    values = model.example()

    assert model.chain.symbols == frozenset()
    assert largest_difference(model.part(0, 2).forward(values), model.whole(values)) == 0.0


def test_a_batch_on_the_second_axis_is_found() -> None:
    """Recurrent nets carry it there."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(8, 8)

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y, last = self.rnn(x, state)
            return y, last

    chain = capture_torch(Recurrent(), (torch.ones(5, 3, 8), torch.ones(1, 3, 8))).chain

    assert chain.tensors["x"].shape == (5, "batch", 8)
    assert chain.tensors["state"].shape == (1, "batch", 8)


def test_other_open_dimensions_are_the_users_to_name() -> None:
    """torch.export's own dynamic_shapes pass through."""
    shapes = {"input": {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq")}}
    model = capture_torch(mlp(), (torch.ones(3, 5, 8),), dynamic_shapes=shapes)
    values = {"input": torch.ones(2, 9, 8).numpy()}

    assert model.chain.tensors["input"].shape == ("batch", "input_1", 8)
    assert largest_difference(model.part(0, 3).forward(values), model.whole(values)) == 0.0


def test_the_module_is_left_as_it_was() -> None:
    """Its modes, gradients and statistics are its own."""
    module = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2)).train()
    module[0].eval()
    capture_torch(module, (X,)).set_mode("train")

    assert (module.training, module[0].training, module[1].training) == (True, False, True)
    assert module[0].num_batches_tracked == 0


def test_a_batch_normalisation_frozen_by_the_user_stays_frozen_in_train_mode() -> None:
    """Train mode is the user's train mode, exceptions included."""
    module = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2)).train()
    module[0].eval()
    model = capture_torch(module, (X,))
    model.set_mode("train")
    model.part(0, 2).forward(model.example())

    assert module[0].num_batches_tracked == 0


def test_a_model_that_computes_nothing_is_refused() -> None:
    """There is nothing to cut."""
    with pytest.raises(CannotCapture, match="computes nothing"):
        capture_torch(nn.Identity(), (X,))
