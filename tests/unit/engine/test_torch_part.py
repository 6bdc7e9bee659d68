"""Parts that run: forward, kept passes, gradients, modes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import BadDocument, PartFailed

X = torch.linspace(-1, 1, 24).reshape(3, 8)


@pytest.fixture
def model() -> TorchModel:
    torch.manual_seed(0)
    return capture_torch(nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 4)), (X,))


def ones(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ones_like(array) for name, array in values.items()}


def test_parameters_are_the_modules_own(model: TorchModel) -> None:
    """Training the parts trains the model: an optimizer over a part changes the module."""
    part = model.part(0, 1)
    before = model.module[0].weight.detach().clone()
    optimizer = torch.optim.SGD(part.parameters(), lr=0.1)
    part.backward(ones(part.forward_kept(model.example())))
    optimizer.step()

    assert list(part.parameters()) == [model.module[0].weight, model.module[0].bias]
    assert not torch.equal(before, model.module[0].weight)


def test_several_steps_are_in_flight_under_their_keys(model: TorchModel) -> None:
    """Backward passes come back in any order, each to its own forward pass."""
    part = model.part(0, 3)
    one, two = model.example(), model.example(5, seed=1)
    given = {1: part.forward_kept(one, key=1), 2: part.forward_kept(two, key=2)}

    assert part.backward(ones(given[1]), key=1)["input"].shape == (3, 8)
    assert part.backward(ones(given[2]), key=2)["input"].shape == (5, 8)


def test_a_kept_pass_serves_one_backward(model: TorchModel) -> None:
    """A second one is refused by its key."""
    part = model.part(0, 3)
    made = part.forward_kept(model.example(), key=7)
    part.backward(ones(made), key=7)

    with pytest.raises(PartFailed, match="no forward pass under key 7"):
        part.backward(ones(made), key=7)


def test_gradients_add_up_until_they_are_zeroed(model: TorchModel) -> None:
    """As torch's own do."""
    part = model.part(2, 3)
    name = part.inputs[0]
    for _ in range(2):
        made = part.forward_kept({name: X.numpy()})
        part.backward(ones(made))

    assert np.array_equal(part.gradients()["2.bias"], np.full(4, 6, np.float32))
    part.zero_gradients()
    assert part.gradients() == {}


def test_an_output_without_a_gradient_counts_as_zero(model: TorchModel) -> None:
    """No entry, no gradient."""
    part = model.part(0, 3)
    part.forward_kept(model.example())

    assert part.backward({}) == {}


def test_frozen_inputs_get_no_gradient(model: TorchModel) -> None:
    """A first part rarely needs those of its images."""
    part = model.part(0, 3)
    part.frozen_inputs = frozenset({"input"})

    assert part.backward(ones(part.forward_kept(model.example()))) == {}
    assert set(part.gradients()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_integer_inputs_get_no_gradient() -> None:
    """Tokens have none."""
    model = capture_torch(
        nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), (torch.tensor([[1, 2], [3, 4]]),)
    )
    part = model.part(0, 2)

    assert part.backward(ones(part.forward_kept(model.example()))) == {}


def test_a_part_has_a_mode_of_its_own(model: TorchModel) -> None:
    """Dropout draws in train mode and not in eval mode, whatever the module's flags say."""
    part = model.part(0, 2)
    quiet = part.forward(model.example())
    part.set_mode("train")
    dropped = part.forward(model.example())

    assert np.count_nonzero(quiet["1"]) == quiet["1"].size
    assert np.count_nonzero(dropped["1"]) < dropped["1"].size
    assert (part.mode, model.part(0, 2).mode) == ("train", "eval")


def test_tensors_go_through_without_numpy_and_with_gradients(model: TorchModel) -> None:
    """A loss can be put on a part like on any module."""
    part = model.part(0, 3)
    loss = part.call({"input": X})["output"].square().mean()
    loss.backward()

    assert set(part.gradients()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_values_that_do_not_fit_are_refused_with_the_part_and_all_problems(model: TorchModel) -> None:
    """Before torch sees them."""
    with pytest.raises(BadDocument, match=r"\[0:1\).*'input' is float64, not float32; 'y' is not read here"):
        model.part(0, 1).forward({"input": np.zeros((2, 8)), "y": np.zeros(1)})


def test_gradients_that_do_not_fit_are_refused_and_the_pass_is_kept(model: TorchModel) -> None:
    """A wrong message does not cost the step."""
    part = model.part(0, 3)
    made = part.forward_kept(model.example())
    with pytest.raises(BadDocument, match="'output' has 9 along axis 0, not 3"):
        part.backward({"output": np.zeros((9, 4), np.float32)})

    assert part.backward(ones(made)).keys() == {"input"}


def test_what_fails_inside_a_part_is_told_with_the_part() -> None:
    """Torch's own words in one line, and the part that said them."""

    class Picks(nn.Module):
        def forward(self, table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            return table[index] * 2

    model = capture_torch(Picks(), (X, torch.tensor([0, 1])))
    part = model.part(0, len(model.chain))
    values = model.example() | {"index": np.array([0, 99])}

    with pytest.raises(PartFailed, match=r"TorchPart\('Picks', \[0:\d\), eval\) failed: IndexError"):
        part.forward(values)


def test_bfloat16_goes_in_and_out() -> None:
    """Through ml_dtypes, bit for bit the whole."""
    module = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)).bfloat16()
    model = capture_torch(module, (X.bfloat16(),))
    values = model.example()
    half = model.part(0, 2).forward(values)

    assert half["1"].dtype.name == "bfloat16"
    assert model.part(2, 3).forward(half)["output"].tobytes() == model.whole(values)["output"].tobytes()


def test_forgetting_drops_kept_passes(model: TorchModel) -> None:
    """A lost gradient does not hold memory."""
    part = model.part(0, 3)
    part.forward_kept(model.example(), key=1)
    part.forget()

    with pytest.raises(PartFailed):
        part.backward({}, key=1)
