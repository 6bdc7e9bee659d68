"""Sessions for parts of a network with exits."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from partita.engine.onnx_exits_run import chosen_providers, open_runner
from partita.engine.onnx_run import RunSettings
from partita.errors import BadDocument, PartFailed

CPU = ("CPUExecutionProvider",)


def runner(tmp_path: Path, text: str) -> object:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]>' + text).SerializeToString()
    )
    return open_runner(path, RunSettings(threads=1), CPU)


def test_a_part_takes_what_it_reads_and_gives_its_outputs_in_order(tmp_path: Path) -> None:
    """Other values may stand beside."""
    part = runner(tmp_path, "m (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)  z = Abs(y) }")
    x = np.asarray([1.0, -2.0], np.float32)
    y, z = part.run({"x": x, "other": x})  # type: ignore[attr-defined]

    assert (y.tolist(), z.tolist()) == ([-1.0, 2.0], [1.0, 2.0])


def test_types_that_numpy_lacks_go_through_handles(tmp_path: Path) -> None:
    """Features in bfloat16 keep their bits."""
    part = runner(tmp_path, "m (bfloat16[2] x) => (bfloat16[2] y) { y = Identity(x) }")
    x = np.asarray([1.5, -2.0], ml_dtypes.bfloat16)

    assert part.run({"x": x})[0].tobytes() == x.tobytes()  # type: ignore[attr-defined]


def test_a_run_that_fails_says_which_file(tmp_path: Path) -> None:
    """And what ONNX Runtime said."""
    part = runner(tmp_path, "m (float[2] x) => (float[2] y) { y = Neg(x) }")

    with pytest.raises(PartFailed, match=r"m\.onnx failed: .*invalid dimensions"):
        part.run({"x": np.zeros(3, np.float32)})  # type: ignore[attr-defined]


def test_the_processor_is_always_there_and_comes_last() -> None:
    """For operators that a device does not have."""
    assert chosen_providers(None) == chosen_providers(["CPU"]) == chosen_providers([CPU[0]]) == CPU


def test_providers_are_understood_by_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order asked for."""
    there = ("TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU)
    monkeypatch.setattr("partita.engine.onnx_exits_run.onnx_providers", lambda: there)

    assert chosen_providers(["cuda", "TensorRT"]) == (
        "CUDAExecutionProvider",
        "TensorrtExecutionProvider",
        *CPU,
    )


def test_all_missing_providers_are_named() -> None:
    """With those that are there."""
    with pytest.raises(BadDocument) as caught:
        chosen_providers(["cuda", "openvino"])

    assert len(caught.value.problems) == 2
    assert "cpu" in caught.value.fix


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "m.onnx").write_bytes(b"none")

    with pytest.raises(PartFailed, match="cannot load"):
        open_runner(tmp_path / "m.onnx", RunSettings(), CPU)
