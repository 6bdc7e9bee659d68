"""Features replay with a window, against one written down in plain PyTorch, bit for bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_part import TorchPart
from partita.train.holding import Holding
from partita.train.losses import named_loss
from partita.train.part_keeping import still
from partita.train.seeds import step_seed
from partita.train.settings import Optimizing, Settings

SEED = 5
SPEC = Optimizing("sgd", 0.05, {"momentum": 0.9, "weight_decay": 1e-3})
X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads that wait for each other take longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Mean(nn.Module):
    """Over an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def net() -> nn.Sequential:
    """Dropout in front, in the middle and behind; batch norm twice."""
    torch.manual_seed(2)
    return nn.Sequential(
        *(nn.Dropout(0.1), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Mean(), nn.Linear(4, 3), nn.Dropout(0.1)),
    )


def batches() -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(3)
    for step in range(7):
        size = 4 if step == 6 else 6
        yield (
            step,
            torch.randn(size, 3, 8, 8, generator=draw),
            torch.randint(0, 3, (size,), generator=draw),
        )


@pytest.fixture(scope="module")
def model() -> TorchModel:
    return capture_torch(net(), (X,), mode="train")


@pytest.fixture
def holding(model: TorchModel) -> Holding:
    """The model as at the beginning."""
    model.module.load_state_dict(net().state_dict())
    model.module.requires_grad_(True)
    return Holding(model, Settings(seed=SEED, optimizer=SPEC))


