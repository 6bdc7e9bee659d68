"""Chains from graphs: sizes, names, state."""

from __future__ import annotations

import torch
from torch import nn

from partita.engine import largest_difference
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel

X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)


class Told(Net):
    """Uses its batch size where the tensors at hand tell it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        h = self.b(self.a(x)).reshape(2 * n, 4)
        return self.c(h.reshape(n, 8)) * n


class Untold(Net):
    """Uses its batch size where no tensor has it any more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        return self.c(self.b(self.a(x).sum(0))) / n


class Transposes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).t()


class TellsStrides(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_strided(x * 1, (32,), (1,))


def equal_everywhere(model: TorchModel, batch: int) -> bool:
    values = model.example(batch, seed=2)
    whole = model.whole(values)
    for position in range(len(model.chain) + 1):
        have = dict(values)
        for part in (model.part(0, position), model.part(position, len(model.chain))):
            have.update(part.forward({n: have[n] for n in part.inputs}))
        if largest_difference(whole, {n: have[n] for n in whole}):
            return False
    return True


def test_a_size_is_worked_out_from_the_tensors_at_hand() -> None:
    """No number crosses where a shape tells it."""
    model = capture_torch(Told(), (X,))

    assert all(t.shape for t in model.chain.tensors.values())
    assert equal_everywhere(model, 7)


def test_a_size_that_no_tensor_tells_travels_as_a_number() -> None:
    """A scalar int64 crosses to the stage that divides by it."""
    model = capture_torch(Untold(), (X,))
    crossing = model.chain.cut(len(model.chain) - 1).tensors

    assert [(str(t.dtype), t.shape) for t in crossing if not t.shape] == [("int64", ())]
    assert equal_everywhere(model, 7)


def test_sizes_that_only_the_data_knows_have_a_symbol() -> None:
    """The number of rows that passed a filter."""

    class Filters(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = torch.nonzero(x[:, 0] > 0).squeeze(1)
            return self.b(self.a(x)[rows])

    model = capture_torch(Filters(), (X,))

    assert model.chain.tensors["output"].shape == ("count", 8)
    assert equal_everywhere(model, 9)


def test_tensors_are_named_by_their_stage_and_outputs_by_their_place() -> None:
    """Whatever torch called its nodes."""

    class Splits(Net):
        def forward(self, output: torch.Tensor) -> dict[str, torch.Tensor]:
            left, right = self.a(output).chunk(2, 1)
            return {"sum": self.b(torch.cat([right, left], 1)), "left": left}

    chain = capture_torch(Splits(), (X,), depth=9).chain

    assert chain.inputs == ("output",)
    assert chain.outputs == ("sum", "left")
    assert set(chain.tensors) == {"output", "sum", "left", "a", "cat"}


def test_parameters_have_their_bytes_and_their_stage() -> None:
    """Buffers too."""
    chain = capture_torch(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)), (X,)).chain

    assert chain.params["0.weight"] == 8 * 4 * 4
    assert set(chain.stages[1].params) == {
        f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def test_values_arrive_in_the_memory_order_of_the_whole() -> None:
    """A transposed tensor comes row by row from the wire; kernels see the order of the whole again."""

    class Strides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn, self.tell = Transposes(), TellsStrides()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.tell(self.turn(x))

    model = capture_torch(Strides(), (X,))
    values = model.example()
    turned = model.part(0, 1).forward(values)
    sent = {n: a.copy(order="C") for n, a in turned.items()}

    assert next(iter(turned.values())).strides != next(iter(sent.values())).strides
    assert largest_difference(model.part(1, 2).forward(sent), model.whole(values)) == 0.0
