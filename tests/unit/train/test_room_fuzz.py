from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.graph import dump
from partita.train.messages import TRAINING
from partita.train.settings import Settings
from partita.wire import Encoded as Coded
from partita.wire import Failed, Message, TensorHead, encode

PLANS = [
    "edge[0:4] -raw/raw-> cloud[4:7] | mode=train",
    "edge[0:2] -int8/raw-> cloud[2:5] -raw/int8-> edge[5:7] | K=1 mode=train",
    "edge[0:7] | mode=train", "cloud[0:7]", "edge[0:3] -> mars[3:7]", "edge[0:99999999999]", "", "{}",
]  # fmt: skip
NAMES = ["", "4.weight", "0.bias", "raw", "int8", "topk:2", "../..", "a" * 64, "b" * 256]
counts = st.sampled_from([0, 1, 2, 3, 10**9, 2**63])
names = st.sampled_from(NAMES)
sentences = st.sampled_from([*PLANS, dump(Settings(), indent=None)])
TEXTS = {
    "plan": sentences,
    "settings": sentences,
    "mode": st.sampled_from(["eval", "train"]),
    "what": st.just("state"),
}


def field(of: Any) -> Any:
    """Values of one field of a message."""
    kind = of.type
    if of.name in TEXTS:
        return TEXTS[of.name]
    if isinstance(kind, msgspec.inspect.IntType):
        return counts
    if isinstance(kind, msgspec.inspect.FloatType):
        return st.floats(0, 1e30)
    if isinstance(kind, msgspec.inspect.BoolType):
        return st.booleans()
    if isinstance(kind, msgspec.inspect.VarTupleType):
        whole = isinstance(kind.item_type, msgspec.inspect.IntType)
        return st.lists(counts if whole else names, max_size=3).map(tuple)
    if isinstance(kind, msgspec.inspect.DictType):
        return st.just({})
    return names


def messages() -> Any:
    """Any message of the vocabulary."""
    kinds = []
    for kind in TRAINING.kinds:
        fields = {of.name: field(of) for of in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]
        kinds.append(st.builds(kind, **fields))
    return st.one_of(kinds)


def tensors() -> Any:
    """Tensors under names that mean something and names that do not, whole and broken."""
    arrays = st.sampled_from(
        [
            np.zeros((2, 16), np.float32),
            np.zeros((2, 8), np.float32),
            np.full((2, 16), np.nan, np.float32),
            np.zeros(2, np.int64),
            np.zeros((), np.float64),
            np.arange(40, dtype=np.uint8),
            np.zeros((16, 16), np.float32),
        ]
    ).map(encode)
    broken = st.sampled_from(
        [
            Coded(TensorHead("raw", "float32", (1 << 40,)), ()),
            Coded(TensorHead("raw", "nonsense", (2,)), (b"",)),
            Coded(TensorHead("raw", "float32", (-1,)), (b"",)),
            Coded(TensorHead("int8+lossless", "float32", (4, 4)), (b"x",)),
        ]
    )
    known = [
        "model",
        "loss",
        "label/label",
        "ids",
        "rng",
        "weight/4.weight",
        "optimizer/4.weight/x",
        "relu",
        "getitem",
    ]
    return st.dictionaries(st.sampled_from(known) | names, arrays | broken, max_size=3)


def test_whatever_comes_is_answered_once(make_edge: Callable[..., Any]) -> None:
    """Under its own number, by an answer of the vocabulary; and the room goes on training afterwards."""
    edge = make_edge()
    edge.change(PLANS[0])

    @given(messages(), tensors())
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    def attack(message: Message, values: Any) -> None:
        if type(message).__name__ == "Measure" and message.batch in range(1, 4):  # type: ignore[attr-defined]
            return  # good ones take seconds
        answer, given_back = edge.room.answer(message, values)
        assert TRAINING.encode(answer)
        assert getattr(answer, "request", 0) == getattr(message, "request", 0)
        assert not (isinstance(answer, Failed) and given_back)

    attack()
    edge.version = edge.room._model.force.version + 3
    forgotten = edge.room._model.force
    forgotten.forget()
    edge.change(PLANS[2])
    edge.change(PLANS[0])
    edge.step(0)
