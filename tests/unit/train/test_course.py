"""What happens between steps: checkpoints, windows by epoch, the guard, a line that is lost, a user who leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from partita.errors import ConnectionLost, PartFailed, PartitaError, RemotePartFailed, SessionMisused
from partita.graph import Link
from partita.plan import parse_plan
from partita.testing.lines import Tampering, around
from partita.train import EpochReport, Event, Session, Settings, course, redial
from partita.train.guard import Alarm
from partita.train.live import Live
from partita.train.messages import Commit, Prepare, Recall, Save, Step, Take
from partita.train.room import House, Room
from partita.wire import Message

from .conftest import SETTINGS, batch_of, small_net

BATCHES = [batch_of(step) for step in range(4)]
SPLIT = "edge[0:4] -raw/raw-> cloud[4:7]"
PRIVATE = f"{SPLIT} -raw/raw-> edge"


class Cloud:
    """Rooms of one house; another line ends the room before."""

    def __init__(self, state: Path) -> None:
        self.tampering, self.rooms, self._state = Tampering(), list[Room](), state

    def room(self) -> Room:
        for room in self.rooms:
            room.end("another line was opened")
        self.rooms.append(Room(House(self._state)))
        return self.rooms[-1]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "state")
    yield made
    for room in made.rooms:
        room.end("the test is over")


@contextmanager
def session_at(cloud: Cloud, plan: str, settings: Settings = SETTINGS, **fields: Any) -> Iterator[Session]:
    line = around(cloud.room, cloud.tampering)
    with Session(small_net(), settings=settings, cloud=line, plan=plan, **fields) as session:
        yield session


def kinds(session: Session) -> list[str]:
    return [event.what for event in session.events if event.what != "checkpoint"]


def said(session: Session, what: str) -> str:
    return next(event.said for event in session.events if event.what == what)


def lose_once(at: Callable[[Message], bool], error: PartitaError | None = None) -> Any:
    """A fault for the first message for which this holds."""
    left = [error or ConnectionLost("pulled", fix="put it back")]
    return lambda message: left.pop() if left and at(message) else None


def test_checkpoints_are_taken_at_the_steps_asked_for_and_at_the_ends_of_epochs(
    cloud: Cloud, tmp_path: Path
) -> None:
    """On both sides, each where nothing is under way."""
    settings = replace(SETTINGS, epochs=2, checkpoint=3)
    with session_at(cloud, f"{SPLIT} | K=2", settings, folder=tmp_path / "run") as session:
        list(session.train(BATCHES))

    assert [each.message.step for each in cloud.tampering.said(Save)] == [0, 3, 4, 6, 8]


def test_windows_by_epoch_are_taken_up_by_both_sides(cloud: Cloud) -> None:
    settings = replace(SETTINGS, epochs=4, window="0,2@2,1@4")
    with session_at(cloud, SPLIT, settings) as session:
        reports = list(session.train(BATCHES))

    assert [report.window for report in reports[::4]] == [0, 2, 2, 1]
    assert len(cloud.tampering.said(Prepare)) == 3


def test_a_window_that_is_refused_at_the_end_of_an_epoch_does_not_end_the_training(cloud: Cloud) -> None:
    """It goes on with the one it has."""
    settings = replace(SETTINGS, epochs=2, window="0,2@2")
    cloud.tampering.refuse = lose_once(
        lambda m: isinstance(m, Prepare) and m.version == 2, RemotePartFailed("full", fix="wait")
    )
    with session_at(cloud, SPLIT, settings) as session:
        reports = list(session.train(BATCHES))

    assert {report.window for report in reports} == {0}
    assert "full" in said(session, "abandoned")


# -- plans ----------------------------------------------------------------------------------------------------------------


def proposing(session: Session, texts: dict[int, str]) -> None:
    """A planner that asks for these plans after these steps."""
    live = Mock(spec=Live, ranking=None, proposal=None, lost=None, link=Link(1e9, 1e9))
    chain = session.model.chain

    def seen(done: Any, *_: object) -> None:
        if done.step in texts:
            plan = parse_plan(texts[done.step], model=chain.name, digest=chain.digest)
            live.proposal = Mock(plan=replace(plan, mode="train"), reason="it is faster")

    def taken() -> Any:
        proposal, live.proposal = live.proposal, None
        return proposal

    live.seen.side_effect, live.taken.side_effect = seen, taken
    session._now.live = live


def test_a_proposal_is_taken_up_when_nothing_is_under_way(cloud: Cloud) -> None:
    """With K > 0 what was begun is finished under the plan it was begun under."""
    with session_at(cloud, f"{SPLIT} | K=2", replace(SETTINGS, epochs=2)) as session:
        session.evaluate(BATCHES)
        proposing(session, {1: f"{PRIVATE} | K=1", 5: "edge[0:7]"})
        reports = list(session.train(BATCHES))

    assert [report.step for report in reports] == list(range(8))
    assert [report.version for report in reports] == sorted(report.version for report in reports)
    assert reports[-1].plan.startswith("edge[0:7]")
    assert "it is faster" in said(session, "moved")


@pytest.mark.parametrize("kind", [Prepare, Take, Commit])
def test_a_move_that_fails_is_abandoned_and_training_goes_on(
    kind: type[Message], cloud: Cloud, unsplit: Any
) -> None:
    """As if nobody had asked."""
    with session_at(cloud, SPLIT, replace(SETTINGS, window="0")) as session:
        session.evaluate(BATCHES)
        proposing(session, {1: "edge[0:7]"})
        cloud.tampering.refuse = lose_once(
            lambda m: isinstance(m, kind), RemotePartFailed("no room", fix="wait")
        )
        losses = [report.loss for report in session.train(BATCHES)]

    assert losses == unsplit(4)[0]
    assert "no room" in said(session, "abandoned")
    assert session.plan.window == 0


def test_a_line_that_is_lost_on_a_move_sends_both_back_to_the_checkpoint(
    cloud: Cloud, unsplit: Any, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, window="0", checkpoint=2)
    with session_at(cloud, SPLIT, settings, folder=tmp_path / "run", patience=5) as session:
        session.evaluate(BATCHES)
        proposing(session, {2: PRIVATE})
        cloud.tampering.lose = lose_once(lambda m: isinstance(m, Commit) and m.version > 1)
        losses = {report.step: report.loss for report in session.train(BATCHES)}

    assert [losses[step] for step in range(4)] == unsplit(4)[0]
    assert {"lost", "back"} <= set(kinds(session))
    assert cloud.tampering.said(Recall)


# -- what goes wrong ------------------------------------------------------------------------------------------------------


def alarm_at(*steps: int) -> Callable[..., Any]:
    """A guard that sees the training fall apart at these steps, each time once."""
    left = set(steps)

    def watch(state: Any, loss: float, step: int) -> Any:
        if step in left:
            left.remove(step)
            return state, Alarm("exploded", step, f"the loss of step {step} exploded")
        return state, None

    return watch


def test_a_divergence_goes_back_with_half_the_window_and_says_so(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From K = 4 to 2 to 1; the steps after the checkpoint are done again."""
    monkeypatch.setattr(course, "watch", alarm_at(3, 6))
    settings = replace(SETTINGS, epochs=2, checkpoint=2)
    heard: list[Event | EpochReport] = []
    fields = {"folder": tmp_path / "run", "on_event": heard.append}
    with session_at(cloud, f"{SPLIT} | K=4", settings, **fields) as session:
        reports = list(session.train(BATCHES))
    steps = [report.step for report in reports]
    events = [event for event in session.events if event.what == "diverged"]

    assert steps == [0, 1, 2, 3, 2, 3, 4, 5, 6, 6, 7]
    assert [reports[at].window for at in (0, 4, 9)] == [4, 2, 1]
    assert "back from step 4 to 2, K from 4 to 2" in events[0].said
    assert "step 6 exploded" in events[1].said
    assert all(event in heard for event in events)


