"""No labels and no raw inputs travel, unless the plan says so: every message and every byte is looked at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from partita.engine import Array
from partita.engine.torch_capture import capture_torch
from partita.errors import BadDocument
from partita.testing.lines import Tampering, around
from partita.train import Optimizing, Session, Settings
from partita.train.cloud import CloudServer
from partita.train.loading import Batches
from partita.train.messages import Begin, Examine, Save, Step
from partita.train.room import House, Room
from partita.wire import decode
from partita.wire.channel_ws import WebSocketPipe

# Two floats that nothing computes: 13.667 and 6.6013, side by side in every sample and in every target.
INPUT_MARK, LABEL_MARK = b"\xde\xad\x5a\x41" * 2, b"\xbe\xef\xd3\x40" * 2
SETTINGS = Settings(
    epochs=2,
    batch=4,
    loss="mse",
    window="0",
    checkpoint=2,
    optimizer=Optimizing("sgd", 1e-3, {"momentum": 0.9}),
    codec_up="raw",
    codec_down="raw",
)
MakeHouse = Callable[..., House]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net() -> nn.Module:
    """The first two stages have no weights; what they make of a sample is as telling as the sample."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Flatten(), nn.Identity(), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()),
            nn.Linear(16, 4),
        )


def marked() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(12, 2, 4, generator=draw), torch.randn(12, 4, generator=draw)
    inputs[:, 1, :2] = torch.frombuffer(bytearray(INPUT_MARK), dtype=torch.float32)
    labels[:, 1:3] = torch.frombuffer(bytearray(LABEL_MARK), dtype=torch.float32)
    return inputs, labels


def found_in(data: bytes) -> set[str]:
    return {name for name, mark in (("inputs", INPUT_MARK), ("labels", LABEL_MARK)) if mark in data}


def travelled(tampering: Tampering) -> set[str]:
    """Which marks went over the line, either way, in whatever encoding."""
    tensors = [t for each in tampering.exchanges for t in (*each.tensors.values(), *each.values.values())]
    seen = set().union(*(found_in(np.ascontiguousarray(decode(tensor)).tobytes()) for tensor in tensors))
    return seen | set().union(*(found_in(bytes(b)) for tensor in tensors for b in tensor.buffers))


def data_at_cloud() -> Callable[[Any], dict[str, Array]]:
    model = capture_torch(net(), (marked()[0][:4],), mode="train")
    return Batches.of(marked(), SETTINGS, model).pick


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Callable[[], Room]]:
    """Rooms of one house that has the data too."""
    made: list[Room] = []
    house = House(tmp_path / "state", data=data_at_cloud())

    def make() -> Room:
        for room in made:
            room.end("another one")
        made.append(Room(house))
        return made[-1]

    yield make
    made[-1].end("the test is over")


STAGES = 6
PLANS: dict[str, set[str]] = {
    f"edge[0:{STAGES}]": set(),
    f"edge[0:3] -raw/raw-> cloud[3:{STAGES}]": {"labels"},
    f"edge[0:{STAGES}] -raw/raw-> cloud": {"labels"},
    f"edge[0:3] -raw/raw-> cloud[3:5] -raw/raw-> edge[5:{STAGES}]": set(),
    f"edge[0:3] -raw/raw-> cloud[3:{STAGES}] -raw/raw-> edge": set(),
    f"cloud[0:3] -raw/raw-> edge[3:{STAGES}]": set(),
    f"cloud[0:{STAGES}] -raw/raw-> edge": set(),
    f"cloud[0:{STAGES}]": {"labels"},
    f"edge -raw/raw-> cloud[0:{STAGES}]": {"inputs", "labels"},
    f"edge -raw/raw-> cloud[0:{STAGES}] -raw/raw-> edge": {"inputs"},
}


def test_the_network_is_cut_where_these_tests_think() -> None:
    """Six stages; the first with weights is the second or the third."""
    model = capture_torch(net(), (marked()[0][:4],), mode="train")
    assert len(model.chain) == STAGES
