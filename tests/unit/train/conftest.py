from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partita.engine import Values
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_portable import pack_torch
from partita.graph import dump
from partita.plan import Plan, inner_window, parse_plan, print_plan
from partita.run import Pace, state_digest
from partita.testing.lines import Tampering, around
from partita.train.checkpoints import Checkpoints
from partita.train.edge import Setup
from partita.train.holding import Holding
from partita.train.loading import Batch
from partita.train.losses import named_loss
from partita.train.messages import (
    IDS,
    LABEL,
    RNG,
    Begin,
    Begun,
    Commit,
    Examine,
    Features,
    Give,
    Model,
    Prepare,
    Prepared,
    Recall,
    Save,
    Slope,
    Slopes,
    Step,
    Take,
    Verdict,
)
from partita.train.moving import Moved
from partita.train.opening import Opening
from partita.train.pair import Pair
from partita.train.part import Outcome
from partita.train.pipeline import run
from partita.train.roles import CLOUD, roles_of, upstream
from partita.train.room import House, Room
from partita.train.room_plan import Data
from partita.train.settings import Optimizing, Settings
from partita.wire import Encoded, Failed, decode, encode

RUN = "0123456789abcdef" * 2
SETTINGS = Settings(optimizer=Optimizing("sgd", 0.1, {"momentum": 0.9}), seed=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads that wait for each other take longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_net(seed: int = 0) -> torch.nn.Module:
    """Normalisation, dropout and seven stages to cut between."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(16, 16),
        torch.nn.ReLU(),
        torch.nn.Linear(16, 4),
    )


def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of a step."""
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(6, 8, generator=generator)
    return inputs, inputs[:, :4].argmax(1)


class Edge:
    """The other side of a room, as plainly as it can be written: one step after the other, K = 0."""

    def __init__(self, room: Room, settings: Settings = SETTINGS, seed: int = 0, run: str = RUN) -> None:
        self.room, self.settings, self.run = room, settings, run
        self.module = small_net(seed)
        self.model: TorchModel = capture_torch(self.module, (batch_of(0)[0],), name="net", mode="train")
        self.chain = self.model.chain
        self.holding = Holding(self.model, settings)
        self.loss = named_loss(settings.loss or SETTINGS.loss, self.chain.outputs)
        self.numbers = count(1)
        self.version = 0
        self.owned = set(self.holding.names((0, len(self.chain))))

    def ask(self, kind: type[Any], *fields: Any, tensors: Mapping[str, Encoded] | None = None) -> Any:
        """The answer to a message, with its tensors in `tensors`; a failure is the test's."""
        answer, self.tensors = self.room.answer(kind(next(self.numbers), *fields), tensors or {})
        assert not isinstance(answer, Failed), answer
        return answer

    def refusal(self, kind: type[Any], *fields: Any, tensors: Mapping[str, Encoded] | None = None) -> str:
        """The code of the failure that a message is answered with."""
        answer, _ = self.room.answer(kind(next(self.numbers), *fields), tensors or {})
        assert isinstance(answer, Failed), answer
        return answer.code

    def begin(self) -> Begun:
        digest = self.chain.digest
        begun = self.ask(Begin, self.run, "net", digest, dump(self.settings, indent=None))
        if not begun.known:
            data = np.frombuffer(pack_torch(self.model), np.uint8)
            half = len(data) // 2
            self.ask(Model, False, tensors={"model": encode(data[:half])})
            begun = self.ask(Model, True, tensors={"model": encode(data[half:])})
        assert isinstance(begun, Begun)
        return begun

    def plan(self, text: str) -> Plan:
        return parse_plan(text, model="net", digest=self.chain.digest)

    def prepare(self, text: str) -> Prepared:
        self.version += 1
        prepared = self.ask(Prepare, self.version, print_plan(self.plan(text), full=True))
        assert isinstance(prepared, Prepared)
        return prepared

    def give(self, prepared: Prepared) -> str:
        """Send what is missing, one state a message; its digest."""
        given = self.holding.export(prepared.missing)
        for at, (name, value) in enumerate(given.items(), 1):
            self.ask(Give, self.version, at == len(given), tensors={name: encode(value)})
        return state_digest(given) if given else ""

    def change(self, text: str) -> None:
        """Both sides take up a plan."""
        prepared = self.prepare(text)
        roles = roles_of(self.plan(text), self.chain)
        mine = {name for span in roles.edge_spans for name in self.holding.names(span)}
        coming = sorted(mine - self.owned)
        self.ask(Take, tuple(coming))
        taken = {name: decode(tensor) for name, tensor in self.tensors.items()}
        self.ask(Commit, self.version, self.give(prepared))
        self.holding.take(coming, taken)
        self.install(text)

    def install(self, text: str) -> None:
        plan, holding = self.plan(text), self.holding
        self.roles = roles_of(plan, self.chain)
        away = self.roles.away
        theirs = holding.names(away) if away is not None and away[0] < away[1] else ()
        self.owned = set(holding.names((0, len(self.chain)))) - set(theirs)
        front, tail = self.roles.front, self.roles.tail
        self.front = self.tail = None
        if away is None:
            self.tail = holding.part((0, plan.stages), window=0, loss=self.loss)
        elif front is not None and front[0] < front[1]:
            self.front = holding.part(front, window=plan.window)
        if tail is not None:
            given = self.chain.part_inputs(*tail) if tail[0] < tail[1] else self.chain.outputs
            wanted = upstream(given, self.chain, holding.frozen())
            self.tail = holding.part(tail, window=0, wanted=wanted, loss=self.loss)

    def step(self, number: int, ids: bool = False) -> float:
        """One step under the plan in force: its loss."""
        inputs, labels = batch_of(number)
        values: Values = {self.chain.inputs[0]: inputs.numpy()}
        targets: Values = {"label": labels.numpy()}
        rng = None
        if self.front is not None:
            made, rng = self.front.forward(number, values)
            values |= made
        if self.roles.away is None:
            return self.finish(number, values, targets, None).loss
        sent = {name: encode(values[name]) for name in self.roles.up}
        if rng is not None:
            sent[RNG] = encode(np.frombuffer(rng, np.uint8))
        if ids:
            sent[IDS] = encode(np.full(6, number, np.int64))
        if self.roles.loss_at == CLOUD:
            sent |= {f"{LABEL}{name}": encode(value) for name, value in targets.items()}
        answer = self.ask(Step, self.version, number, 0.1, tensors=sent)
        loss = getattr(answer, "loss", 0.0)
        if isinstance(answer, Features):
            got = dict(self.tensors)
            rng = decode(got.pop(RNG)).tobytes() if RNG in got else rng
            outcome = self.finish(number, {n: decode(t) for n, t in got.items()}, targets, rng)
            slopes = {name: encode(value) for name, value in outcome.slopes.items()}
            answer, loss = self.ask(Slope, self.version, number, 0.1, tensors=slopes), outcome.loss
        assert isinstance(answer, Slopes)
        if self.front is not None:
            back = {name: decode(tensor) for name, tensor in self.tensors.items()}
            self.front.backward(number, back, 0.1)
        return float(loss)

    def finish(self, number: int, values: Values, targets: Values, rng: bytes | None) -> Outcome:
        assert self.tail is not None
        given = {name: values[name] for name in self.tail.inputs}
        return self.tail.finish(number, given, targets, 0.1, rng=rng)

    def examine(self, number: int) -> Verdict | Features:
        inputs, labels = batch_of(number)
        values: Values = {self.chain.inputs[0]: inputs.numpy()}
        if self.front is not None:
            values |= self.front.examine(values)
        sent = {name: encode(values[name]) for name in self.roles.up}
        if self.roles.loss_at == CLOUD:
            sent[f"{LABEL}label"] = encode(labels.numpy())
        found: Verdict | Features = self.ask(Examine, self.version, tensors=sent)
        return found

    def gather(self) -> dict[str, torch.Tensor]:
        """Every weight, from wherever it is."""
        everything = set(self.holding.names((0, len(self.chain))))
        away = sorted(everything - self.owned)
        self.ask(Take, tuple(away))
        self.holding.take(away, {name: decode(tensor) for name, tensor in self.tensors.items()})
        return {name: value.clone() for name, value in self.module.state_dict().items()}

    def save(self, step: int) -> None:
        self.ask(Save, step)

    def recall(self, step: int, text: str) -> None:
        self.version += 1
        self.ask(Recall, step, self.version)
        self.install(text)


@pytest.fixture
def make_room(tmp_path: Path) -> Callable[..., Room]:
    """Rooms of one house; they end with the test."""
    rooms: list[Room] = []

    def make(**fields: Any) -> Room:
        rooms.append(Room(House(state=tmp_path / "state", **fields)))
        return rooms[-1]

    yield make
    for room in rooms:
        room.end("the test is over")


@pytest.fixture
def make_edge(make_room: Callable[..., Room]) -> Callable[..., Edge]:
    """An edge with a room of its own, or with a given one; the run is begun."""

    def make(
        room: Room | None = None, *, settings: Settings = SETTINGS, run: str = RUN, **fields: Any
    ) -> Edge:
        edge = Edge(room or make_room(**fields), settings, run=run)
        edge.begin()
        return edge

    return make


@pytest.fixture
def edge_at() -> Callable[..., Edge]:
    """An edge with whatever answers as a room does; the run is begun."""

    def make(room: Any, run: str = RUN) -> Edge:
        edge = Edge(room, run=run)
        edge.begin()
        return edge

    return make


@pytest.fixture
def unsplit() -> Callable[..., tuple[list[float], dict[str, torch.Tensor]]]:
    """The same training as a plain loop: the losses and the final weights."""
    from partita.train.seeds import step_seed

    def train(steps: int) -> tuple[list[float], dict[str, torch.Tensor]]:
        net = small_net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for step in range(steps):
            inputs, labels = batch_of(step)
            torch.manual_seed(step_seed(SETTINGS.seed, step))
            loss = torch.nn.functional.cross_entropy(net(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, net.state_dict()

    return train


@dataclass
class Pairing:
    """Both sides in one process: a pair, the rooms it called, and what went over its lines."""

    pair: Pair
    tampering: Tampering
    rooms: list[Room]

    def plan(self, text: str) -> Plan:
        """Of the network, with K = 0 unless the text says so."""
        digest = self.pair.chain.digest
        return replace(parse_plan(text, model="net", digest=digest), mode="train", batch=6)

    def install(self, text: str) -> Moved:
        return self.pair.install(self.plan(text))

    def train(self, first: int, count: int) -> list[float]:
        """Steps under the plan in force: their losses."""
        pair = self.pair
        inner = inner_window(pair.worker.plan)
        batches = iter([self.batch(step) for step in range(first, first + count)])
        done = run(pair.worker, batches, first=first, window=pair.worker.window, inner=inner)
        losses = [each.outcome.loss for each in done]
        pair.worker.drained()
        return losses

    def batch(self, step: int) -> Batch:
        inputs, labels = batch_of(step)
        ids = np.arange(6 * step, 6 * step + 6)
        return Batch({self.pair.chain.inputs[0]: inputs.numpy()}, {"label": labels.numpy()}, ids, 6)

    def weights(self) -> dict[str, torch.Tensor]:
        """Every state of the module, from wherever it is."""
        self.pair.gather()
        module = self.pair.setup.holding.model.module
        return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def make_pair(tmp_path: Path) -> Iterator[Callable[..., Pairing]]:
    """Pairs with a cloud in this process; a room ends when another line is opened. `folder` keeps checkpoints."""
    made: list[Pairing] = []

    def make(
        settings: Settings = SETTINGS,
        *,
        folder: str = "",
        module: torch.nn.Module | None = None,
        data: Data | None = None,
    ) -> Pairing:
        rooms, tampering = list[Room](), Tampering()

        def room() -> Room:
            for old in rooms:
                old.end("another line was opened")
            rooms.append(Room(House(tmp_path / "state", data=data)))
            return rooms[-1]

        model = capture_torch(module or small_net(), (batch_of(0)[0],), name="net", mode="train")
        holding = Holding(model, settings)
        loss = named_loss(settings.loss, model.chain.outputs)
        setup = Setup(holding, settings, loss, None, Pace(), lambda _: settings.optimizer.rate)
        opening = Opening(settings, around(room, tampering), None, None, {}, None, None)
        checkpoints = Checkpoints(tmp_path / folder) if folder else None
        pair = Pair(setup, model.chain, checkpoints, opening.dial(model, None))
        made.append(Pairing(pair, tampering, rooms))
        return made[-1]

    yield make
    for each in made:
        each.pair.hang_up()
        if each.pair._checkpoints is not None:
            each.pair._checkpoints.close()
        for room in each.rooms:
            room.end("the test is over")
