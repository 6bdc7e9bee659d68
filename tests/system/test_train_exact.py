"""With K = 0 and the raw codec a training across a cut is the unsplit one, bit for bit, whatever happens on its way."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.engine import Values
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_portable import pack_torch
from partita.errors import ConnectionLost
from partita.graph import Link
from partita.plan import Plan, parse_plan
from partita.testing.lines import Tampering, around
from partita.train import Optimizing, Session, Settings
from partita.train.edge import Done
from partita.train.line import Line
from partita.train.live import Live
from partita.train.loading import Batches
from partita.train.messages import Step
from partita.train.room import House, Room
from partita.train.seeds import step_seed
from partita.wire import Message
from partita.zoo.nets import bilstm_tiny, resnet_tiny

SETTINGS = Settings(
    epochs=2,
    batch=4,
    seed=7,
    window="0",
    codec_up="raw",
    codec_down="raw",
    optimizer=Optimizing("sgd", 0.1, {"momentum": 0.9, "weight_decay": 1e-3}),
    checkpoint=3,
)
ADAM = replace(SETTINGS, optimizer=Optimizing("adamw", 0.01), loss="cross_entropy")
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}
# Four steps of four samples and a smaller one, twice.
SAMPLES = 18
STEPS = 10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Net:
    """A network, its samples, and what a plain loop makes of them."""

    model: TorchModel
    inputs: torch.Tensor
    labels: torch.Tensor
    start: dict[str, torch.Tensor] = field(init=False)
    plain: dict[str, tuple[list[float], Values]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = copy.deepcopy(self.model.module.state_dict())
        self.packed = pack_torch(self.model)

    @property
    def data(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs, self.labels

    @property
    def stages(self) -> int:
        return len(self.model.chain)

    @property
    def cuts(self) -> list[int]:
        chain = self.model.chain
        return [p for p in self.model.legal_cuts("train") if chain.cut(p).legal]

    def fresh(self) -> TorchModel:
        """The model as it was in the beginning."""
        self.model.module.load_state_dict(self.start)
        return self.model

    def unsplit(self, settings: Settings) -> tuple[list[float], Values]:
        """The loop that anybody would write: its losses, weights, buffers and the optimizer's memory."""
        name = settings.optimizer.name
        if name not in self.plain:
            self.plain[name] = self._loop(settings)
        return self.plain[name]

    def _loop(self, settings: Settings) -> tuple[list[float], Values]:
        self.fresh()
        module = copy.deepcopy(self.model.module).train()
        optimizer = OPTIMIZERS[settings.optimizer.name](module.parameters())
        batches = Batches.of(self.data, settings, self.model)
        losses: list[float] = []
        with torch.random.fork_rng():
            for epoch in range(1, settings.epochs + 1):
                for batch in batches.epoch(epoch):
                    torch.manual_seed(step_seed(settings.seed, len(losses)))
                    optimizer.zero_grad()
                    (x,), (y,) = batch.inputs.values(), batch.targets.values()
                    loss = F.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
        state = {f"weight/{own}": value.numpy() for own, value in module.state_dict().items()}
        for own, parameter in module.named_parameters():
            for key, value in optimizer.state[parameter].items():
                state[f"optimizer/{own}/{key}"] = value.detach().numpy()
        return losses, state


def made(module: nn.Module, args: tuple[Any, ...]) -> Net:
    model = capture_torch(module, args, name="net", mode="train")
    draw = torch.Generator().manual_seed(3)
    shape = (SAMPLES, *args[0].shape[1:])
    if args[0].is_floating_point():
        inputs = torch.randn(shape, generator=draw)
    else:
        inputs = torch.randint(0, 50, shape, generator=draw)
    return Net(model, inputs, torch.randint(0, 4, (SAMPLES,), generator=draw))


def build(name: str) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if name == "resnet":
            net = resnet_tiny(4, width=4, blocks=1)
            return made(net.module, net.args)
        if name == "lstm":
            net = bilstm_tiny(4, vocabulary=50, width=8)
            return made(net.module, net.args)
        drops = nn.Sequential(
            *(nn.Dropout(0.2), nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16)),
            *(nn.LayerNorm(16), nn.Linear(16, 4), nn.Dropout(0.1)),
        )
        return made(drops, (torch.randn(4, 8),))


NAMES = ("resnet", "dropout", "lstm")


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    """One with batch norm and skips, one with dropout at both ends, one with a recurrent layer."""
    return {name: build(name) for name in NAMES}


