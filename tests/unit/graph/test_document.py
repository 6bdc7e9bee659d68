import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import Chain, Device, Energy, Link, Profile, StageCost, TensorSpec, Timing, dump, load
from partita.graph import document as module
from partita.testing import random_chain

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.integers(0, 10_000))
def test_a_chain_survives_json(seed: int) -> None:
    """What is written is read back equal, with an equal digest."""
    chain = random_chain(seed, odd_names=True)
    back = load(Chain, dump(chain))

    assert back == chain
    assert back.digest == chain.digest


def test_a_profile_survives_json() -> None:
    """Batch sizes stay numbers as keys."""
    stage = StageCost("a", {8: Timing(0.1, 0.01, 5)}, energy={8: Energy(1.5, "RAPL", True)})
    profile = Profile("m", "d", Device("pi", threads=4), (stage,), stage, before={8: (0.0, 0.1)})

    assert load(Profile, dump(profile)) == profile


def test_an_unknown_shape_survives_json() -> None:
    """None is a value of its own, not a missing field."""
    tensor = TensorSpec("x", random_chain(1).tensors["in0"].dtype, None)

    assert load(TensorSpec, dump(tensor)) == tensor


def test_all_bad_fields_are_reported_at_once() -> None:
    """One error lists every field by its path."""
    text = json.dumps(
        {"model": 3, "stages": [{"name": "a", "forward": {"one": {}}}], "bogus": 1, "whole": [], "codecs": []}
    )

    with pytest.raises(BadDocument) as caught:
        load(Profile, text, name="p.json")
    assert set(caught.value.problems) == {
        "bogus: is not a field",
        "model: expected a text, got 3",
        "digest: is missing",
        "device: is missing",
        'stages[0].forward.one: expected a whole number as its name, got "one"',
        "whole: expected an object, got []",
        "codecs: expected an object, got []",
    }
    assert "p.json" in caught.value.problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not an object"),
        ('{"partita": "chain"}', "is a chain, not a link"),
        ('{"version": 9}', "version: 9 is not 1"),
        ('{"up": 1, "down": true}', "down: expected a finite number"),
        ('{"up": NaN, "down": 1}', "up: expected a finite number"),
        ('{"up": -1, "down": 1}', "up: -1.0 is not a positive number"),
    ],
)
def test_a_document_of_another_kind_is_refused(text: str, says: str) -> None:
    """Kind, version and the noun's own rules are checked."""
    with pytest.raises(BadDocument, match=says):
        load(Link, text)


def test_a_document_that_is_too_long_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Length is checked before anything is parsed."""
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(BadDocument, match="more than the 10"):
        load(Link, " " * 11)


@given(st.sampled_from([Chain, Profile, Link, TensorSpec]), values)
def test_no_json_value_makes_a_traceback(noun: type, value: object) -> None:
    """Whatever JSON comes, the answer is a noun or a BadDocument."""
    try:
        load(noun, json.dumps(value))
    except BadDocument as error:
        assert error.problems


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"name": "x", "dtype": "float32", "shape": [1.5]}, "shape.*int or str"),
        ({"name": "x", "dtype": "float32", "shape": "1,2"}, "shape: expected a list"),
        ({"name": "x", "dtype": "float33", "shape": []}, "dtype: expected one of bool"),
    ],
)
def test_a_tensor_with_a_bad_field_is_refused(document: dict[str, object], says: str) -> None:
    """Unions, lists and names of types are checked where they stand."""
    with pytest.raises(BadDocument, match=says):
        load(TensorSpec, json.dumps(document))


@dataclass(frozen=True)
class Order:
    """A noun with the field kinds that no noun of `graph` has."""

    mode: Literal["train", "eval"]
    span: tuple[int, str]


def test_choices_and_fixed_lists_are_checked() -> None:
    """A word outside its choices and a list of the wrong length are refused; right ones are read."""
    assert load(Order, '{"mode": "train", "span": [1, "a"]}') == Order("train", (1, "a"))
    with pytest.raises(BadDocument) as caught:
        load(Order, '{"mode": "test", "span": [1]}')
    assert len(caught.value.problems) == 2
    with pytest.raises(BadDocument, match="span: expected a list"):
        load(Order, '{"mode": "train", "span": 3}')
