"""A project in the layout of the ONNX Decomposer, with a small model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partita.testing.onnx_models import onnx_model

GENERAL = "; configured by hand\n\n[project]\nproject_name = {name}\nnumber_of_slices = {slices}\n"
OWN = """; configured by hand
[aws]
aws_region = eu-west-3
s3_bucket = {name}-bucket

[project]
onnx_model = {model}.onnx
; one name a line
input_list_start =
    {inputs}
output_list_end =
    {outputs}

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
def original(tmp_path: Path) -> Callable[..., Path]:
    """Write a project; gives its general configuration."""

    def write(
        model: str = "skip", *, slices: int = 3, inputs: str = "x", outputs: str = "y", steps: str = STEPS
    ) -> Path:
        root, name = tmp_path / "decomposer", "demo"
        for folder in ("src", "events", f"models/{name}", f"projects/{name}"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "general_config.ini").write_text(GENERAL.format(name=name, slices=slices))
        home = root / "projects" / name
        text = OWN.format(name=name, model=model, inputs=inputs, outputs=outputs)
        (home / f"{name}_config.ini").write_text(text)
        (home / f"{name}_steps.py").write_text(steps)
        (root / "models" / name / f"{model}.onnx").write_bytes(onnx_model(model).SerializeToString())
        random = np.random.default_rng(0)
        np.save(root / "models" / name / "ready.npy", random.standard_normal((2, 8)))
        return root / "general_config.ini"

    return write
