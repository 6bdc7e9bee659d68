"""A loss of the user's own, sent as a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from partita.engine import Values
from partita.errors import CannotCapture, PartitaError
from partita.train.losses import custom_loss
from partita.train.losses_graph import pack_loss, unpack_loss


def two_tasks(answer: Any, targets: Any) -> torch.Tensor:
    return F.cross_entropy(answer["classes"], targets[0]) + 0.5 * F.smooth_l1_loss(answer["box"], targets[1])


LOSS = custom_loss(two_tasks, dict, lambda t: (t["label/0"], t["label/1"]))


def values(batch: int) -> tuple[Values, Values]:
    draw = np.random.default_rng(batch)
    outputs = {
        "classes": draw.standard_normal((batch, 5)).astype(np.float32),
        "box": draw.standard_normal((batch, 4)).astype(np.float32),
        "unread": np.zeros((batch, 2), np.float32),
    }
    targets = {
        "label/0": draw.integers(0, 5, batch),
        "label/1": draw.standard_normal((batch, 4)).astype(np.float32),
    }
    return outputs, targets


def tensors(arrays: Values, *, learn: bool = False) -> dict[str, torch.Tensor]:
    return {n: torch.from_numpy(a).requires_grad_(learn and a.dtype.kind == "f") for n, a in arrays.items()}


@pytest.fixture(scope="module")
def packed() -> bytes:
    return pack_loss(LOSS, *values(4))


@pytest.mark.parametrize("batch", [4, 1, 7])
def test_the_graph_says_what_the_function_says_at_any_batch_size(packed: bytes, batch: int) -> None:
    """Value and gradients are equal bit for bit."""
    outputs, targets = values(batch)
    found = []
    for loss in (LOSS, unpack_loss(packed)):
        given = tensors(outputs, learn=True)
        value = loss(given, tensors(targets))
        value.backward()
        found.append((value.detach(), given["classes"].grad, given["box"].grad))

    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_loss_that_cannot_be_captured_stays_where_it_is() -> None:
    """With the way to keep it there."""

    def stubborn(answer: Any, _: Any) -> torch.Tensor:
        return answer["classes"].mean() if answer["classes"].sum() > 0 else answer["box"].mean()

    with pytest.raises(CannotCapture, match="the loss cannot be sent to the cloud") as caught:
        pack_loss(custom_loss(stubborn, dict, dict), *values(4))

    assert "labels_private" in caught.value.fix


def test_bytes_that_are_no_loss_are_refused() -> None:
    """They come from outside."""
    with pytest.raises(PartitaError):
        unpack_loss(b"no loss at all")
