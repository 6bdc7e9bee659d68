import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import (
    Chain,
    Cut,
    DType,
    Stage,
    TensorSpec,
    parse_chain,
    parse_cut,
    parse_stage,
    parse_tensor,
    print_chain,
    print_cut,
    print_stage,
    print_tensor,
)
from partita.testing import random_chain

names = st.text(min_size=0, max_size=12)
dims = st.one_of(st.integers(0, 99), st.sampled_from(["batch", "2*seq+1", "batch size", "?"]))
tensors = st.builds(
    TensorSpec, names, st.sampled_from(list(DType)), st.none() | st.lists(dims, max_size=4).map(tuple)
)
several = st.lists(names, max_size=4).map(tuple)


@given(tensors)
def test_a_tensor_parses_back(tensor: TensorSpec) -> None:
    """Whatever its name and shape, a printed tensor is read as it was."""
    assert parse_tensor(print_tensor(tensor)) == tensor


@given(st.builds(Stage, names, several, several, several, st.integers(0, 99), names))
def test_a_stage_parses_back(stage: Stage) -> None:
    """Whatever its names, a printed stage is read as it was."""
    assert parse_stage(print_stage(stage)) == stage


@given(
    st.builds(Cut, st.integers(0, 99), names, names, st.lists(tensors, max_size=3).map(tuple), several, names)
)
def test_a_cut_parses_back(cut: Cut) -> None:
    """Whatever crosses, a printed cut is read as it was."""
    assert parse_cut(print_cut(cut)) == cut


@given(st.integers(0, 10_000))
def test_a_chain_parses_back(seed: int) -> None:
    """A printed chain is read as it was, odd names included."""
    chain = random_chain(seed, odd_names=True)

    assert parse_chain(print_chain(chain)) == chain


def test_blocked_positions_parse_back() -> None:
    """The engine's reasons survive printing."""
    from dataclasses import replace

    chain: Chain = replace(random_chain(1), blocked={2: 'says "no"'})

    assert parse_chain(print_chain(chain)) == chain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x:",
        "x:float99[1]",
        "x:float32",
        "x:float32[1",
        "x:float32[1,,2]",
        "x:float32[1] y",
        '"x:float32[1]',
        "x:float32[?",
        r'"\ud8zz":float32[1]',
    ],
)
def test_a_broken_tensor_is_refused_with_its_text(text: str) -> None:
    """What cannot be read is quoted in the error."""
    with pytest.raises(BadDocument, match="tensor"):
        parse_tensor(text)


@pytest.mark.parametrize(
    "text",
    [
        "a(x -> y | | ops=1",
        "a(x) -> y | | ops=many",
        "a(x) -> y | | ops=1 kind",
        "a(x) y | | ops=1",
        "a(x) -> y | | ops=1 z",
    ],
)
def test_a_broken_stage_is_refused(text: str) -> None:
    """Stages have one form."""
    with pytest.raises(BadDocument, match="stage"):
        parse_stage(text)


@pytest.mark.parametrize(
    "text", ["cut x", "cut 1 | a -> b | | maybe=1", "cut 1 | a -> b | x:int8[] | because="]
)
def test_a_broken_cut_is_refused(text: str) -> None:
    """Cuts have one form."""
    with pytest.raises(BadDocument, match="cut"):
        parse_cut(text)


@pytest.mark.parametrize(
    "text", ["", "profile x", "chain x engine=torch\nnonsense 1", "chain x engine=torch\nparam w many"]
)
def test_a_broken_chain_is_refused(text: str) -> None:
    """A chain begins with its head and has known lines only."""
    with pytest.raises(BadDocument, match="chain"):
        parse_chain(text)
