"""Two sides as one: owning, saving, going back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from partita.errors import (
    BadDocument,
    ConnectionLost,
    IllegalCut,
    NotFound,
    PartitaError,
    PlanMismatch,
    SessionMisused,
)
from partita.train.messages import Prepare, Recall, Save
from partita.train.standing import Standing

from .conftest import SETTINGS

HOME, TWO = "edge[0:7]", "edge[0:4] -raw/raw-> cloud[4:7]"
MakePair = Callable[..., Any]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def save(sides: Any, step: int) -> None:
    sides.pair.save(Standing(step=step))


def test_before_the_first_plan_the_edge_owns_everything_and_nothing_is_in_force(make_pair: MakePair) -> None:
    pair = make_pair().pair

    assert (pair.began, pair.remote, len(pair.owned)) == (False, False, 11)
    with pytest.raises(SessionMisused):
        _ = pair.worker


def test_a_plan_without_a_cloud_asks_the_cloud_nothing(make_pair: MakePair) -> None:
    sides = make_pair()
    moved = sides.install(HOME)

    assert not sides.tampering.said(Prepare)
    assert (moved.up, moved.down, sides.pair.remote) == (0, 0, False)


def test_versions_only_grow(make_pair: MakePair) -> None:
    """Also where a plan was not taken up."""
    sides = make_pair()
    for plan in (HOME, TWO, HOME):
        sides.install(plan)
    sides.tampering.refuse = lambda message: (
        BadDocument("plan", ["no"], fix="no") if isinstance(message, Prepare) else None
    )
    with pytest.raises(PartitaError):
        sides.install(TWO)
    sides.tampering.refuse = None
    sides.install(TWO)

    assert [each.message.version for each in sides.tampering.said(Prepare)] == [2, 3, 4, 5]
    assert sides.pair.worker.version == 5


def test_plans_of_another_model_and_cuts_that_are_none_are_refused(make_pair: MakePair) -> None:
    sides = make_pair()
    with pytest.raises(PlanMismatch):
        sides.pair.install(replace(sides.plan(TWO), digest="sha256:" + "0" * 64))
    with pytest.raises(IllegalCut):
        sides.install("edge[0:4] -raw/raw-> cloud[4:9]")
    assert not sides.tampering.said(Prepare)


def test_labels_that_are_private_are_sent_by_no_plan(make_pair: MakePair) -> None:
    sides = make_pair(replace(SETTINGS, labels_private=True))
    with pytest.raises(BadDocument, match="labels"):
        sides.install(TWO)
    sides.install(f"{TWO} -raw/raw-> edge")


def test_without_a_cloud_a_plan_that_uses_one_is_refused(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.pair.hang_up()
    with pytest.raises(BadDocument, match="cloud") as refusal:
        sides.install(TWO)
    assert refusal.value.fix


def test_all_states_come_home_and_the_cloud_keeps_its_copies(make_pair: MakePair, unsplit: Any) -> None:
    sides = make_pair()
    sides.install(TWO)
    sides.train(0, 2)
    assert same(sides.weights(), unsplit(2)[1])
    sides.train(2, 1)
    assert same(sides.weights(), unsplit(3)[1])


def test_both_sides_go_back_to_the_same_step(make_pair: MakePair, unsplit: Any) -> None:
    """Momentum and buffers included: the steps after it are the same again."""
    sides = make_pair(folder="run")
    sides.install(TWO)
    sides.train(0, 2)
    save(sides, 2)
    sides.train(2, 3)
    standing = sides.pair.back()

    assert (standing.step, sides.pair.saved) == (2, (2,))
    assert sides.train(2, 3) == unsplit(5)[0][2:]
    assert same(sides.weights(), unsplit(5)[1])


@pytest.mark.parametrize("plan", [HOME, TWO])
def test_a_checkpoint_brings_back_the_plan_it_was_taken_under(
    plan: str, make_pair: MakePair, unsplit: Any
) -> None:
    """Whatever is in force now; what the cloud began under a later plan it forgets with its room."""
    other = TWO if plan == HOME else HOME
    sides = make_pair(folder="run")
    sides.install(plan)
    sides.train(0, 2)
    save(sides, 2)
    sides.install(other)
    sides.train(2, 1)
    sides.pair.back()

    assert str(sides.pair.worker.plan).startswith(plan[:9])
    assert sides.train(2, 2) == unsplit(4)[0][2:]
    if sides.pair.line is None:
        sides.pair.connect()
    sides.install(other)
    assert sides.train(4, 1) == unsplit(5)[0][4:]
    assert same(sides.weights(), unsplit(5)[1])


def test_steps_under_way_are_forgotten_on_the_way_back(make_pair: MakePair, unsplit: Any) -> None:
    sides = make_pair(folder="run")
    sides.install(f"{TWO} -raw/raw-> edge | K=0")
    sides.train(0, 1)
    save(sides, 1)
    sides.pair.worker.begin(1, sides.batch(1))
    sides.pair.back()

    assert sides.train(1, 2) == unsplit(3)[0][1:]


def test_a_checkpoint_that_one_side_lacks_does_not_count(make_pair: MakePair, unsplit: Any) -> None:
    """The cloud lost its folder: the edge goes back to where it was alone."""
    sides = make_pair(folder="run")
    sides.install(HOME)
    sides.train(0, 1)
    save(sides, 1)
    sides.install(TWO)
    sides.train(1, 1)
    save(sides, 2)
    sides.pair.cloud_steps = ()

    assert sides.pair.back().step == 1
    assert sides.train(1, 2) == unsplit(3)[0][1:]


def test_where_no_checkpoint_is_common_that_is_said_with_both_lists(make_pair: MakePair) -> None:
    sides = make_pair(folder="run")
    sides.install(TWO)
    save(sides, 0)
    sides.pair.cloud_steps = ()
    with pytest.raises(NotFound, match=r"edge has checkpoints of the steps 0, the cloud of none") as refusal:
        sides.pair.back()
    assert "--state" in refusal.value.fix


def test_without_a_folder_nothing_is_saved(make_pair: MakePair) -> None:
    sides = make_pair()
    sides.install(TWO)
    save(sides, 1)

    assert sides.pair.saved == ()
    assert not sides.tampering.said(Save)


def test_a_damaged_checkpoint_is_passed_over(make_pair: MakePair, unsplit: Any) -> None:
    """The one before it is as good; if there is none, the damage is told."""
    sides = make_pair(folder="run")
    sides.install(TWO)
    for step in (1, 2):
        sides.train(step - 1, 1)
        save(sides, step)
    files = sorted(sides.pair._checkpoints.folder.glob("step-*"))
    spoil(files[1])

    assert sides.pair.back().step == 1
    assert sides.train(1, 1) == unsplit(2)[0][1:]
    spoil(files[0])
    with pytest.raises(PartitaError, match="cannot be used"):
        sides.pair.back()


def spoil(path: Any) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_line_that_was_lost_is_called_again(make_pair: MakePair, unsplit: Any) -> None:
    """Another room goes on from the folder of the first."""
    sides = make_pair(folder="run")
    sides.install(TWO)
    sides.train(0, 2)
    save(sides, 2)
    sides.tampering.refuse = lambda _: ConnectionLost("pulled", fix="wait")
    with pytest.raises(ConnectionLost):
        sides.train(2, 1)
    sides.tampering.refuse = None
    sides.pair.worker.forget()
    sides.pair.hang_up()
    sides.pair.connect()
    assert sides.pair.back().step == 2
    assert sides.train(2, 2) == unsplit(4)[0][2:]
    assert len(sides.rooms) == 2
    assert sides.tampering.said(Recall)
