"""`partita slice run`, here in one process and rehearsed, as one types it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine import largest_difference
from partita.engine.onnx_run import OnnxPart
from partita.testing.onnx_models import filled

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 64] early, float[batch, 8] y)
    <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        early = MatMul(x, w1)
        c = MatMul(early, w2)
        d = Tanh(c)
        y = MatMul(d, w3)
    }"""
HOOKS = """
from pathlib import Path

import numpy as np

def preprocess(given):
    return {"x": np.full((2, 8), float(Path(given).read_text()), np.float32)}

def postprocess(outputs):
    return f"the answer is {outputs['y'].shape}"
"""


@pytest.fixture(autouse=True)
def slices(partita: Any, tmp_path: Path) -> Path:
    (tmp_path / "wide.onnx").write_bytes(filled(onnx.parser.parse_model(WIDE)).SerializeToString())
    words = ("--platform", "aws-lambda", "--slices", "2", "--optimize", "none")
    assert partita("slice", "cut", "wide.onnx", *words, "-o", "slices").code == 0
    return tmp_path / "slices"


def given(folder: Path) -> dict[str, Any]:
    values = {"x": np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32)}
    np.savez(folder / "in.npz", **values)
    return values


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as held:
        return dict(held)


def whole(folder: Path, values: Any) -> Any:
    return OnnxPart.load(folder / "wide.onnx").forward(values)


@pytest.mark.parametrize("how", [(), ("--rehearse",)])
def test_outputs_are_written_and_are_those_of_the_model(
    partita: Any, tmp_path: Path, how: tuple[str, ...]
) -> None:
    values = given(tmp_path)
    outcome = partita("slice", "run", "slices", "-i", "in.npz", "-o", "out.npz", "--runs", "1", *how)

    assert outcome.code == 0
    assert "outputs written to out.npz" in outcome.out
    assert largest_difference(arrays(tmp_path / "out.npz"), whole(tmp_path, values)) == 0


def test_without_inputs_they_are_made_from_the_seed(partita: Any, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert partita("slice", "run", "slices", "--seed", seed, "-o", f"{name}.npz", "--runs", "1").code == 0
    same, again, other = (arrays(tmp_path / f"{name}.npz") for name in "abc")

    assert largest_difference(same, again) == 0
    assert largest_difference(same, other) > 0


def test_the_model_is_not_needed(partita: Any, tmp_path: Path) -> None:
    (tmp_path / "wide.onnx").unlink()

    assert partita("slice", "run", "slices", "--runs", "1").code == 0


def test_json_is_one_document(partita: Any) -> None:
    here = partita("slice", "run", "slices", "--runs", "2", "--json").document
    there = partita("slice", "run", "slices", "--runs", "1", "--rehearse", "--json").document

    assert len(here["seconds"]) == len(here["bytes_in"]) == 2
    assert there["platform"] == "aws-lambda"
    assert [piece["index"] for piece in there["slices"]] == [0, 1]
    assert there["peak"] > 1 << 20


def test_requests_at_the_same_time_are_counted(partita: Any) -> None:
    words = ("--runs", "0", "--rehearse", "--concurrency", "3", "--json")

    assert partita("slice", "run", "slices", *words).document["requests"] == 3


def test_hooks_come_before_and_after(partita: Any, tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(HOOKS)
    (tmp_path / "number.txt").write_text("0.5")
    outcome = partita("slice", "run", "slices", "--hooks", "steps.py", "-i", "number.txt", "--runs", "1")

    assert outcome.code == 0
    assert "the answer is (2, 8)" in outcome.out


def test_a_broken_limit_ends_with_5_and_names_slice_limit_and_bytes(partita: Any, tmp_path: Path) -> None:
    outcome = partita("slice", "run", "slices", "--rehearse", "--memory", "1MiB", "-o", "out.npz")

    assert outcome.code == 5
    assert "slice 0: memory: needs at least" in outcome.err
    assert "1,048,576" in outcome.err
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there are no slices in nowhere"),
        (["wide.onnx"], "there are no slices in wide.onnx"),
        (["slices", "--runs", "-1"], "--runs: -1 is below 0"),
        (["slices", "--concurrency", "0", "--threads", "-1"], "--concurrency: 0 is below 1; --threads: -1"),
        (["slices", "-i", "nowhere.npz"], "there is no file nowhere.npz"),
        (["slices", "-i", "wide.onnx"], "wide.onnx"),
        (["slices", "-o", "no/where.npz"], "the folder 'no' is not there"),
        (["slices", "--hooks", "nowhere.py"], "nowhere.py"),
        (["slices", "--hooks", "wide.onnx"], "wide.onnx"),
        (["slices", "--rehearse", "--platform", "nowhere"], "'nowhere' is not a known platform"),
        (["slices", "--rehearse", "--memory", "much"], "'much' is not a size"),
        (["slices", "--exactness", "roughly"], "roughly"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(partita: Any, words: list[str], said: str) -> None:
    outcome = partita("slice", "run", *words)

    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
