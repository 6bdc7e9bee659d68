"""The two INI files of a project."""

from collections.abc import Callable
from pathlib import Path

import pytest

from partita.errors import BadDocument, NotFound
from partita.slice.original import find_config, read_project

Write = Callable[..., Path]


def test_a_project_is_read_from_both_files(original: Write) -> None:
    """Paths are absolute, names keep their colons."""
    config = original(inputs="image_arrays:0", outputs="detections\n    detections:1")
    project = read_project(config)

    assert (project.name, project.slices) == ("demo", 3)
    assert (project.inputs, project.outputs) == (("image_arrays:0",), ("detections", "detections:1"))
    assert (project.region, project.bucket) == ("eu-west-3", "demo-bucket")
    assert project.model == config.parent / "models/demo/skip.onnx"
    assert project.preprocessed_input == config.parent / "models/demo/ready.npy"
    assert project.input == config.parent / "models/demo/photo.png"


def test_an_older_project_keeps_its_number_of_slices_and_its_image_elsewhere(original: Write) -> None:
    """[number_of_slices] and input_image, both in its own file."""
    config = original()
    config.write_text("[project]\nproject_name = demo\n")
    own = config.parent / "projects/demo/demo_config.ini"
    own.write_text(
        "[number_of_slices]\nnumber_of_slices = 5\n[project]\nproject_name = demo\nonnx_model = skip.onnx\n"
        "input_image = img.png\n# a comment\n[aws]\n"
    )
    project = read_project(config)

    assert project.slices == 5
    assert project.preprocessed_input == config.parent / "models/demo/img.png"
    assert (project.inputs, project.outputs, project.region) == ((), (), "")


def test_all_wrong_fields_of_both_files_are_told_at_once(original: Write) -> None:
    """By file, section and key."""
    config = original()
    config.write_text("[project]\nproject_name = demo\nnumber_of_slices = many\n")
    own = config.parent / "projects/demo/demo_config.ini"
    own.write_text(
        "[project]\nproject_name = other\ninput_list_start =\n  a\n  a\n[input]\ninput = ../../secret\n"
    )

    with pytest.raises(BadDocument) as caught:
        read_project(config)

    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    assert "general_config.ini: [project] number_of_slices must be a whole number above 0, not 'many'" in text
    assert "demo_config.ini: [project] project_name is 'other'" in text
    assert "demo_config.ini: [project] onnx_model is missing" in text
    assert "demo_config.ini: [project] input_list_start names 'a' twice" in text
    assert "demo_config.ini: [input] input '../../secret' is no file inside" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "project_name is missing"),
        ("no section", "no section headers"),
        ("[project]\nproject_name = a\nproject_name = b\n", "already exists"),
        ("[project]\nproject_name = ../up\n", "is no name of a folder"),
        (
            "[project]\nproject_name = absent\nnumber_of_slices = 2\n",
            "there is no projects/absent/absent_config.ini",
        ),
        ("[project]\nproject_name = demo\nnumber_of_slices = 0\n", "above 0, not '0'"),
    ],
)
def test_a_broken_general_configuration_is_told_by_its_name(original: Write, text: str, problem: str) -> None:
    """Never with a traceback."""
    config = original()
    config.write_text(text)

    with pytest.raises(BadDocument, match=problem) as caught:
        read_project(config)
    assert "general_config.ini" in str(caught.value)


def test_bytes_that_are_no_text_are_refused(original: Write) -> None:
    """As any other broken file."""
    config = original()
    config.write_bytes(b"[project]\nproject_name = \xff\xfe")

    with pytest.raises(BadDocument, match=r"general_config\.ini: .*utf-8"):
        read_project(config)


def test_a_configuration_is_found_from_inside_the_project(original: Write) -> None:
    """The original is started in `src`."""
    config = original()

    assert find_config(config.parent / "src") == config
    assert find_config(config.parent) == config


def test_no_configuration_is_said_with_what_to_do(tmp_path: Path) -> None:
    """Here and for a name."""
    with pytest.raises(NotFound, match=r"there is no general_config\.ini in .* or above it"):
        find_config(tmp_path)
    with pytest.raises(NotFound, match="there is no configuration"):
        read_project(tmp_path / "general_config.ini")


def test_the_oldest_general_file_only_names_the_project(original: Write) -> None:
    """It had another name, and the slices stood in the project's own file."""
    config = original()
    old = config.with_name("projectname_config.ini")
    config.rename(old)
    old.write_text("[project]\nproject_name = demo\n")
    own = config.parent / "projects/demo/demo_config.ini"
    own.write_text(own.read_text() + "\n[number_of_slices]\nnumber_of_slices = 2\n")

    assert read_project(find_config(config.parent / "src")).slices == 2
