"""A model that travelled as data gives the numbers of the model that stayed: parts, gradients, buffers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from partita.engine import Mode, Values, largest_difference
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_portable import pack_torch, unpack_torch
from partita.engine.torch_portable_head import join, part
from partita.engine.torch_values import to_numpy
from partita.errors import CannotCapture, PartitaError, SessionMisused
from partita.testing.models import tiny_model
from partita.zoo.guard import torchvision_works

MODES: tuple[Mode, ...] = ("eval", "train")


class Normed(nn.Module):
    """Dropout, normalisation with running statistics, a constant in the code, a buffer written without gradients,
    a stretch under autocast, sizes that stages work out, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout()
        self.last = nn.Linear(8, 8, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("seen", torch.zeros(8), persistent=False)
        self.first.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        h = self.drop(self.norm(self.first(x)))
        with torch.no_grad():
            self.seen.add_(h.mean(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wide = self.last(h)
        rows = torch.arange(2 * x.shape[0]).view(-1, 2).float().sum(1, keepdim=True)
        h = wide.float() * torch.tensor([1.0, 2.0] * 4) + rows
        return {"scores": torch.where(h > 0, h, torch.ones_like(h)), "size": x.shape[0], "kind": "plain"}


class Fresh(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise ValueError("not to be trained")
        return x.t() @ x


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: the same sums in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def captured(name: str) -> TorchModel:
    torch.manual_seed(0)
    if name == "normed":
        return capture_torch(Normed(), (torch.randn(4, 8),), mode="train")
    if name == "llama":
        torchvision_works()  # transformers imports it where it is installed
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = transformers.LlamaConfig(**sizes, vocab_size=50, use_cache=False)
        tokens = {
            "input_ids": torch.randint(0, 50, (2, 6)),
            "attention_mask": torch.ones(2, 6, dtype=torch.long),
        }
        return capture_torch(transformers.LlamaForCausalLM(config), kwargs=tokens)
    network = tiny_model(name)
    return capture_torch(network.module, network.args, network.kwargs, name=name, depth=99)


@cache
def travelled(name: str) -> TorchModel:
    return unpack_torch(pack_torch(captured(name)))


def spans(model: TorchModel, mode: Mode) -> list[tuple[int, int]]:
    """The first, a middle and the last third, and the whole."""
    cuts = model.legal_cuts(mode)
    ends = sorted({0, cuts[len(cuts) // 3], cuts[2 * len(cuts) // 3], len(model.chain)})
    return [*pairwise(ends), (0, len(model.chain))]


def step(model: TorchModel, start: int, stop: int, values: Values, state: Values) -> list[Values]:
    """One step of a part from a given state: outputs, gradients of inputs and parameters, the state after it."""
    part = model.part(start, stop)
    model.hold(tuple(state))
    with torch.no_grad():
        for name, array in state.items():
            model.book[name].copy_(torch.from_numpy(array))
    part.zero_gradients()
    torch.manual_seed(3)
    made = {n: a.copy() for n, a in part.forward_kept({n: values[n] for n in part.inputs}).items()}
    random = np.random.default_rng(5)
    seeds = {
        n: random.standard_normal(a.shape).astype(a.dtype) for n, a in made.items() if a.dtype.kind == "f"
    }
    back = part.backward(seeds)
    gradients = {n: a.copy() for n, a in part.gradients().items()}
    after = {n: to_numpy(model.book[n]).copy() for n in state}
    model.drop(tuple(state))
    return [made, back, gradients, after]


@pytest.mark.parametrize("name", ["bert", "bilstm", "llama", "normed", "resnet", "towers", "unet"])
def test_parts_of_both_give_the_same_numbers(name: str) -> None:
    """Bit for bit: outputs, gradients and buffers, for several parts, three batch sizes and both modes."""
    here, there = captured(name), travelled(name)
    state = {n: to_numpy(t).copy() for n, t in here.book.all().items()}
    for mode in MODES:
        here.set_mode(mode)
        there.set_mode(mode)
        for batch in (1, 2, 5):
            values = here.example(batch, seed=batch)
            for start, stop in spans(here, mode):
                own = {n: state[n] for n in here.part_params(start, stop, mode)}
                left, right = (step(model, start, stop, values, own) for model in (here, there))
                assert [largest_difference(a, b) for a, b in zip(left, right, strict=True)] == [0.0] * 4
                values |= left[0]
        restore(here, state)


def restore(model: TorchModel, state: Values) -> None:
    with torch.no_grad():
        for name, tensor in model.book.all().items():
            tensor.copy_(torch.from_numpy(state[name]))


@pytest.mark.parametrize("name", ["normed", "resnet", "towers"])
def test_the_chain_the_cuts_and_the_state_are_the_same(name: str) -> None:
    """So that a plan made on one side holds on the other."""
    here, there = captured(name), travelled(name)

    assert there.chain == here.chain
    assert there.chain.digest == here.chain.digest
    assert [there.legal_cuts(m) for m in MODES] == [here.legal_cuts(m) for m in MODES]
    assert (there.mode, there.first_mode) == (here.mode, here.first_mode)
    whole = 0, len(here.chain)
    assert [there.part_params(*whole, m) for m in MODES] == [here.part_params(*whole, m) for m in MODES]


def test_parameters_keep_what_they_are() -> None:
    """Parameter or buffer, learning or frozen, kept or made anew, under all names."""
    here, there = captured("normed"), travelled("normed")
    for name, tensor in here.book.all().items():
        other = there.book[name]
        assert (tensor.shape, tensor.dtype, tensor.requires_grad) == (
            other.shape,
            other.dtype,
            other.requires_grad,
        )
        assert isinstance(tensor, nn.Parameter) == isinstance(other, nn.Parameter)
        assert here.book.has(name) == there.book.has(name)
    assert there.book.aliases["last.weight"] == "first.weight"


def test_the_whole_runs_as_one_part() -> None:
    """There is no module to ask."""
    here, there = captured("resnet"), travelled("resnet")
    names = tuple(there.chain.params)
    there.hold(names)
    there.book.load(here.book.persistent(), "state")
    here.set_mode("eval")
    there.set_mode("eval")
    values = here.example()

    assert largest_difference(here.whole(values), there.whole(values)) == 0.0
    there.drop(names)
    with pytest.raises(SessionMisused, match="arrived as data and has no module"):
        _ = there.module


def test_packing_again_gives_the_same_bytes() -> None:
    """Nothing is lost on the way, regions and constants included."""
    for name in ("normed", "towers"):
        packed = pack_torch(captured(name))
        assert pack_torch(unpack_torch(packed)) == packed


def test_examples_are_made_up_and_integers_stay_in_their_range() -> None:
    """The user's own example does not travel."""
    here, there = captured("bert"), travelled("bert")
    mine, theirs = here.example(), there.example()
    larger = there.example(5, seed=1)

    assert {n: (a.shape, a.dtype) for n, a in mine.items()} == {
        n: (a.shape, a.dtype) for n, a in theirs.items()
    }
    assert {a.shape[0] for a in larger.values()} == {5}
    for name, array in larger.items():
        assert mine[name].min() <= array.min()
        assert array.max() <= mine[name].max()


def test_inputs_of_the_example_are_not_in_the_bytes() -> None:
    """Neither weights nor samples: sizes and ranges only."""
    module = nn.Linear(64, 64)
    x = torch.randn(4, 64)
    data = pack_torch(capture_torch(module, (x,)))

    assert x.numpy().tobytes()[:16] not in data
    assert module.weight.detach().numpy().tobytes()[:16] not in data


def test_a_mode_that_cannot_be_traced_is_missing_with_its_reason() -> None:
    """The other one still travels."""
    there = unpack_torch(pack_torch(capture_torch(Fresh(), (torch.randn(2, 3),))))

    assert there.part(0, len(there.chain)).forward(there.example())["output"].shape == (3, 3)
    with pytest.raises(CannotCapture, match=r"arrived without its train mode: Fresh .*not to be trained"):
        there.set_mode("train")


def test_outputs_come_in_a_plain_dictionary() -> None:
    """The user's classes stay at home."""
    there = travelled("normed")
    values = {"scores": np.ones(2), "size": np.ones(1)}

    assert there.unflatten(values) == values


def test_a_network_of_torchvision_travels() -> None:
    """The usual one, in both modes."""
    if not torchvision_works():
        pytest.skip("torchvision is not installed")
    import torchvision

    here = capture_torch(torchvision.models.resnet18(num_classes=4), (torch.randn(2, 3, 32, 32),))
    there = unpack_torch(pack_torch(here))
    state = {n: to_numpy(t).copy() for n, t in here.book.all().items()}
    for model in (here, there):
        model.set_mode("train")
    middle = len(here.chain) // 2
    own = {n: state[n] for n in here.part_params(0, middle, "train")}
    left, right = (step(model, 0, middle, here.example(), own) for model in (here, there))

    assert [largest_difference(a, b) for a, b in zip(left, right, strict=True)] == [0.0] * 4


class Positions(nn.Module):
    """Adds what it counted out when it was made: a buffer that no state carries."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("offsets", torch.arange(4.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.offsets


def test_buffers_that_no_state_carries_come_with_their_values() -> None:
    """And stay when the part is dropped: nobody could send them again."""
    model = unpack_torch(pack_torch(capture_torch(Positions(), (torch.randn(2, 4),), mode="train")))
    model.drop(tuple(model.book.all()))
    assert model.book["offsets"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert model.book["linear.weight"].is_meta


def test_a_parameter_cannot_come_with_a_value() -> None:
    """Weights do not travel here."""
    head, buffers = part(pack_torch(capture_torch(Positions(), (torch.randn(2, 4),), mode="train")), 1 << 20)
    rows = [msgspec.structs.replace(row, value=1) for row in head.states]
    with pytest.raises(PartitaError, match="a value that it cannot have"):
        unpack_torch(join(msgspec.structs.replace(head, states=rows), [bytes(b) for b in buffers]))
