"""From a network with exits to a folder: what is cut where, and what is proved of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from partita.errors import BadDocument, BadReference, CannotCapture
from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.serve.model_manifest import read_manifest

Write = Callable[[str], Path]


def outputs_of(path: Path, x: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def ops_of(path: Path) -> set[str]:
    return {name for node in onnx.load(path, load_external_data=False).graph.node for name in node.output}


@pytest.mark.parametrize("granularity", ["exit", "block", "model"])
@pytest.mark.parametrize("optimize", ["none", "basic", "extended"])
def test_every_granularity_and_level_is_proved_equal_to_the_whole(
    three: Path, tmp_path: Path, granularity: str, optimize: str
) -> None:
    """Stages and spans give the bits of the one file."""
    made = export(three, tmp_path / "model", granularity=granularity, optimize=optimize)  # type: ignore[arg-type]

    assert made.parity.chain == made.parity.spans == 0.0
    assert made.parity.batches == (1, 3)


def test_the_chain_of_stages_gives_the_bits_of_onnx_runtime(three: Path, three_folder: Path) -> None:
    """An oracle of the test's own: the file, the level, no code of ours."""
    x = np.random.default_rng(7).standard_normal((5, 64)).astype(np.float32)
    model = ExitModel.open(three_folder, speed="exact")
    held, found = model.start(x), []
    for k in range(3):
        held, logits = model.run_stage(k, held)
        found.append(logits)

    assert [f.tobytes() for f in found] == [w.tobytes() for w in outputs_of(three, x)]


def test_features_come_from_the_graph_with_their_skip_connections(three_folder: Path) -> None:
    """What the first stage made and the third reads is held over the second."""
    borders = [[feature.name for feature in border] for border in read_manifest(three_folder).borders]

    assert borders == [["x"], ["r1"], ["r1", "r2"]]


def test_a_span_has_no_heads_between_its_ends(three_folder: Path) -> None:
    """What only an inner exit needs is not in the file."""
    made = ops_of(three_folder / "span-0-2.onnx")

    assert "third" in made
    assert not made & {"first", "second", "g1"}


def test_weights_lie_on_disk_once(three_folder: Path) -> None:
    """Span files name ranges of the stages' data files."""
    manifest = read_manifest(three_folder)
    weights = 3 * 64 * 64 * 4

    assert {file.name for file in manifest.data} == {"stage-0.data", "stage-1.data", "stage-2.data"}
    assert weights <= sum(path.stat().st_size for path in three_folder.glob("*.data")) < weights + 3 * 4096
    assert set(manifest.spans["0-2"][0].data) == {"stage-0.data", "stage-1.data", "stage-2.data"}


def test_blocks_divide_a_stage_where_one_tensor_crosses(three: Path, tmp_path: Path) -> None:
    """Each block has weights; together they are the stage."""
    made = export(three, tmp_path / "model", granularity="block")

    assert [len(made.spans[f"{k}-{k}"]) for k in range(3)] == [2, 2, 2]


def test_the_model_granularity_writes_only_the_whole_up_to_each_exit(three: Path, tmp_path: Path) -> None:
    """Three files that begin with the input."""
    made = export(three, tmp_path / "model", granularity="model")

    assert list(made.spans) == ["0-0", "0-1", "0-2"]
    assert not made.stages


def test_exits_are_put_from_shallow_to_deep(onnx_exits: Write, tmp_path: Path) -> None:
    """The order of outputs in the file does not matter."""
    path = onnx_exits("""
        swapped (float[batch, 4] x) => (float[batch, 3] deep, float[batch, 3] early)
        <float[4, 4] w, float[4, 3] h, float[4, 3] g> {
            r = MatMul(x, w)
            early = MatMul(r, h)
            t = Tanh(r)
            u = Tanh(t)
            deep = MatMul(u, g)
        }""")

    assert export(path, tmp_path / "model").exits == ("early", "deep")


def test_some_outputs_can_be_chosen_as_exits(three: Path, tmp_path: Path) -> None:
    """The others are left out, and so is what only they need."""
    made = export(three, tmp_path / "model", exits=("first", "third"))

    assert made.exits == ("first", "third")
    assert "second" not in ops_of(tmp_path / "model" / "stage-1.onnx")


def test_shapes_that_tell_the_batch_do_not_cross_a_border(onnx_exits: Write, tmp_path: Path) -> None:
    """They are found again behind it, so that samples may be regrouped there."""
    path = onnx_exits("""
        shapes (float[batch, 2, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[8, 8] w, float[8, 3] h, float[8, 3] g> {
            shape = Shape(x)
            zero = Constant <value = int64[1] {0}> ()
            n = Gather(shape, zero)
            rest = Constant <value = int64[1] {-1}> ()
            to = Concat <axis = 0> (n, rest)
            flat = Reshape(x, to)
            f = MatMul(flat, w)
            early = MatMul(f, h)
            t = Tanh(f)
            again = Reshape(t, to)
            late = MatMul(again, g)
        }""")
    made = export(path, tmp_path / "model", optimize="none")

    assert [(feature.name, feature.axis) for feature in made.borders[1]] == [("x", 0), ("f", 0)]
    assert made.parity.regrouped is not None


