"""Parts in ONNX Runtime: what they take, what they refuse, what they need installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_run import METADATA, OnnxPart, RunSettings, onnx_providers, reason, session_options
from partita.errors import BadDocument, BadReference, PartFailed
from partita.testing.onnx_models import onnx_model, write_onnx


@pytest.fixture
def part(tmp_path: Path) -> OnnxPart:
    """The middle of the two-input model, from its file."""
    model = capture_onnx(write_onnx("two_inputs", tmp_path))
    (file,) = write_parts(model, [(1, 4)], tmp_path)
    return OnnxPart.load(file.path)


def values(part: OnnxPart) -> dict[str, np.ndarray]:
    """Inputs that fit it."""
    return {"mask": np.ones((2, 3), np.float32), "e": np.ones((2, 3, 8), np.float32)}


def test_a_part_file_says_which_part_it_is(part: OnnxPart) -> None:
    """Stages and names come back with the file alone."""
    assert (part.start, part.stop) == (1, 4)
    assert part.model.startswith("sha256:")
    assert repr(part) == "OnnxPart([1:4], mask, e -> g)"
    assert part.inputs == ("mask", "e")
    assert part.outputs == ("g",)
    assert part.forward(values(part))["g"].shape == (2, 3, 8)


def test_all_that_is_wrong_with_the_inputs_is_said_at_once(part: OnnxPart) -> None:
    """A missing name, a foreign one, a wrong type and a wrong shape, in one error."""
    given = {"mask": np.ones((2, 3)), "e2": np.ones(1)}

    with pytest.raises(BadDocument) as error:
        part.forward(given)

    assert error.value.problems == (
        "'e' is missing",
        "'e2' is not an input",
        "'mask' must be float32, not float64",
    )
    assert "mask, e" in error.value.fix


@pytest.mark.parametrize("shape", [(2, 8), (2, 3, 9)])
def test_a_wrong_shape_is_shown_beside_the_right_one(shape: tuple[int, ...], part: OnnxPart) -> None:
    """Rank and fixed sizes are checked; open ones show their symbol."""
    with pytest.raises(BadDocument, match=r"'e' must have the shape \[batch, seq, 8\], not"):
        part.forward({**values(part), "e": np.ones(shape, np.float32)})


def test_what_is_no_array_is_refused(part: OnnxPart) -> None:
    """Lists have no type that could be checked."""
    with pytest.raises(BadDocument, match="must be a numpy array, not list"):
        part.forward({**values(part), "mask": [[1.0]]})  # type: ignore[dict-item]


def test_sizes_that_do_not_go_together_are_a_failed_part(part: OnnxPart) -> None:
    """What only the kernels notice is reported with the part that it happened in."""
    with pytest.raises(PartFailed, match=r"part \[1:4\] failed: .*") as error:
        part.forward({"mask": np.ones((2, 4), np.float32), "e": np.ones((2, 3, 8), np.float32)})

    assert "[ONNXRuntimeError]" not in error.value.problem


def test_an_empty_part_lets_everything_through(tmp_path: Path) -> None:
    """No stages, no session; the model's own checks stay."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    part = model.part(0, 0)

    assert (part.inputs, part.outputs, part.forward({})) == ((), (), {})
    with pytest.raises(BadDocument, match="'x' is not an input"):
        part.forward({"x": np.ones((1, 8), np.float32)})


def test_outputs_that_are_inputs_pass_through(tmp_path: Path) -> None:
    """The whole of the passing model gives back its own input, bit for bit."""
    model = capture_onnx(write_onnx("passing", tmp_path))
    given = model.example(3)
    whole = model.whole(given)

    assert set(whole) == {"x", "w", "y"}
    assert np.array_equal(whole["x"], given["x"])


def test_any_onnx_file_is_a_part_of_its_own(tmp_path: Path) -> None:
    """A file that nobody cut is the part [0:1]."""
    part = OnnxPart.load(write_onnx("skip", tmp_path))

    assert (part.start, part.stop, part.inputs, part.outputs) == (0, 1, ("x",), ("y",))


def test_a_note_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    """Metadata is input like any other."""
    model = onnx_model("skip")
    onnx.helper.set_model_props(model, {METADATA: '{"start": 0}'})
    path = tmp_path / "noted.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(BadDocument, match=r"partita\.part"):
        OnnxPart.load(path)


def test_a_file_that_does_not_load_is_a_failed_part(tmp_path: Path) -> None:
    """Missing and broken are told apart."""
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09broken")

    with pytest.raises(BadReference, match="no file"):
        OnnxPart.load(tmp_path / "missing.onnx")
    with pytest.raises(PartFailed, match=r"cannot load .*broken\.onnx"):
        OnnxPart.load(tmp_path / "broken.onnx")


def test_settings_are_checked_together() -> None:
    """Threads and level, both wrong, both named."""
    with pytest.raises(BadDocument) as error:
        RunSettings(threads=-1, level="fast")  # type: ignore[arg-type]

    assert len(error.value.problems) == 2


def test_settings_reach_the_runtime() -> None:
    """Threads never spin: sessions in one process would starve each other."""
    options = session_options(RunSettings(threads=3, level="all", prepack=False))

    assert options.intra_op_num_threads == 3
    assert options.graph_optimization_level.name == "ORT_ENABLE_ALL"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.disable_prepacking") == "1"


def test_reasons_lose_codes_and_places() -> None:
    """What is left is what a person can use."""
    said = "[ONNXRuntimeError] : 1 : FAIL : /src/core/graph.cc:46 void f(int) const It is broken.\nstack"

    assert reason(RuntimeError(said)) == "It is broken."
    assert reason(RuntimeError()) == "RuntimeError"


def test_the_cpu_is_among_the_providers() -> None:
    """What `doctor` shows."""
    assert "CPUExecutionProvider" in onnx_providers()


def test_a_part_file_runs_without_the_onnx_package(tmp_path: Path) -> None:
    """The bare install carries onnxruntime, not onnx."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    (file,) = write_parts(model, [(0, 3)], tmp_path)
    code = (
        "import sys; sys.modules['onnx'] = None; sys.modules['torch'] = None\n"
        "import numpy as np; from partita.engine.onnx_run import OnnxPart\n"
        f"part = OnnxPart.load({str(file.path)!r})\n"
        "print(sorted(part.forward({'x': np.ones((2, 8), np.float32)})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == str(sorted(file.outputs))
