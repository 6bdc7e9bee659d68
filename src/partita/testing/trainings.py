"""Small trainings that are held against a plain loop: networks, samples, and a cloud in this process."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..engine import Values
from ..engine.torch_capture import capture_torch
from ..engine.torch_model import TorchModel
from ..engine.torch_portable import pack_torch
from ..train import Batches, House, Line, Optimizing, Room, Session, Settings, step_seed
from ..zoo import build as build_net
from .lines import Tampering, around

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
                    torch.autograd.backward(loss)
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
            net = build_net("zoo:resnet-tiny?width=4&blocks=1", batch=4, seed=1)
            return made(net.module, net.args)
        if name == "lstm":
            net = build_net("zoo:bilstm-tiny?vocabulary=50&width=8", batch=4, seed=1)
            return made(net.module, net.args)
        drops = nn.Sequential(
            *(nn.Dropout(0.2), nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16)),
            *(nn.LayerNorm(16), nn.Linear(16, 4), nn.Dropout(0.1)),
        )
        return made(drops, (torch.randn(4, 8),))


NAMES = ("resnet", "dropout", "lstm")


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


def trained(session: Session, net: Net, **fields: Any) -> tuple[list[float], Values]:
    """Losses and, at the end, everything that was trained, wherever it is."""
    losses = [report.loss for report in session.train(net.data, **fields)]
    return losses, everything(session, net)


def everything(session: Session, net: Net) -> Values:
    holding = session._now.pair.setup.holding
    return holding.export(holding.names((0, net.stages)))


def assert_same(found: tuple[list[float], Values], wanted: tuple[list[float], Values]) -> None:
    """Losses and every state, bit for bit."""
    names = found[1].keys() | wanted[1].keys()
    both = found[1].keys() & wanted[1].keys()
    different = [n for n in names if n not in both or not np.array_equal(found[1][n], wanted[1][n])]
    if found[0] != wanted[0] or different:
        raise AssertionError(f"losses {found[0]} and {wanted[0]}; different: {different}")
