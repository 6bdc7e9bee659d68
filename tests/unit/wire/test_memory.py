"""Memories of what codecs lost: both ends stay equal, errors come back, and nothing unsound is accepted."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.errors import BadDocument, FrameCorrupt, PartFailed
from partita.wire.codec import decode, encode, parse_codec
from partita.wire.memory import DeltaMemory, ResidualMemory

WIDTH = 24


def features(rows: int, seed: int = 0, dtype: object = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 4, WIDTH // 4)).astype(dtype)


def pair(codec: str = "int4", capacity: int = 8, half: bool = False) -> tuple[DeltaMemory, DeltaMemory]:
    one, two = (DeltaMemory(parse_codec(codec), capacity=capacity, half=half) for _ in range(2))
    return one, two


def same_state(one: DeltaMemory, two: DeltaMemory) -> bool:
    a, b = one.export(), two.export()
    return all(a[key].tobytes() == b[key].tobytes() and a[key].dtype == b[key].dtype for key in a)


batches = st.lists(
    st.tuples(
        st.lists(st.integers(0, 12), max_size=6),
        st.integers(0, 99),
        st.sampled_from([1.0, 1e-20, 1e6, 3e38, np.nan, np.inf]),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(
    batches=batches,
    codec=st.sampled_from(["int8", "int4/channel", "int2", "topk:0.1", "fp16", "raw", "int8+lossless"]),
    half=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, ml_dtypes.bfloat16]),
    capacity=st.integers(1, 9),
)
def test_both_ends_of_a_delta_memory_stay_equal_bit_for_bit(
    batches: list[tuple[list[int], int, float]], codec: str, half: bool, dtype: type, capacity: int
) -> None:
    """Over any sequence: repeats, evictions, empty batches, poison and overflow included."""
    sender, receiver = pair(codec, capacity, half)
    for ids, seed, scale in batches:
        with np.errstate(over="ignore", invalid="ignore"):
            array = (features(len(ids), seed) * scale).astype(dtype)

        encoded, expected = sender.encode(ids, array)

        assert expected.tobytes() == receiver.decode(ids, encoded).tobytes()
        assert same_state(sender, receiver)
        assert len(sender.export()["ids"]) <= capacity


@pytest.mark.parametrize(("codec", "steps"), [("int8", 4), ("int4", 8), ("int2", 24), ("topk:0.25/fp32", 4)])
def test_a_repeated_sample_becomes_exact_under_a_delta_memory(codec: str, steps: int) -> None:
    """Each time the difference is smaller, and so is what the codec loses of it."""
    sender, receiver = pair(codec)
    array = features(3)

    errors = []
    for _ in range(steps):
        encoded, _ = sender.encode([7, 8, 9], array)
        errors.append(np.abs(receiver.decode([7, 8, 9], encoded) - array).max())

    assert errors[-1] <= 1e-6
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("codec", ["topk:0.1", "int2", "int4"])
def test_what_was_lost_of_a_sample_arrives_later_under_a_residual_memory(codec: str) -> None:
    """The mean of what is received approaches what is sent, where it would stay off for ever without memory."""
    memory = ResidualMemory(parse_codec(codec), capacity=8)
    array, steps = features(2), 60

    mean = np.mean([decode(memory.encode([1, 2], array)) for _ in range(steps)], axis=0)

    alone = np.abs(decode(encode(array, codec)) - array).max()
    assert np.abs(mean - array).max() < alone / 5


def test_rows_follow_their_sample_and_not_their_place() -> None:
    """The same samples in another order find their own memory."""
    sender, receiver = pair("int8")
    array = features(3)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]):
        ids = np.array([10, 20, 30])[order]
        encoded, _ = sender.encode(ids, array[order])
        back = receiver.decode(ids, encoded)

    assert np.abs(back - array[[0, 2, 1]]).max() < 1e-6


def test_the_sample_used_longest_ago_is_forgotten() -> None:
    """Capacity counts samples, and use keeps one alive."""
    sender, _ = pair(capacity=2)
    for ids in ([1], [2], [1], [3]):
        sender.encode(ids, features(1))

    assert sender.export()["ids"].tolist() == [1, 3]


def test_a_batch_larger_than_the_capacity_keeps_its_last_samples() -> None:
    """Deterministic on both ends."""
    sender, _ = pair(capacity=2)

    sender.encode([5, 6, 7, 8], features(4))

    assert sender.export()["ids"].tolist() == [7, 8]


def test_the_errors_of_a_sample_twice_in_a_batch_are_both_kept() -> None:
    """Added up, not overwritten; and the old error is sent once."""
    memory = ResidualMemory(parse_codec("int2"), capacity=4)
    array = features(2)

    for _ in range(2):
        before = memory.export()["rows"].sum(axis=0) if memory.nbytes else 0
        sent = decode(memory.encode([4, 4], array))
        after = memory.export()["rows"][0]

        np.testing.assert_allclose((before + (array - sent).reshape(2, -1).sum(axis=0)), after, atol=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_tensor_that_cannot_be_coded_leaves_memories_as_they_were(poison: float) -> None:
    """One bad step must not poison a sample for ever."""
    residual = ResidualMemory(parse_codec("fp16"), capacity=4)
    residual.encode([1], features(1))
    before = residual.export()["rows"].tobytes()
    bad = features(1)
    bad[0, 0, 0] = poison

    encoded = residual.encode([1], bad)

    assert encoded.fell_back
    np.testing.assert_array_equal(bad, decode(encoded))
    assert before == residual.export()["rows"].tobytes()


def test_half_memories_take_half_the_room() -> None:
    """For datasets whose rows would not fit."""
    full, half = (pair(half=h)[0] for h in (False, True))
    for memory in (full, half):
        memory.encode(range(5), features(5))

    assert full.nbytes == 2 * half.nbytes > 0


def test_memory_grows_with_use_and_stops_at_the_capacity() -> None:
    """A large capacity costs nothing until it is used."""
    sender, _ = pair(capacity=100)
    sizes = []
    for step in range(10):
        sender.encode(range(step * 20, step * 20 + 20), features(20))
        sizes.append(sender.nbytes // (WIDTH * 4))

    assert sizes == [64, 64, 64, 100, 100, 100, 100, 100, 100, 100]


@pytest.mark.parametrize("memory", [ResidualMemory, DeltaMemory])
def test_unsound_combinations_are_refused_all_at_once(memory: type[DeltaMemory]) -> None:
    """An unbiased codec and a capacity of nothing."""
    with pytest.raises(BadDocument, match=r"unbiased.*capacity 0"):
        memory(parse_codec("int4/stochastic"), capacity=0)


@pytest.mark.parametrize(
    ("ids", "array"),
    [
        ([1, 2], features(3)),
        ([[1], [2]], features(2)),
        ([0.5], features(1)),
        ([1], np.zeros((1, 3), np.int64)),
        ([], np.float32(1)[()].reshape(())),
        ([1], np.zeros((1, WIDTH + 1), np.float32)),
    ],
)
@pytest.mark.parametrize("kind", [ResidualMemory, DeltaMemory])
def test_a_batch_that_does_not_fit_is_refused(
    kind: type[DeltaMemory], ids: list[int], array: np.ndarray
) -> None:
    """Ids that do not name the rows, tensors that are no batches of floats, rows of another length."""
    memory = kind(parse_codec("int8"), capacity=4)
    memory.encode([1], features(1))

    with pytest.raises(PartFailed, match="memory: "):
        memory.encode(ids, array)


def test_a_message_out_of_turn_is_refused() -> None:
    """A difference against another state would decode to noise."""
    sender, receiver = pair()
    first, _ = sender.encode([1], features(1))
    second, _ = sender.encode([1], features(1))

    with pytest.raises(FrameCorrupt, match=r"meta\.turn is 1 and must be 0"):
        receiver.decode([1], second)
    receiver.decode([1], first)
    receiver.decode([1], second)


def test_messages_of_another_plan_or_kind_are_refused() -> None:
    """After a reset the other end must reset too; a residual message needs no memory."""
    sender, receiver = pair()
    sender.reset(3)
    encoded, _ = sender.encode([1], features(1))
    residual = ResidualMemory(parse_codec("int4"), capacity=4).encode([1], features(1))

    with pytest.raises(FrameCorrupt, match=r"meta\.plan is 3 and must be 0"):
        receiver.decode([1], encoded)
    with pytest.raises(FrameCorrupt, match=r"meta\.memory is 'residual'"):
        receiver.decode([1], residual)
    receiver.reset(3)
    assert receiver.decode([1], encoded).shape == (1, 4, 6)


def test_ids_from_elsewhere_are_checked_before_decoding() -> None:
    """The fault is the sender's."""
    sender, receiver = pair()
    encoded, _ = sender.encode([1, 2], features(2))

    with pytest.raises(FrameCorrupt, match="do not name 2 samples"):
        receiver.decode([1], encoded)


