"""A project's model between its own start and end, in an exact number of slices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, NotFound
from partita.graph import Chain, DType, Stage, TensorSpec
from partita.slice.original import read_project
from partita.slice.original_model import exact_cuts, most_slices, open_model, sizes_of

Write = Callable[..., Path]


def chain(stages: int, blocked: frozenset[int] = frozenset()) -> Chain:
    """Stages in a row."""
    return Chain(
        name="row",
        engine="onnx",
        stages=tuple(Stage(f"s{i}", (f"t{i}",), (f"t{i + 1}",)) for i in range(stages)),
        tensors={f"t{i}": TensorSpec(f"t{i}", DType.FLOAT32, ("batch", 4)) for i in range(stages + 1)},
        inputs=("t0",),
        outputs=(f"t{stages}",),
        blocked=dict.fromkeys(blocked, "not here"),
    )


@given(st.integers(1, 24), st.frozensets(st.integers(1, 23)), st.integers(1, 24))
def test_the_number_of_slices_is_exact_or_refused(stages: int, blocked: frozenset[int], slices: int) -> None:
    """Only where there are too few places; cuts rise and are legal."""
    model = chain(stages, blocked)
    cuts = exact_cuts(model, slices)

    if slices > most_slices(model):
        assert cuts is None
        return
    assert cuts is not None
    assert len(cuts) == slices - 1
    assert all(model.cut(position).legal for position in cuts)
    assert list(cuts) == sorted(set(cuts))
    assert set(cuts) <= set(range(1, stages))


def test_slices_have_as_many_stages_each_where_that_is_possible() -> None:
    """The nearest legal place otherwise."""
    assert exact_cuts(chain(12), 4) == (3, 6, 9)
    assert exact_cuts(chain(12, frozenset({6, 7})), 2) == (5,)
    assert exact_cuts(chain(6, frozenset({1, 2, 3})), 3) == (4, 5)


def test_empty_lists_take_the_models_own_names(original: Write) -> None:
    """In the model's order."""
    model = open_model(read_project(original("late_input", inputs="", outputs="")))

    assert (model.inputs, model.outputs) == (("x", "late"), ("y",))


def test_the_projects_order_counts(original: Write) -> None:
    """It names the inputs as its steps give them."""
    model = open_model(read_project(original("late_input", inputs="late\n    x", outputs="y")))

    assert model.inputs == ("late", "x")


def test_a_start_and_an_end_inside_the_model_cut_the_rest_off(original: Write) -> None:
    """What is left computes what the model computes there."""
    project = read_project(original("skip", inputs="r", outputs="e"))
    model = open_model(project)
    values = {"r": np.random.default_rng(0).standard_normal((2, 8)).astype("float32")}

    assert (model.chain.inputs, model.chain.outputs) == (("r",), ("e",))
    assert "cut to the part from r to e: demo_config.ini says so" in model.notes
    whole = ort.InferenceSession(model.path).run(["e"], values)
    assert np.array_equal(model.model.whole(values)["e"], whole[0])


@pytest.mark.parametrize(
    ("inputs", "outputs", "problem"),
    [
        ("rr", "y", "input_list_start: the model has no tensor 'rr' .near: r"),
        ("x", "y\n    z", "output_list_end: the model has no tensor 'z'"),
        ("c", "y", "the part up to y cannot be cut out there alone: 'r' would be needed too"),
        ("e", "a", "output_list_end a lies before input_list_start e"),
    ],
)
def test_names_that_cannot_be_a_start_or_an_end_are_refused(
    original: Write, inputs: str, outputs: str, problem: str
) -> None:
    """By section and key."""
    with pytest.raises(BadDocument, match=r"demo_config\.ini: \[project\] .*" + problem):
        open_model(read_project(original("skip", inputs=inputs, outputs=outputs)))


def test_an_input_that_the_project_forgets_is_named(original: Write) -> None:
    """The model reads it."""
    with pytest.raises(BadDocument, match="input_list_start lacks 'late', which the model reads"):
        open_model(read_project(original("late_input")))


def test_a_model_that_is_not_there_is_said(original: Write) -> None:
    """With the key that names it."""
    project = read_project(original())
    project.model.unlink()

    with pytest.raises(NotFound, match="has no model") as caught:
        open_model(project)
    assert "[project] onnx_model in demo_config.ini" in caught.value.fix


def test_open_sizes_come_from_the_values() -> None:
    """By the names of the dimensions."""
    specs = {"x": TensorSpec("x", DType.FLOAT32, ("batch", 4, "seq"))}

    assert sizes_of(specs, {"x": np.ones((2, 4, 7)), "other": np.ones(3)}) == {"batch": 2, "seq": 7}
