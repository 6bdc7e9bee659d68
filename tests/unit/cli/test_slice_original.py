"""The verbs of the ONNX Decomposer, typed in its project's folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partita.testing.onnx_models import write_onnx

GENERAL = "[project]\nproject_name = demo\nnumber_of_slices = 3\n"
OWN = """
[project]
onnx_model = skip.onnx
input_list_start =
    x
output_list_end =
    y

[input]
input = photo.png
preprocessed_input = ready.npy
"""
STEPS = """
import numpy
from src import onnxmanager
from src.jsonmanager import json_manager

def get_preprocessed_input():
    return numpy.load(onnxmanager.INPUT_IMAGE_PATH).astype("float32")

def get_result():
    return json_manager.get_payload_data("y")[0][0]
"""


@pytest.fixture
def project(partita: Any, tmp_path: Path) -> Path:
    """A project, with its folder as the current one."""
    home, models = tmp_path / "projects" / "demo", tmp_path / "models" / "demo"
    for folder in (home, models, tmp_path / "src", tmp_path / "events"):
        folder.mkdir(parents=True)
    (tmp_path / "general_config.ini").write_text(GENERAL)
    (home / "demo_config.ini").write_text(OWN)
    (home / "demo_steps.py").write_text(STEPS)
    write_onnx("skip", models)
    np.save(models / "ready.npy", np.random.default_rng(0).standard_normal((2, 8)))
    return tmp_path


@pytest.mark.usefixtures("project")
def test_basic_cuts_and_runs(partita: Any) -> None:
    outcome = partita("slice", "basic")

    assert outcome.code == 0
    assert "demo in 3 slices" in outcome.out
    assert "RESULTS:" in outcome.out


@pytest.mark.usefixtures("project")
def test_decomposition_then_inference_is_basic(partita: Any) -> None:
    at_once = partita("slice", "basic", "--json").document
    cut = partita("slice", "decomposition", "--json").document
    run = partita("slice", "inference", "--json").document

    assert len(cut["slices"]) == 3
    assert run["result"] == at_once["result"]


@pytest.mark.usefixtures("project")
def test_payloads_and_sizes_are_told(partita: Any) -> None:
    layers = partita("slice", "payload_per_layer", "--json").document["payloads"]
    partita("slice", "decomposition")
    slices = partita("slice", "payload_per_slice", "--json").document["payloads"]
    sizes = partita("slice", "max_slice_size", "--json").document["slices"]

    assert len(layers) >= 5
    assert max(layers, key=lambda one: one["bytes"]) == layers[0]
    assert len(slices) == 3
    assert sizes[0]["bytes"] == max(size["bytes"] for size in sizes)


@pytest.mark.usefixtures("project")
def test_memory_is_measured_for_every_slice_and_the_whole(partita: Any) -> None:
    partita("slice", "decomposition")
    memory = partita("slice", "memory", "--json").document["memory"]

    assert set(memory) == {"slice 0", "slice 1", "slice 2", "the model whole"}
    assert all(use["peak"] > 1 << 20 for use in memory.values())


def test_the_project_is_found_from_its_src_and_by_its_configuration(
    partita: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "src")
    assert partita("slice", "decomposition").code == 0
    monkeypatch.chdir(project / "events")
    assert partita("slice", "max_slice_size", "--config", str(project / "general_config.ini")).code == 0


@pytest.mark.parametrize("verb", ["inference", "payload_per_slice", "max_slice_size"])
@pytest.mark.usefixtures("project")
def test_what_needs_slices_says_so_before_they_are_cut(partita: Any, verb: str) -> None:
    outcome = partita("slice", verb)

    assert outcome.code == 2
    assert "fix:" in outcome.err


@pytest.mark.parametrize("verb", ["basic", "decomposition", "inference", "memory"])
def test_without_a_project_there_is_a_sentence(partita: Any, verb: str) -> None:
    outcome = partita("slice", verb)

    assert outcome.code == 2
    assert "general_config.ini" in outcome.err


def test_a_project_with_a_broken_configuration_is_a_sentence(partita: Any, project: Path) -> None:
    (project / "general_config.ini").write_text("[project]\nproject_name = demo\nnumber_of_slices = some\n")
    outcome = partita("slice", "basic")

    assert outcome.code == 2
    assert "number_of_slices" in outcome.err
