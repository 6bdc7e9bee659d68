"""One part by itself: what it takes, gives, refuses and forgets."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.engine import Values
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import BadDocument, PartFailed, SessionMisused
from partita.train.holding import Holding
from partita.train.losses import custom_loss, named_loss
from partita.train.part import aligned
from partita.train.settings import Optimizing, Settings

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


class Head(nn.Module):
    """An answer that an early stage makes, beside the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        early = self.first(x)
        return {"early": early, "late": self.second(early.tanh())}


X = torch.linspace(-1, 1, 12).reshape(4, 3)
Y = torch.tensor([0, 1, 1, 0])


def both(answer: Any, targets: Any) -> torch.Tensor:
    return F.cross_entropy(answer["late"], targets) + answer["early"].square().mean()


@pytest.fixture(scope="module")
def two_answers() -> TorchModel:
    torch.manual_seed(0)
    return capture_torch(Head(), (X,), mode="train")


def test_an_answer_made_early_goes_to_the_loss_and_gets_its_gradient(two_answers: TorchModel) -> None:
    """A custom loss over both, cut between them, equals the loss of the whole."""
    start = copy.deepcopy(two_answers.module)
    holding = Holding(two_answers, Settings(optimizer=Optimizing("sgd", 0.1)))
    loss = custom_loss(both, two_answers.unflatten, lambda targets: targets["label"])
    cut = 1
    front = holding.part((0, cut), window=0)
    tail = holding.part(
        (cut, len(two_answers.chain)),
        window=0,
        loss=loss,
        wanted=frozenset(front.outputs),
        passing=("early",),
    )
    made, _ = front.forward(0, {"x": X.numpy()})
    outcome = tail.finish(0, {n: made[n] for n in tail.inputs}, {"label": Y.numpy()}, 0.1)
    front.backward(0, outcome.slopes, 0.1)
    optimizer = torch.optim.SGD(start.parameters(), lr=0.1)
    expected = both(start(X), Y)
    expected.backward()
    optimizer.step()

    assert outcome.loss == expected.item()
    assert all(
        torch.equal(a, b) for a, b in zip(start.parameters(), two_answers.module.parameters(), strict=True)
    )


def test_an_empty_tail_owns_the_loss_only(two_answers: TorchModel) -> None:
    """It gives the gradients of the model's outputs, and updates nothing."""
    end = len(two_answers.chain)
    holding = Holding(two_answers, Settings())
    loss = custom_loss(both, two_answers.unflatten, lambda targets: targets["label"])
    tail = holding.part((end, end), window=0, loss=loss, wanted=frozenset({"early", "late"}))
    made = {"early": np.ones((4, 3), np.float32), "late": np.zeros((4, 2), np.float32)}
    outcome = tail.finish(0, made, {"label": Y.numpy()}, 0.1)

    assert outcome.loss == pytest.approx(np.log(2) + 1)
    assert np.allclose(outcome.slopes["early"], 2 / 12)
    assert outcome.slopes["late"].shape == (4, 2)


@pytest.fixture
def small() -> Holding:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return Holding(capture_torch(module, (X,), mode="train"), Settings(optimizer=Optimizing("sgd", 0.1)))


def test_an_update_happens_in_backward_at_its_rate(small: Holding) -> None:
    """Weights less rate times gradient: of ones, the bias goes down by four samples times the rate."""
    part = small.part((0, 1), window=0)
    part.forward(0, {"input": X.numpy()})
    before = small.export(["0.bias"])["weight/0.bias"]
    part.backward(0, {part.outputs[0]: np.ones((4, 4), np.float32)}, 0.5)

    assert np.allclose(small.export(["0.bias"])["weight/0.bias"], before - 0.5 * 4)


def test_more_steps_than_the_window_allows_are_refused(small: Holding) -> None:
    """K + 1 under way at most: memory has a bound."""
    part = small.part((0, 2), window=1)
    for step in range(2):
        part.forward(step, {"input": X.numpy()})

    assert part.kept == 2
    with pytest.raises(SessionMisused, match="asked for step 2 while 2 are under way"):
        part.forward(2, {"input": X.numpy()})


