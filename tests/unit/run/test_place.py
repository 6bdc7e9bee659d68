import numpy as np
import pytest

from partita.run import Place
from partita.testing import TinyModel
from partita.wire import (
    Backward,
    Drop,
    Encoded,
    Failed,
    Fetch,
    Forward,
    Load,
    Loaded,
    Message,
    Ping,
    Result,
    State,
    decode,
    encode,
)


@pytest.fixture
def place(tiny: TinyModel) -> Place:
    return Place({"tiny": lambda: tiny, "other": lambda: TinyModel(2)})


def load(tiny: TinyModel, /, **changes: object) -> Load:
    fields = {
        "request": 1,
        "part": "p",
        "model": "tiny",
        "digest": tiny.chain.digest,
        "start": 0,
        "stop": 3,
        "mode": "eval",
    }
    return Load(**{**fields, **changes})


def code(answer: tuple[Message, object]) -> str:
    assert isinstance(answer[0], Failed), answer
    return answer[0].code


def sent(rows: int = 2) -> dict[str, Encoded]:
    return {"x": encode(np.ones((rows, 8)))}


def test_a_part_is_loaded_and_runs(place: Place, tiny: TinyModel) -> None:
    """A loaded part answers forward with its outputs and its time."""
    loaded, _ = place.answer(load(tiny), {})
    result, tensors = place.answer(Forward(2, "p"), sent())

    assert isinstance(loaded, Loaded)
    assert (loaded.inputs, loaded.outputs) == (("x",), ("t0", "t2"))
    assert isinstance(result, Result)
    assert result.seconds > 0
    assert decode(tensors["t2"]).shape == (2, 8)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "third"}, "not-found"),
        ({"model": "other"}, "digest-mismatch"),
        ({"digest": "sha256:other"}, "digest-mismatch"),
        ({"start": 2, "stop": 99}, "illegal-cut"),
        ({"options": {"forward": "int9"}}, "bad-document"),
    ],
)
def test_a_load_that_cannot_be_is_refused(
    place: Place, tiny: TinyModel, changes: dict[str, object], expected: str
) -> None:
    """Each wrong field has its own error."""
    assert code(place.answer(load(tiny, **changes), {})) == expected


@pytest.mark.parametrize(
    ("message", "tensors", "expected"),
    [
        (Forward(1, "nobody"), {}, "not-found"),
        (Forward(1, "p"), {}, "bad-document"),
        (Forward(1, "p"), {"x": encode(np.ones((2, 3)))}, "part-failed"),
        (Backward(1, "p", 7), {}, "not-found"),
        (State(1, "p", True), {"nonsense": encode(np.ones(1))}, "bad-document"),
        (Ping(1), {}, "protocol-violation"),
    ],
)
def test_bad_work_is_an_answer_and_the_place_lives_on(
    place: Place, tiny: TinyModel, message: Message, tensors: dict[str, Encoded], expected: str
) -> None:
    """After each refusal the next good request is answered."""
    place.answer(load(tiny), {})

    assert code(place.answer(message, tensors)) == expected
    assert isinstance(place.answer(Forward(2, "p"), sent())[0], Result)


def test_a_visitor_holds_a_bounded_number_of_parts_and_steps(place: Place, tiny: TinyModel) -> None:
    """Too many parts, and too many steps without their backward, are refused."""
    for index in range(8):
        place.answer(load(tiny, part=f"p{index}"), {})
    for step in range(64):
        place.answer(Forward(1, "p0", step, True), sent())

    assert code(place.answer(load(tiny, part="p9"), {})) == "part-failed"
    assert code(place.answer(Forward(1, "p0", 64, True), sent())) == "part-failed"


def test_a_dropped_part_is_gone(place: Place, tiny: TinyModel) -> None:
    """Dropping twice does no harm; using what was dropped does."""
    place.answer(load(tiny), {})
    place.answer(Drop(2, "p"), {})

    assert isinstance(place.answer(Drop(3, "p"), {})[0], Result)
    assert code(place.answer(Forward(4, "p"), sent())) == "not-found"


def test_a_state_arrives_in_several_messages(place: Place, tiny: TinyModel) -> None:
    """Nothing changes before the last one; what was sent is what is fetched."""
    place.answer(load(tiny), {})
    before = {name: value.copy() for name, value in tiny.part(0, 3).state().items()}
    half = encode(np.full((8, 8), 0.5))
    place.answer(State(2, "p", False), {"w0": half, "w1": half})
    assert (tiny.weights["w0"] == before["w0"]).all()

    place.answer(State(3, "p", True), {"w2": half})
    _, tensors = place.answer(Fetch(4, "p", "state"), {})

    assert set(tensors) == {"w0", "w1", "w2"}
    assert all((decode(tensor) == 0.5).all() for tensor in tensors.values())


def test_a_state_holds_no_more_than_the_part_has(place: Place, tiny: TinyModel) -> None:
    """A weight twice, one of another shape or one too few is refused, and the weights stay as they were."""
    place.answer(load(tiny), {})
    before = tiny.weights["w0"].copy()
    good = {"w0": encode(np.ones((8, 8)))}
    place.answer(State(2, "p", False), good)

    assert code(place.answer(State(3, "p", False), good)) == "bad-document"
    assert code(place.answer(State(4, "p", False), {"w1": encode(np.ones((9, 8)))})) == "bad-document"
    assert code(place.answer(State(5, "p", True), {"w1": encode(np.ones((8, 8)))})) == "bad-document"
    assert (tiny.weights["w0"] == before).all()


def test_a_part_that_does_not_train_says_so(tiny: TinyModel) -> None:
    """Engines without gradients refuse training, state and gradients."""

    class Frozen:
        chain = tiny.chain

        def part(self, start: int, stop: int) -> object:
            class Only:
                inputs, outputs = ("x",), ("t0",)
                forward = tiny.part(start, stop).forward

            return Only()

    place = Place({"tiny": Frozen})  # type: ignore[dict-item]
    place.answer(load(tiny), {})

    assert code(place.answer(Fetch(1, "p", "state"), {})) == "part-failed"
    assert isinstance(place.answer(Forward(2, "p"), sent())[0], Result)


def test_one_model_on_offer_is_the_one_that_is_meant(tiny: TinyModel) -> None:
    """The same file may have another path at the visitor's: the digest decides."""
    place = Place({"tiny": lambda: tiny})

    assert isinstance(place.answer(load(tiny, model="/elsewhere/tiny.onnx"), {})[0], Loaded)
