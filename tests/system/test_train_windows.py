"""With a window the weights are a function of seed and plan, whatever the timing; eager trainings finish and learn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from partita.engine import Values
from partita.errors import ConnectionLost
from partita.testing.trainings import (
    NAMES,
    SETTINGS,
    Net,
    Place,
    assert_same,
    build,
    everything,
    made,
)
from partita.train import Optimizing, Session, Settings
from partita.train.messages import Step


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


@pytest.mark.parametrize("feedback", ["residual", "delta"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_codecs_remember_of_samples_outlives_an_interruption(
    topology: str, feedback: str, nets: dict[str, Net], place: Callable[..., Place], tmp_path: Path
) -> None:
    """On both sides: it is the second epoch, and both go back to a checkpoint in its middle."""
    net = nets["dropout"]
    plan = TOPOLOGIES[topology].format("int4", 1)
    settings = replace(SETTINGS, checkpoint=2, feedback=feedback, feedback_down=feedback)
    wanted = once(net, place(net, data=True), plan, settings, folder=tmp_path / "whole")
    there, left = place(net, data=True), [ConnectionLost("pulled", fix="wait")]
    there.tampering.refuse = lambda message: (
        left.pop() if left and isinstance(message, Step) and message.step == 7 else None
    )
    found = once(net, there, plan, settings, folder=tmp_path / "broken", patience=5)

    assert not left
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