@pytest.mark.parametrize("window", [0, 1])
def test_a_step_is_answered_once(small: Holding, window: int) -> None:
    """A second gradient for it is refused."""
    part = small.part((0, 2), window=window)
    made, _ = part.forward(3, {"input": X.numpy()})
    part.backward(3, made, 0.1)

    with pytest.raises(SessionMisused, match="no step 3 under way"):
        part.backward(3, made, 0.1)


@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize(
    "slopes",
    [{"9": np.zeros((4, 4), np.float32)}, {"1": np.zeros((4, 9), np.float32)}],
    ids=["name", "shape"],
)
def test_gradients_that_do_not_fit_cost_no_step(small: Holding, window: int, slopes: Values) -> None:
    """They are refused, and the right ones are still welcome."""
    part = small.part((0, 2), window=window)
    made, _ = part.forward(0, {"input": X.numpy()})
    with pytest.raises(BadDocument, match="gradients for"):
        part.backward(0, slopes, 0.1)

    assert part.kept == 1
    part.backward(0, made, 0.1)


def test_missing_inputs_are_named(small: Holding) -> None:
    """Before torch sees anything."""
    with pytest.raises(BadDocument, match="'input' is missing"):
        small.part((0, 1), window=0).forward(0, {})


def test_forgetting_drops_what_is_under_way(small: Holding) -> None:
    """After a lost link nothing is waited for."""
    for window in (0, 1):
        part = small.part((0, 2), window=window)
        part.forward(0, {"input": X.numpy()})
        part.forget()
        assert part.kept == 0
        part.forward(0, {"input": X.numpy()})


def test_a_part_without_a_loss_does_not_finish(small: Holding) -> None:
    """And one that is nothing but a loss has no forward."""
    with pytest.raises(SessionMisused, match="owns no loss"):
        small.part((0, 1), window=0).finish(0, {"input": X.numpy()}, {}, 0.1)
    with pytest.raises(SessionMisused, match="owns a loss and nothing else"):
        small.part((3, 3), window=0, loss=named_loss("mse", ["output"])).forward(0, {})


def test_a_loss_that_is_not_finite_is_reported_as_it_is(small: Holding) -> None:
    """What to do about it is the guard's business."""
    part = small.part((0, 3), window=0, loss=named_loss("mse", ["output"]))

    assert np.isinf(
        part.finish(0, {"input": X.numpy()}, {"label": np.full((4, 2), 1e30, np.float32)}, 0).loss
    )


def test_a_loss_cut_off_from_the_weights_is_refused(small: Holding) -> None:
    """A detach() by mistake would train nothing, silently."""
    loss = custom_loss(lambda a, _: a["output"].detach().mean(), dict, dict)
    with pytest.raises(BadDocument, match="does not depend on anything that is trained"):
        small.part((0, 3), window=0, loss=loss).finish(0, {"input": X.numpy()}, {}, 0.1)


def test_a_loss_that_raises_is_told_in_a_sentence(small: Holding) -> None:
    """The user's own words are in it."""
    loss = custom_loss(lambda a, _: a["missing"], dict, dict)
    with pytest.raises(PartFailed, match="the loss failed: KeyError: 'missing'"):
        small.part((0, 3), window=0, loss=loss).finish(0, {"input": X.numpy()}, {}, 0.1)


def test_tensors_are_put_where_torch_would_put_them() -> None:
    """What came over a wire lies anywhere, and matrix products give other last bits for it."""
    memory = torch.zeros(4096, dtype=torch.uint8)
    askew = memory[4 : 4 + 400].view(torch.float32)

    assert aligned(askew).data_ptr() % 64 == 0
    assert aligned(memory) is memory


def test_bytes_from_anywhere_give_the_same_bits(small: Holding) -> None:
    """A frame's offsets do not show in the features."""
    torch.manual_seed(0)
    model = capture_torch(nn.Sequential(nn.Linear(1000, 3)), (torch.randn(5, 1000),), mode="train")
    part = Holding(model, Settings()).part((0, 1), window=0)
    x = np.random.default_rng(0).standard_normal((5, 1000)).astype(np.float32)
    frame = np.zeros(x.nbytes + 128, np.uint8)
    results = set()
    for offset in range(0, 64, 4):
        frame[offset : offset + x.nbytes] = x.view(np.uint8).ravel()
        lying = frame[offset : offset + x.nbytes].view(np.float32).reshape(x.shape)
        results.add(part.forward(offset, {"input": lying})[0]["output"].tobytes())
        part.forget()

    assert len(results) == 1
