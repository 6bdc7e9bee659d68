"""Orders of stages: topological, the same everywhere, and worth what they are said to be worth."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.graph import Chain, DType, Stage, TensorSpec
from partita.slice.order import order_score, orders
from partita.testing import random_chain

BIND = {"batch": 2, "seq": 3}


def wide(seed, count=9):
    """A graph with branches, of which the file shows one order of many."""
    draw = random.Random(seed)
    names, tensors, stages = ["x"], {"x": TensorSpec("x", DType.FLOAT32, ("batch", 5))}, []
    for i in range(count):
        reads = dict.fromkeys(draw.sample(names, min(len(names), draw.randrange(3))))
        made = [f"t{i}"] + ([f"u{i}"] if draw.random() < 0.2 else [])
        for name in made:
            tensors[name] = TensorSpec(name, DType.FLOAT32, (draw.randrange(1, 90),))
        stages.append(Stage(f"s{i}", tuple(reads), tuple(made)))
        names += made
    outputs = tuple(dict.fromkeys([names[-1], draw.choice(names)]))
    return Chain("wide", "none", tuple(stages), tensors, ("x",), outputs)


def rearranged(chain, order):
    return replace(chain, stages=tuple(chain.stages[i] for i in order))


@given(st.integers(0, 5_000))
def test_every_order_holds_each_stage_once_after_its_makers(seed) -> None:
    """A chain in that order checks itself."""
    for chain in (wide(seed), random_chain(seed)):
        for order in orders(chain, BIND).values():
            assert sorted(order) == list(range(len(chain)))
            rearranged(chain, order)


@given(st.integers(0, 5_000), st.sampled_from(["file", "live", "lazy"]))
def test_the_score_of_an_order_is_that_of_the_chain_in_that_order(seed, name) -> None:
    """No chain must be built to compare orders, and the sum is that of all cuts."""
    chain = wide(seed)
    order = orders(chain, BIND)[name]
    other = rearranged(chain, order)

    assert order_score(chain, BIND, order) == order_score(other, BIND)
    assert order_score(other, BIND)[1] == sum(cut.nbytes(BIND) for cut in other.cuts[1:-1])


def fork():
    """Two branches, interleaved in the file; each ends in something small."""
    sizes = {"x": 10, "a1": 100, "b1": 100, "a2": 100, "b2": 100, "a3": 1, "b3": 1, "y": 1}
    reads = {
        "a1": ("x",),
        "b1": ("x",),
        "a2": ("a1",),
        "b2": ("b1",),
        "a3": ("a2",),
        "b3": ("b2",),
        "y": ("a3", "b3"),
    }
    tensors = {name: TensorSpec(name, DType.INT8, (size,)) for name, size in sizes.items()}
    stages = tuple(Stage(f"make {name}", inputs, (name,)) for name, inputs in reads.items())
    return Chain("fork", "none", stages, tensors, ("x",), ("y",))


@pytest.mark.parametrize("name", ["live", "lazy"])
def test_a_branch_is_followed_to_its_end(name) -> None:
    """Interleaved branches are put one after the other, so that a cut between them is small."""
    chain = fork()
    order = orders(chain, {})[name]

    assert [chain.stages[i].outputs[0] for i in order] == ["a1", "a2", "a3", "b1", "b2", "b3", "y"]
    assert order_score(chain, {}, order) < order_score(chain, {})


def test_a_lazy_order_runs_a_stage_just_before_its_reader() -> None:
    """What is made early and needed late moves."""
    tensors = {n: TensorSpec(n, DType.INT8, (8,)) for n in ("x", "mask", "h", "k", "y")}
    rows = [("mask", ("x",)), ("h", ("x",)), ("k", ("h",)), ("y", ("k", "mask"))]
    chain = Chain("late", "none", tuple(Stage(n, reads, (n,)) for n, reads in rows), tensors, ("x",), ("y",))

    assert [chain.stages[i].name for i in orders(chain, {})["lazy"]] == ["h", "k", "mask", "y"]


def test_a_stage_that_frees_much_waits_for_what_it_needs() -> None:
    """The last reader of a large input is not run before its other input is made."""
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n, size in zip("xaby", (90, 5, 5, 1), strict=True)}
    rows = [("a", ("x",)), ("b", ("a",)), ("y", ("x", "b"))]
    stages = tuple(Stage(f"make {n}", reads, (n,)) for n, reads in rows)

    assert orders(Chain("c", "none", stages, tensors, ("x",), ("y",)), {})["live"] == (0, 1, 2)


def test_a_single_stage_has_no_score() -> None:
    """There is nowhere to cut."""
    assert order_score(random_chain(0, stages=1), BIND) == (0.0, 0.0)


def test_a_value_without_bytes_weighs_nothing() -> None:
    """Sequences cross no cut, and are not asked how large they are."""
    chain = fork()
    tensors = {**chain.tensors, "a1": TensorSpec("a1", DType.SEQUENCE, None)}

    assert order_score(replace(chain, tensors=tensors), {})[1] == order_score(chain, {})[1] - 200
