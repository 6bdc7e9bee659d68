"""What crosses between parts, and what does not."""

from __future__ import annotations

import pytest

from partita.graph import Chain, DType, Stage, TensorSpec
from partita.plan import Hop, PlacedPart, Plan, carried, messages


@pytest.fixture
def chain():
    """s0 reads x and ids; s2 adds a skip from s0; `mask` is whole numbers; `early` is an answer of s0."""
    stages = (
        Stage("s0", ("x",), ("h0", "early")),
        Stage("s1", ("h0", "ids"), ("h1", "mask")),
        Stage("s2", ("h1", "h0", "mask"), ("y",)),
    )
    kinds = {"ids": DType.INT64, "mask": DType.INT64}
    names = ("x", "ids", "h0", "early", "h1", "mask", "y")
    tensors = {n: TensorSpec(n, kinds.get(n, DType.FLOAT32), ("batch", 2)) for n in names}
    return Chain("toy", "test", stages, tensors, ("x", "ids"), ("early", "y"))


def plan(mode, *parts):
    placed = tuple(PlacedPart(*p) for p in parts)
    return Plan("toy", "", placed, (Hop("int8", "fp16"), Hop("raw", "int4"))[: len(parts) - 1], mode=mode)


def test_a_skip_between_two_parts_of_one_place_stays_there(chain):
    """edge|cloud|edge: h0 goes up for s1, and s2 reads the edge's own."""
    two = plan("infer", ("edge", 0, 1), ("cloud", 1, 2), ("edge", 2, 3))
    assert carried(chain, two.parts) == (("ids", "h0"), ("h1", "mask"))


def test_along_a_row_what_is_needed_later_is_handed_on(chain):
    """Three places: h0 passes the middle one, and the early answer goes to the end."""
    row = plan("infer", ("a", 0, 1), ("b", 1, 2), ("c", 2, 3))
    assert carried(chain, row.parts) == (("ids", "h0", "early"), ("h0", "early", "h1", "mask"))


def test_an_answer_is_never_coded_and_whole_numbers_travel_raw(chain):
    """In inference a codec touches float features only."""
    home = plan("infer", ("edge", 0, 0), ("cloud", 0, 3), ("edge", 3, 3))
    up, down = messages(chain, home)
    assert (up.coded, up.plain, up.codec) == (("x",), ("ids",), "int8")
    assert (down.coded, down.plain) == ((), ("early", "y"))
    assert down.tensors == ("early", "y")


def test_in_training_gradients_come_back_for_what_the_model_made(chain):
    """Inputs and whole numbers have no gradient; messages come in the order of one step."""
    two = plan("train", ("edge", 0, 1), ("cloud", 1, 2), ("edge", 2, 3))
    sent = messages(chain, two)
    assert [(m.source, m.target, m.kind, m.codec) for m in sent] == [
        (0, 1, "features", "int8"),
        (1, 2, "features", "raw"),
        (2, 1, "gradients", "int4"),
        (1, 0, "gradients", "fp16"),
    ]
    assert [m.coded for m in sent] == [("h0",), ("h1",), ("h1",), ("h0",)]


def test_the_loss_elsewhere_needs_the_early_answer_there(chain):
    """In training the last part owns the loss, and every output goes to it."""
    one = plan("train", ("edge", 0, 1), ("cloud", 1, 3))
    assert messages(chain, one)[0].coded == ("h0", "early")


def test_nobody_wants_gradients_of_what_frozen_stages_make(chain):
    """The answers come all the same, without these tensors."""
    two = plan("train", ("edge", 0, 1), ("cloud", 1, 2), ("edge", 2, 3))
    assert [m.coded for m in messages(chain, two, frozen=1)] == [("h0",), ("h1",), ("h1",), ()]
    assert [m.coded for m in messages(chain, two, frozen=2)] == [("h0",), ("h1",), (), ()]
