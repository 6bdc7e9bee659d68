"""Folding cheap stages into their readers: never more bytes at a cut, and what is claimed is what happens."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from partita.graph import Chain, DType, Stage, TensorSpec
from partita.slice.recompute import worth_recomputing
from partita.testing import random_chain

BIND = {"batch": 2, "seq": 3}


def folded(chain, names):
    """The chain after folding: readers read what the folded stage read. The places of the folded stay, empty."""
    source = {n: stage.inputs for stage in chain.stages if stage.name in names for n in stage.outputs}

    def reads(inputs):
        for name in inputs:
            if name in source:
                yield from reads(source[name])
            else:
                yield name

    stages = tuple(
        Stage(s.name, (), ()) if s.name in names else replace(s, inputs=tuple(dict.fromkeys(reads(s.inputs))))
        for s in chain.stages
    )
    return replace(chain, stages=stages)


@given(st.integers(0, 20_000), st.sets(st.integers(0, 8)))
def test_no_cut_carries_more_and_each_folding_saves_somewhere(seed, cheap) -> None:
    """At every position the frontier shrinks or stays; with nothing gained nothing is folded."""
    chain = random_chain(seed, stages=9)
    names = worth_recomputing(chain, BIND, frozenset(cheap))
    after = folded(chain, names)
    before, now = ([c.nbytes(BIND) for c in each.cuts] for each in (chain, after))

    assert {chain.stages[i].name for i in cheap} >= set(names)
    assert all(a <= b for a, b in zip(now, before, strict=True))
    assert (sum(now) < sum(before)) == bool(names)


def chain_of(rows, sizes, outputs=("y",), inputs=("x",)):
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n, size in sizes.items()}
    return Chain("c", "none", tuple(Stage(n, r, (n,)) for n, r in rows), tensors, inputs, outputs)


def test_a_mask_that_grows_is_made_again_from_what_is_small() -> None:
    """Small ids become a large mask which is read twice, far apart: both steps are folded."""
    rows = [
        *(("wide", ("x",)), ("mask", ("wide",)), ("a", ("x", "mask"))),
        *(("b", ("a",)), ("y", ("b", "mask", "x"))),
    ]
    chain = chain_of(rows, {"x": 8, "wide": 64, "mask": 64, "a": 5, "b": 5, "y": 5})

    assert worth_recomputing(chain, {}, frozenset({0, 1})) == ("wide", "mask")


def test_a_result_that_is_smaller_than_its_source_is_sent() -> None:
    """Folding would keep the large source alive."""
    chain = chain_of([("s", ("x",)), ("a", ("x",)), ("y", ("a", "s"))], {"x": 90, "s": 1, "a": 1, "y": 1})

    assert worth_recomputing(chain, {}, frozenset({0})) == ()


def test_a_step_that_saves_nothing_is_left_alone() -> None:
    """A result as large as its source is sent like the source would be."""
    chain = chain_of([("s", ("x",)), ("a", ("s",)), ("y", ("a", "s"))], {"x": 9, "s": 9, "a": 1, "y": 1})

    assert worth_recomputing(chain, {}, frozenset({0})) == ()


def test_answers_and_what_nobody_reads_are_not_folded() -> None:
    """An answer must be made where it stands."""
    rows = [("early", ("x",)), ("idle", ("x",)), ("y", ("early",))]
    chain = chain_of(rows, {"x": 1, "early": 50, "idle": 50, "y": 1}, outputs=("y", "early"))

    assert worth_recomputing(chain, {}, frozenset({0, 1})) == ()


def test_a_value_that_cannot_travel_is_worth_folding() -> None:
    """Making the sequence again opens the cuts it stood across; a sequence is never kept alive for a tensor."""
    rows = [("seq", ("x",)), ("a", ("x",)), ("n", ("seq",)), ("y", ("a", "n"))]
    chain = chain_of(rows, {"x": 40, "seq": 1, "a": 2, "n": 90, "y": 1})
    chain = replace(chain, tensors={**chain.tensors, "seq": TensorSpec("seq", DType.SEQUENCE, None)})

    assert worth_recomputing(chain, {}, frozenset({0, 2})) == ("seq",)
    assert worth_recomputing(chain, {}, frozenset({2})) == ()


def test_a_thousand_stages_take_a_moment() -> None:
    """Every stage is looked at once: folding the constants of a long chain finds all of them."""
    draw = random.Random(0)
    rows, sizes, last = [], {"x": 4, "y": 1}, "x"
    for i in range(1_000):
        rows.append((f"c{i}", ()))
        rows.append((f"h{i}", (last, f"c{i}", *([f"c{draw.randrange(i)}"] if i else []))))
        sizes |= {f"c{i}": 3, f"h{i}": 7}
        last = f"h{i}"
    rows.append(("y", (last,)))
    chain = chain_of(rows, sizes)

    assert worth_recomputing(chain, {}, frozenset(range(0, 2_000, 2))) == tuple(f"c{i}" for i in range(1_000))