def state_of(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {f"weight/{name}": value.numpy() for name, value in module.state_dict().items()}


def weights(holding: Holding, stages: int) -> dict[str, np.ndarray[Any, Any]]:
    held = holding.export(holding.names((0, stages)))
    return {name: value for name, value in held.items() if name.startswith("weight/")}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {n for n in one.keys() | other.keys() if not np.array_equal(one.get(n), other.get(n))}


# -- the same in plain PyTorch ------------------------------------------------------------------------------


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    before = {name: value.clone() for name, value in module.named_buffers()}
    yield
    for name, value in module.named_buffers():
        value.copy_(before[name])


def plain_optimizer(part: nn.Module) -> torch.optim.Optimizer:
    learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
    return torch.optim.SGD([{"params": learning}], 0.05, momentum=0.9, weight_decay=1e-3)


def replay(part: nn.Module, optimizer: Any, step: int, start: int, x: torch.Tensor, g: torch.Tensor) -> Any:
    """Forward again with the weights of now and the numbers of then, backward, update."""
    leaf = x.detach().requires_grad_(start > 0)
    optimizer.zero_grad()
    with buffers_kept(part):
        torch.manual_seed(step_seed(SEED, step, start))
        made = part(leaf)
        if made.requires_grad:
            made.backward(g)
    optimizer.step()
    return leaf.grad


def with_loss(
    part: nn.Module, optimizer: Any, step: int, start: int, h: torch.Tensor, y: torch.Tensor
) -> Any:
    """Forward, loss, backward, update at once."""
    leaf = h.detach().requires_grad_()
    optimizer.zero_grad()
    torch.manual_seed(step_seed(SEED, step, start))
    F.cross_entropy(part(leaf), y).backward()
    optimizer.step()
    return leaf.grad


def reference(module: nn.Sequential, cuts: tuple[int, ...], window: int) -> dict[str, Any]:
    """Edge, cloud and edge; the loss last. The cloud answers in the order in which it is asked."""
    ends = [0, *cuts, len(module)]
    parts = [module[a:b].train() for a, b in pairwise(ends)]
    optimizers = [plain_optimizer(part) for part in parts]
    waiting: list[deque[Any]] = [deque() for _ in parts]
    inner = (window + 1) // 2 if len(cuts) == 2 else 0
    slopes: dict[int, torch.Tensor] = {}

    def turn() -> None:
        step, h, y = waiting[-1].popleft()
        g = with_loss(parts[-1], optimizers[-1], step, ends[-2], h, y)
        for j in range(len(parts) - 2, 0, -1):
            past, given = waiting[j].popleft()
            g = replay(parts[j], optimizers[j], past, ends[j], given, g)
        slopes[step] = g

    def back() -> None:
        step, x = waiting[0].popleft()
        replay(parts[0], optimizers[0], step, 0, x, slopes.pop(step))

    for step, x, y in batches():
        h = x
        for j, part in enumerate(parts[:-1]):
            waiting[j].append((step, h))
            torch.manual_seed(step_seed(SEED, step, ends[j]))
            with torch.no_grad():
                h = part(h)
        waiting[-1].append((step, h, y))
        if len(waiting[-1]) > inner:
            turn()
        if len(waiting[0]) > window:
            back()
    while waiting[-1]:
        turn()
    while waiting[0]:
        back()
    return state_of(module)


# -- and by our parts ---------------------------------------------------------------------------------------


def trained(holding: Holding, model: TorchModel, cuts: tuple[int, ...], window: int) -> None:
    ends = [0, *cuts, len(model.chain)]
    chain, last = model.chain, len(cuts)
    parts = [
        holding.part(
            (a, b),
            window=window,
            wanted=frozenset(chain.part_inputs(a, b)) if a else frozenset(),
            loss=named_loss("cross_entropy", chain.outputs) if j == last else None,
        )
        for j, (a, b) in enumerate(pairwise(ends))
    ]
    inner = (window + 1) // 2 if last == 2 else 0
    turning: deque[Any] = deque()
    slopes: deque[Any] = deque()

    def turn() -> None:
        step, values, y = turning.popleft()
        g = parts[-1].finish(step, values, {"label": y.numpy()}, SPEC.rate).slopes
        for part in reversed(parts[1:-1]):
            g = part.backward(step, g, SPEC.rate)
        slopes.append((step, g))

    for step, x, y in batches():
        values = {chain.inputs[0]: x.numpy()}
        for part in parts[:-1]:
            values, _ = part.forward(step, values)
        turning.append((step, values, y))
        if len(turning) > inner:
            turn()
        if len(slopes) + len(turning) > window:
            parts[0].backward(*slopes.popleft(), SPEC.rate)
    while turning:
        turn()
    while slopes:
        parts[0].backward(*slopes.popleft(), SPEC.rate)


@pytest.mark.parametrize("cuts", [(1,), (4,), (7,), (4, 7), (2, 10), (1, 5)], ids=str)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_window_trains_what_features_replay_in_plain_pytorch_trains(
    holding: Holding, model: TorchModel, cuts: tuple[int, ...], window: int
) -> None:
    """Stale by K, replayed with the weights of now, buffers moved once: weights and buffers equal bit for bit."""
    with torch.random.fork_rng():
        expected = reference(net(), cuts, window)
    trained(holding, model, cuts, window)

    assert not differing(weights(holding, len(model.chain)), expected)


def test_two_runs_are_equal_and_another_window_is_not(holding: Holding, model: TorchModel) -> None:
    """Weights are a function of seed and window."""
    runs = []
    for window in (2, 2, 3):
        model.module.load_state_dict(net().state_dict())
        fresh = Holding(model, Settings(seed=SEED, optimizer=SPEC))
        trained(fresh, model, (4,), window)
        runs.append(weights(fresh, len(model.chain)))

    assert not differing(runs[0], runs[1])
    assert differing(runs[0], runs[2])


# -- stages without anything to train -----------------------------------------------------------------------


def run_front(part: Any, window: int) -> None:
    """Some steps of a first part, with made-up gradients."""
    waiting: deque[Any] = deque()
    for step, x, _ in batches():
        made, _ = part.forward(step, {"input": x.numpy()})
        waiting.append((step, {name: np.full_like(array, 0.1) for name, array in made.items()}))
        if len(waiting) > window:
            part.backward(*waiting.popleft(), 0.05)


def test_a_frozen_prefix_is_run_once(
    holding: Holding, model: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what comes behind it is replayed, from what crossed there."""
    model.module[:5].requires_grad_(False)
    part = holding.part((0, 8), window=2)
    calls: list[int] = []
    call = TorchPart.call
    monkeypatch.setattr(TorchPart, "call", lambda self, given: calls.append(self.start) or call(self, given))
    run_front(part, 2)

    assert calls.count(0) == 7
    assert calls.count(5) == 7 + 5


def test_a_frozen_prefix_changes_no_bit(holding: Holding, model: TorchModel) -> None:
    """Dropout before and behind it draws what it drew; batch norm in it moves once."""
    model.module[:3].requires_grad_(False)
    run_front(holding.part((0, 11), window=2), 2)
    ours = weights(holding, 11)
    module = net()
    module[:3].requires_grad_(False)
    front = module.train()
    optimizer = plain_optimizer(front)
    waiting: deque[Any] = deque()
    with torch.random.fork_rng():
        for step, x, _ in batches():
            torch.manual_seed(step_seed(SEED, step, 0))
            with torch.no_grad():
                shape = front(x).shape
            waiting.append((step, x, shape))
            if len(waiting) > 2:
                past, given, size = waiting.popleft()
                replay(front, optimizer, past, 0, given, torch.full(size, 0.1))

    assert not differing(ours, {n: v for n, v in state_of(module).items() if n in ours})


def test_wanted_gradients_go_through_frozen_stages(holding: Holding, model: TorchModel) -> None:
    """Who asks for the gradients of a frozen part's inputs gets them, with and without a window."""
    model.module[5:8].requires_grad_(False)
    given = {model.chain.part_inputs(5, 8)[0]: np.ones((6, 4, 6, 6), np.float32)}
    found = []
    for window in (0, 1):
        part = holding.part((5, 8), window=window, wanted=frozenset(given))
        made, _ = part.forward(0, given)
        found.append(part.backward(0, made, 0.1))

    assert found[0].keys() == given.keys()
    assert all(np.array_equal(found[0][n], found[1][n]) for n in given)


@pytest.mark.parametrize("window", [0, 2])
def test_a_part_with_nothing_to_do_keeps_nothing(holding: Holding, model: TorchModel, window: int) -> None:
    """Backward is no work at all, and no error."""
    model.module[:5].requires_grad_(False)
    part = holding.part((0, 5), window=window)
    for step in range(9):
        part.forward(step, {"input": X.numpy()})

    assert part.kept == 0
    assert part.backward(0, {}, 0.1) == {}


def test_frozen_weights_stay_while_their_buffers_move(holding: Holding, model: TorchModel) -> None:
    """As in a plain loop: batch norm in train mode counts on."""
    model.module[:3].requires_grad_(False)
    before = weights(holding, 8)
    run_front(holding.part((0, 8), window=1), 1)
    moved = differing(before, weights(holding, 8))

    assert "weight/1.weight" not in moved
    assert {"weight/2.running_mean", "weight/5.weight"} <= moved


def test_buffers_go_back_even_where_something_fails() -> None:
    """A replay that fails has not happened."""
    buffer = torch.ones(2)

    def work() -> None:
        with still({"mean": buffer}):
            buffer.add_(1)
            raise KeyError

    with pytest.raises(KeyError):
        work()

    assert torch.equal(buffer, torch.ones(2))


def test_memory_holds_inputs_and_no_graph(holding: Holding, model: TorchModel) -> None:
    """What is kept with a window is what the part was given, and nothing that torch would keep for a gradient."""
    part = holding.part((1, 8), window=1, wanted=frozenset(model.chain.part_inputs(1, 8)))
    given = {part.inputs[0]: X.numpy()}
    part.forward(0, given)
    kept, _ = part._keeping._inputs[0]  # type: ignore[attr-defined]

    assert kept.keys() == given.keys()
    assert not any(tensor.requires_grad for tensor in kept.values())
