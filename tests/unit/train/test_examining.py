"""What held-out samples say of a model in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from partita.errors import ProtocolViolation
from partita.train.examining import examine
from partita.train.messages import Examine, Features
from partita.wire import Result

from .conftest import batch_of, small_net

PLANS = [
    "edge[0:7]",
    "edge[0:4] -int8/int8-> cloud[4:7]",
    "edge[0:2] -int8/int8-> cloud[2:5] -int8/int8-> edge[5:7]",
    "edge[0:4] -int8/int8-> cloud[4:7] -int8/int8-> edge",
    "cloud[0:4] -int8/int8-> edge[4:7]",
]
MakePair = Callable[..., Any]


def judged_whole(steps: int) -> tuple[float, int]:
    net = small_net().eval()
    inputs = torch.cat([batch_of(step)[0] for step in range(steps)])
    labels = torch.cat([batch_of(step)[1] for step in range(steps)])
    answer = net(inputs)
    return torch.nn.functional.cross_entropy(answer, labels).item(), int((answer.argmax(1) == labels).sum())


@pytest.mark.parametrize("plan", PLANS)
def test_a_model_in_parts_is_judged_as_whole(plan: str, make_pair: MakePair) -> None:
    """No codec and no dropout touches it; more batches than are on their way at once."""
    inputs = np.concatenate([batch_of(step)[0].numpy() for step in range(9)])
    sides = make_pair(data=lambda ids: {"input": inputs[ids]})
    sides.install(plan)
    found = examine(sides.pair.worker, (sides.batch(step) for step in range(9)), sides.pair.line)
    loss, right = judged_whole(9)

    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert (found.right, found.count) == (right, 54)
    assert len(sides.tampering.said(Examine)) == (0 if plan == PLANS[0] else 9)


def test_judging_changes_nothing(make_pair: MakePair, unsplit: Any) -> None:
    sides = make_pair()
    sides.install("edge[0:4] -raw/raw-> cloud[4:7]")
    losses = sides.train(0, 2)
    examine(sides.pair.worker, [sides.batch(0)], sides.pair.line)
    losses += sides.train(2, 2)

    assert losses == unsplit(4)[0]


def test_of_no_samples_nothing_is_said(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.install("edge[0:7]")
    found = examine(sides.pair.worker, [], sides.pair.line)

    assert (found.loss, found.right, found.count) == (0.0, -1, 0)


@pytest.mark.parametrize("answer", [Features, Result])
def test_an_answer_that_does_not_fit_the_plan_is_a_violation(answer: Any, make_pair: MakePair) -> None:
    """The loss is at the cloud: features are no verdict."""
    sides = make_pair()
    sides.install("edge[0:4] -raw/raw-> cloud[4:7]")
    fields = (0,) if answer is Features else ()
    sides.rooms[-1].answer = lambda message, tensors: (answer(message.request, *fields), {})
    with pytest.raises(ProtocolViolation) as refusal:
        examine(sides.pair.worker, [sides.batch(0)], sides.pair.line)
    assert refusal.value.fix
