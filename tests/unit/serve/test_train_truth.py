"""Answers on held-out samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve.exits import MultiExit, Stage
from partita.serve.train_truth import interval, tell_truth


class Rows:
    """Samples that are their own logits."""

    classes = ("a", "b")
    shape = (2,)

    def __init__(self, rows: list[list[float]], labels: list[int]) -> None:
        self.rows, self.labels = np.array(rows, np.float32), np.array(labels)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int, **_: Any) -> Iterator[tuple[Any, Any]]:
        for at in range(0, len(self.rows), size):
            yield self.rows[at : at + size], self.labels[at : at + size]


class Times(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return features[0] * self.factor


def echo(*factors: float) -> MultiExit:
    """Each exit answers with its input times a factor."""
    names = [str(k) for k in range(len(factors))]
    heads = [Times(factor) for factor in factors]
    stages = [Stage() for _ in factors]
    return MultiExit(
        stages, heads, names=names, classes=2, kind="image", example=lambda batch: (torch.zeros(batch, 2),)
    )


DATA = Rows([[1, 0], [0, 1], [3, 0]], [0, 0, 0])


def test_each_exit_is_asked_about_every_sample() -> None:
    truth = tell_truth(echo(1, -1), DATA, 2)

    assert truth.correct.tolist() == [[True, False], [False, True], [True, False]]
    assert truth.accuracy == pytest.approx((2 / 3, 1 / 3))


def test_confidence_is_the_largest_softmax() -> None:
    assert tell_truth(echo(1), DATA, 2).confidence[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_residual_answers_are_sums() -> None:
    truth = tell_truth(echo(1, -3), DATA, 2, "residual")

    assert truth.logits[:, 1].tolist() == (-2 * DATA.rows).tolist()


def test_the_loss_is_the_cross_entropy() -> None:
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(DATA.rows), torch.from_numpy(DATA.labels))

    assert tell_truth(echo(1), DATA, 2).loss == pytest.approx((float(wanted),))


def test_a_network_is_left_in_its_mode() -> None:
    model = echo(1).train()
    tell_truth(model, DATA, 2)

    assert model.training


def test_no_samples_are_refused() -> None:
    with pytest.raises(BadDocument, match="no samples"):
        tell_truth(echo(1), Rows([], []), 2)


def test_many_logits_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partita.serve.train_truth.SMALL", 5)
    tell_truth(echo(1), DATA, 2).write(tmp_path / "truth.npz")

    assert sorted(np.load(tmp_path / "truth.npz").files) == ["confidence", "correct", "labels"]


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(counts: tuple[int, int]) -> None:
    right, samples = counts
    low, high = interval(right / samples, samples)

    assert 0 <= low <= right / samples + 1e-12
    assert right / samples - 1e-12 <= high <= 1


def test_an_interval_is_that_of_the_books() -> None:
    assert interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert interval(0.0, 0) == (0.0, 1.0)
