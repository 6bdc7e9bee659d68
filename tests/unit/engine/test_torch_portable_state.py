"""The state of an unpacked model: no memory before it is held, none after it is dropped, never too much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_portable import pack_torch, unpack_torch
from partita.engine.torch_portable_state import PortableOrigin, read_constant, write_constant
from partita.engine.torch_values import to_numpy
from partita.errors import BadDocument, CannotCapture, LimitExceeded, SessionMisused

X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Three(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 8)
        self.c.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x)))


@pytest.fixture
def model() -> TorchModel:
    return unpack_torch(pack_torch(capture_torch(Three(), (X,))), most_bytes=700)


def held(model: TorchModel) -> int:
    assert isinstance(model.origin, PortableOrigin)
    return model.origin.held_bytes


def test_nothing_is_held_at_first(model: TorchModel) -> None:
    """Names, types and shapes are known all the same."""
    assert held(model) == 0
    assert model.book["a.weight"].shape == (16, 8)
    assert not model.book["c.weight"].requires_grad


def test_what_is_held_is_zero_and_has_its_memory(model: TorchModel) -> None:
    """Holding twice changes nothing that was loaded."""
    model.hold(("a.bias",))
    model.book.only(("a.bias",)).load({"a.bias": torch.ones(16)}, "state")
    model.hold(("a.bias", "a.weight"))

    assert held(model) == 64 + 512
    assert model.book["a.bias"].sum() == 16
    assert not model.book["a.weight"].any()


def test_what_is_dropped_is_gone(model: TorchModel) -> None:
    """Its values too."""
    model.hold(("a.bias",))
    model.book.only(("a.bias",)).load({"a.bias": torch.ones(16)}, "state")
    model.drop(("a.bias", "a.bias"))
    assert held(model) == 0
    model.hold(("a.bias",))

    assert not model.book["a.bias"].any()


def test_no_more_is_held_than_allowed_and_all_or_none(model: TorchModel) -> None:
    """700 bytes are."""
    model.hold(("a.bias",))
    with pytest.raises(LimitExceeded, match="2 more states make 1088 bytes in memory; 700 are allowed"):
        model.hold(("a.weight", "c.weight"))

    assert held(model) == 64


def test_names_that_are_not_there_are_all_told(model: TorchModel) -> None:
    """For holding and dropping alike."""
    for call in (model.hold, model.drop):
        with pytest.raises(BadDocument, match="'d' is no state of it; 'e' is no state of it"):
            call(("a.bias", "d", "e"))


def test_a_part_whose_state_is_not_held_says_so(model: TorchModel) -> None:
    """Running it, reading its state and loading it."""
    part = model.part(0, 1)
    for act in (lambda: part.forward({"x": X.numpy()}), part.state, lambda: part.load_state({})):
        with pytest.raises(SessionMisused, match=r"uses 'a\.weight', 'a\.bias', which are not held here"):
            act()


def test_a_part_keeps_its_parameters_while_another_is_dropped(model: TorchModel) -> None:
    """A cloud that holds one part has its memory only."""
    model.hold(("a.weight", "a.bias"))
    part = model.part(0, 1)
    made = part.forward_kept({"x": X.numpy()})
    part.backward({n: np.ones_like(a) for n, a in made.items()})

    assert part.gradients()["a.bias"].tolist() == [4.0] * 16
    model.drop(("c.weight",))
    assert set(part.gradients()) == {"a.weight", "a.bias"}


def test_states_lie_in_memory_as_the_users_do() -> None:
    """Kernels may add up in another order on another layout."""
    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    there = unpack_torch(pack_torch(capture_torch(module, (torch.ones(2, 3, 8, 8),))))
    there.hold(("weight",))

    assert there.book["weight"].stride() == module.weight.stride()


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.float8_e5m2, torch.int64]
)
def test_constants_of_all_types_come_back(dtype: torch.dtype) -> None:
    """Scalars, empty ones and turned ones."""
    for tensor in (torch.tensor(1), torch.zeros(0, 3), torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)):
        row, data = write_constant(tensor.to(dtype))
        back = read_constant(row, memoryview(data), torch.device("cpu"))
        assert back.dtype == dtype
        assert back.shape == tensor.shape
        assert back.stride() == tensor.stride() or not tensor.numel()
        assert to_numpy(back).tobytes() == to_numpy(tensor.to(dtype)).tobytes()


def test_what_has_no_bytes_does_not_travel() -> None:
    """Sparse constants and states are refused where they are."""
    with pytest.raises(
        CannotCapture, match=r"a constant is a torch\.float32 tensor laid out as torch.sparse_coo"
    ):
        write_constant(torch.eye(2).to_sparse())
    module = nn.Linear(8, 8)
    model = capture_torch(module, (X,))
    module.weight = nn.Parameter(torch.eye(8).to_sparse(), requires_grad=False)
    with pytest.raises(
        CannotCapture, match=r"'weight' is a torch\.float32 tensor laid out as torch.sparse_coo"
    ):
        pack_torch(model)


def test_examples_beyond_the_limit_are_refused(model: TorchModel) -> None:
    """Before they are made up."""
    with pytest.raises(LimitExceeded, match="example inputs of 'Three' take"):
        model.example(1000)


def test_examples_of_all_kinds_are_made_up() -> None:
    """Truth values, numbers with a fraction, integers that are all alike."""

    class Kinds(nn.Module):
        def forward(
            self, x: torch.Tensor, mask: torch.Tensor, i: torch.Tensor, h: torch.Tensor
        ) -> torch.Tensor:
            return (x * mask * h)[:, i[0]]

    inputs = (X, X > 0, torch.full((4, 2), 7), X.to(torch.bfloat16))
    there = unpack_torch(pack_torch(capture_torch(Kinds(), inputs)))
    made = there.example(6, seed=2)

    assert [str(a.dtype) for a in made.values()] == ["float32", "bool", "int64", "bfloat16"]
    assert set(made["i"].ravel()) == {7}
    assert there.whole(made)["output"].shape == (6, 2)


def test_the_users_module_has_its_state_always() -> None:
    """Holding and dropping are for models that arrived as data."""
    here = capture_torch(Three(), (X,))
    before = here.book["a.bias"].detach().clone()
    here.hold(("a.bias",))
    here.drop(("a.bias",))

    assert torch.equal(here.book["a.bias"], before)
