"""What becomes of a training when its link breaks, its cloud comes back or does not, or another one wants its place."""

import _thread
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.errors import NotFound, SessionMisused, StoreUnavailable, Unreachable
from partita.train import Optimizing, Session, Settings, line, read_trace
from partita.train.child import LocalCloud, LocalLink, local_cloud
from partita.wire import parse_shape

# Two epochs of twelve steps.
STEPS = 24
SETTINGS = Settings(
    epochs=2, batch=8, checkpoint=5, optimizer=Optimizing("sgd", 0.05, {"momentum": 0.9}), feedback="delta"
)
PLAN = "edge[0:3] -int8/int8-> cloud[3:7] | K=2 batch=8 mode=train"
Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(96, 10, generator=draw), torch.randint(0, 4, (96,), generator=draw)


def net() -> Any:
    """Batch norm and dropout on both sides."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = (nn.Linear(10, 16), nn.BatchNorm1d(16), nn.Dropout(0.2))
        module = nn.Sequential(
            *first, nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 4)
        )
    return capture_torch(module, (torch.zeros(8, 10),), name="net", mode="train")


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """One that stays, for all who do not kill it."""
    with local_cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud") / "state"


@pytest.fixture(scope="module")
def mortal(state: Path) -> Iterator[LocalCloud]:
    """One that is killed, with its checkpoints in `state`."""
    with local_cloud(state=state) as cloud:
        yield cloud


@pytest.fixture
def link(cloud: LocalCloud) -> Iterator[LocalLink]:
    link = LocalLink("127.0.0.1", cloud.port, parse_shape("100mbit/2ms"))
    yield link
    link.close()


def begun(cloud: LocalCloud, folder: Path, link: LocalLink | None = None, **fields: Any) -> Session:
    url = cloud.url if link is None else f"ws://127.0.0.1:{link.port}"
    given: dict[str, Any] = {"plan": PLAN, "settings": SETTINGS, "patience": 120.0, **fields}
    return Session(net(), cloud=url, token=cloud.token, folder=folder, **given)


def weights(session: Session) -> Weights:
    return {name: value.clone() for name, value in session.model.book.persistent().items()}


@pytest.fixture(scope="module")
def alone(cloud: LocalCloud, data: Any, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The weights of a training to which nothing happened."""
    with begun(cloud, tmp_path_factory.mktemp("alone")) as session:
        train(session, data)
        return weights(session)


def train(session: Session, data: Any, then: dict[int, Callable[[], object]] | None = None) -> None:
    """To the end; after some steps something happens, once."""
    due = dict(then or {})
    for report in session.train(data, held_out=data):
        due.pop(report.step, lambda: None)()


def equal(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(value, right[name]) for name, value in left.items()
    )


def happened(session: Session) -> list[str]:
    return [event.what for event in session.events if event.what in ("resumed", "lost", "back")]


def cut(link: LocalLink, seconds: float) -> None:
    link.cut()
    threading.Timer(seconds, link.restore).start()


def test_a_short_loss_of_the_link_costs_nothing(
    cloud: LocalCloud, link: LocalLink, alone: Weights, data: Any, tmp_path: Path
) -> None:
    """The connection is taken up where it broke: no step is done again, and nobody is told."""
    with begun(cloud, tmp_path / "run", link) as session:
        train(session, data, {7: lambda: cut(link, 1.0)})
        assert happened(session) == []
        connection = session._now.pair.line
        assert connection is not None
        assert connection.stats().resumed >= 1
        assert equal(weights(session), alone)
    assert read_trace(tmp_path / "run/trace.jsonl").undone == 0


