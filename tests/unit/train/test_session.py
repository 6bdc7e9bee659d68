"""A session as its user holds it: few lines, a trace of its own, one of torch's optimizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from partita.errors import BadDocument, PlanMismatch, ProfileMismatch
from partita.graph import Device, Profile, StageCost, Timing
from partita.plan import parse_plan
from partita.testing.lines import around
from partita.train import EpochReport, Event, Session, Settings, Tracing, read_trace
from partita.train.room import House, Room

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