class Place:
    """A cloud in this process: rooms of one house, one for each line; the room before ends as a killed one does."""

    def __init__(self, net: Net, state: Path, *, data: bool = False) -> None:
        offers = {net.model.chain.digest: net.packed}
        batches = Batches.of(net.data, SETTINGS, net.model)
        self.house = House(state, offers, batches.pick if data else None)
        self.room: Room | None = None
        self.tampering = Tampering()

    def open(self) -> Room:
        self.close()
        self.room = Room(self.house)
        return self.room

    def close(self) -> None:
        if self.room is not None:
            self.room.end("killed")

    @property
    def cloud(self) -> Callable[[], Line]:
        return around(self.open, self.tampering)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    places: list[Place] = []

    def make(net: Net, **fields: Any) -> Place:
        places.append(Place(net, tmp_path / "state", **fields))
        return places[-1]

    yield make
    for each in places:
        each.close()


def trained(session: Session, net: Net, **fields: Any) -> tuple[list[float], Values]:
    """Losses and, at the end, everything that was trained, wherever it is."""
    losses = [report.loss for report in session.train(net.data, **fields)]
    return losses, everything(session, net)


def everything(session: Session, net: Net) -> Values:
    holding = session._now.pair.setup.holding
    return holding.export(holding.names((0, net.stages)))


def assert_same(found: tuple[list[float], Values], wanted: tuple[list[float], Values]) -> None:
    """Losses and every state, bit for bit."""
    assert found[0] == wanted[0]
    assert found[1].keys() == wanted[1].keys()
    different = [name for name, value in wanted[1].items() if not np.array_equal(found[1][name], value)]
    assert not different, different


