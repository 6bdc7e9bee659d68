"""A training that is planned anew while it runs: two real processes, a link that changes, a cloud that dies."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from partita.train import Optimizing, Session, Settings
from partita.train.child import LocalCloud, local_cloud
from partita.wire import parse_shape

# Whoever shares the machine may take most of it: these tests say that something happens, not how soon.
PATIENCE = 90.0
SETTINGS = Settings(
    epochs=10_000, batch=32, guard=False, optimizer=Optimizing("sgd", 0.01, {"momentum": 0.9})
)


def block(i: int, o: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]


def net() -> nn.Module:
    body = [*block(3, 16, 2), *block(16, 32, 2), *block(32, 32), *block(32, 64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 8))


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(320, 3, 32, 32), torch.randint(0, 8, (320,))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    with local_cloud(state=tmp_path, link=parse_shape("200mbit/4ms")) as started:
        yield started


def until(steps: Iterator[Any], true: Callable[[], bool]) -> int:
    """Train on until something is true; how many steps that took."""
    end = time.monotonic() + PATIENCE
    for count, _ in enumerate(steps, 1):
        if true():
            return count
        assert time.monotonic() < end
    raise AssertionError("the training ended")


def test_the_plan_follows_the_link(cloud: LocalCloud, data: Any) -> None:
    """To the edge alone over a link that became useless, and back to both when it is good again."""
    with Session(
        net(), settings=SETTINGS, cloud=cloud.url, token=cloud.token, slow=12.0, threads=1
    ) as session:
        steps = session.train(data)
        until(steps, lambda: len(session.plan.parts) > 1)
        cloud.reshape(parse_shape("1mbit/4ms"))
        until(steps, lambda: len(session.plan.parts) == 1)
        cloud.reshape(parse_shape("200mbit/4ms"))
        until(steps, lambda: len(session.plan.parts) > 1)
        steps.close()

        assert [event.what for event in session.events if event.what in ("lost", "abandoned")] == []


def test_a_cloud_that_dies_while_nobody_needs_it_stops_nothing(cloud: LocalCloud, data: Any) -> None:
    """Training goes on alone, and with the cloud again once it is back: without a checkpoint to go back to."""
    cloud.reshape(parse_shape("1mbit/4ms"))
    with Session(
        net(), settings=SETTINGS, cloud=cloud.url, token=cloud.token, slow=12.0, threads=1
    ) as session:
        happened = lambda what: any(event.what == what for event in session.events)  # noqa: E731
        steps = session.train(data)
        until(steps, lambda: len(session.plan.parts) == 1)
        cloud.kill()
        done = session.steps
        assert until(steps, lambda: session.steps >= done + 20) == 20
        cloud.restart()
        until(steps, lambda: happened("lost"))
        until(steps, lambda: happened("back"))
        cloud.reshape(parse_shape("200mbit/4ms"))
        until(steps, lambda: len(session.plan.parts) > 1)
        steps.close()

        assert session.steps > done + 20
