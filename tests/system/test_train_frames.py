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
from partita.plan import parse_plan
from partita.profile import Effort, measure
from partita.testing.lines import Tampering, around
from partita.train import Optimizing, Session, Settings, opening, room_measuring
from partita.train.cloud import CloudServer
from partita.train.loading import Batches
from partita.train.messages import Begin, Step
from partita.train.room import House, Room
from partita.wire import decode
from partita.wire.channel_ws import WebSocketPipe

# Two floats that nothing computes: 13.667 and 6.6013, side by side in every sample and in every target.
INPUT_MARK, LABEL_MARK = b"\xde\xad\x5a\x41" * 2, b"\xbe\xef\xd3\x40" * 2
TOKEN = "t" * 32
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net() -> nn.Module:
    """Five stages."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
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


PLANS: dict[str, set[str]] = {
    "edge[0:5]": set(),
    "edge[0:2] -raw/raw-> cloud[2:5]": {"labels"},
    "edge[0:5] -raw/raw-> cloud": {"labels"},
    "edge[0:2] -raw/raw-> cloud[2:4] -raw/raw-> edge[4:5]": set(),
    "edge[0:2] -raw/raw-> cloud[2:5] -raw/raw-> edge": set(),
    "cloud[0:2] -raw/raw-> edge[2:5]": set(),
    "cloud[0:5] -raw/raw-> edge": set(),
    "cloud[0:5]": {"labels"},
    "edge -raw/raw-> cloud[0:5]": {"inputs", "labels"},
    "edge -raw/raw-> cloud[0:5] -raw/raw-> edge": {"inputs"},
}


def written(folder: Path) -> set[str]:
    """Which marks are in the files of a folder."""
    return set().union(*(found_in(path.read_bytes()) for path in folder.rglob("*") if path.is_file()))


@pytest.mark.parametrize("feedback", ["none", "delta"])
@pytest.mark.parametrize("plan", PLANS)
def test_what_a_plan_does_not_say_does_not_travel(
    plan: str, feedback: str, rooms: Callable[[], Room], tmp_path: Path
) -> None:
    """Training, judging, checkpoints; with K = 2 and codecs that remember samples too."""
    tampering, wanted = Tampering(), PLANS[plan]
    if feedback == "delta":
        plan = f"{plan.replace('raw/raw', 'fp16/fp16')} | K=2"
    settings = replace(SETTINGS, window="auto", feedback=feedback, feedback_down=feedback)
    with Session(net(), settings=settings, cloud=around(rooms, tampering), plan=plan) as session:
        reports = list(session.train(marked(), held_out=marked()))
    assert len(reports) == 6
    assert travelled(tampering) == wanted
    assert written(tmp_path) == set()


def test_a_change_of_plans_carries_states_and_nothing_else(rooms: Callable[[], Room]) -> None:
    """The first message of a run neither: settings and model as data."""
    tampering = Tampering()
    with Session(net(), settings=SETTINGS, cloud=around(rooms, tampering), plan="edge[0:5]") as session:
        for report in session.train(marked()):
            if report.step == 1:
                break
        pair = session._now.pair
        for text in ("edge[0:2] -raw/raw-> cloud[2:4] -raw/raw-> edge[4:5]", "edge[0:5]"):
            pair.install(replace(pair.worker.plan, **parts_of(text)))
    names = {name for each in tampering.exchanges for name in (*each.tensors, *each.values)}

    assert tampering.said(Begin)
    assert not tampering.said(Step)
    assert {name.split("/")[0] for name in names} == {"model", "weight", "optimizer"}
    assert travelled(tampering) == set()


def parts_of(text: str) -> dict[str, Any]:
    plan = parse_plan(text)
    return {"parts": plan.parts, "hops": plan.hops}


def test_labels_stay_where_a_given_plan_would_send_them(rooms: Callable[[], Room]) -> None:
    """Whoever asks for private labels and gives a plan that is none is told so before anybody is called."""
    tampering, settings = Tampering(), replace(SETTINGS, labels_private=True)
    for plan in ("edge[0:2] -raw/raw-> cloud[2:5]", "edge -raw/raw-> cloud[0:5]", "cloud[0:5]"):
        with Session(net(), settings=settings, cloud=around(rooms, tampering), plan=plan) as session:
            with pytest.raises(BadDocument, match="labels"):
                list(session.train(marked()))
    assert not tampering.exchanges
    rooms()


def test_labels_stay_where_a_checkpoint_would_send_them(rooms: Callable[[], Room], tmp_path: Path) -> None:
    """A run that began with labels at the cloud does not go on so once they are private."""
    plan, tampering = "edge[0:2] -raw/raw-> cloud[2:5]", Tampering()
    with Session(
        net(), settings=SETTINGS, cloud=around(rooms), plan=plan, folder=tmp_path / "run"
    ) as session:
        next(iter(session.train(marked())))
    settings = replace(SETTINGS, labels_private=True)
    with Session(
        net(), settings=settings, cloud=around(rooms, tampering), folder=tmp_path / "run"
    ) as session:
        with pytest.raises(BadDocument, match="labels"):
            list(session.train(marked()))
    assert not tampering.said(Step)


class Pooled(nn.Module):
    """What it makes first of a sample is smaller than anything later, and has seen no weights; a skip carries it on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(72, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = x.mean(1) * 2
        wide = torch.tanh(self.second(torch.tanh(self.first(small))))
        return self.last(torch.cat([wide, small], 1))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring takes a moment, as its numbers are replaced anyway."""
    monkeypatch.setattr(opening, "EFFORT", Effort(seconds=0.002, budget=0.02))
    monkeypatch.setattr(room_measuring, "EFFORT", Effort(seconds=0.002, budget=0.02))


@pytest.mark.parametrize("private", [True, False])
def test_the_planner_keeps_what_no_weights_have_seen_at_home(
    private: bool, rooms: Callable[[], Room], quick: None
) -> None:
    """An edge ten thousand times slower would rather send everything; it may not cut before its first weights, nor
    where a skip carries what they have not seen."""
    inputs = torch.randn(12, 4, 8, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Pooled()
    model = capture_torch(module, (inputs[:4],), mode="train")
    effort = Effort(seconds=0.002, budget=0.02)
    edge = measure(model, batches=(4,), effort=effort, backward=True).slowed(1e4)
    settings = replace(SETTINGS, inputs_private=private)
    tampering = Tampering()
    with Session(
        module, settings=settings, cloud=around(rooms, tampering), profiles={"edge": edge}
    ) as session:
        list(session.train((inputs, inputs[:, 0, :4])))
        sent = {name for each in tampering.said(Step) for name in each.tensors}
        plans = [alternative.plan for alternative in session.ranking.alternatives]

    # The names of tensors: the input, and the small one.
    bare = {session.model.chain.inputs[0], *session.model.chain.stages[0].outputs}
    least = min(plan.parts[0].stop for plan in plans if plan.parts[0].place == "edge")
    if private:
        assert least == len(model.chain) - 1
        assert not sent & bare
    else:
        assert least < 2
        assert sent & bare


# -- bytes ---------------------------------------------------------------------------------------------------------------


@contextmanager
def served(**fields: Any) -> Iterator[CloudServer]:
    """A cloud on the network, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    server = CloudServer("ws://127.0.0.1:0", **fields)
    try:
        do(server.__aenter__())
        yield server
    finally:
        do(server.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Every byte that goes through a connection of this process, before it is masked and after it was read."""
    passed = bytearray()
    write, read = WebSocketPipe.write, WebSocketPipe.read

    async def write_down(pipe: WebSocketPipe, buffers: Any) -> None:
        passed.extend(b"".join(bytes(buffer) for buffer in buffers))
        await write(pipe, buffers)

    async def read_out(pipe: WebSocketPipe) -> Any:
        data = await read(pipe)
        passed.extend(data)
        return data

    monkeypatch.setattr(WebSocketPipe, "write", write_down)
    monkeypatch.setattr(WebSocketPipe, "read", read_out)
    return passed


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        ("edge[0:2] -raw/raw-> cloud[2:5]", {"labels"}),
        ("edge[0:2] -raw/raw-> cloud[2:4] -raw/raw-> edge[4:5]", set()),
        ("edge -raw/raw-> cloud[0:5] -raw/raw-> edge", {"inputs"}),
    ],
)
def test_the_bytes_of_a_connection_hold_what_the_plan_says(
    plan: str, wanted: set[str], frames: bytearray, tmp_path: Path
) -> None:
    """Training and judging over a socket; the features are there to be found, the run's name is the only secret."""
    with served(state=tmp_path, token=TOKEN) as server:
        with Session(net(), settings=SETTINGS, cloud=server.url, token=TOKEN, plan=plan) as session:
            list(session.train(marked(), held_out=marked()))

    assert len(frames) > 10_000
    assert found_in(bytes(frames)) == wanted
    assert written(tmp_path) == set()
