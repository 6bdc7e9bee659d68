"""Chains of ONNX files: stages, crossing tensors, weights, and what is refused."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.engine import Captured, onnx_capture
from partita.engine.onnx_capture import affordable, capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.errors import BadReference, IllegalCut, PartitaError
from partita.graph import DType, TensorSpec
from partita.testing.onnx_models import NAMES, onnx_model, with_weights, write_onnx


@pytest.mark.parametrize("name", NAMES)
def test_a_captured_model_is_what_every_engine_offers(name: str, tmp_path: Path) -> None:
    """The protocol, the engine's name, and the file's name for want of another."""
    model: Captured = capture_onnx(write_onnx(name, tmp_path))

    assert model.part(0, len(model.chain)).inputs == model.chain.part_inputs(0, len(model.chain))
    assert (model.chain.engine, model.chain.name) == ("onnx", name)
    assert set(model.example()) == set(model.chain.inputs)


def test_a_skip_connection_crosses_every_cut_it_spans(tmp_path: Path) -> None:
    """`r` is made by the second stage and read by the third and the fifth."""
    chain = capture_onnx(write_onnx("skip", tmp_path)).chain

    assert [tuple(t.name for t in cut.tensors) for cut in chain.cuts] == [
        ("x",), ("a",), ("r",), ("r", "c"), ("r", "d"), ("e",), ("y",),
    ]  # fmt: skip
    assert chain.cut(3).nbytes({"batch": 2}) == 2 * 2 * 8 * 4
    assert chain.cut(3).formula == "64*batch"


def test_integers_cross_with_their_own_type(tmp_path: Path) -> None:
    """A shape that is computed on one side and used on the other."""
    chain = capture_onnx(write_onnx("integers", tmp_path)).chain

    assert TensorSpec("shape", DType.INT64, (3,)) in chain.cut(1).tensors


def test_weights_and_constants_are_parameters(tmp_path: Path) -> None:
    """Each with its bytes, on every stage that uses it."""
    chain = capture_onnx(write_onnx("tied", tmp_path)).chain

    assert chain.params == {"table": 32 * 8 * 4, "w": 8 * 8 * 4}
    assert [stage.params for stage in chain.stages] == [("table",), ("w",), (), ("table",)]
    assert chain.cut(2).shared == ("table",)
    assert capture_onnx(write_onnx("optional_input", tmp_path)).chain.params["top"] == 4


def test_a_control_flow_node_is_one_stage_with_its_captures(tmp_path: Path) -> None:
    """Bodies belong to their node, and what they capture crosses like any input."""
    chain = capture_onnx(write_onnx("branch", tmp_path)).chain
    (stage,) = [stage for stage in chain.stages if stage.kind]

    assert (stage.kind, stage.ops) == ("If", 5)
    assert stage.inputs == ("flag", "k", "a", "x")
    assert stage.params == ("b",)


def test_a_call_of_a_local_function_is_one_stage(tmp_path: Path) -> None:
    """Named by the function."""
    chain = capture_onnx(write_onnx("functions", tmp_path)).chain

    assert [stage.kind for stage in chain.stages] == ["", "outer", "If", ""]


def test_a_sequence_cannot_cross(tmp_path: Path) -> None:
    """The cut says why, and where the nearest legal one is."""
    model = capture_onnx(write_onnx("sequence", tmp_path))

    with pytest.raises(IllegalCut, match="'s' crosses here and is a sequence") as error:
        model.part(0, 2)

    assert "nearest legal cut is 1" in error.value.fix


def test_inputs_that_are_weights_are_no_inputs(tmp_path: Path) -> None:
    """Before IR version 4 every initializer was listed as an input."""
    model = capture_onnx(write_onnx("old", tmp_path))

    assert model.chain.inputs == ("x",)
    assert set(model.chain.params) == {"w1", "w2", "b"}


def test_the_digest_follows_the_structure(tmp_path: Path) -> None:
    """The same graph with other weights has the same digest; another graph has not."""
    first = capture_onnx(write_onnx("skip", tmp_path, seed=1)).chain
    second = capture_onnx(write_onnx("skip", tmp_path, seed=2), name="other").chain

    assert first.digest == second.digest
    assert first.digest != capture_onnx(write_onnx("split", tmp_path)).chain.digest


def test_an_optimised_model_has_fewer_stages_and_cleans_up(tmp_path: Path) -> None:
    """The fused file lives exactly as long as the model."""
    path = write_onnx("optional_input", tmp_path)
    model = capture_onnx(path, optimize="extended")
    optimised = model.path

    assert optimised != path
    assert optimised.is_file()
    assert len(model.chain) <= len(capture_onnx(path).chain)
    del model
    gc.collect()
    assert not optimised.exists()


def test_an_unknown_level_of_optimisation_is_refused(tmp_path: Path) -> None:
    """With the levels that there are."""
    with pytest.raises(BadReference, match="'most' is no level"):
        capture_onnx(write_onnx("skip", tmp_path), optimize="most")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_probe_the_chain_is_the_same(name: str, tmp_path: Path) -> None:
    """What is open is asked for all the same, so that plans for one fit the other."""
    path = write_onnx(name, tmp_path)

    assert capture_onnx(path, probe=False).chain == capture_onnx(path).chain


def test_without_a_probe_the_runtime_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is open, capture and cut need the onnx package alone."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = capture_onnx(write_onnx("branch", tmp_path), probe=False)
    files = write_parts(model, [(0, 2), (2, len(model.chain))], tmp_path / "parts")

    assert [file.path.is_file() for file in files] == [True, True]


@pytest.mark.parametrize("outside", [False, True])
def test_a_model_is_affordable_by_its_bytes_and_those_beside_it(
    outside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the free memory, or the share that is asked for; yes where nothing is known."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        onnx_model("skip"), path, save_as_external_data=outside, location="model.data", size_threshold=0
    )
    held = sum(file.stat().st_size for file in tmp_path.iterdir())
    answers = []
    for free in (3 * held, 3 * held - 1, None):
        monkeypatch.setattr(onnx_capture, "available_memory", lambda free=free: free)
        answers.append(affordable(path))

    assert answers == [True, False, True]
    monkeypatch.setattr(onnx_capture, "available_memory", lambda: held)
    assert affordable(path, share=1.0)


@pytest.mark.parametrize("light", ["squeezenet", "shufflenet"])
def test_an_optimised_file_is_what_the_runtime_makes_of_the_original(light: str, tmp_path: Path) -> None:
    """Optimised once and run as it is, or optimised on loading: the same bits."""
    folder = Path(onnx.backend.test.__file__).parent / "data" / "light"
    model = with_weights(onnx.load(folder / f"light_{light}.onnx"))
    softmax = model.graph.node.pop()  # with weights of no meaning it hides every difference
    model.graph.output[0].name = softmax.input[0]
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    optimised = capture_onnx(path, optimize="extended", settings=RunSettings(threads=1))
    original = OnnxPart.load(path, RunSettings(threads=1, level="extended"))
    values = optimised.example()
    (found,), (wanted,) = optimised.whole(values).values(), original.forward(values).values()

    assert optimised.chain.inputs == capture_onnx(path).chain.inputs
    assert wanted.std() > 0
    assert np.array_equal(found, wanted)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_ends_in_our_own_error_or_in_a_model(data: st.DataObject, tmp_path: Path) -> None:
    """Whatever byte is changed, nothing but our errors comes out."""
    raw = bytearray(
        onnx_model(data.draw(st.sampled_from(["branch", "skip", "functions"]))).SerializeToString()
    )
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(raw)
    try:
        chain = capture_onnx(path).chain
    except PartitaError as error:
        assert error.fix
    else:
        assert chain.cuts