def plans(net: Net) -> Iterator[str]:
    """Every topology, at every legal cut."""
    end = net.stages
    inner = [cut for cut in net.cuts if 0 < cut < end]
    yield f"edge[0:{end}]"
    yield f"edge -raw/raw-> cloud[0:{end}]"
    yield f"edge -raw/raw-> cloud[0:{end}] -raw/raw-> edge"
    for cut in inner:
        yield f"edge[0:{cut}] -raw/raw-> cloud[{cut}:{end}]"
        yield f"edge[0:{cut}] -raw/raw-> cloud[{cut}:{end}] -raw/raw-> edge"
    for first, last in zip(inner, inner[len(inner) // 2 :], strict=False):
        yield f"edge[0:{first}] -raw/raw-> cloud[{first}:{last}] -raw/raw-> edge[{last}:{end}]"


@pytest.mark.parametrize("name", NAMES)
def test_every_plan_trains_as_unsplit(name: str, nets: dict[str, Net], place: Callable[..., Place]) -> None:
    """Losses, weights, buffers and the optimizer's memory."""
    net = nets[name]
    cloud = place(net).cloud
    for text in plans(net):
        with Session(net.fresh(), settings=SETTINGS, cloud=cloud, plan=text) as session:
            assert_same(trained(session, net), net.unsplit(SETTINGS))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_are_at_the_cloud_train_as_unsplit(
    name: str, nets: dict[str, Net], place: Callable[..., Place]
) -> None:
    """Front and samples there, last part and labels here; and everything there, labels too."""
    net = nets[name]
    there = place(net, data=True)
    middle = net.cuts[len(net.cuts) // 2]
    for text in (
        f"cloud[0:{middle}] -raw/raw-> edge[{middle}:{net.stages}]",
        f"cloud[0:{net.stages}] -raw/raw-> edge",
        f"cloud[0:{net.stages}]",
    ):
        with Session(net.fresh(), settings=SETTINGS, cloud=there.cloud, plan=text) as session:
            assert_same(trained(session, net), net.unsplit(SETTINGS))
        assert {name for each in there.tampering.said(Step) for name in each.tensors} <= {
            "ids",
            "rng",
            "label/label",
        }


def test_adamw_and_a_new_capture_train_as_unsplit(
    nets: dict[str, Net], place: Callable[..., Place], tmp_path: Path
) -> None:
    """Another optimizer, evaluations between, and a module that the session captures itself."""
    net = nets["dropout"]
    net.fresh()
    module = copy.deepcopy(net.model.module)
    with Session(
        module, settings=ADAM, cloud=place(net).cloud, plan="edge[0:4] -raw/raw-> cloud[4:8]"
    ) as session:
        session.evaluate(net.data)
        assert_same(trained(session, net, held_out=net.data), net.unsplit(ADAM))
        session.save(tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_size > 0
    for key, value in module.state_dict().items():
        assert np.array_equal(value.numpy(), net.unsplit(ADAM)[1][f"weight/{key}"])


def some_plan(net: Net, draw: random.Random, *, data: bool) -> str:
    """Any topology with any cuts."""
    end = net.stages
    inner = [cut for cut in net.cuts if 0 < cut < end]
    first, last = sorted(draw.choices(inner, k=2))
    choices = [
        f"edge[0:{end}]",
        f"edge -raw/raw-> cloud[0:{end}]",
        f"edge[0:{first}] -raw/raw-> cloud[{first}:{end}]",
        f"edge[0:{first}] -raw/raw-> cloud[{first}:{end}] -raw/raw-> edge",
    ]
    if first < last:
        choices.append(f"edge[0:{first}] -raw/raw-> cloud[{first}:{last}] -raw/raw-> edge[{last}:{end}]")
    if data:
        choices += [f"cloud[0:{first}] -raw/raw-> edge[{first}:{end}]", f"cloud[0:{end}]"]
    return draw.choice(choices)


def restless(session: Session, net: Net, draw: random.Random, every: int, *, data: bool) -> None:
    """Put a planner into the session that wants another plan every few steps."""
    live = Mock(spec=Live, ranking=None, proposal=None, lost=None, link=Link(1e9, 1e9))

    def seen(done: Done, *_: object) -> None:
        if (done.step + 1) % every == 0 and live.proposal is None:
            live.proposal = Proposed(plan_of(some_plan(net, draw, data=data), net))

    def taken() -> Any:
        proposal, live.proposal = live.proposal, None
        return proposal

    live.seen.side_effect, live.taken.side_effect = seen, taken
    session._now.live = live


@dataclass
class Proposed:
    plan: Plan
    reason: str = "restless"


def plan_of(text: str, net: Net) -> Plan:
    return replace(parse_plan(text, model="net", digest=net.model.chain.digest), mode="train")


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_moving_back_and_forth_changes_nothing(
    name: str, every: int, nets: dict[str, Net], place: Callable[..., Place]
) -> None:
    """Another plan every few steps, of any topology: weights, buffers and the optimizer's memory go along."""
    net, draw = nets[name], random.Random(f"{name} {every}")
    cloud = place(net, data=True).cloud
    with Session(
        net.fresh(), settings=SETTINGS, cloud=cloud, plan=some_plan(net, draw, data=True)
    ) as session:
        session.evaluate(net.data)
        restless(session, net, draw, every, data=True)
        assert_same(trained(session, net), net.unsplit(SETTINGS))
        assert sum(event.what == "moved" for event in session.events) >= 2


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8, 10])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    stop: int, nets: dict[str, Net], place: Callable[..., Place], tmp_path: Path
) -> None:
    """In the middle of an epoch, at its end, at a checkpoint: a new session, a new cloud, the same two folders."""
    net = nets["resnet"]
    there, folder = place(net), tmp_path / "run"
    text = f"edge[0:{net.cuts[1]}] -raw/raw-> cloud[{net.cuts[1]}:{net.stages}]"
    wanted = net.unsplit(SETTINGS)
    with Session(net.fresh(), settings=SETTINGS, cloud=there.cloud, plan=text, folder=folder) as session:
        for report in session.train(net.data):
            assert report.loss == wanted[0][report.step]
            if report.step + 1 == stop:
                break
    with Session(net.fresh(), settings=SETTINGS, cloud=there.cloud, plan=text, folder=folder) as session:
        reports = list(session.train(net.data))
        assert stop - 3 <= reports[0].step <= stop
        losses = wanted[0][: reports[0].step] + [report.loss for report in reports]
        assert_same((losses, everything(session, net)), wanted)
        assert session.events[0].what == "resumed"


@pytest.mark.parametrize("seed", range(8))
def test_a_line_that_is_lost_anywhere_changes_nothing(
    seed: int, nets: dict[str, Net], place: Callable[..., Place], tmp_path: Path
) -> None:
    """The request or its answer is lost and the cloud dies; the next one has its folder. Plans change on the way too."""
    net, draw = nets["dropout"], random.Random(seed)
    there = place(net)
    counted, at = 0, draw.randrange(5, 25)

    def fault(message: Message) -> ConnectionLost | None:
        nonlocal counted, at
        counted += 1
        if counted < at:
            return None
        at = counted + draw.randrange(5, 30)
        there.close()
        return ConnectionLost("the cable was pulled", fix="put it back")

    plan = some_plan(net, draw, data=False)
    folder = tmp_path / "run"
    with Session(
        net.fresh(), settings=SETTINGS, cloud=there.cloud, plan=plan, folder=folder, patience=5
    ) as session:
        session.evaluate(net.data)
        restless(session, net, draw, 2, data=False)
        if seed % 2:
            there.tampering.lose = fault
        else:
            there.tampering.refuse = fault
        losses = {report.step: report.loss for report in session.train(net.data)}
        assert {event.what for event in session.events} & {"lost", "abandoned"}
        assert_same(
            ([losses[step] for step in range(STEPS)], everything(session, net)), net.unsplit(SETTINGS)
        )


WINDOWS = replace(SETTINGS, batch=2, epochs=1, checkpoint=0)
TOPOLOGIES = {
    "edge | cloud": "edge[0:3] -{0}/{0}-> cloud[3:8] | K={1}",
    "edge | cloud | edge": "edge[0:3] -{0}/{0}-> cloud[3:6] -{0}/{0}-> edge[6:8] | K={1}",
    "loss at home": "edge[0:3] -{0}/{0}-> cloud[3:8] -{0}/{0}-> edge | K={1}",
    "cloud | edge": "cloud[0:5] -{0}/{0}-> edge[5:8] | K={1}",
}


def once(net: Net, there: Place, plan: str, settings: Settings, **fields: Any) -> tuple[list[float], Values]:
    """A whole training from the beginning; the window is that of the plan."""
    settings = replace(settings, window="auto")
    with Session(net.fresh(), settings=settings, cloud=there.cloud, plan=plan, **fields) as session:
        losses = {report.step: report.loss for report in session.train(net.data)}
        return [losses[step] for step in sorted(losses)], everything(session, net)


@pytest.mark.parametrize("feedback", ["none", "residual", "delta"])
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_with_a_window_weights_do_not_depend_on_when_answers_come(
    topology: str, window: int, feedback: str, nets: dict[str, Net], place: Callable[..., Place]
) -> None:
    """Answers at once, and each a random time late; codecs with memories among them."""
    net, there = nets["dropout"], place(nets["dropout"], data=True)
    codec = "raw" if feedback == "none" else "int8"
    plan = TOPOLOGIES[topology].format(codec, window)
    settings = replace(WINDOWS, feedback=feedback, feedback_down=feedback)
    wanted = once(net, there, plan, settings)
    draw = random.Random(window)
    there.tampering.late = lambda: draw.uniform(0, 0.003)

    assert_same(once(net, there, plan, settings), wanted)
    assert wanted[0] != net.unsplit(SETTINGS)[0][: len(wanted[0])]


@pytest.mark.parametrize("name", NAMES)
def test_a_training_with_a_window_that_was_interrupted_ends_in_the_same_weights(
    name: str, nets: dict[str, Net], place: Callable[..., Place], tmp_path: Path
) -> None:
    """Checkpoints are taken where nothing is under way, with or without an interruption."""
    net, settings = nets[name], replace(SETTINGS, epochs=1, batch=2, checkpoint=4)
    cut = net.cuts[1]
    plan = f"edge[0:{cut}] -raw/raw-> cloud[{cut}:{net.stages}] -raw/raw-> edge | K=3"
    wanted = once(net, place(net), plan, settings, folder=tmp_path / "whole")
    there = place(net)
    there.tampering.lose = lambda message: (
        ConnectionLost("pulled", fix="wait")
        if isinstance(message, Step) and message.step == 6 and len(there.tampering.said(Step)) < 9
        else None
    )
    found = once(net, there, plan, settings, folder=tmp_path / "broken", patience=5)

    assert len(there.tampering.said(Step)) > len(wanted[0])
    assert_same(found, wanted)


@pytest.mark.parametrize(
    "plan",
    ["edge[0:1] -raw/raw-> cloud[1:3] | K={}", "edge[0:1] -int8/int8-> cloud[1:3] -int8/int8-> edge | K={}"],
)
@pytest.mark.parametrize("window", [0, 3])
def test_an_eager_training_finishes_and_learns(plan: str, window: int, place: Callable[..., Place]) -> None:
    """Whatever comes first is used first; every sample of every epoch is used once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = made(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), (torch.randn(4, 8),))
    net.labels = net.inputs[:, :4].argmax(1)
    there, draw = place(net), random.Random(1)
    there.tampering.late = lambda: draw.uniform(0, 0.001)
    settings = replace(
        WINDOWS, epochs=12, order="eager", window=str(window), optimizer=Optimizing("sgd", 0.1)
    )
    with Session(net.fresh(), settings=settings, cloud=there.cloud, plan=plan.format(window)) as session:
        reports = list(session.train(net.data))
        first, *_, last = session.epochs

    assert [report.step for report in reports] == list(range(12 * 9))
    assert last.loss < first.loss / 2
