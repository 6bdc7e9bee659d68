"""Split equals whole: a network trained in parts against a plain PyTorch loop, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.engine import Values
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.train.holding import Holding
from partita.train.losses import named_loss
from partita.train.part import TrainedPart
from partita.train.seeds import step_seed
from partita.train.settings import Optimizing, Settings
from partita.zoo.nets import bilstm_tiny, resnet_tiny

SEED = 7
SGD = Optimizing("sgd", 0.1, {"momentum": 0.9, "weight_decay": 1e-3})
ADAMW = Optimizing("adamw", 0.01)
TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads that wait for each other take longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Net:
    """A network captured twice, as two machines would, with batches and what they began with."""

    module: nn.Module
    models: tuple[TorchModel, TorchModel]
    batches: list[Batch]
    start: dict[str, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.start = copy.deepcopy(self.module.state_dict())

    @property
    def cuts(self) -> list[int]:
        chain = self.models[0].chain
        return [p for p in self.models[0].legal_cuts("train") if chain.cut(p).legal]

    def sides(self, spec: Optimizing) -> list[Holding]:
        """Edge and cloud, as at the beginning."""
        for model in self.models:
            model.module.load_state_dict(self.start)
        return [Holding(model, Settings(seed=SEED, optimizer=spec)) for model in self.models]


def made(module: nn.Module, args: tuple[Any, ...]) -> Net:
    """Five batches of four, the last one smaller."""
    left, right = (capture_torch(copy.deepcopy(module), args, mode="train") for _ in range(2))
    x = args[0]
    draw = torch.Generator().manual_seed(3)
    batches = []
    for n in (4, 4, 4, 4, 3):
        shape = (n, *x.shape[1:])
        numbers = (
            torch.randn(shape, generator=draw)
            if x.is_floating_point()
            else torch.randint(0, 50, shape, generator=draw)
        )
        batches.append((numbers, torch.randint(0, 4, (n,), generator=draw)))
    return Net(module, (left, right), batches)


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    """One with batch norm and skips, one with dropout at both ends, one with a recurrent layer."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        resnet = resnet_tiny(4, width=4, blocks=1)
        lstm = bilstm_tiny(4, vocabulary=50, width=8)
        drops = nn.Sequential(
            *(nn.Dropout(0.2), nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16)),
            *(nn.LayerNorm(16), nn.Linear(16, 4), nn.Dropout(0.1)),
        )
        return {
            "resnet": made(resnet.module, resnet.args),
            "dropout": made(drops, (torch.randn(4, 8),)),
            "lstm": made(lstm.module, lstm.args),
        }


def plain(net: Net, name: str) -> tuple[list[float], dict[str, Any]]:
    """The loop that anybody would write: the losses, and all state by name."""
    module = copy.deepcopy(net.module).train()
    optimizer = TORCH[name](module.parameters())
    losses = []
    with torch.random.fork_rng():
        for step, (x, y) in enumerate(net.batches):
            torch.manual_seed(step_seed(SEED, step))
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    state = {f"weight/{own}": value.numpy() for own, value in module.state_dict().items()}
    for own, parameter in module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            state[f"optimizer/{own}/{key}"] = value.detach().numpy()
    return losses, state


def spans_of(net: Net, cuts: Sequence[int]) -> list[tuple[int, int]]:
    ends = [0, *cuts, len(net.models[0].chain)]
    return list(pairwise(ends))


def parts_of(net: Net, holders: Sequence[Holding], spans: Sequence[tuple[int, int]]) -> list[TrainedPart]:
    chain = net.models[0].chain
    loss = named_loss("cross_entropy", chain.outputs)
    return [
        holder.part(
            span,
            window=0,
            wanted=frozenset(n for n in chain.part_inputs(*span) if chain.maker(n) >= 0),
            loss=loss if span is spans[-1] else None,
        )
        for holder, span in zip(holders, spans, strict=True)
    ]


