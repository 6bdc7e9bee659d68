"""`partita train cloud`: the cloud's side of trainings, for as many edges as are let in."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import BadDocument
from ..graph import parse_size
from ..wire import check_bind
from .access import AccessOptions
from .place import address_of, until_stopped
from .render import Screen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..engine import Values
    from ..engine.torch_model import TorchModel
    from ..train import Data, RoomLimits

NO_ACCESS = AccessOptions()
STATE = Path("partita-cloud")


@dataclass(frozen=True)
class _Service:
    """A training cloud, as it was asked for."""

    url: str
    access: AccessOptions
    state: Path
    limits: RoomLimits
    offers: dict[str, TorchModel]
    data: Data | None
    slow: float
    threads: int | None
    workers: int
    device: str
    until_eof: bool


def cloud(
    *,
    listen: str = "127.0.0.1:7700",
    access: AccessOptions = NO_ACCESS,
    state: Path = STATE,
    model: Annotated[tuple[str, ...], Parameter(alias="-m")] = (),
    data: str | None = None,
    memory: str | None = None,
    visitors: int = 16,
    threads: int | None = None,
    workers: int = 1,
    device: str = "cpu",
    slow: float = 1.0,
    until_eof: bool = False,
    json: bool = False,
) -> int:
    """Train the cloud's parts of the models that edges bring. Ctrl-C ends it; its checkpoints stay.

    Parameters
    ----------
    listen
        Where to listen, like 0.0.0.0:7700; port 0 takes any free one.
    state
        The folder of the checkpoints, one folder a run.
    model
        A model that edges need not send; may be given several times.
    data
        Samples of this side, for plans that have the inputs at the cloud: a folder, a file, or made:shapes.
    memory
        Take no new work while the process holds more than this, like 4GB.
    visitors
        How many runs may be open at once.
    threads
        How many threads PyTorch may use; all cores if not given.
    workers
        How many visitors may compute at once.
    device
        Where to compute: cpu, cuda, cuda:1, mps.
    slow
        Pretend a device that is so many times slower.
    until_eof
        End when standard input ends.
    json
        Print one JSON document: where it listens.
    """
    screen = Screen(as_json=json)
    host, port = address_of(listen)
    token, tls = access.token(), access.tls()
    check_bind(host, token=token, tls=tls, port=port, command="partita train cloud")
    _check_numbers(threads=threads, workers=workers, visitors=visitors, slow=slow)
    limits = _limits(memory, visitors)
    _start(device)
    service = _Service(
        url=f"{'wss' if tls is not None else 'ws'}://{listen}",
        access=access,
        state=state,
        limits=limits,
        offers={name: _captured(name) for name in model},
        data=_data(data) if data is not None else None,
        slow=slow,
        threads=threads,
        workers=workers,
        device=device,
        until_eof=until_eof,
    )
    return asyncio.run(_serve(screen, service))


def _check_numbers(**given: float | None) -> None:
    """Refuse numbers below one, all at once, before anything heavy is imported."""
    problems = [
        f"--{name}: {value!r} is below 1"
        for name, value in given.items()
        if value is not None and not value >= 1
    ]
    if problems:
        raise BadDocument("train cloud", problems, fix="see `partita train cloud --help`")


def _limits(memory: str | None, visitors: int) -> RoomLimits:
    from ..train import RoomLimits

    return RoomLimits(visitors=visitors, memory=round(parse_size(memory)) if memory is not None else 0)


def _start(device: str) -> None:
    """What must be so before the first tensor."""
    from ..profile import steady_heap
    from ..train import check_device

    # Parts must take the same time in every process that measures or runs them.
    steady_heap()
    check_device(device)


def _captured(reference: str) -> TorchModel:
    """A model on offer, captured as edges capture theirs: in train mode."""
    from ..engine.torch_capture import capture_torch
    from ..zoo import build

    network = build(reference)
    return capture_torch(network.module, network.args, network.kwargs, name=reference, mode="train")


def _data(reference: str) -> Data:
    """Samples by their positions: under their own names if they have some, else as the model's only input."""
    from ..zoo import open_data

    found = open_data(reference)

    def samples(ids: NDArray[np.int64]) -> Values:
        if not len(ids) or ids.min() < 0 or ids.max() >= len(found):
            raise BadDocument(
                "ids",
                [f"{len(ids)} positions are not all within 0 to {len(found) - 1}"],
                fix="use the same data set on both sides",
            )
        block, labels = next(found.subset(ids).batches(len(ids)))
        named = block.dtype.names
        values = {name: block[name] for name in named} if named is not None else {"input": block}
        return {**values, "label": labels}

    return samples


async def _serve(screen: Screen, service: _Service) -> int:
    from ..train import CloudServer

    server = CloudServer(
        service.url,
        state=service.state,
        token=service.access.token(),
        tls=service.access.tls(),
        offers=service.offers,
        data=service.data,
        limits=service.limits,
        slow=service.slow,
        threads=service.threads,
        workers=service.workers,
        device=service.device,
        log=screen.say,
    )
    async with server:
        screen.say(f"training for edges at {server.url} (Ctrl-C ends it)")
        models = {name: model.chain.digest for name, model in service.offers.items()}
        screen.result({"url": server.url, "models": models})
        sys.stdout.flush()
        await until_stopped(until_eof=service.until_eof)
    return 0
