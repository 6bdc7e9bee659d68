"""One side's hold on a model: names, state, parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_portable import pack_torch, unpack_torch
from partita.errors import BadDocument
from partita.train.holding import Holding
from partita.train.losses import named_loss
from partita.train.part import TrainedPart
from partita.train.settings import Optimizing, Settings

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 1, 0])
ADAM = Settings(optimizer=Optimizing("adam", 0.1))
LOSS = named_loss("cross_entropy", ["output"])


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    )


def held(settings: Settings = ADAM, module: nn.Module | None = None) -> Holding:
    return Holding(capture_torch(module or net(), (X,), mode="train"), settings)


def train(part: TrainedPart, steps: range) -> list[float]:
    return [part.finish(i, {"input": X.numpy()}, {"label": Y.numpy()}, 0.1).loss for i in steps]


@pytest.fixture
def holding() -> Holding:
    return held()


def test_the_names_of_a_span_are_its_parameters_and_persistent_buffers(holding: Holding) -> None:
    """Counters of batch norm among them: all that a state has."""
    assert set(holding.names((0, 2))) == {
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"
    }  # fmt: skip
    assert set(holding.names((0, 6))) == set(net().state_dict())


def test_what_is_frozen_is_not_trained(holding: Holding) -> None:
    """Leading stages up to the first that learns; dropout learns nothing."""
    assert (holding.trainable((0, 1)), holding.trainable((2, 3)), holding.frozen()) == (True, False, 0)

    holding.model.module[:2].requires_grad_(False)
    assert (holding.trainable((0, 3)), holding.frozen()) == (False, 3)

    holding.model.module.requires_grad_(False)
    assert holding.frozen() == 6


def test_dropout_draws_and_nothing_else(holding: Holding) -> None:
    """By span; an empty one draws nothing."""
    assert [holding.draws((k, k + 1)) for k in range(6)] == [False, False, True, False, False, False]
    assert not holding.draws((6, 6))


class Tied(nn.Module):
    """The same weights in front and behind, as language models have them."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.middle, self.back = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.back.weight = self.front.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.back(self.middle(self.front(x)).tanh())


def test_weights_that_two_spans_train_are_named() -> None:
    """Two owners would drift apart; what is frozen may be in both."""
    tied = held(module=Tied())
    end = len(tied.model.chain)

    assert tied.shared((0, 1), (1, end)) == ("front.weight",)
    assert tied.shared((0, 1), (1, end - 1)) == ()
    tied.model.module.front.requires_grad_(False)
    assert tied.shared((0, 1), (1, end)) == ()


def test_state_carries_weights_and_memory(holding: Holding) -> None:
    """By name; what was not trained yet has no memory."""
    assert holding.export(["5.bias"]).keys() == {"weight/5.bias"}
    train(holding.part((0, 6), window=0, loss=LOSS), range(1))

    assert holding.export(["5.bias", "1.running_mean"]).keys() == {
        "weight/5.bias", "weight/1.running_mean",
        "optimizer/5.bias/step", "optimizer/5.bias/exp_avg", "optimizer/5.bias/exp_avg_sq",
    }  # fmt: skip


def test_sizes_are_those_of_what_is_carried(holding: Holding) -> None:
    """Weights and memory."""
    train(holding.part((0, 6), window=0, loss=LOSS), range(1))
    names = ["5.weight", "1.running_var"]
    expected = {n: sum(v.nbytes for v in holding.export([n]).values()) for n in names}

    assert holding.sizes(names) == expected


def test_another_side_goes_on_where_this_one_stood(holding: Holding) -> None:
    """All state of a model, given and taken."""
    other = held(module=nn.Sequential(*net(), nn.Identity())[:6])
    expected = train(holding.part((0, 6), window=0, loss=LOSS), range(3))
    names = holding.names((0, 6))
    other.take(names, holding.export(names))
    expected = train(holding.part((0, 6), window=0, loss=LOSS), range(3, 6))

    assert train(other.part((0, 6), window=0, loss=LOSS), range(3, 6)) == expected


def test_taking_a_parameter_without_memory_clears_the_one_it_had(holding: Holding) -> None:
    """It begins anew, as on the side it came from."""
    fresh = holding.export(["5.bias"])
    train(holding.part((0, 6), window=0, loss=LOSS), range(1))
    holding.take(["5.bias"], fresh)

    assert holding.export(["5.bias"]).keys() == {"weight/5.bias"}