def test_the_smaller_window_outlives_the_epoch_and_a_resumption(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where windows were asked for by epoch."""
    monkeypatch.setattr(course, "watch", alarm_at(1))
    settings = replace(SETTINGS, epochs=3, window="4,6@2")
    run = {"folder": tmp_path / "run"}
    with session_at(cloud, SPLIT, settings, **run) as session:
        for report in session.train(BATCHES):
            if report.epoch == 2:
                break
    assert report.window == 2
    with session_at(cloud, SPLIT, settings, **run) as session:
        assert {report.window for report in session.train(BATCHES)} == {2}


def test_without_a_window_a_divergence_is_the_callers(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no staleness to blame."""
    monkeypatch.setattr(course, "watch", alarm_at(3))
    with session_at(cloud, SPLIT, replace(SETTINGS, window="0"), folder=tmp_path / "run") as session:
        with pytest.raises(PartFailed, match="step 3 exploded, with K = 0") as refusal:
            list(session.train(BATCHES))

    assert "learning rate" in refusal.value.fix
    assert len(cloud.tampering.said(Step)) == 4


def test_without_a_checkpoint_a_divergence_ends_the_training(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "watch", alarm_at(3))
    with session_at(cloud, f"{SPLIT} | K=2") as session:
        with pytest.raises(PartFailed, match="K = 2") as refusal:
            list(session.train(BATCHES))
    assert "run folder" in refusal.value.fix


def test_who_diverges_again_and_again_is_stopped(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before K is 0."""
    monkeypatch.setattr(course, "_MOST_DIVERGENCES", 2)
    monkeypatch.setattr(course, "watch", lambda state, loss, step: (state, Alarm("exploded", step, "bad")))
    with session_at(cloud, f"{SPLIT} | K=8", folder=tmp_path / "run") as session:
        with pytest.raises(PartFailed, match="bad, with K = 2"):
            list(session.train(BATCHES * 3))
        assert kinds(session).count("diverged") == 2


def test_a_guard_that_is_not_wanted_sees_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "watch", alarm_at(0))
    with session_at(cloud, SPLIT, replace(SETTINGS, guard=False)) as session:
        assert len(list(session.train(BATCHES))) == 4


def test_a_real_explosion_is_noticed(cloud: Cloud, tmp_path: Path) -> None:
    """A learning rate that no network survives; with K = 0 only what is not finite is an alarm."""
    settings = Settings(loss="mse", optimizer=replace(SETTINGS.optimizer, rate=1e6), window="0")
    batches = [(x, x[:, :4]) for x, _ in BATCHES * 20]
    with session_at(cloud, SPLIT, settings, folder=tmp_path / "run") as session:
        with pytest.raises(PartFailed, match="diverged: the loss of step"):
            list(session.train(batches))


def test_a_loss_of_the_line_without_a_checkpoint_is_the_callers(cloud: Cloud) -> None:
    """Nothing to go back to: said at once, not after ten minutes."""
    cloud.tampering.refuse = lose_once(lambda m: isinstance(m, Step) and m.step == 2)
    with session_at(cloud, SPLIT) as session:
        with pytest.raises(ConnectionLost, match="pulled"):
            list(session.train(BATCHES))
        assert "no checkpoint" in said(session, "lost")


def test_a_cloud_that_does_not_come_back_is_given_up(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the patience asked for; the run can go on later."""
    monkeypatch.setattr(redial, "_SOON", 0.01)
    settings = replace(SETTINGS, checkpoint=2)
    run = {"folder": tmp_path / "run", "patience": 0.05}
    with session_at(cloud, SPLIT, settings, **run) as session:
        session.evaluate(BATCHES)
        cloud.tampering.refuse = lambda _: ConnectionLost("pulled", fix="wait")
        with pytest.raises(ConnectionLost):
            list(session.train(BATCHES))
    cloud.tampering.refuse = None
    with session_at(cloud, SPLIT, settings, **run) as session:
        assert [report.step for report in session.train(BATCHES)] == [0, 1, 2, 3]


def test_a_line_that_is_lost_at_the_very_end_is_called_again(
    cloud: Cloud, tmp_path: Path, unsplit: Any
) -> None:
    """When the weights come home."""
    run = {"folder": tmp_path / "run", "patience": 5}
    with session_at(cloud, SPLIT, replace(SETTINGS, window="0"), **run) as session:
        cloud.tampering.refuse = lose_once(lambda m: isinstance(m, Take))
        list(session.train(BATCHES))
        weights = session.model.module.state_dict()

    assert kinds(session)[-3:] == ["lost", "back", "ended"]
    assert all((value == unsplit(4)[1][name]).all() for name, value in weights.items())


# -- users ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [SPLIT, PRIVATE, f"{SPLIT} | K=3", f"{PRIVATE} | K=3"])
def test_who_stops_in_the_middle_can_go_on(plan: str, cloud: Cloud) -> None:
    """What was begun is finished on both sides; no step is done twice and none is left out."""
    with session_at(cloud, plan, replace(SETTINGS, epochs=2)) as session:
        for report in session.train(BATCHES):
            if report.step == 1:
                break
        stopped = session.steps
        reports = list(session.train(BATCHES))

    assert [report.step for report in reports] == list(range(stopped, 8))
    assert [each.message.step for each in cloud.tampering.said(Step)] == list(range(8))


def test_a_training_that_is_over_has_nothing_more_to_do(cloud: Cloud) -> None:
    with session_at(cloud, SPLIT) as session:
        assert len(list(session.train(BATCHES))) == 4
        assert list(session.train(BATCHES)) == []


def test_an_error_in_the_users_data_leaves_a_training_that_can_go_on(cloud: Cloud, tmp_path: Path) -> None:
    """From its last checkpoint; without one that is said."""

    def broken() -> Iterator[Any]:
        yield from BATCHES[:3]
        raise OSError("disk")

    class Loader:
        def __iter__(self) -> Iterator[Any]:
            return broken()

    settings = replace(SETTINGS, checkpoint=2)
    with session_at(cloud, f"{PRIVATE} | K=2", settings, folder=tmp_path / "run") as session:
        with pytest.raises(PartitaError, match="disk"):
            list(session.train(Loader()))
        assert [report.step for report in session.train(BATCHES)] == [2, 3]


def test_without_a_checkpoint_an_interrupted_step_cannot_be_made_whole(cloud: Cloud) -> None:
    with session_at(cloud, f"{PRIVATE} | K=2") as session:
        session.evaluate(BATCHES)
        cloud.tampering.refuse = lose_once(
            lambda m: isinstance(m, Step) and m.step == 2, RemotePartFailed("odd", fix="none")
        )
        with pytest.raises(RemotePartFailed, match="odd"):
            list(session.train(BATCHES))
        with pytest.raises(SessionMisused, match="interrupted") as refusal:
            list(session.train(BATCHES))
    assert "folder" in refusal.value.fix


def test_evaluations_change_nothing(cloud: Cloud, unsplit: Any) -> None:
    """Before, between steps, and at the ends of epochs."""
    with session_at(cloud, SPLIT, replace(SETTINGS, window="0")) as session:
        before = session.evaluate(BATCHES)
        losses = []
        for report in session.train(BATCHES, held_out=BATCHES):
            losses.append(report.loss)
            session.evaluate(BATCHES[:1])
        after, epoch = session.evaluate(BATCHES), session.epochs[0]

    assert losses == unsplit(4)[0]
    assert (epoch.held_out_loss, epoch.held_out_accuracy) == (after.loss, after.right / after.count)
    assert before.loss != after.loss


def test_what_was_told_is_in_the_trace(cloud: Cloud, tmp_path: Path) -> None:
    """One line a step."""
    with session_at(cloud, SPLIT, folder=tmp_path / "run") as session:
        list(session.train(BATCHES))
    lines = [json.loads(line) for line in (tmp_path / "run/trace.jsonl").read_text().splitlines()]

    assert sum("loss" in line and "latency" in line for line in lines) == 4
