"""A training of which either side dies at any moment ends in the weights of one that was left alone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from partita.cli.app import main
from partita.engine import Values
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.errors import ConnectionLost
from partita.store import write_whole
from partita.train import Optimizing, Session, Settings, checkpoints, read_trace, redial
from partita.train.child import LocalCloud, local_cloud
from partita.train.line import DirectLine, Ticket
from partita.train.room import House, Room
from partita.wire import Encoded, Message, parse_shape

SECONDS = 150.0

# -- two processes ----------------------------------------------------------------------------------------------------

NETWORK = """
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10))
"""
PLAN = "edge[0:4] -int8/int8-> cloud[4:8] | K=2 batch=8 mode=train"
# Over the link every step takes a while, so that nobody who looks is too late.
SAMPLES = 480


@dataclass
class Edge:
    """`partita train edge` over and over in one run folder."""

    words: list[str]
    run: Path
    log: Path
    child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "partita", *self.words, "--run", str(self.run)]
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def wait_for(self, step: int) -> None:
        """Until the trace tells of this step."""
        assert self.child is not None
        until = time.monotonic() + SECONDS
        while not self._told(step):
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.01)

    def _told(self, step: int) -> bool:
        trace = self.run / "trace.jsonl"
        return trace.exists() and f'"step":{step},"epoch"' in trace.read_text()

    def end(self) -> None:
        assert self.child is not None
        assert self.child.wait(SECONDS) == 0, self.log.read_text()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    with local_cloud(state=tmp_path / "state", link=parse_shape("50mbit/20ms")) as cloud:
        (tmp_path / "token").touch(0o600)
        (tmp_path / "token").write_text(cloud.token)
        yield cloud


@pytest.fixture
def edge(cloud: LocalCloud, tmp_path: Path) -> Iterator[Edge]:
    (tmp_path / "net.py").write_text(NETWORK)
    words = ["train", "edge", "--model", f"{tmp_path / 'net.py'}:net", "--data", "made:digits"]
    words += ["--limit", str(SAMPLES), "--epochs", "2", "--batch-size", "8", "--checkpoint-every", "5"]
    words += ["--cloud", cloud.url, "--token-file", str(tmp_path / "token"), "--plan", PLAN]
    words += ["--feedback", "delta", "--threads", "1", "--held-out", "0.1", "--patience", str(SECONDS)]
    edge = Edge(words, tmp_path / "run", tmp_path / "log")
    yield edge
    edge.kill()


@pytest.mark.timeout(400)
def test_both_sides_are_killed_twice(edge: Edge, cloud: LocalCloud, tmp_path: Path) -> None:
    """The edge alone, the cloud alone, both at once: the same bytes, and every step is told once."""
    edge.start()
    assert main([*edge.words, "--run", str(tmp_path / "alone"), "--json"]) == 0
    edge.wait_for(12)
    edge.kill()
    edge.start()
    edge.wait_for(33)
    cloud.restart()
    edge.wait_for(61)
    cloud.kill()
    edge.kill()
    edge.start()
    cloud.start()
    edge.end()
    weights = [(folder / "model.safetensors").read_bytes() for folder in (edge.run, tmp_path / "alone")]
    assert weights[0] == weights[1]
    traces = [read_trace(folder / "trace.jsonl") for folder in (edge.run, tmp_path / "alone")]
    told = [[(step.step, step.loss) for step in trace.steps] for trace in traces]
    assert told[0] == told[1]
    assert [step for step, _ in told[0]] == list(range(len(told[0])))
    assert traces[0].undone > 0


# -- one process, killed wherever it may be ---------------------------------------------------------------------------


class EdgeKilled(BaseException):
    """No `except Exception` sees it, as none sees a kill -9."""


class CloudKilled(BaseException):
    """The same of the other side."""


@dataclass
class Storm:
    """A cloud in this process, and what happens to messages and files on either side: one in so many comes to harm."""

    folder: Path
    random: Random
    share: float
    most: int = 12
    happened: list[str] = field(default_factory=list)
    room: Room | None = None

    def fate(self, *kinds: str) -> str:
        if len(self.happened) >= self.most or self.random.random() >= self.share:
            return ""
        self.happened.append(self.random.choice(kinds))
        return self.happened[-1]

    def dial(self) -> "StormyLine":
        self.calm()
        self.room = Room(House(self.folder / "state"))
        return StormyLine(self, DirectLine(self.room))

    def calm(self) -> None:
        if self.room is not None:
            self.room.end("killed")

    def write(self, path: Path, pieces: Iterator[bytes]) -> Path:
        killed = CloudKilled if path.is_relative_to(self.folder / "state") else EdgeKilled
        fate = self.fate("before", "after")
        if fate == "before":
            raise killed
        WRITE(path, pieces)
        if fate == "after":
            raise killed
        return path


WRITE = write_whole


class StormyLine:
    def __init__(self, storm: Storm, line: DirectLine) -> None:
        self._storm, self._line, self._lost = storm, line, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        fate = self._storm.fate("not sent", "not answered", "killed before", "killed after")
        if fate == "killed before":
            raise EdgeKilled
        if self._lost or fate == "not sent":
            return self._cut()
        try:
            ticket = self._line.post(message, tensors)
        except CloudKilled:
            return self._cut()
        if fate == "killed after":
            raise EdgeKilled
        return self._cut() if fate == "not answered" else ticket

    def _cut(self) -> Ticket:
        self._lost = True
        ticket: Ticket = Ticket()
        ticket.set_exception(ConnectionLost("the line is cut", fix="dial again"))
        return ticket


SETTINGS = Settings(epochs=2, batch=4, checkpoint=3, optimizer=Optimizing("adamw", 0.01))
DELTA = replace(SETTINGS, feedback="delta", feedback_down="delta")
CASES = {
    "no window": ("edge[0:2] -raw/raw-> cloud[2:8]", 0, SETTINGS),
    "three parts": ("edge[0:2] -int8/int8-> cloud[2:6] -int8/int8-> edge[6:8]", 2, DELTA),
    # A checkpoint falls on the end of the first epoch, where the window changes.
    "windows by epoch": (
        "edge[0:3] -int8/int8-> cloud[3:8]",
        0,
        replace(SETTINGS, window="0,2@2", feedback="residual", feedback_down="residual", checkpoint=7),
    ),
    "epochs only": ("edge[0:3] -int8/int8-> cloud[3:8]", 1, replace(DELTA, checkpoint=0, epochs=3)),
}
Told = tuple[dict[int, float], Values, list[tuple[float, float | None]]]


@pytest.fixture(scope="module")
def net() -> tuple[TorchModel, dict[str, torch.Tensor]]:
    """Batch norm and dropout on both sides of every cut, and the state it begins with."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = (nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.3), nn.ReLU())
        module = nn.Sequential(
            *first, nn.Linear(12, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.Linear(12, 3)
        )
    model = capture_torch(module, (torch.zeros(4, 6),), name="net", mode="train")
    return model, {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(28, 6, generator=draw), torch.randint(0, 3, (28,), generator=draw)


def lives(storm: Storm, net: Any, data: Any, case: str) -> Told:
    """Train, and begin again in the same folder after each death, until it is done."""
    row, window, settings = CASES[case]
    model, start = net
    losses: dict[int, float] = {}
    for _ in range(2 * storm.most + 1):
        model.module.load_state_dict(start)
        plan = f"{row} | K={window} batch=4 mode=train"
        session = Session(model, settings=settings, cloud=storm.dial, plan=plan, folder=storm.folder / "run")
        try:
            for report in session.train(data, held_out=data):
                losses[report.step] = report.loss
        except EdgeKilled:
            bury(session)
        except ConnectionLost:
            # Only whoever never reached the cloud is told at once.
            assert session._course is None
            bury(session)
        else:
            holding = session._now.pair.setup.holding
            state = holding.export(holding.names((0, len(model.chain))))
            epochs = [(epoch.loss, epoch.held_out_loss) for epoch in session.epochs]
            session.close()
            return losses, state, epochs
    raise AssertionError(storm.happened)


def bury(session: Session) -> None:
    """What the system does for a process that was killed: its files are closed as they are."""
    session._opening.close()
    writer = session._notebook._writer
    if writer is not None:
        os.close(writer._file)
        writer._file = -1


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody pauses, and one thread adds in one order."""
    monkeypatch.setattr(redial, "_SOON", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES)
def test_any_death_ends_in_the_same_weights(
    case: str, seed: int, net: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any message and around any file; also while it recovers, and several times. Trace and epochs are whole."""
    calm = Storm(tmp_path / "calm", Random(0), share=0.0)
    storm = Storm(tmp_path / "storm", Random(seed), share=0.1)
    wanted = lives(calm, net, data, case)
    monkeypatch.setattr(checkpoints, "write_whole", storm.write)
    losses, state, epochs = lives(storm, net, data, case)
    for each in (calm, storm):
        each.calm()
    assert storm.happened
    assert losses == wanted[0]
    assert epochs == wanted[2]
    assert [name for name, value in wanted[1].items() if not np.array_equal(state[name], value)] == []
    trace = read_trace(tmp_path / "storm/run/trace.jsonl")
    assert [(step.step, step.loss) for step in trace.steps] == sorted(losses.items())
    assert [(epoch.loss, epoch.held_out_loss) for epoch in trace.epochs] == epochs


@dataclass
class Death(Storm):
    """One death of the edge, at one moment: `late` is behind the message or file."""

    at: int = 0
    late: bool = False
    moments: int = 0

    def fate(self, *kinds: str) -> str:
        self.moments += 1
        if self.moments != self.at:
            return ""
        self.happened.append(kinds[-1 if self.late else -2])
        return self.happened[-1]


@pytest.mark.parametrize("late", [False, True])
def test_whoever_dies_while_it_begins_begins_again(
    late: bool, net: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every message and file up to the first checkpoints, those of one side only among them."""
    calm = Storm(tmp_path / "calm", Random(0), share=0.0)
    wanted = lives(calm, net, data, "no window")
    for at in range(1, 11):
        death = Death(tmp_path / str(at), Random(0), 0.0, at=at, late=late)
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints, "write_whole", death.write)
            losses, state, _ = lives(death, net, data, "no window")
        death.calm()
        assert death.happened
        assert losses == wanted[0]
        assert all(np.array_equal(state[name], value) for name, value in wanted[1].items())
    calm.calm()