def test_features_of_several_rows_a_sample_are_understood(onnx_exits: Write, tmp_path: Path) -> None:
    """A batch that is folded into another axis is taken apart in the same steps."""
    path = onnx_exits("""
        folded (float[batch, 2, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[4, 4] w, float[8, 3] h, float[8, 3] g> {
            rows = Constant <value = int64[2] {-1, 4}> ()
            whole = Constant <value = int64[2] {-1, 8}> ()
            flat = Reshape(x, rows)
            f = MatMul(flat, w)
            e = Reshape(f, whole)
            early = MatMul(e, h)
            t = Tanh(f)
            again = Reshape(t, whole)
            late = MatMul(again, g)
        }""")
    (feature,) = export(path, tmp_path / "model").borders[1]

    assert (feature.name, feature.axis, feature.each) == ("f", 0, 2)


def test_samples_that_see_each_other_are_refused(onnx_exits: Write, tmp_path: Path) -> None:
    """The answer to a request must not depend on who else is in its batch."""
    path = onnx_exits("""
        mixed (float[batch, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[4, 4] w, float[4, 3] h, float[4, 3] g> {
            f = MatMul(x, w)
            early = MatMul(f, h)
            all = ReduceMax <keepdims = 1> (f)
            t = Mul(f, all)
            late = MatMul(t, g)
        }""")

    with pytest.raises(CannotCapture, match="depends on the others in its batch"):
        export(path, tmp_path / "model")


def test_a_fixed_batch_stays_fixed(onnx_exits: Write, tmp_path: Path) -> None:
    """It is noted, and proved at its only size."""
    path = onnx_exits("""
        fixed (float[2, 4] x) => (float[2, 3] early, float[2, 3] late)
        <float[4, 4] w, float[4, 3] h, float[4, 3] g> {
            f = MatMul(x, w)
            early = MatMul(f, h)
            t = Tanh(f)
            late = MatMul(t, g)
        }""")
    made = export(path, tmp_path / "model")

    assert (made.batch, made.parity.batches, made.parity.regrouped) == (2, (2,), None)


def test_outputs_that_are_no_logits_are_refused_by_name(onnx_exits: Write, tmp_path: Path) -> None:
    """With their types, and the way out."""
    path = onnx_exits("""
        odd (float[batch, 4] x) => (float[batch, 3] early, float[batch, 2, 2] mask) <float[4, 3] h> {
            early = MatMul(x, h)
            to = Constant <value = int64[3] {-1, 2, 2}> ()
            mask = Reshape(x, to)
        }""")

    with pytest.raises(CannotCapture, match="'mask' is float32"):
        export(path, tmp_path / "model")


def test_an_exit_that_needs_nothing_new_is_refused(three: Path, tmp_path: Path) -> None:
    """The order given by hand is kept, and must make sense."""
    with pytest.raises(CannotCapture, match="there is no output 'fourth'"):
        export(three, tmp_path / "model", exits=("first", "fourth"))


def test_all_wrong_options_are_named_at_once(three: Path, tmp_path: Path) -> None:
    """Both the granularity and the level."""
    with pytest.raises(BadDocument) as caught:
        export(three, tmp_path / "model", granularity="layer", optimize="all")  # type: ignore[arg-type]

    assert len(caught.value.problems) == 2


def test_a_folder_that_holds_something_is_left_alone(three: Path, tmp_path: Path) -> None:
    """Nothing is overwritten."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("kept")

    with pytest.raises(BadReference, match="not empty"):
        export(three, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]


def test_a_failed_export_leaves_nothing(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, and no scratch folder beside it."""

    def broken(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("partita.serve.exporting.write_shared", broken)

    with pytest.raises(BadReference, match="No space left"):
        export(three, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["three.onnx"]


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    """A folder that no training wrote."""
    with pytest.raises(BadReference, match=r"no spec\.json"):
        export(tmp_path, tmp_path / "model")


def test_the_arithmetic_of_every_exit_is_counted(three_folder: Path) -> None:
    """Two for each multiply-add of the products, heads of earlier exits left out."""
    trunk, head = 2 * 64 * 64, 2 * 64 * 3

    assert read_manifest(three_folder).flops == tuple(k * trunk + head for k in (1, 2, 3))


def test_an_onnx_network_is_exported_and_run_without_torch(three: Path, tmp_path: Path) -> None:
    """A device that serves does not have it."""
    code = (
        "import sys; from partita.serve.exporting import export; from partita.serve.model import ExitModel\n"
        f"export({str(three)!r}, {str(tmp_path / 'model')!r})\n"
        f"ExitModel.open({str(tmp_path / 'model')!r}).warm()\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
