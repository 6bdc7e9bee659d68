"""What a plan asks of the two sides."""

from __future__ import annotations

import pytest

from partita.engine.torch_capture import capture_torch
from partita.errors import BadDocument
from partita.graph import Chain
from partita.plan import parse_plan
from partita.train import Settings, check_private
from partita.train.roles import Roles, passing, roles_of, upstream

from .conftest import batch_of, small_net


@pytest.fixture(scope="module")
def chain() -> Chain:
    return capture_torch(small_net(), (batch_of(0)[0],), name="net", mode="train").chain


def roles(text: str, chain: Chain) -> Roles:
    return roles_of(parse_plan(text), chain)


def test_alone_the_edge_holds_everything(chain: Chain) -> None:
    found = roles("edge[0:7]", chain)

    assert (found.front, found.away, found.tail) == ((0, 7), None, None)
    assert (found.loss_at, found.inputs_at, found.edge_spans) == ("edge", "edge", ((0, 7),))


def test_between_edge_and_cloud_the_loss_is_at_the_cloud(chain: Chain) -> None:
    found = roles("edge[0:4] -int8/fp16-> cloud[4:7]", chain)

    assert (found.front, found.away, found.tail) == ((0, 4), (4, 7), None)
    assert (found.up, found.down) == (chain.stages[3].outputs, ())
    assert (found.up_hop.forward, found.up_hop.back) == ("int8", "fp16")
    assert (found.loss_at, found.inputs_at) == ("cloud", "edge")


def test_with_an_empty_tail_the_loss_is_at_the_edge(chain: Chain) -> None:
    found = roles("edge[0:4] -raw/raw-> cloud[4:7] -raw/int8-> edge", chain)

    assert (found.tail, found.loss_at, found.edge_spans) == ((7, 7), "edge", ((0, 4),))
    assert (found.down, found.down_hop.back) == (chain.outputs, "int8")
    assert passing(chain, (7, 7)) == chain.outputs


def test_a_cloud_in_front_holds_the_inputs(chain: Chain) -> None:
    found = roles("cloud[0:4] -raw/raw-> edge[4:7]", chain)

    assert (found.front, found.away, found.tail) == (None, (0, 4), (4, 7))
    assert (found.inputs_at, found.loss_at, found.up) == ("cloud", "edge", ())


@pytest.mark.parametrize(
    "text", ["edge[0:4] -raw-> fog[4:7]", "cloud[0:2] -raw-> edge[2:4] -raw-> cloud[4:7]"]
)
def test_what_this_engine_cannot_run_is_refused(text: str, chain: Chain) -> None:
    with pytest.raises(BadDocument, match="is not a training between one edge and one cloud"):
        roles(text, chain)


def test_gradients_are_wanted_of_what_something_trainable_made(chain: Chain) -> None:
    made = chain.stages[1].outputs

    assert upstream((*chain.inputs, *made), chain, 0) == frozenset(made)
    assert upstream(made, chain, 2) == frozenset()


def test_a_plan_that_ends_at_the_cloud_is_refused_where_labels_are_private() -> None:
    plan = parse_plan("edge[0:4] -raw/raw-> cloud[4:7]")
    check_private(plan, Settings())
    check_private(parse_plan("edge[0:4] -raw-> cloud[4:7] -raw-> edge"), Settings(labels_private=True))
    with pytest.raises(BadDocument, match="ends at 'cloud', which would see the labels"):
        check_private(plan, Settings(labels_private=True))
