"""Lanes: both ends of a direction agree, memories are kept where they can be, and said where they cannot."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.engine import Values, largest_difference
from partita.errors import BadDocument, FrameCorrupt, FrameTooLarge
from partita.graph import DType, TensorSpec
from partita.train.lanes import Lane, memory_bytes
from partita.train.settings import Feedback
from partita.wire import Encoded

IDS = np.arange(4)


def features(seed: int = 0, rows: int = 4, width: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 2, width // 2)).astype(np.float32)


def ends(codec: str, feedback: Feedback, capacity: int = 9) -> tuple[Lane, Lane]:
    one, two = (Lane(codec, feedback, version=1, capacity=capacity) for _ in range(2))
    return one, two


def across(one: Lane, two: Lane, values: Values, ids: np.ndarray | None = IDS, step: int = 0) -> Values:
    return two.decode(one.encode(step, values, ids), ids)


def error(got: Values, values: Values) -> float:
    return float(np.abs(got["h"] - values["h"]).mean())


def test_raw_tensors_cross_bit_for_bit_under_any_feedback() -> None:
    values = {"h": features(), "mask": IDS > 1, "half": features().astype(ml_dtypes.bfloat16)}

    for feedback in ("none", "residual", "delta", "taylor"):
        for _ in range(2):
            assert largest_difference(across(*ends("raw", feedback), values), values) == 0.0


@settings(max_examples=40, deadline=None)
@given(
    codec=st.sampled_from(["int8", "int4/channel", "topk:0.1", "fp16", "int2+lossless"]),
    feedback=st.sampled_from(["none", "residual", "delta", "taylor"]),
    batches=st.lists(
        st.tuples(st.lists(st.integers(0, 12), max_size=6), st.sampled_from([8, 96])), max_size=6
    ),
)
def test_both_ends_agree_over_any_batches(
    codec: str, feedback: Feedback, batches: list[tuple[list[int], int]]
) -> None:
    """Repeated samples, evicted ones, empty batches and samples that change their width included."""
    one, two = ends(codec, feedback)
    for step, (numbers, width) in enumerate(batches):
        ids, array = np.array(numbers, np.int64), features(step, len(numbers), width)

        got = across(one, two, {"h": array, "n": ids}, ids, step)

        assert (got["h"].shape, got["h"].dtype) == (array.shape, array.dtype)
        assert got["n"].tobytes() == ids.tobytes()
        assert one.digest() == two.digest()


@pytest.mark.parametrize("codec", ["int4", "topk:0.25/fp32"])
def test_a_delta_memory_brings_a_sample_nearer_each_time(codec: str) -> None:
    one, two = ends(codec, "delta")
    values = {"h": features()}

    errors = [error(across(one, two, values), values) for _ in range(4)]

    assert errors[3] < errors[0] / 20


def test_a_residual_memory_sends_later_what_was_lost() -> None:
    one, two = ends("topk:0.1", "residual")
    values = {"h": features()}

    sent = [across(one, two, values)["h"] for _ in range(40)]

    assert np.abs(np.mean(sent, axis=0) - values["h"]).mean() < 0.25 * np.abs(sent[0] - values["h"]).mean()


def test_rows_belong_to_samples_and_not_to_places() -> None:
    one, two = ends("int2", "delta")
    values = {"h": features()}
    first = error(across(one, two, values), values)

    turned = {"h": values["h"][::-1]}

    assert error(across(one, two, turned, IDS[::-1]), turned) < first / 2


def test_the_number_of_the_step_moves_the_noise_of_a_stochastic_codec() -> None:
    one, two = ends("int4/stochastic", "none")
    values = {"h": features()}

    first, second, again = (across(one, two, values, step=step) for step in (1, 2, 1))

    assert largest_difference(first, second) > 0
    assert largest_difference(first, again) == 0.0


# -- without memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", ["residual", "delta"])
@pytest.mark.parametrize(
    ("values", "ids", "why"),
    [
        ({"h": features()}, None, "without sample ids"),
        ({"h": np.zeros((7, 64), np.float32)}, IDS, r"first axis is no batch: shape \[7, 64\] for 4 samples"),
        ({"h": np.float32(3)}, IDS, "no batch"),
    ],
)
def test_what_goes_without_memory_still_crosses_and_is_said(
    feedback: Feedback, values: Values, ids: np.ndarray | None, why: str
) -> None:
    one, two = ends("int8", feedback)
    values = {name: np.asarray(array) for name, array in values.items()}

    got = across(one, two, values, ids)

    assert largest_difference(got, across(*ends("int8", "none"), values)) == 0.0
    (note,) = one.notes
    assert re.search(f"tensor 'h' .*{why}", note)
    assert not one.export()


def test_integers_lose_nothing_and_nothing_is_said_of_them() -> None:
    one, two = ends("int8", "delta")

    across(one, two, {"n": IDS})

    assert (one.notes, one.export()) == (set(), {})


def test_samples_of_another_width_go_without_memory_and_leave_it_alone() -> None:
    one, two = ends("int2", "delta")
    across(one, two, {"h": features()})

    across(one, two, {"h": features(width=40)})

    assert (
        one.notes
        == two.notes
        == {"tensor 'h' goes without delta memory where its samples have 40 values here and 96 before"}
    )
    assert error(across(one, two, {"h": features()}), {"h": features()}) < 0.2


@pytest.mark.parametrize("feedback", ["residual", "delta"])
def test_an_unbiased_codec_is_refused_a_memory(feedback: Feedback) -> None:
    with pytest.raises(BadDocument, match=r"int8/stochastic.*unbiased"):
        Lane("int8/stochastic", feedback, version=1, capacity=3)


# -- out of step -------------------------------------------------------------------------------------------------


def test_a_lost_message_of_a_delta_memory_is_found() -> None:
    one, two = ends("int8", "delta")
    one.encode(0, {"h": features()}, IDS)

    with pytest.raises(FrameCorrupt, match="turn"):
        across(one, two, {"h": features()})


def test_a_message_of_an_older_plan_is_found() -> None:
    one, two = ends("int8", "delta")
    two.reset(2)

    with pytest.raises(FrameCorrupt, match="plan"):
        across(one, two, {"h": features()})


@pytest.mark.parametrize(("sends", "reads"), [("none", "delta"), ("delta", "none"), ("residual", "delta")])
def test_ends_with_different_feedback_are_found(sends: Feedback, reads: Feedback) -> None:
    one, two = Lane("int8", sends, version=1, capacity=3), Lane("int8", reads, version=1, capacity=3)

    with pytest.raises(FrameCorrupt, match=r"'h' .* delta memory"):
        across(one, two, {"h": features()})


def test_all_tensors_of_a_message_together_stay_under_the_limit() -> None:
    one, two = ends("topk:0.01", "none")
    tensors: dict[str, Encoded] = one.encode(0, {"a": features(), "b": features()}, IDS)

    assert len(two.decode(tensors, IDS, limit=2 * features().nbytes)) == 2
    with pytest.raises(FrameTooLarge):
        two.decode(tensors, IDS, limit=2 * features().nbytes - 1)


# -- kept and forgotten ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", ["residual", "delta"])
def test_a_lane_goes_on_from_its_exported_memories(feedback: Feedback) -> None:
    one, two = ends("int4", feedback)
    across(one, two, {"h": features(), "a/b": features(3)})
    later_one, later_two = ends("int4", feedback)

    later_one.load(one.export())
    later_two.load(two.export())

    values = {"h": features(1), "a/b": features(4)}
    assert later_one.digest() == later_two.digest() == one.digest()
    assert largest_difference(across(later_one, later_two, values), across(one, two, values)) == 0.0


def test_memories_are_loaded_under_the_version_of_the_lane() -> None:
    one, two = ends("int4", "delta")
    across(one, two, {"h": features()})
    for lane in (one, two):
        kept = lane.export()
        lane.reset(7)
        lane.load(kept)

    across(one, two, {"h": features()})

    assert one.export()["h/plan"] == 7


def test_a_damaged_export_changes_nothing() -> None:
    one, two = ends("int4", "delta")
    across(one, two, {"h": features(), "g": features()})
    before = one.digest()
    kept = one.export()
    del kept["g/turn"]

    with pytest.raises(BadDocument, match="turn is missing"):
        one.load(kept)

    assert one.digest() == before


def test_memories_are_refused_where_none_are_kept() -> None:
    one, two = ends("int4", "delta")
    across(one, two, {"h": features()})

    with pytest.raises(BadDocument, match=r"'h' has one, and feedback none"):
        Lane("int4", "none", version=1, capacity=3).load(one.export())


def test_two_ends_with_different_settings_have_different_digests() -> None:
    lanes = [
        Lane("int8", "delta", version=1, capacity=3),
        Lane("int4", "delta", version=1, capacity=3),
        Lane("int8", "residual", version=1, capacity=3),
        Lane("int8", "delta", version=2, capacity=3),
        Lane("int8", "delta", version=1, capacity=4),
    ]

    assert len({lane.digest() for lane in lanes}) == len(lanes)


def test_a_residual_memory_is_no_matter_of_the_other_end() -> None:
    one, two = ends("int4", "residual")
    across(one, two, {"h": features()})

    assert one.export()
    assert not two.export()
    assert one.digest() == two.digest()


def test_a_reset_forgets_all_of_a_plan() -> None:
    one, two = ends("int4", "delta")
    across(one, two, {"h": features()})
    across(one, two, {"h": features(width=40)})

    one.reset(2)

    assert (one.export(), one.notes, one.version, one.nbytes) == ({}, set(), 2, 0)


def test_the_bytes_of_memories_are_known_beforehand() -> None:
    specs = [
        TensorSpec("h", DType.FLOAT16, ("batch", 2, 48)),
        TensorSpec("n", DType.INT64, ("batch", 5)),
        TensorSpec("table", DType.FLOAT32, (7, 5)),
        TensorSpec("scalar", DType.FLOAT32, ()),
    ]
    one, _ = ends("int4", "residual", capacity=64)
    for at in range(0, 80, 4):
        one.encode(at, {"h": features().astype(np.float16)}, IDS + at)

    assert memory_bytes(specs, {"batch": 4}, 4, 64) == one.nbytes == 64 * 96 * 4


# -- taylor ------------------------------------------------------------------------------------------------------


def test_taylor_changes_the_gradient_of_its_step_by_what_the_codec_lost() -> None:
    one, two = ends("int4", "taylor")
    values, slopes = {"h": features()}, {"h": features(1), "other": features(2)}
    lost = across(one, two, values, step=5)["h"] - values["h"]

    got = one.correct(5, slopes)

    assert np.allclose(got["h"], slopes["h"] - lost * slopes["h"] ** 2)
    assert got["other"] is slopes["other"]


@pytest.mark.parametrize(
    ("codec", "feedback", "step"), [("raw", "taylor", 5), ("int4", "none", 5), ("int4", "taylor", 6)]
)
def test_other_gradients_stay_as_they_are(codec: str, feedback: Feedback, step: int) -> None:
    one, _ = ends(codec, feedback)
    one.encode(5, {"h": features()}, IDS)

    slopes = {"h": features(1)}

    assert one.correct(step, slopes)["h"] is slopes["h"]


def test_taylor_keeps_nothing_of_values_that_travel_raw() -> None:
    one, _ = ends("int8", "taylor")

    one.encode(0, {"h": np.full((4, 9), np.nan, np.float32), "n": IDS}, IDS)

    assert one.nbytes == 0


def test_what_is_kept_of_steps_is_bounded_and_can_be_forgotten() -> None:
    one, _ = ends("int4", "taylor")
    for step in range(200):
        one.encode(step, {"h": features()}, IDS)

    assert one.nbytes == 64 * features().nbytes
    one.forget()
    assert one.nbytes == 0
