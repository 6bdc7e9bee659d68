"""A session as its user holds it: few lines, a trace of its own, one of torch's optimizers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from partita.engine.torch_capture import capture_torch
from partita.errors import (
    AccessDenied,
    BadDocument,
    BadReference,
    IllegalCut,
    PartitaError,
    PlanMismatch,
    ProfileMismatch,
    SessionMisused,
    StoreUnavailable,
    Unreachable,
)
from partita.graph import CodecCost, Device, Profile, StageCost, Timing
from partita.plan import parse_plan
from partita.profile import Effort
from partita.testing.lines import around
from partita.train import (
    EpochReport,
    Event,
    Optimizing,
    Session,
    Settings,
    Tracing,
    opening,
    read_trace,
    room_measuring,
)
from partita.train.checkpoints import Checkpoints
from partita.train.cloud import CloudServer
from partita.train.room import House, Room
from partita.train.room_limits import RoomLimits

from .conftest import SETTINGS, batch_of, small_net

BATCHES = [batch_of(step) for step in range(4)]
PLAN = "edge[0:4] -raw/raw-> cloud[4:7] | K=1 batch=6 mode=train"


def test_a_run_folder_holds_every_step_without_being_asked(tmp_path: Path) -> None:
    heard: list[Event | EpochReport] = []
    with Session(small_net(), settings=SETTINGS, folder=tmp_path / "run", on_event=heard.append) as session:
        steps = list(session.train(BATCHES))
    history = read_trace(tmp_path / "run/trace.jsonl")

    assert history.steps == tuple(steps)
    assert (*history.events, *history.epochs) == tuple(
        sorted(heard, key=lambda news: isinstance(news, EpochReport))
    )
    assert history.run.settings["min_front"] == 1


def test_a_trace_is_not_written_where_it_is_not_wanted(tmp_path: Path) -> None:
    with Session(small_net(), settings=SETTINGS, folder=tmp_path, trace=False) as session:
        list(session.train(BATCHES))

    assert not (tmp_path / "trace.jsonl").exists()


def test_steps_that_are_finished_after_the_user_left_are_in_the_trace(tmp_path: Path) -> None:
    cloud = around(lambda: Room(House(tmp_path / "cloud")))
    run = {"folder": tmp_path / "run", "trace": Tracing(data="mine"), "cloud": cloud, "plan": PLAN}
    with Session(small_net(), settings=SETTINGS, **run) as session:  # type: ignore[arg-type]
        steps = session.train(BATCHES)
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        assert session.steps == 2
    history = read_trace(tmp_path / "run/trace.jsonl")

    assert (len(history.steps), history.run.data) == (2, "mine")


def test_the_folder_of_another_model_is_refused_before_the_cloud_is_called(tmp_path: Path) -> None:
    with Session(small_net(), settings=SETTINGS, folder=tmp_path) as session:
        list(session.train(BATCHES))
    other = torch.nn.Sequential(torch.nn.Linear(8, 4))
    with (
        Session(other, settings=SETTINGS, folder=tmp_path, cloud="ws://127.0.0.1:1") as session,
        pytest.raises(BadDocument, match="another digest"),
    ):
        next(session.train(BATCHES))


def test_an_optimizer_of_torch_says_what_both_sides_make_of_their_own() -> None:
    net = small_net()
    given = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    told, expected = (small_net(), small_net())
    for module, words in (
        (net, {"optimizer": given}),
        (told, {"settings": Settings(optimizer=Session(net, optimizer=given).settings.optimizer)}),
    ):
        with Session(module, **words) as session:  # type: ignore[arg-type]
            list(session.train(BATCHES))

    assert str(Session(net, optimizer=given).settings.optimizer) == "adamw:0.01,weight_decay=0.1"
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), told.parameters(), strict=True))
    assert not torch.equal(next(net.parameters()), next(expected.parameters()))


def test_an_optimizer_over_other_parameters_is_refused() -> None:
    with pytest.raises(BadDocument, match="does not hold"):
        Session(small_net(), optimizer=torch.optim.SGD(small_net().parameters(), lr=0.1))


def test_plans_and_profiles_of_other_models_are_refused_before_the_cloud_is_called() -> None:
    cost = StageCost("stage", {6: Timing(0.1)})
    strange = Profile("m", "sha256:other", Device("pi"), (cost,) * 7, cost)
    for words, error in (
        ({"plan": parse_plan(PLAN, digest="sha256:other")}, PlanMismatch),
        ({"profiles": {"edge": strange}}, ProfileMismatch),
    ):
        with (
            Session(small_net(), settings=SETTINGS, cloud="ws://127.0.0.1:1", **words) as session,  # type: ignore[arg-type]
            pytest.raises(error),
        ):
            next(session.train(BATCHES))


def test_a_plan_that_would_send_labels_is_refused_where_they_are_private(tmp_path: Path) -> None:
    cloud = around(lambda: Room(House(tmp_path)))
    with (
        Session(small_net(), settings=Settings(labels_private=True), cloud=cloud, plan=PLAN) as session,
        pytest.raises(BadDocument, match="which would see the labels"),
    ):
        next(session.train(BATCHES))


# -- what goes wrong ------------------------------------------------------------------------------------------------------


@contextmanager
def served(**fields: Any) -> Iterator[str]:
    """The address of a cloud in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    server = CloudServer("ws://127.0.0.1:0", token=TOKEN, **fields)
    do(server.__aenter__())
    try:
        yield server.url
    finally:
        do(server.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as address:
        yield address


def threads() -> set[threading.Thread]:
    """Those of this side: the cloud of these tests has its own in the same process."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("partita-cloud")}


TOKEN = "t" * 32
COST = CodecCost(1e-9, 1e-9)
TINY_STATE = RoomLimits(model=1000)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"loss": "cross"}, BadDocument),
        ({"settings": Settings(optimizer=Optimizing("newton"))}, PartitaError),
        ({"settings": Settings(optimizer=Optimizing("sgd", 0.1, {"speed": 1.0}))}, PartitaError),
        ({"settings": Settings(schedule="steps")}, PartitaError),
        ({"plan": "edge[0:4] -raw/raw-> cloud[4:9]"}, IllegalCut),
        ({"plan": "edge[0:2] -raw/raw-> cloud[2:4] -raw/raw-> fog[4:7]"}, PartitaError),
        ({"plan": "edge[0:4] -zip/raw-> cloud[4:7]"}, PartitaError),
        ({"plan": "cloud[0:4] -raw/raw-> edge[4:7]"}, PartitaError),
        ({"token": "x" * 32}, AccessDenied),
        ({"token": None}, AccessDenied),
        ({"cloud": "ws://127.0.0.1:9"}, Unreachable),
        ({"cloud": "http://127.0.0.1:9"}, BadReference),
        ({"cloud": None, "plan": "edge[0:4] -raw/raw-> cloud[4:7]"}, BadDocument),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(
    fields: dict[str, Any], error: type[PartitaError], url: str, tmp_path: Path
) -> None:
    """A sentence and a way out; no thread, and a folder that the next session can have."""
    before = threads()
    words = {"settings": SETTINGS, "cloud": url, "token": TOKEN, "plan": PLAN, "folder": tmp_path, **fields}
    with Session(small_net(), **words) as session, pytest.raises(error) as refusal:
        next(session.train(BATCHES))

    assert refusal.value.fix
    assert threads() == before
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.steps() == ()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "no batch"),
        ([(torch.ones(6, 9), torch.zeros(6).long())], "9"),
        ([(torch.ones(6, 8),)], "target"),
        ([1, 2, 3], ""),
        (iter(BATCHES), "once"),
        (7, ""),
    ],
    ids=["empty", "another width", "no targets", "numbers", "read once", "a number"],
)
def test_data_that_does_not_fit_is_refused_before_the_cloud_is_called(data: Any, why: str) -> None:
    """The model is captured already: it is the data that is wrong."""
    model = capture_torch(small_net(), (BATCHES[0][0],), name="net", mode="train")
    with Session(model, settings=SETTINGS, cloud="ws://127.0.0.1:9", plan=PLAN) as session:
        with pytest.raises(PartitaError, match=why or None) as refusal:
            list(session.train(data))

    assert refusal.value.fix
    assert not isinstance(refusal.value, Unreachable)


def test_a_session_that_was_left_without_closing_the_training_ends(url: str) -> None:
    """The generator outlives its session: whoever ends it later is not made to wait."""
    before = threads()
    with Session(small_net(), settings=SETTINGS, cloud=url, token=TOKEN, plan=PLAN) as session:
        steps = session.train(BATCHES)
        next(steps)
    steps.close()  # type: ignore[attr-defined]

    assert threads() == before


def test_a_session_that_opened_in_vain_can_try_again(url: str, tmp_path: Path) -> None:
    """The cloud was not there; then it is."""
    fields = {"settings": SETTINGS, "token": TOKEN, "plan": PLAN, "folder": tmp_path}
    with Session(small_net(), cloud="ws://127.0.0.1:9", patience=0.0, **fields) as session:
        for _ in range(2):
            with pytest.raises(Unreachable):
                next(session.train(BATCHES))
    with Session(small_net(), cloud=url, **fields) as session:
        assert len(list(session.train(BATCHES))) == 4


def test_two_sessions_do_not_share_a_folder(tmp_path: Path) -> None:
    with Session(small_net(), settings=SETTINGS, folder=tmp_path) as first:
        next(first.train(BATCHES))
        with Session(small_net(), settings=SETTINGS, folder=tmp_path) as second:
            with pytest.raises(StoreUnavailable, match="in use") as refusal:
                next(second.train(BATCHES))
    assert refusal.value.fix


def test_before_the_first_batch_nothing_is_known() -> None:
    session = Session(small_net())
    for ask in (
        lambda: session.plan,
        lambda: session.model,
        lambda: session.events,
        lambda: session.epochs,
        lambda: session.steps,
        session.gather,
        lambda: session.save("x"),
    ):
        with pytest.raises(SessionMisused) as refusal:
            ask()
        assert refusal.value.fix
    assert session.ranking is None


def test_alone_a_session_is_the_original_training(unsplit: Any) -> None:
    """No cloud, no plan: the same engine, the same bits; there is nothing to plan."""
    net = small_net()
    with Session(net, settings=SETTINGS) as session:
        losses = [report.loss for report in session.train(BATCHES)]

    assert losses == unsplit(4)[0]
    assert all(torch.equal(value, unsplit(4)[1][name]) for name, value in net.state_dict().items())
    assert (session.ranking, session.predicted, str(session.plan)[:9]) == (None, None, "edge[0:7]")


def test_over_a_network_a_session_is_the_original_training(url: str, unsplit: Any) -> None:
    with Session(
        captured(), settings=replace(SETTINGS, window="0"), cloud=url, token=TOKEN, plan=PLAN
    ) as session:
        losses = [report.loss for report in session.train(BATCHES)]

    assert losses == unsplit(4)[0]


def captured() -> Any:
    return capture_torch(small_net(), (BATCHES[0][0],), name="net", mode="train")


def test_a_loss_of_the_users_own_is_computed_at_the_cloud(url: str) -> None:
    """It travels as a graph, and says the same there."""

    def mine(answer: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(answer, targets) * 2

    losses = []
    for fields in ({}, {"cloud": url, "token": TOKEN, "plan": "edge[0:4] -raw/raw-> cloud[4:7]"}):
        with Session(small_net(), loss=mine, settings=SETTINGS, **fields) as session:
            losses.append([report.loss for report in session.train(BATCHES)])

    assert losses[0] == losses[1]


def test_a_loss_that_cannot_travel_stays_at_the_edge_and_that_is_said(url: str) -> None:
    """A plan that would have it at the cloud is refused; one that ends here trains."""

    def mine(answer: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = torch.nn.functional.cross_entropy(answer, targets)
        return value if value > 0 else 2 * value

    fields = {"loss": mine, "settings": SETTINGS, "cloud": url, "token": TOKEN}
    with Session(small_net(), plan="edge[0:4] -raw/raw-> cloud[4:7]", **fields) as session:
        with pytest.raises(BadDocument, match="stay at the edge"):
            list(session.train(BATCHES))
    with Session(small_net(), plan="edge[0:4] -raw/raw-> cloud[4:7] -raw/raw-> edge", **fields) as session:
        assert len(list(session.train(BATCHES))) == 4
        assert any("cannot be sent" in event.said for event in session.events)


def test_staleness_that_is_known_to_harm_is_warned_of(tmp_path: Path) -> None:
    """No normalisation, high momentum, a wide window."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    room = Room(House(tmp_path))
    plan = "edge[0:1] -raw/raw-> cloud[1:3] | K=3"
    with Session(net, settings=SETTINGS, cloud=around(lambda: room), plan=plan) as session:
        next(session.train(BATCHES))
        warnings = [event.said for event in session.events if event.what == "warned"]
    room.end("the test is over")

    assert any("no normalisation" in said for said in warnings)


def test_a_model_that_is_too_large_for_the_cloud_is_refused_there(tmp_path: Path) -> None:
    """With the bound and how to raise it."""
    room = Room(House(tmp_path, limits=TINY_STATE))
    with Session(small_net(), settings=SETTINGS, cloud=around(lambda: room), plan=PLAN) as session:
        with pytest.raises(PartitaError, match="model") as refusal:
            list(session.train(BATCHES))
    room.end("the test is over")
    assert "raise" in refusal.value.fix


def test_without_a_plan_the_planner_decides_and_says_why(url: str, quick: None) -> None:
    with Session(captured(), settings=SETTINGS, cloud=url, token=TOKEN) as session:
        list(session.train(BATCHES))
        ranking, said = session.ranking, [event.said for event in session.events if event.what == "planned"]
        assert session.predicted is not None

    assert ranking is not None
    assert said[0]
    assert {place for each in ranking.alternatives for place in each.plan.places} <= {"edge", "cloud"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring takes a moment only."""
    for module in (opening, room_measuring):
        monkeypatch.setattr(module, "EFFORT", Effort(seconds=0.002, budget=0.02))
        monkeypatch.setattr(module, "measure_codecs", lambda names, **_: dict.fromkeys(names, COST))


def test_a_run_that_goes_on_is_planned_on_with_what_was_measured(
    url: str, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profiles lie in its folder."""
    fields = {"settings": SETTINGS, "cloud": url, "token": TOKEN, "folder": tmp_path}
    with Session(captured(), **fields) as session:
        next(session.train(BATCHES))
    monkeypatch.setattr(opening, "measure", lambda *_, **__: pytest.fail("measured again"))
    with Session(captured(), **fields) as session:
        list(session.train(BATCHES))
        assert session.events[0].what == "resumed"
        assert session.predicted is not None
