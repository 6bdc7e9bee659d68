"""What the benchmarks of training train: networks and data, and the two processes to do it in.

Rule: without the CIFAR-10 subset its case is left out with a sentence, never replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from partita.train import Optimizing, Settings
from partita.zoo import DataSet, build, open_data

SHARED = Path(__file__).parents[2] / "shared/data"
SUBSET = "cifar10-subset.zip"
BATCH = 64


class DigitsNet(nn.Sequential):
    """Convolutions with batch norm for images of 28 by 28; 200 KB cross behind its second one at batch 64."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        def rows(given: int, made: int, stride: int = 1) -> tuple[nn.Module, ...]:
            return (
                nn.Conv2d(given, made, 3, stride, 1, bias=False),
                nn.BatchNorm2d(made),
                nn.ReLU(inplace=True),
            )

        w = width
        super().__init__(
            *rows(1, w // 2, 2),
            *rows(w // 2, w, 2),
            *rows(w, 4 * w),
            *rows(4 * w, 4 * w),
            *rows(4 * w, 8 * w, 2),
            *rows(8 * w, 8 * w),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * w, classes),
        )


@dataclass(frozen=True)
class Case:
    """One network on its data, with the settings it is trained by. `target` is the accuracy to reach, if any."""

    name: str
    model: nn.Module
    data: DataSet
    held_out: DataSet
    settings: Settings
    target: float | None


def digits(seed: int = 0) -> Case:
    """A dot matrix's digits, made up, bent and noisy."""
    torch.manual_seed(seed)
    model = DigitsNet()
    where = "made:digits?train=2560&test=2000"
    settings = Settings(
        epochs=12,
        batch=BATCH,
        seed=seed,
        optimizer=Optimizing("sgd", 0.05, {"momentum": 0.9}),
        inputs_private=False,
    )
    data = open_data(where, split="train").in_memory(), open_data(where, split="test").in_memory()
    return Case("digits", model, *data, settings, 0.97)


def cifar(seed: int = 0) -> Case | None:
    """The CIFAR-10 subset and a small residual network; None where the subset is not at hand."""
    place = SHARED / SUBSET
    if not place.exists():
        return None
    model = build("zoo:resnet-tiny?width=8&blocks=1", seed=seed, bare=True).module
    settings = Settings(
        epochs=4,
        batch=BATCH,
        seed=seed,
        optimizer=Optimizing("sgd", 0.05, {"momentum": 0.9}),
        inputs_private=False,
    )
    data = open_data(str(place), split="train"), open_data(str(place), split="test")
    return Case("cifar", model, *(each.in_memory() for each in data), settings, None)


def case(name: str, seed: int = 0) -> Case | None:
    """A case by its name; None, with a sentence, where its data is missing."""
    found = digits(seed) if name == "digits" else cifar(seed)
    if found is None:
        print(f"skipped: {SHARED / SUBSET} is not there")
    return found
