"""How samples change their company between two stages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, SessionMisused
from partita.graph import DType
from partita.serve.model_features import Features, answers, rows_of, stack, take
from partita.serve.model_manifest import Feature

PLAIN = Feature("f", DType.FLOAT32, ("batch", 2))
SECOND = Feature("s", DType.FLOAT32, (4, "batch"), axis=1)
FOLDED = Feature("r", DType.FLOAT32, ("3*batch", 2), each=3)
FIXED = Feature("c", DType.FLOAT32, (5,), axis=None)
SPECS = (PLAIN, SECOND, FOLDED, FIXED)


def held(numbers: list[int], border: int = 1) -> Features:
    """Samples that can be told apart in every feature."""
    rows = np.asarray(numbers, np.float32)
    values = {
        "f": np.repeat(rows[:, None], 2, axis=1),
        "s": np.repeat(rows[None, :], 4, axis=0),
        "r": np.repeat(np.repeat(rows, 3)[:, None], 2, axis=1),
        "c": np.arange(5, dtype=np.float32),
    }
    return Features(border, len(numbers), values)


def same(left: Features, right: Features) -> bool:
    return (left.border, left.rows) == (right.border, right.rows) and all(
        np.array_equal(left.values[spec.name], right.values[spec.name]) for spec in SPECS
    )


@given(st.lists(st.integers(0, 99), min_size=1, max_size=9), st.data())
def test_taking_rows_takes_them_from_every_feature(numbers: list[int], data: st.DataObject) -> None:
    """In any order, also twice."""
    rows = data.draw(st.lists(st.integers(0, len(numbers) - 1), min_size=1, max_size=9))

    assert same(take(held(numbers), rows, SPECS), held([numbers[row] for row in rows]))


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), min_size=1, max_size=5))
def test_stacking_puts_groups_behind_each_other(groups: list[list[int]]) -> None:
    """In every feature."""
    whole = [number for group in groups for number in group]

    assert same(stack([held(group) for group in groups], SPECS), held(whole))


def test_rows_that_follow_each_other_are_views() -> None:
    """Nothing is copied."""
    source = held([1, 2, 3, 4])
    taken = take(source, [1, 2], SPECS)

    assert all(np.shares_memory(taken.values[spec.name], source.values[spec.name]) for spec in SPECS)


def test_all_rows_are_the_same_features() -> None:
    """Not even new ones."""
    source = held([1, 2])

    assert take(source, [0, 1], SPECS) is source
    assert stack([source], SPECS) is source


@pytest.mark.parametrize("rows", [[], [2], [-1]])
def test_rows_that_are_not_there_are_refused(rows: list[int]) -> None:
    """None, and those beyond either end."""
    with pytest.raises(SessionMisused, match="there are 2"):
        take(held([1, 2]), rows, SPECS)


def test_samples_at_different_borders_do_not_share_a_batch() -> None:
    """Both stages are named."""
    with pytest.raises(SessionMisused, match="before stages 1, 2"):
        stack([held([1], 1), held([1], 2)], SPECS)


def test_nothing_cannot_be_stacked() -> None:
    """There would be no border."""
    with pytest.raises(SessionMisused, match="at least one"):
        stack([], SPECS)


def test_samples_of_different_sizes_do_not_share_a_batch() -> None:
    """Both sizes are named."""
    spec = Feature("t", DType.FLOAT32, ("batch", "length"))
    groups = [Features(1, 1, {"t": np.zeros((1, size), np.float32)}) for size in (3, 5)]

    with pytest.raises(BadDocument, match=r"t: sizes \(3,\) and \(5,\)"):
        stack(groups, (spec,))


def test_inputs_for_different_samples_are_refused() -> None:
    """With how many each is for."""
    values = {"f": np.zeros((2, 2)), "s": np.zeros((4, 3))}

    with pytest.raises(BadDocument, match="f: 2 samples; s: 3 samples"):
        rows_of(values, (PLAIN, SECOND))


@given(st.lists(st.lists(st.floats(-80, 80), min_size=3, max_size=3), min_size=1, max_size=6))
def test_answers_are_those_of_the_probabilities(rows: list[list[float]]) -> None:
    """Softmax by its definition, in twice the precision."""
    logits = np.asarray(rows, np.float64)
    odds = np.exp(logits.astype(np.longdouble))
    chances = odds / odds.sum(axis=1, keepdims=True)
    found = answers(logits)
    ordered = np.sort(chances, axis=1)
    surprise = np.where(chances > 0, -np.log(np.maximum(chances, np.finfo(np.longdouble).tiny)), 0)

    np.testing.assert_allclose(found.confidence, ordered[:, -1].astype(float), rtol=1e-9)
    np.testing.assert_allclose(found.margin, (ordered[:, -1] - ordered[:, -2]).astype(float), atol=1e-9)
    np.testing.assert_allclose(found.entropy, (chances * surprise).sum(axis=1).astype(float), atol=1e-9)
    assert (found.label == logits.argmax(axis=1)).all()


def test_very_sure_answers_have_no_entropy() -> None:
    """And no warning of an overflow."""
    found = answers(np.asarray([[1e4, 0.0, -1e4]], np.float32))

    assert (found.confidence[0], found.margin[0], found.entropy[0]) == (1.0, 1.0, 0.0)


def test_each_sample_has_an_answer_of_its_own() -> None:
    """The confidence is not that of the whole batch."""
    logits = np.asarray([[4.0, 0.0], [0.0, 1.0]], np.float32)

    assert answers(logits).confidence.tolist() == [
        answers(logits[:1]).confidence[0],
        answers(logits[1:]).confidence[0],
    ]


def test_what_is_no_table_of_logits_is_refused() -> None:
    """The shape is named."""
    with pytest.raises(SessionMisused, match=r"\[2, 3, 4\]"):
        answers(np.zeros((2, 3, 4)))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_network_is_never_sure(broken: float) -> None:
    """No confidence that reaches a threshold, and no warning."""
    found = answers(np.asarray([[broken, 1.0, 0.0], [2.0, 1.0, 0.0]], np.float32))

    assert np.isnan(found.confidence[0])
    assert not np.isnan(found.confidence[1])
