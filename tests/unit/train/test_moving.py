"""A change of plans: done by both sides, or by neither, whatever goes wrong at whatever message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from partita.errors import (
    ConnectionLost,
    DigestMismatch,
    PartitaError,
    ProtocolViolation,
    RemotePartFailed,
)
from partita.run import state_digest
from partita.train import moving
from partita.train.messages import Abandon, Commit, Give, Prepare, Prepared, Step, Take, Taken
from partita.train.moving import expect
from partita.wire import Message, Result, encode

from .conftest import batch_of

HOME, TWO, THREE = (
    "edge[0:7]",
    "edge[0:4] -raw/raw-> cloud[4:7]",
    "edge[0:1] -raw/raw-> cloud[1:5] -raw/raw-> edge[5:7]",
)
MakePair = Callable[..., Any]


def refusing(kind: type[Message], error: PartitaError) -> Callable[[Message], PartitaError | None]:
    return lambda message: error if isinstance(message, kind) else None


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Home again nothing is given, and from home nothing is taken.
CHANGES = [
    *((TWO, THREE, kind) for kind in (Prepare, Take, Give, Commit)),
    *((THREE, TWO, kind) for kind in (Prepare, Take, Give, Commit)),
    *((HOME, TWO, kind) for kind in (Prepare, Give, Commit)),
    *((TWO, HOME, kind) for kind in (Prepare, Take, Commit)),
]


@pytest.mark.parametrize(("before", "after", "kind"), CHANGES)
def test_a_failure_at_any_message_leaves_both_sides_as_they_were(
    before: str, after: str, kind: type[Message], make_pair: MakePair, unsplit: Any
) -> None:
    """Training goes on under the plan before, and the same change succeeds later; bit for bit as unsplit."""
    sides = make_pair()
    sides.install(before)
    losses = sides.train(0, 2)
    owned, worker = sides.pair.owned, sides.pair.worker
    sides.tampering.refuse = refusing(kind, RemotePartFailed("no room", fix="try again"))
    with pytest.raises(RemotePartFailed, match="no room"):
        sides.install(after)
    assert isinstance(sides.tampering.exchanges[-1].message, Abandon)
    assert (sides.pair.owned, sides.pair.worker) == (owned, worker)
    losses += sides.train(2, 2)
    sides.tampering.refuse = None
    sides.install(after)
    losses += sides.train(4, 1)

    assert losses == unsplit(5)[0]
    assert same(sides.weights(), unsplit(5)[1])


def test_where_the_line_is_lost_neither_side_believes_in_the_new_plan(make_pair: MakePair) -> None:
    """Abandon cannot be said then; the error of the change is what is told."""
    sides = make_pair()
    sides.install(TWO)
    owned = sides.pair.owned
    sides.tampering.refuse = refusing(Commit, ConnectionLost("pulled", fix="wait"))
    with pytest.raises(ConnectionLost, match="pulled"):
        sides.install(THREE)

    assert sides.pair.owned == owned
    assert str(sides.pair.worker.plan).startswith("edge[0:4]")


def test_nothing_travels_that_the_other_side_has_already(make_pair: MakePair) -> None:
    """From one cut to the next only what lies between, with what the optimizer remembers of it."""
    sides = make_pair()
    sides.install(TWO)
    sides.train(0, 1)
    start = len(sides.tampering.exchanges)
    moved = sides.install("edge[0:5] -raw/raw-> cloud[5:7]")
    said = sides.tampering.exchanges[start:]
    names = {name for each in said for name in (*each.tensors, *each.values)}

    assert names == {f"{kind}4.{what}" for kind in ("weight/",) for what in ("weight", "bias")} | {
        f"optimizer/4.{what}/momentum_buffer" for what in ("weight", "bias")
    }
    assert (moved.up, moved.down) == (0, 2 * 4 * (16 * 16 + 16))


def test_large_states_go_in_several_messages(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each below the bound where it can be; the digest is over all of them."""
    monkeypatch.setattr(moving, "MESSAGE_BYTES", 700)
    sides = make_pair()
    sides.install("edge -raw/raw-> cloud[0:7]")
    given = sides.tampering.said(Give)
    sides.train(0, 1)
    sides.install(HOME)

    assert len(given) > 2
    assert [each.message.last for each in given] == [False] * (len(given) - 1) + [True]
    assert len(sides.tampering.said(Take)) > 2


def test_state_that_changed_on_its_way_is_refused(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions, and nothing changes."""
    sides = make_pair()
    sides.install(TWO)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "state_digest", lambda values: "sha256:" + "0" * 64)
        for plan in (HOME, "edge[0:1] -raw/raw-> cloud[1:7]"):
            with pytest.raises((DigestMismatch, RemotePartFailed)) as refusal:
                sides.install(plan)
            assert refusal.value.fix
    sides.train(0, 1)
    assert sides.tampering.said(Step)


def test_parameters_that_both_places_would_train_are_refused(make_pair: MakePair) -> None:
    """Before the cloud hears of it; two owners would drift apart."""

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.one(torch.relu(self.one(x)))))

    sides = make_pair(module=Tied())
    with pytest.raises(PartitaError, match=r"one\.weight") as refusal:
        sides.install("edge[0:1] -raw/raw-> cloud[1:5]")
    assert refusal.value.fix
    assert not sides.tampering.said(Prepare)


def test_frozen_parameters_may_be_at_both_places(make_pair: MakePair) -> None:
    """Nobody changes them: used before and behind the cut, to the cloud and home again; as trained whole."""

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(2)
                self.same, self.one, self.two = (torch.nn.Linear(8, n) for n in (8, 8, 4))
            self.same.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.same(torch.tanh(self.one(torch.tanh(self.same(x)))))))

    plans = ["edge[0:3] -raw/raw-> cloud[3:7]", HOME, "edge[0:6] -raw/raw-> cloud[6:7]", HOME]
    sides, whole = make_pair(module=Twice()), make_pair(module=Twice())
    whole.install(HOME)
    losses = []
    for step, plan in enumerate(plans):
        sides.install(plan)
        losses += sides.train(step, 1)

    assert losses == whole.train(0, 4)
    assert same(sides.weights(), whole.weights())


def test_a_cloud_that_asks_for_what_it_will_not_hold_is_not_believed(make_pair: MakePair) -> None:
    sides = make_pair()
    real = sides.rooms[-1].answer
    sides.rooms[-1].answer = lambda message, tensors: (
        (Prepared(message.request, ("0.weight",)), {})
        if isinstance(message, Prepare)
        else real(message, tensors)
    )
    with pytest.raises(ProtocolViolation, match=r"0\.weight"):
        sides.install(TWO)
    assert sides.tampering.said(Abandon)


def test_an_answer_of_another_kind_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="Result, not Prepared"):
        expect(Result(1), Prepared)
    assert expect(Taken(1, "d"), Taken).digest == "d"


def test_the_digest_is_of_names_and_bytes() -> None:
    """So that nothing is mistaken for something else of the same bytes."""
    values = {"weight/a": batch_of(0)[0].numpy()}

    assert state_digest(values) != state_digest({"weight/b": values["weight/a"]})
    assert encode(values["weight/a"]).nbytes == values["weight/a"].nbytes
