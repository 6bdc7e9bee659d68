"""When a new plan is worth its move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.errors import BadDocument
from partita.graph import Link
from partita.plan import (
    Estimate,
    Hop,
    Hysteresis,
    Offer,
    PlacedPart,
    Plan,
    Question,
    Standing,
    decide,
    move_cost,
    moved,
)

OLD = Plan("toy", "", (PlacedPart("edge", 0, 1), PlacedPart("cloud", 1, 3)), (Hop(),))
NEW = Plan("toy", "", (PlacedPart("edge", 0, 2), PlacedPart("cloud", 2, 3)), (Hop(),))


def offer(new=0.5, move=1.0, plan=NEW):
    return Offer(at=0.0, now=1.0, plan=plan, new=new, move=move)


def test_a_good_offer_moves_only_once_confirmed():
    """Three times in a row the same better plan: then, and not before."""
    standing, moves = Standing(OLD, 0.0, dwell=100.0), []
    for _ in range(3):
        decision, standing = decide(standing, offer())
        moves.append(decision.move)
    assert moves == [False, False, True]
    assert "confirmed 3 times" in decision.reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (offer(plan=OLD), "still the best"),
        (offer(new=0.95), "less than 10%"),
        (offer(move=1000.0), "its move must save"),
        (Offer(0.0, 0.0, NEW, 0.0, 1.0), "would save 0%"),
    ],
)
def test_a_poor_offer_forgets_what_was_confirmed(given, said):
    """The same plan, too small a gain, too dear a move: the count starts again."""
    _, seen = decide(Standing(OLD, 0.0, 100.0), offer())
    decision, after = decide(seen, given)
    assert not decision.move
    assert said in decision.reason
    assert after.streak == 0


def test_another_rival_starts_its_own_count():
    """Two plans that alternate never move."""
    other = replace(NEW, parts=(PlacedPart("edge", 0, 3),), hops=())
    standing = Standing(OLD, 0.0, 100.0)
    for plan in (NEW, other) * 4:
        decision, standing = decide(standing, offer(plan=plan))
        assert not decision.move


def test_how_long_plans_last_is_learned():
    """After a short stay the expected dwell falls, and an offer that paid before pays no more."""
    standing = moved(Standing(OLD, 10.0, dwell=100.0), NEW, at=15.0)
    assert (standing.plan, standing.since, standing.dwell) == (NEW, 15.0, pytest.approx(81.0))


def test_a_move_carries_weights_and_drains(line):
    """Stage 1 moves to the edge: its weights come down, with momentum in training, after one step drains."""
    chain = line([1, 2, 3, 4])
    link, question = Link(8e3, 8e2), Question()
    cost = move_cost(chain, OLD, NEW, link, question)
    assert (cost.bytes_up, cost.bytes_down, cost.seconds) == (0, 200, pytest.approx(2.0))
    drained = replace(NEW, mode="train", estimate=Estimate(1, 3.0, {"a": 1}, "a"))
    back = move_cost(chain, drained, replace(OLD, mode="train"), link, question)
    assert (back.bytes_up, back.seconds) == (400, pytest.approx(3.4))
    assert str(back) == "400 B up and 0 B down in 3.4s"


def test_frozen_weights_move_without_what_an_optimizer_keeps(line):
    """Of two stages that move up, the frozen one travels once."""
    chain = line([1, 2, 3, 4])
    alone = Plan("toy", "", (PlacedPart("edge", 0, 3),), mode="train")
    far = Plan("toy", "", (PlacedPart("edge", 0, 0), PlacedPart("cloud", 0, 3)), (Hop(),), mode="train")
    free, frozen = (
        move_cost(chain, alone, far, Link(8e3, 8e3), Question(optimizer_copies=2, frozen=count)).bytes_up
        for count in (0, 1)
    )
    assert (free, frozen) == (3 * 600, 3 * 600 - 2 * 100)


def test_a_rule_of_nonsense_is_refused():
    """Every field below zero is listed."""
    with pytest.raises(BadDocument) as caught:
        Hysteresis(gain=-1, margin=float("nan"), confirm=-2)
    assert len(caught.value.problems) == 3