def train_step(
    parts: Sequence[TrainedPart], step: int, values: Values, targets: Values, rate: float
) -> float:
    """Forward from part to part, back from part to part."""
    known, rng = dict(values), None
    for part in parts[:-1]:
        made, state = part.forward(step, {n: known[n] for n in part.inputs}, rng=rng)
        known, rng = known | made, state or rng
    last = parts[-1]
    outcome = last.finish(step, {n: known[n] for n in last.inputs}, targets, rate, rng=rng)
    slopes = dict(outcome.slopes)
    for part in reversed(parts[:-1]):
        back = part.backward(step, {n: slopes[n] for n in part.outputs if n in slopes}, rate)
        slopes |= {n: slopes[n] + slope if n in slopes else slope for n, slope in back.items()}
    return outcome.loss


def steps(net: Net, parts: Sequence[TrainedPart], which: range, rate: float) -> Iterator[float]:
    name = net.models[0].chain.inputs[0]
    for step in which:
        x, y = net.batches[step]
        yield train_step(parts, step, {name: x.numpy()}, {"label": y.numpy()}, rate)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {n for n in one.keys() | other.keys() if not np.array_equal(one.get(n), other.get(n))}


@pytest.mark.parametrize("spec", [SGD, ADAMW], ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", ["resnet", "dropout", "lstm"])
def test_edge_and_cloud_train_what_a_plain_loop_trains_at_every_cut(
    nets: dict[str, Net], name: str, spec: Optimizing
) -> None:
    """Losses, weights, buffers and the optimizer's memory are equal bit for bit; a smaller last batch included."""
    net = nets[name]
    losses, state = plain(net, spec.name)
    for cut in net.cuts[1:]:
        sides, spans = net.sides(spec), spans_of(net, [cut])
        parts = parts_of(net, sides, spans)

        assert list(steps(net, parts, range(5), spec.rate)) == losses, cut
        held = {
            k: v for s, span in zip(sides, spans, strict=True) for k, v in s.export(s.names(span)).items()
        }
        assert not differing(held, state), cut


@pytest.mark.parametrize("spec", [SGD, ADAMW], ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", ["resnet", "dropout", "lstm"])
def test_private_labels_train_what_a_plain_loop_trains(
    nets: dict[str, Net], name: str, spec: Optimizing
) -> None:
    """Edge, cloud and edge again, also where the edge's second part holds nothing but the loss."""
    net = nets[name]
    losses, state = plain(net, spec.name)
    end, some = len(net.models[0].chain), net.cuts[1:-1]
    for cuts in [(some[0], some[-1]), (some[1], some[-2]), (some[0], end), (some[len(some) // 2], some[-1])]:
        (edge, cloud), spans = net.sides(spec), spans_of(net, cuts)
        parts = parts_of(net, [edge, cloud, edge], spans)

        assert list(steps(net, parts, range(5), spec.rate)) == losses, cuts
        held = edge.export((*edge.names(spans[0]), *edge.names(spans[2]))) | cloud.export(
            cloud.names(spans[1])
        )
        assert not differing(held, state), cuts


@pytest.mark.parametrize("name", ["resnet", "dropout", "lstm"])
def test_one_side_alone_trains_what_a_plain_loop_trains(nets: dict[str, Net], name: str) -> None:
    """The plan without a cut is the same engine."""
    net = nets[name]
    losses, state = plain(net, "sgd")
    edge, _ = net.sides(SGD)
    whole = spans_of(net, [])

    assert list(steps(net, parts_of(net, [edge], whole), range(5), SGD.rate)) == losses
    assert not differing(edge.export(edge.names(whole[0])), state)


@pytest.mark.parametrize("spec", [SGD, ADAMW], ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", ["resnet", "dropout", "lstm"])
def test_stages_that_move_there_and_back_change_nothing(
    nets: dict[str, Net], name: str, spec: Optimizing
) -> None:
    """Weights, buffers and the optimizer's memory go from side to side with them; parts are made anew."""
    net = nets[name]
    losses, state = plain(net, spec.name)
    edge, cloud = net.sides(spec)
    some = net.cuts[1:-1]
    seen, before = [], some[0]
    for i, cut in enumerate([some[0], some[-1], some[1], some[len(some) // 2], some[0]]):
        giver, taker = (cloud, edge) if cut > before else (edge, cloud)
        moved = giver.names((min(before, cut), max(before, cut)))
        taker.take(moved, giver.export(moved))
        giver.forget(moved)
        parts = parts_of(net, [edge, cloud], spans_of(net, [cut]))
        seen += steps(net, parts, range(i, i + 1), spec.rate)
        before = cut

    (front, back) = spans_of(net, [before])
    assert seen == losses
    assert not differing(edge.export(edge.names(front)) | cloud.export(cloud.names(back)), state)


def test_the_state_of_random_numbers_is_told_on_only_where_some_were_drawn(nets: dict[str, Net]) -> None:
    """A part without dropout has nothing to tell."""
    net = nets["dropout"]
    edge, _ = net.sides(SGD)
    x = {"input": net.batches[0][0].numpy()}
    made, drew = edge.part((0, 1), window=0).forward(0, x)
    _, quiet = edge.part((1, 2), window=0).forward(0, made, rng=drew)

    assert drew is not None
    assert quiet is None


def test_with_a_window_nothing_is_told(nets: dict[str, Net]) -> None:
    """Every part has numbers of its own then."""
    net = nets["dropout"]
    edge, _ = net.sides(SGD)

    assert edge.part((0, 2), window=2).forward(0, {"input": net.batches[0][0].numpy()})[1] is None


@pytest.mark.parametrize("window", [0, 2])
def test_the_callers_random_numbers_are_left_as_they_were(nets: dict[str, Net], window: int) -> None:
    """Forward, backward, finish and examine draw from generators of their own."""
    net = nets["dropout"]
    edge, _ = net.sides(SGD)
    loss = named_loss("cross_entropy", net.models[0].chain.outputs)
    front = edge.part((0, 4), window=window)
    tail = edge.part((4, 8), window=window, wanted=frozenset(front.outputs), loss=loss)
    x, y = net.batches[0]
    before = torch.get_rng_state()
    made, _ = front.forward(0, {"input": x.numpy()})
    outcome = tail.finish(0, made, {"label": y.numpy()}, 0.1)
    front.backward(0, outcome.slopes, 0.1)
    tail.judge(front.examine({"input": x.numpy()}), {"label": y.numpy()})

    assert torch.equal(torch.get_rng_state(), before)


def test_looking_leaves_weights_and_buffers_alone(nets: dict[str, Net]) -> None:
    """Eval mode: what the module itself says then, and running statistics stay."""
    net = nets["resnet"]
    edge, _ = net.sides(SGD)
    end = len(net.models[0].chain)
    part = edge.part((0, end), window=0, loss=named_loss("cross_entropy", ["output"]))
    x, y = net.batches[0]
    before = edge.export(edge.names((0, end)))
    seen = part.judge({"image": x.numpy()}, {"label": y.numpy()})
    with torch.no_grad():
        answer = copy.deepcopy(net.module).eval()(x)

    assert seen.loss == F.cross_entropy(answer, y).item()
    assert seen.right == int((answer.argmax(1) == y).sum())
    assert not differing(edge.export(edge.names((0, end))), before)


def test_parts_that_are_looked_at_agree_with_the_whole(nets: dict[str, Net]) -> None:
    """Part after part in eval mode."""
    net = nets["lstm"]
    sides = net.sides(SGD)
    front, tail = (side.part(s, window=0) for side, s in zip(sides, spans_of(net, [3]), strict=True))
    x, _ = net.batches[0]
    with torch.no_grad():
        expected = copy.deepcopy(net.module).eval()(x).numpy()

    known = {"tokens": x.numpy()}
    known |= front.examine(known)
    assert np.array_equal(tail.examine({n: known[n] for n in tail.inputs})["output"], expected)


def test_gradients_left_over_by_somebody_else_do_not_count(nets: dict[str, Net]) -> None:
    """A backward pass of the user's own before the training changes nothing."""
    net = nets["resnet"]
    losses, state = plain(net, "sgd")
    edge, _ = net.sides(SGD)
    for parameter in net.models[0].module.parameters():
        parameter.grad = torch.ones_like(parameter)

    assert list(steps(net, parts_of(net, [edge], spans_of(net, [])), range(5), SGD.rate)) == losses
    assert not differing(edge.export(edge.names((0, len(net.models[0].chain)))), state)
