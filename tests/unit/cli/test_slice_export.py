"""`partita slice export`: a PyTorch module as a file that the other verbs take."""

from pathlib import Path
from typing import Any

import pytest

FACTORY = """
import torch

def pair(width=4):
    return torch.nn.Linear(8, width), torch.ones(2, 8)

def bare():
    return torch.nn.Linear(8, 4)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(FACTORY)


def test_a_module_is_exported_compared_and_can_be_cut(partita: Any, tmp_path: Path) -> None:
    outcome = partita("slice", "export", "nets.py:pair?width=3", "-o", "net.onnx")

    assert outcome.code == 0
    assert "batch open (batch)" in outcome.out
    assert "largest difference between ONNX Runtime and the model's own library" in outcome.out
    assert "go on: partita slice check net.onnx" in outcome.out
    assert partita("slice", "check", "net.onnx", "--platform", "aws-lambda").code == 0


def test_json_is_one_document(partita: Any) -> None:
    document = partita(
        "slice", "export", "nets.py:pair", "-o", "net.onnx", "--fixed-batch", "--json"
    ).document

    assert (document["path"], document["inputs"], document["batch"]) == ("net.onnx", ["input"], None)
    assert document["bytes"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nets.py:pair", "-o", "net.bin"], "does not end with .onnx"),
        (["nets.py:pair", "-o", "no/net.onnx"], "is not there"),
        (["nets.py:nothing", "-o", "net.onnx"], "nothing"),
        (["nowhere.py:pair", "-o", "net.onnx"], "nowhere"),
        (["nets.py:bare", "-o", "net.onnx"], "without example inputs"),
        (["net.onnx", "-o", "other.onnx"], "is an ONNX file already"),
        (["zoo:nothing", "-o", "net.onnx"], "nothing"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence_and_leaves_nothing(
    partita: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    outcome = partita("slice", "export", *words)

    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".onnx", ".bin", ".data")]