def test_state_is_taken_whole_or_not_at_all(holding: Holding) -> None:
    """Every problem is named, and nothing changed."""
    before = holding.export(holding.names((0, 6)))
    given = {
        "weight/0.bias": np.ones(4, np.float32),
        "weight/5.bias": np.ones(3, np.float32),
        "weight/1.bias": np.ones(4),
        "optimizer/5.bias/speed": np.ones(2, np.float32),
        "optimizer/9.bias/step": np.ones((), np.float32),
        "weight/9.bias": np.ones(2, np.float32),
        "other": np.ones(2),
    }
    with pytest.raises(BadDocument) as caught:
        holding.take(["0.bias", "5.bias", "1.bias", "3.bias"], given)

    told = "; ".join(caught.value.problems)
    for said in (
        "weight/3.bias: is missing", "weight/5.bias: is float32[3], not float32[2]",
        "weight/1.bias: is float64[4], not float32[4]", "optimizer/5.bias/speed: adam keeps",
        "optimizer/9.bias/step: is not asked for", "weight/9.bias: is not asked for", "other: is not asked for",
    ):  # fmt: skip
        assert said in told
    after = holding.export(holding.names((0, 6)))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_bfloat16_is_carried_bit_for_bit() -> None:
    """Weights and memory, through the arrays that travel."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).bfloat16()
    half = Holding(capture_torch(module, (X.bfloat16(),), mode="train"), ADAM)
    part = half.part((0, 3), window=0, loss=named_loss("cross_entropy", ["output"]))
    values = half.model.example()
    part.finish(0, values, {"label": Y.numpy()}, 0.1)
    state = half.export(half.names((0, 3)))
    part.finish(1, values, {"label": Y.numpy()}, 0.1)
    later = half.export(half.names((0, 3)))
    half.take(half.names((0, 3)), state)
    part.finish(1, values, {"label": Y.numpy()}, 0.1)

    assert state["optimizer/0.weight/exp_avg"].dtype.name == "bfloat16"
    again = half.export(half.names((0, 3)))
    assert all(again[name].tobytes() == later[name].tobytes() for name in later)


def test_forgetting_lets_the_memory_go_and_keeps_the_weights(holding: Holding) -> None:
    """The other side owns them now."""
    train(holding.part((0, 6), window=0, loss=LOSS), range(1))
    before = holding.export(["5.bias"])["weight/5.bias"]
    holding.forget(["5.bias"])

    assert holding.export(["5.bias"]).keys() == {"weight/5.bias"}
    assert np.array_equal(holding.export(["5.bias"])["weight/5.bias"], before)


def test_an_empty_tail_judges_outputs(holding: Holding) -> None:
    """Nothing is updated."""
    answer = np.array([[2, 0], [0, 1], [3, 0], [1, 0]], np.float32)
    outcome = holding.judge({"output": answer}, {"label": Y.numpy()}, LOSS)

    assert outcome.loss == pytest.approx(F.cross_entropy(torch.from_numpy(answer), Y).item())
    assert (outcome.right, outcome.count, outcome.slopes) == (3, 4, {})


def test_outputs_that_do_not_fit_are_refused_by_an_empty_tail(holding: Holding) -> None:
    """They come over a wire."""
    with pytest.raises(BadDocument, match="'output' has 3 along axis 1, not 2"):
        holding.judge({"output": np.zeros((4, 3), np.float32)}, {"label": Y.numpy()}, LOSS)


def test_a_part_that_makes_no_sense_is_refused_with_all_problems(holding: Holding) -> None:
    """Before anything runs."""
    with pytest.raises(BadDocument, match=r"wanted: 'loss' is no input.*passing: 'x' is no output"):
        holding.part((0, 2), window=0, wanted=frozenset({"loss"}), passing=("x",))
    with pytest.raises(
        BadDocument, match="only a part that owns the loss, behind the last stage, may be empty"
    ):
        holding.part((2, 2), window=0, loss=LOSS)


def test_a_model_that_came_as_data_trains_alike(holding: Holding) -> None:
    """Weights by name into memory that is held for them; dropout, batch norm and Adam included."""
    other = Holding(unpack_torch(pack_torch(holding.model)), ADAM)
    names = holding.names((0, 6))
    other.model.hold(other.names((0, 6)))
    other.take(names, holding.export(names))
    expected = train(holding.part((0, 6), window=0, loss=LOSS), range(4))

    assert [other.draws((k, k + 1)) for k in range(6)] == [holding.draws((k, k + 1)) for k in range(6)]
    assert train(other.part((0, 6), window=0, loss=LOSS), range(4)) == expected
    mine, theirs = holding.export(names), other.export(names)
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
