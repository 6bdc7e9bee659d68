import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, IllegalCut
from partita.graph import GIVEN, Chain, DType, Stage, TensorSpec
from partita.testing import random_chain


def spec(name: str, dtype: DType = DType.FLOAT32) -> TensorSpec:
    return TensorSpec(name, dtype, ("batch", 2))


@pytest.fixture
def skip() -> Chain:
    """Four stages with a skip over two of them, one tied weight and one early output."""
    stages = (
        Stage("a", ("x",), ("h0",), ("w",)),
        Stage("b", ("h0",), ("h1",), ("v",)),
        Stage("c", ("h1",), ("h2", "early"), ()),
        Stage("d", ("h2", "h0"), ("y",), ("w",)),
    )
    tensors = {n: spec(n) for n in ("x", "h0", "h1", "h2", "early", "y")}
    return Chain("skip", "none", stages, tensors, ("x",), ("y", "early"), {"w": 8, "v": 4})


def test_a_cut_lists_skip_connections(skip: Chain) -> None:
    """A tensor that is read later crosses every cut on its way."""
    assert [[t.name for t in cut.tensors] for cut in skip.cuts] == [
        ["x"],
        ["h0"],
        ["h0", "h1"],
        ["h0", "h2", "early"],
        ["early", "y"],
    ]


def test_bytes_of_a_cut_depend_on_the_batch(skip: Chain) -> None:
    """Bytes across a cut are a function of the open dimensions."""
    assert skip.cut(2).nbytes({"batch": 5}) == 2 * 5 * 2 * 4
    assert skip.cut(2).formula == "16*batch"


def test_a_shared_parameter_is_named_and_counted_once(skip: Chain) -> None:
    """A tied weight is listed on every cut between its uses, and weighs once in a part."""
    assert skip.cut(2).shared == ("w",)
    assert skip.cut(0).shared == ()
    assert skip.part_bytes(0, 4) == 12


def test_a_middle_part_takes_and_gives_only_what_it_must(skip: Chain) -> None:
    """A skip over a part does not pass through it."""
    assert skip.part_inputs(1, 3) == ("h0",)
    assert skip.part_outputs(1, 3) == ("h2", "early")
    assert skip.part_inputs(3, 4) == ("h0", "h2", "early")
    assert skip.part_params(0, 2) == ("w", "v")


def test_the_maker_of_an_input_is_nobody(skip: Chain) -> None:
    """Model inputs come from before the first stage."""
    assert skip.maker("x") == GIVEN
    assert skip.maker("h1") == 1


def test_gradients_come_back_for_floats_only(skip: Chain) -> None:
    """An integer that crosses has no gradient."""
    chain = replace(skip, tensors={**skip.tensors, "h1": spec("h1", DType.INT64)})

    assert chain.cut(2).gradient_bytes({"batch": 1}) == 8


@pytest.mark.parametrize("dtype", [DType.SEQUENCE, DType.STRING, DType.UNKNOWN])
def test_a_value_without_bytes_forbids_the_cut(skip: Chain, dtype: DType) -> None:
    """Where a sequence crosses, the cut says so and offers the nearest legal one."""
    chain = replace(skip, tensors={**skip.tensors, "h1": spec("h1", dtype)})

    assert not chain.cut(2).legal
    with pytest.raises(IllegalCut, match=r"nearest legal cut is 1"):
        chain.check_part(0, 2)


def test_an_unknown_rank_forbids_the_cut(skip: Chain) -> None:
    """A tensor of unknown rank cannot be sent."""
    chain = replace(skip, tensors={**skip.tensors, "h1": TensorSpec("h1", DType.FLOAT32, None)})

    assert "unknown rank" in chain.cut(2).reason


def test_an_engine_can_block_a_position(skip: Chain) -> None:
    """A position that the engine found harmful is illegal for the stated reason."""
    chain = replace(skip, blocked={1: "h0 is changed in place later"})

    assert chain.cut(1).reason == "h0 is changed in place later"
    assert chain.cut(0).legal


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 5)])
def test_a_part_outside_the_chain_is_refused(skip: Chain, start: int, stop: int) -> None:
    """Parts are ranges of stages that exist."""
    with pytest.raises(IllegalCut, match="does not exist"):
        skip.check_part(start, stop)


def test_a_cut_outside_the_chain_is_refused(skip: Chain) -> None:
    """Positions run from 0 to the number of stages."""
    with pytest.raises(IllegalCut, match="from 0 to 4"):
        skip.cut(5)


def test_a_chain_checks_itself_and_lists_everything_wrong() -> None:
    """All problems of a chain come in one error."""
    with pytest.raises(BadDocument) as caught:
        Chain(
            "bad",
            "none",
            (Stage("a", ("h",), ("h",), ("w",)), Stage("b", (), ("h", "n"), ())),
            {"h": spec("h")},
            ("x",),
            ("z",),
        )

    assert len(caught.value.problems) == 6


def test_the_digest_is_of_the_structure_not_of_the_name(skip: Chain) -> None:
    """Two captures of one model agree whatever they are called; another structure differs."""
    assert replace(skip, name="other").digest == skip.digest
    assert replace(skip, outputs=("y",)).digest != skip.digest
    assert len({skip, replace(skip)}) == 1


def test_a_chain_can_be_copied(skip: Chain) -> None:
    """A copy is equal."""
    assert copy.deepcopy(skip) == skip


def test_open_dimensions_are_collected(skip: Chain) -> None:
    """The chain knows which dimensions somebody must bind."""
    assert skip.symbols == {"batch"}


@given(st.integers(0, 10_000))
def test_what_crosses_is_what_the_parts_exchange(seed: int) -> None:
    """At every cut, the inputs of the rest are exactly the tensors that cross."""
    chain = random_chain(seed, stages=8)
    for cut in chain.cuts:
        assert {t.name for t in cut.tensors} == set(chain.part_inputs(cut.position, len(chain)))
