"""The proof of an export, on graphs that nobody thought of."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.engine import Values
from partita.errors import CannotCapture, PartFailed
from partita.serve.export_proof import Oracle
from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.testing.onnx_models import filled

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """Operators that read whatever was made before them, and heads on some of it, in any order."""
    made, weights, lines = ["x"], ["float[6, 6] w"], []
    for index in range(draw(st.integers(2, 9))):
        name, one, other = f"t{index}", draw(st.sampled_from(made)), draw(st.sampled_from(made))
        operator = draw(
            st.sampled_from(["Tanh({})", "Relu({})", "MatMul({}, w)", "Sub({}, {})", "Max({}, {})"])
        )
        if operator.startswith("MatMul"):
            lines.append(f"p{index} = MatMul({one}, w)")
            operator, one = "Tanh({})", f"p{index}"
        lines.append(f"{name} = {operator.format(one, other)}")
        made.append(name)
    heads = draw(st.lists(st.sampled_from(made), min_size=1, max_size=4))
    for k, source in enumerate(heads):
        weights.append(f"float[6, 3] h{k}")
        lines.append(f"exit{k} = MatMul({source}, h{k})")
    outputs = ", ".join(f"float[batch, 3] exit{k}" for k in range(len(heads)))
    return f"{HEAD} m (float[batch, 6] x) => ({outputs}) <{', '.join(weights)}> {{ {' '.join(lines)} }}"


@settings(max_examples=25, deadline=None)
@given(graphs(), st.sampled_from(["exit", "block", "model"]), st.sampled_from(["none", "extended"]))
def test_any_graph_with_exits_is_cut_into_parts_that_give_its_bits(
    text: str, granularity: str, optimize: str
) -> None:
    """At every exit, however its tensors cross the borders, in batches that were never tried before."""
    with tempfile.TemporaryDirectory() as scratch:
        path, folder = Path(scratch) / "m.onnx", Path(scratch) / "model"
        path.write_bytes(filled(onnx.parser.parse_model(text)).SerializeToString())
        made = export(path, folder, granularity=granularity, optimize=optimize)  # type: ignore[arg-type]
        x = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
        whole = _by_onnxruntime(path, x, optimize)
        model = ExitModel.open(folder, speed="exact")

        assert made.parity.chain == made.parity.spans == 0.0
        for k, name in enumerate(made.outputs):
            assert model.run_to(k, x).tobytes() == whole[name].tobytes()


def _by_onnxruntime(path: Path, x: np.ndarray, level: str) -> Values:
    import onnxruntime as ort

    options = ort.SessionOptions()
    names = {"none": "ORT_DISABLE_ALL", "extended": "ORT_ENABLE_EXTENDED"}
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, names[level])
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names_of = [output.name for output in session.get_outputs()]
    return dict(zip(names_of, session.run(names_of, {"x": x}), strict=True))


def test_parts_that_differ_in_one_bit_are_not_written(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The difference is told, and nothing is left."""
    run = Oracle.run

    def nudged(self: Oracle, values: Values, threads: int) -> Values:
        found = run(self, values, threads)
        return found | {"second": np.nextafter(found["second"], np.float32(np.inf))}

    monkeypatch.setattr(Oracle, "run", nudged)

    with pytest.raises(PartFailed, match="differ from the whole by"):
        export(three, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["three.onnx"]


def test_a_network_that_another_optimisation_changes_is_refused(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding is stated, a change is not accepted."""
    run = ExitModel.run_span

    def off(self: ExitModel, first: int, last: int, features: object) -> object:
        held, logits = run(self, first, last, features)  # type: ignore[arg-type]
        return held, logits + 1 if self.speed == "fast" else logits

    monkeypatch.setattr(ExitModel, "run_span", off)

    with pytest.raises(CannotCapture, match="optimised file by file"):
        export(three, tmp_path / "model")
