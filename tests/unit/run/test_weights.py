import numpy as np

from partita.run import state_digest, weights_digest
from partita.run.weights import STATE_MESSAGE_BYTES, in_messages
from partita.testing import TinyModel


def test_the_digest_is_of_names_types_shapes_and_bytes() -> None:
    """Any difference shows; the order of names does not."""
    a = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}

    assert state_digest(a) == state_digest(dict(reversed(a.items())))
    assert state_digest(a) != state_digest({**a, "b": np.zeros((3, 1), np.float32)})
    assert state_digest(a) != state_digest({**a, "b": np.zeros(3, np.int32)})
    assert state_digest(a) == state_digest({**a, "w": np.asfortranarray(a["w"])})


def test_a_scalar_has_a_digest() -> None:
    """Counters of normalisation layers have no dimensions."""
    assert state_digest({"n": np.array(3)}) != state_digest({"n": np.array(4)})


def test_a_part_without_shown_weights_has_no_digest() -> None:
    """What an engine does not show cannot be compared."""
    assert weights_digest(object()) == ""  # type: ignore[arg-type]
    assert weights_digest(TinyModel().part(0, 1)).startswith("sha256:")


def test_a_large_state_is_split_into_messages() -> None:
    """Groups stay under the bound, arrive in order, and only the last is marked."""
    state = {f"w{i}": np.zeros(STATE_MESSAGE_BYTES // 3, np.uint8) for i in range(7)}
    groups = list(in_messages(state))

    assert [last for _, last in groups] == [False, False, True]
    assert [name for group, _ in groups for name in group] == list(state)
    assert list(in_messages({})) == [({}, True)]
