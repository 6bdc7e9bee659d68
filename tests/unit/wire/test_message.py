import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import FrameCorrupt, FrameTooLarge, ProtocolViolation, SessionMisused
from partita.wire import message as module
from partita.wire import parse_codec
from partita.wire.limits import Limits
from partita.wire.message import (
    SESSION,
    WORK,
    Ack,
    Drop,
    Failed,
    Forward,
    Hello,
    Load,
    Message,
    Result,
    TensorHeader,
    slice_body,
)

EXAMPLES = [
    Hello(1, "0" * 32, True, 5, {0: 10, 1: 20}),
    Ack(3, 100, 0.5),
    Load(1, "p", "torchvision:vgg16", "sha256:00", 0, 5, "train", {"threads": "1"}),
    Failed(1, "part-failed", "it broke", "mend it"),
    Result(7, 0.25),
]


def header_of(array, name="x"):
    return TensorHeader(name, parse_codec("raw").encode(array).head)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_round_trip(message):
    """A message is what it was after encoding and decoding."""
    vocabulary = SESSION if type(message) in SESSION.kinds else WORK

    assert vocabulary.decode(vocabulary.encode(message)) == (message, ())


def test_every_message_is_frozen_and_listed():
    """All kinds are immutable and belong to one of the two vocabularies."""
    kinds = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Message)}

    assert kinds - {Message} == set(SESSION.kinds) | set(WORK.kinds)
    assert all(kind.__struct_config__.frozen for kind in kinds)


def test_an_unknown_kind_is_refused_by_name():
    """The refusal names the kind and the ones that are known."""
    data = msgspec.msgpack.encode(({"kind": "explode"}, []))
    with pytest.raises(ProtocolViolation, match=r"'explode' is unknown here") as caught:
        WORK.decode(data)

    assert "backward" in caught.value.fix


def test_a_wrong_field_is_refused_by_name():
    """A known kind with a wrong field says which."""
    data = msgspec.msgpack.encode(({"kind": "drop", "request": -1, "part": "p"}, []))
    with pytest.raises(ProtocolViolation, match=r"'drop'.*request"):
        WORK.decode(data)


def test_a_capability_adds_its_kinds():
    """An extended vocabulary carries a new kind; the plain one says that it does not know it."""

    class Train(Message, frozen=True):
        step: int

    wide = WORK.extended(Train)

    assert wide.decode(wide.encode(Train(3)))[0] == Train(3)
    with pytest.raises(SessionMisused, match="Train"):
        WORK.encode(Train(3))
    with pytest.raises(ProtocolViolation, match="'train' is unknown"):
        WORK.decode(wide.encode(Train(3)))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    """Any bytes decode to a message or raise the ProtocolViolation family."""
    try:
        message, _ = WORK.decode(noise)
    except ProtocolViolation:
        return

    assert type(message) in WORK.kinds


@given(st.sampled_from(EXAMPLES), st.data())
def test_mutations_are_refused_or_read(message, data):
    """A changed header never raises anything else either."""
    vocabulary = SESSION if type(message) in SESSION.kinds else WORK
    header = bytearray(vocabulary.encode(message, [header_of(np.zeros(3, np.float32))]))
    header[data.draw(st.integers(0, len(header) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        vocabulary.decode(header)
    except ProtocolViolation as error:
        assert error.fix


def test_deep_nesting_does_not_exhaust_the_stack():
    """A header of a thousand nested lists is refused like any other."""
    with pytest.raises(ProtocolViolation):
        WORK.decode(b"\x91" * 100_000)


def test_tensors_are_views_of_the_body():
    """Slicing copies nothing and gives each tensor its own bytes."""
    arrays = {"a": np.arange(4, dtype=np.float32), "b": np.arange(3, dtype=np.int64)}
    body = memoryview(b"".join(array.tobytes() for array in arrays.values()))
    tensors = slice_body([header_of(array, name) for name, array in arrays.items()], body, Limits())

    assert all(tensors[name].buffers[0].obj is body.obj for name in arrays)
    assert bytes(tensors["b"].buffers[0]) == arrays["b"].tobytes()


@pytest.mark.parametrize("length", [15, 17])
def test_tensors_must_tile_the_body(length):
    """A byte too few or too many is a header that belongs to another body."""
    with pytest.raises(FrameCorrupt, match=f"16 bytes but the body has {length}"):
        slice_body([header_of(np.zeros(4, np.float32))], memoryview(bytes(length)), Limits())


def test_a_name_twice_is_refused():
    """Two tensors of one name would overwrite each other."""
    twice = [header_of(np.zeros(1, np.float32))] * 2
    with pytest.raises(ProtocolViolation, match="'x' appears twice"):
        slice_body(twice, memoryview(bytes(8)), Limits())


def test_too_many_tensors_are_refused():
    """The count is bounded before anything is done with them."""
    with pytest.raises(FrameTooLarge, match="3 in one message, at most 2"):
        slice_body(
            [header_of(np.zeros(1), str(i)) for i in range(3)], memoryview(bytes(24)), Limits(max_tensors=2)
        )


def test_too_many_dimensions_are_refused():
    """So is the depth of a shape."""
    with pytest.raises(FrameTooLarge, match="'x': 3 dimensions"):
        slice_body([header_of(np.zeros((1, 1, 1)))], memoryview(bytes(8)), Limits(max_dims=2))


def test_a_mislabelled_dtype_is_refused():
    """A dtype nobody knows is named."""
    head = msgspec.structs.replace(header_of(np.zeros(1)).head, dtype="object")
    with pytest.raises(FrameCorrupt, match="object"):
        slice_body([TensorHeader("x", head)], memoryview(bytes(8)), Limits())


def test_kinds_have_short_names():
    """A kind on the wire is its class name in kebab-case."""
    data = msgspec.msgpack.decode(WORK.encode(Forward(1, "p")))

    assert data[0]["kind"] == "forward"
    assert msgspec.msgpack.decode(WORK.encode(Drop(1, "p")))[0]["kind"] == "drop"


def test_lossless_tensors_say_their_lengths():
    """Where the length of a buffer depends on its content, the head's own word for it is taken and checked."""
    encoded = parse_codec("raw+lossless").encode(np.zeros(1000, np.float32))
    body = memoryview(b"".join(encoded.buffers))
    tensors = slice_body([TensorHeader("x", encoded.head)], body, Limits())

    assert [len(buffer) for buffer in tensors["x"].buffers] == [len(buffer) for buffer in encoded.buffers]