def test_after_a_long_loss_both_go_back(
    cloud: LocalCloud,
    link: LocalLink,
    alone: Weights,
    data: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice, the second time while held-out samples are judged."""
    monkeypatch.setattr(line, "RESUME_SECONDS", 0.2)
    with begun(cloud, tmp_path / "run", link) as session:
        train(session, data, dict.fromkeys((7, STEPS // 2 - 1), lambda: cut(link, 1.0)))
        assert happened(session) == ["lost", "back", "lost", "back"]
        assert equal(weights(session), alone)
    trace = read_trace(tmp_path / "run/trace.jsonl")
    assert [step.step for step in trace.steps] == list(range(STEPS))
    assert [epoch.epoch for epoch in trace.epochs] == [1, 2]
    assert trace.undone > 0


def test_a_training_is_stopped_while_the_link_is_cut(
    cloud: LocalCloud, link: LocalLink, alone: Weights, data: Any, tmp_path: Path
) -> None:
    """Ctrl-C waits for nobody, and whoever goes on, with this session or another one, loses nothing."""

    def stop() -> None:
        link.cut()
        threading.Timer(0.2, _thread.interrupt_main).start()

    with begun(cloud, tmp_path / "run", link) as session:
        with pytest.raises(KeyboardInterrupt):
            train(session, data, {8: stop})
        link.restore()
        time.sleep(1.0)  # connections that were made while it was cut end first, also on a busy machine
        assert next(session.train(data, held_out=data)).step == 5
    with begun(cloud, tmp_path / "run") as session:
        train(session, data)
        assert happened(session) == ["resumed"]
        assert equal(weights(session), alone)


def test_an_evaluation_outlives_the_link(
    cloud: LocalCloud, link: LocalLink, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for after the training: both sides are at its end again, and it is asked for once more."""
    monkeypatch.setattr(line, "RESUME_SECONDS", 0.2)
    with begun(cloud, tmp_path / "run", link) as session:
        train(session, data)
        before = session.evaluate(data)
        cut(link, 1.0)
        assert session.evaluate(data) == before
        assert happened(session) == ["lost", "back"]
        session.save(tmp_path / "net.safetensors")


def test_a_cloud_comes_back_with_its_state(
    mortal: LocalCloud, alone: Weights, data: Any, tmp_path: Path
) -> None:
    """Killed in the middle; an edge that is begun again meanwhile waits for it, a new one does not."""
    with begun(mortal, tmp_path / "run") as session:
        train(session, data, {7: mortal.restart})
        assert happened(session) == ["lost", "back"]
        assert equal(weights(session), alone)
    with begun(mortal, tmp_path / "late") as session:
        next(session.train(data, held_out=data))
    mortal.kill()
    with begun(mortal, tmp_path / "new") as session, pytest.raises(Unreachable):
        train(session, data)
    threading.Timer(0.5, mortal.start).start()
    with begun(mortal, tmp_path / "late") as session:
        train(session, data)
        assert happened(session) == ["lost", "resumed"]
        assert equal(weights(session), alone)


def test_a_cloud_that_lost_its_state_is_named(
    mortal: LocalCloud, state: Path, data: Any, tmp_path: Path
) -> None:
    """Its weights are gone: no training goes on as if they were not, now or later."""

    def lose() -> None:
        mortal.kill()
        shutil.rmtree(state)
        mortal.start()

    with begun(mortal, tmp_path / "run") as session:
        with pytest.raises(NotFound, match="the cloud of none") as caught:
            train(session, data, {7: lose})
        assert "--state" in caught.value.fix
    with begun(mortal, tmp_path / "run") as session, pytest.raises(NotFound, match="none is common"):
        train(session, data)


def test_two_edges_at_once_do_not_disturb_each_other(
    cloud: LocalCloud, alone: Weights, data: Any, tmp_path: Path
) -> None:
    """Step by step in turn, under different plans, with steps of both under way."""
    row = "edge[0:2] -raw/raw-> cloud[2:6] -raw/raw-> edge[6:7] | K=3 batch=8 mode=train"
    other = {"settings": replace(SETTINGS, seed=5, feedback="none"), "plan": row}
    with begun(cloud, tmp_path / "other alone", **other) as session:
        train(session, data)
        other_alone = weights(session)
    with begun(cloud, tmp_path / "one") as left, begun(cloud, tmp_path / "other", **other) as right:
        both = zip(left.train(data, held_out=data), right.train(data, held_out=data), strict=True)
        assert sum(1 for _ in both) == STEPS
        assert equal(weights(left), alone)
        assert equal(weights(right), other_alone)


def test_a_run_belongs_to_whoever_began_it_last(
    cloud: LocalCloud, alone: Weights, data: Any, tmp_path: Path
) -> None:
    """The same folder is refused; with a copy of it the second takes over, and the first ends and does not fight."""

    def again() -> None:
        with begun(cloud, tmp_path / "run") as second, pytest.raises(StoreUnavailable, match="in use"):
            train(second, data)
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        with begun(cloud, tmp_path / "copy") as second:
            train(second, data)
            assert happened(second) == ["resumed"]
            assert equal(weights(second), alone)

    with begun(cloud, tmp_path / "run") as first:
        with pytest.raises(SessionMisused, match="begun again"):
            train(first, data, {12: again})
        assert happened(first) == []