@pytest.mark.parametrize("kind", [ResidualMemory, DeltaMemory])
def test_a_reset_forgets_rows_and_their_length(kind: type[DeltaMemory]) -> None:
    """The cut moved: samples have another width now."""
    memory = kind(parse_codec("int8"), capacity=4)
    memory.encode([1], features(1))

    memory.reset(1)

    assert memory.nbytes == 0
    memory.encode([1], np.ones((1, 9), np.float32))


@pytest.mark.parametrize("half", [False, True])
def test_an_exported_memory_continues_where_it_was(half: bool) -> None:
    """Both ends from checkpoints give the bytes that they would have given."""
    sender, receiver = pair(half=half)
    encoded, _ = sender.encode([1, 2, 3], features(3))
    receiver.decode([1, 2, 3], encoded)
    again, other = pair(half=half)
    again.load(sender.export())
    other.load(receiver.export())

    expected, _ = sender.encode([3, 1], features(2, 5))
    encoded, _ = again.encode([3, 1], features(2, 5))

    assert [bytes(b) for b in expected.buffers] == [bytes(b) for b in encoded.buffers]
    other.decode([3, 1], encoded)
    assert same_state(again, other)
    assert same_state(again, sender)


def test_an_empty_memory_can_be_loaded() -> None:
    """A checkpoint before the first step."""
    residual = ResidualMemory(parse_codec("int8"), capacity=4)
    residual.load(ResidualMemory(parse_codec("int8"), capacity=4, plan=6).export())

    assert residual.export()["plan"] == 6


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("ids", None, "ids is missing"),
        ("ids", np.array([1, 1]), "not distinct"),
        ("ids", np.arange(9), "more than the capacity"),
        ("rows", np.zeros((2, 3), np.float16), "not one row of float32"),
        ("turn", np.array(0.5), "turn is not a whole number"),
        ("plan", np.array([1]), "plan is not a whole number"),
    ],
)
def test_a_state_that_is_none_is_refused(key: str, value: np.ndarray | None, problem: str) -> None:
    """Checkpoints come from disk: what is wrong is named."""
    memory, _ = pair()
    memory.encode([1, 2], features(2))
    state = {k: v for k, v in {**memory.export(), key: value}.items() if v is not None}

    with pytest.raises(BadDocument, match=problem):
        memory.load(state)
