"""What each exit answers on held-out samples, and how often it is right.

Rules: every sample counts once, whatever the size of the last batch; the network is in eval mode while it is asked;
an accuracy comes with the interval that the number of samples allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BadDocument
from .exits import Features, MultiExit
from .train_spec import Evaluation

# Logits up to this many numbers are kept: 40 MB.
SMALL = 10_000_000
# Standard deviations on each side of an interval that holds 95 of 100 times.
Z95 = 1.959964


class Samples(Protocol):
    """What is asked of data, as of `zoo.DataSet`: batches of arrays, the same for the same seed, epoch and step."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        ...

    def __len__(self) -> int: ...
    def batches(
        self,
        size: int,
        *,
        seed: int = ...,
        epoch: int = ...,
        step: int = ...,
        shuffle: bool = ...,
        augment: Any = ...,
    ) -> Iterator[tuple[Any, NDArray[Any]]]:
        """Those of an epoch from a step on; `augment` changes samples by a generator of random numbers."""
        ...


@dataclass(frozen=True)
class Truth:
    """Answers by sample and exit: the largest softmax, whether it is right, the logits where they are few."""

    confidence: NDArray[np.float32]
    correct: NDArray[np.bool_]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def accuracy(self) -> tuple[float, ...]:
        return tuple(float(share) for share in self.correct.mean(0))

    @property
    def loss(self) -> tuple[float, ...]:
        """Cross entropy by exit."""
        rows = self.logits.astype(np.float64)
        rows = rows - rows.max(2, keepdims=True)
        near = rows - np.log(np.exp(rows).sum(2, keepdims=True))
        own = near[np.arange(len(rows)), :, self.labels]
        return tuple(float(value) for value in -own.mean(0))

    def write(self, path: Path) -> None:
        """As npz, for calibration and simulation."""
        arrays = {"confidence": self.confidence, "correct": self.correct, "labels": self.labels}
        if self.logits.size <= SMALL:
            arrays["logits"] = self.logits
        beside = path.with_name(f".{path.name}")
        with beside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # arrays by name
        beside.replace(path)


def tell_truth(model: MultiExit, data: Samples, batch: int, evaluation: Evaluation = "independent") -> Truth:
    """Ask every exit about every sample. With `residual` an exit answers with the sum of the logits up to it."""
    was = model.training
    model.eval()
    answers, labels = [], []
    try:
        with torch.no_grad():
            for inputs, found in data.batches(batch):
                rows = torch.stack(model(*to_tensors(inputs, model))).float()
                answers.append(
                    (rows.cumsum(0) if evaluation == "residual" else rows).transpose(0, 1).cpu().numpy()
                )
                labels.append(np.asarray(found, np.int64))
    finally:
        model.train(was)
    if not answers:
        raise BadDocument("held-out data", ["it has no samples"], fix="give data with a held-out split")
    return _truth(np.concatenate(answers), np.concatenate(labels))


def _truth(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Truth:
    grown = np.exp(logits - logits.max(2, keepdims=True))
    confidence = (grown.max(2) / grown.sum(2)).astype(np.float32)
    return Truth(confidence, logits.argmax(2) == labels[:, None], labels, logits)


def to_tensors(inputs: Any, model: MultiExit) -> Features:
    """One array or several as what the network takes, where its weights lie."""
    device = next(model.parameters()).device
    rows = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    return tuple(torch.from_numpy(np.ascontiguousarray(row)).to(device) for row in rows)


def interval(share: float, samples: int) -> tuple[float, float]:
    """Between which shares the true one lies 95 of 100 times (Wilson)."""
    if not samples:
        return 0.0, 1.0
    square = Z95**2 / samples
    middle = (share + square / 2) / (1 + square)
    reach = sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)
