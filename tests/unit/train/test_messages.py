"""The messages of a training, as the wire carries them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from partita.errors import ProtocolViolation
from partita.train import messages
from partita.train.messages import TRAINING, Begin, Begun, Save, Slopes, Step
from partita.wire import WORK, Message

KINDS = [getattr(messages, name) for name in messages.__all__ if name != "TRAINING"]
WORDS: dict[Any, Any] = {int: 7, str: "word", bool: True, float: 0.5}


def value_of(kind: Any) -> Any:
    """Something of a field's type."""
    if str(kind).startswith("tuple"):
        return (value_of(get_args(kind)[0]),)
    while get_args(kind):
        kind = get_args(kind)[0]
    return WORDS[kind]


def example(kind: type[Message]) -> Message:
    return kind(**{each.name: value_of(each.type) for each in msgspec.structs.fields(kind)})


def test_the_vocabulary_is_what_the_module_lists() -> None:
    """Beside those of all work."""
    assert set(TRAINING.kinds) == {*WORK.kinds, *KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_comes_back_as_it_went(kind: type[Message]) -> None:
    message = example(kind)

    assert TRAINING.decode(TRAINING.encode(message)) == (message, ())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_can_be_answered(kind: type[Message]) -> None:
    """It has a number."""
    assert "request" in kind.__struct_fields__


@pytest.mark.parametrize(
    "message",
    [
        Step(1, -1, 0, 0.1),
        Step(1, 1, -5, 0.1),
        Save(-1, 0),
        Begun(1, True, steps=(-3,)),
        Begin(1, "r" * 100_000, "m", "d", "s"),
        Slopes(1, 0, seconds=-1.0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_numbers_and_words_out_of_bounds_are_refused(message: Message) -> None:
    """Whoever reads decides, whatever the other side was willing to write."""
    with pytest.raises(ProtocolViolation) as refusal:
        TRAINING.decode(TRAINING.encode(message))

    assert refusal.value.fix
