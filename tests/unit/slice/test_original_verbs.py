"""The original's commands on a project."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from partita.errors import BadDocument, BadReference, NotFound, PlanMismatch
from partita.slice import read_manifest
from partita.slice.original import Project, read_project
from partita.slice.original_verbs import basic, decomposition, inference, max_slice_size

Write = Callable[..., Path]


def whole(project: Project) -> np.ndarray:
    """What the model gives uncut for the project's input."""
    value = np.load(project.root / "models/demo/ready.npy").astype("float32")
    answer: np.ndarray = ort.InferenceSession(project.model).run(["y"], {"x": value})[0]
    return answer


def test_basic_gives_what_the_model_gives_whole(original: Write) -> None:
    """The steps read the output by its name."""
    project = read_project(original(slices=3))
    cut, run = basic(project)

    assert len(cut.manifest.files) == 3
    assert read_manifest(project.folder) == cut.manifest
    assert np.allclose(run.outputs["y"], whole(project), rtol=1e-6)
    assert run.result == run.outputs["y"].tolist()[0][0]


def test_the_first_event_is_what_the_original_writes(original: Write) -> None:
    """Which slice is next, and what every slice reads and makes."""
    project = read_project(original(slices=2))
    cut = decomposition(project)
    event = json.loads(project.event.read_text())

    assert list(event) == ["keep_going", "number_of_slices", "next_slice_index", "inputs", "outputs"]
    assert (event["keep_going"], event["number_of_slices"], event["next_slice_index"]) == (True, 2, 0)
    assert event["inputs"][0] == ["x"]
    assert event["outputs"][-1] == ["y"]
    assert event["inputs"][1] == list(cut.manifest.files[1].inputs)


def test_older_slices_of_the_original_are_moved_aside(original: Write) -> None:
    """Never deleted; a second time the place must be free."""
    project = read_project(original(slices=2))
    project.folder.mkdir()
    (project.folder / "demo_slice00.onnx").write_text("old")
    aside = project.folder.with_name("slices-original")

    assert decomposition(project).moved == aside
    assert (aside / "demo_slice00.onnx").read_text() == "old"
    assert decomposition(project).moved is None
    (project.folder / "manifest.json").unlink()
    for path in project.folder.iterdir():
        path.unlink()
    (project.folder / "demo_slice00.onnx").write_text("new")
    with pytest.raises(BadReference, match="slices-original is taken"):
        decomposition(project)


def test_a_folder_with_anything_else_is_left_alone(original: Write) -> None:
    """Nothing of it is replaced or moved."""
    project = read_project(original())
    project.folder.mkdir()
    (project.folder / "notes.txt").write_text("mine")

    with pytest.raises(BadReference, match="holds other files"):
        decomposition(project)
    assert [path.name for path in project.folder.iterdir()] == ["notes.txt"]


def test_more_slices_than_places_are_refused_with_the_most(original: Write) -> None:
    """`skip` has six nodes."""
    project = read_project(original(slices=40))

    with pytest.raises(BadDocument, match="number_of_slices is 40, more than the model has places") as caught:
        decomposition(project)
    assert caught.value.fix == "set it to at most 6"
    assert not project.folder.exists()


def test_a_model_with_too_few_fused_nodes_is_cut_as_it_is(original: Write) -> None:
    """All six nodes alone, with a note."""
    cut = decomposition(read_project(original(slices=6)))

    assert len(cut.manifest.files) == 6
    assert cut.manifest.plan.preparation.optimize == "none"
    assert "not optimised before the cut" in cut.notes[0]


def test_an_inference_needs_slices_as_many_as_configured(original: Write) -> None:
    """Both refusals say which command to run first."""
    config = original(slices=2)
    with pytest.raises(NotFound, match="there are no slices") as caught:
        inference(read_project(config))
    assert "decomposition" in caught.value.fix
    decomposition(read_project(config))
    config.write_text(config.read_text().replace("= 2", "= 3"))
    with pytest.raises(PlanMismatch, match=r"holds 2 slices, and general_config\.ini says 3"):
        inference(read_project(config))


@pytest.mark.parametrize(
    "made", ["{'x': v, 'late': v + 1}", "[v, v + 1]", "(v, v + 1)"], ids=["dict", "list", "tuple"]
)
def test_several_inputs_come_as_a_dict_or_in_their_order(original: Write, made: str) -> None:
    """The original takes one only."""
    steps = (
        "import numpy\nfrom src.jsonmanager import json_manager\n"
        f"def get_preprocessed_input():\n    v = numpy.ones((2, 8), 'float32')\n    return {made}\n"
        "def get_result():\n    return json_manager.get_payload_data('y')\n"
    )
    project = read_project(original("late_input", slices=2, inputs="x\n    late", steps=steps))
    ones = np.ones((2, 8), np.float32)
    expected = ort.InferenceSession(project.model).run(["y"], {"x": ones, "late": ones + 1})[0]

    assert np.allclose(basic(project)[1].result, expected, rtol=1e-6)


def test_one_value_for_two_inputs_is_refused(original: Write) -> None:
    """With what to return instead."""
    project = read_project(original("late_input", slices=2, inputs="", outputs=""))
    with pytest.raises(
        BadReference, match=r"get_preprocessed_input\(\) gave one value for 2 inputs"
    ) as caught:
        basic(project)
    assert caught.value.fix == "return a dict with an array for each of x, late"


def test_the_heaviest_slice_comes_first(original: Write) -> None:
    """With the bytes it takes on disk."""
    project = read_project(original(slices=3))
    files = decomposition(project).manifest.files
    sizes = max_slice_size(project)

    assert sizes[0].bytes == max(file.bytes for file in files)
    assert [s.bytes for s in sizes] == sorted((f.bytes for f in files), reverse=True)
    on_disk = sum(path.stat().st_size for path in project.folder.iterdir() if path.name != "manifest.json")
    assert sum(size.bytes for size in sizes) == on_disk
