"""With K = 0 and the raw codec a training across a cut is the unsplit one, bit for bit, whatever happens on its way."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from partita.errors import ConnectionLost
from partita.graph import Link
from partita.plan import Plan, parse_plan
from partita.testing.trainings import (
    ADAM,
    NAMES,
    SETTINGS,
    STEPS,
    Net,
    Place,
    assert_same,
    build,
    everything,
    trained,
)
from partita.train import Session
from partita.train.edge import Done
from partita.train.live import Live
from partita.train.messages import Step
from partita.wire import Message


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    """One with batch norm and skips, one with dropout at both ends, one with a recurrent layer."""
    return {name: build(name) for name in NAMES}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    places: list[Place] = []

    def make(net: Net, **fields: Any) -> Place:
        places.append(Place(net, tmp_path / "state", **fields))
        return places[-1]

    yield make
    for each in places:
        each.close()


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
