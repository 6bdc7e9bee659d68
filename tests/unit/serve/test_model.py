"""A network from its folder, run stage by stage or several stages as one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument, CorruptArtifact, NotFound, PartFailed, SessionMisused
from partita.serve.exporting import export
from partita.serve.model import ExitModel, made_inputs


def sample(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)


@pytest.fixture
def damaged(three_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three_folder, tmp_path / "copy"))


def test_stage_after_stage_ends_where_the_span_ends(exit_model: ExitModel) -> None:
    """The same bits on both ways."""
    held = exit_model.start(sample(4))
    _, wanted = exit_model.run_span(0, 2, held)
    for k in range(3):
        held, logits = exit_model.run_stage(k, held)

    assert logits.tobytes() == wanted.tobytes()
    assert (held.border, held.values) == (3, {})


def test_a_span_leaves_the_features_that_its_stages_leave(exit_model: ExitModel) -> None:
    """So that one can go on from either."""
    held = exit_model.start(sample(2))
    by_span, _ = exit_model.run_span(0, 1, held)
    by_stage, _ = exit_model.run_stage(1, exit_model.run_stage(0, held)[0])

    assert {n: v.tobytes() for n, v in by_span.values.items()} == {
        n: v.tobytes() for n, v in by_stage.values.items()
    }


def test_the_first_stage_takes_inputs_too(exit_model: ExitModel) -> None:
    """By name, in order or alone."""
    x = sample(2)
    wanted = exit_model.run_stage(0, exit_model.start(x))[1].tobytes()

    assert [exit_model.run_stage(0, given)[1].tobytes() for given in (x, [x], {"x": x})] == [wanted] * 3


def test_fast_differs_in_the_last_bits_at_most(three_folder: Path, exit_model: ExitModel) -> None:
    """It is the default."""
    fast = ExitModel.open(three_folder)

    assert fast.speed == "fast"
    np.testing.assert_allclose(fast.run_to(2, sample(5)), exit_model.run_to(2, sample(5)), rtol=1e-4)


def test_regrouped_samples_get_their_own_answers(exit_model: ExitModel) -> None:
    """Survivors of two batches go on together, in any order."""
    one, other = sample(4, 1), sample(3, 2)
    a, _ = exit_model.run_stage(0, exit_model.start(one))
    b, _ = exit_model.run_stage(0, exit_model.start(other))
    mixed = exit_model.stack([exit_model.take(a, [3, 1]), exit_model.take(b, [2])])
    _, logits = exit_model.run_span(1, 2, mixed)

    wanted = exit_model.run_to(2, np.stack([one[3], one[1], other[2]]))
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    assert mixed.rows == 3


def test_threads_share_a_session_and_get_their_own_answers(exit_model: ExitModel) -> None:
    """Loaded once, whoever comes first."""
    inputs = [sample(1 + seed % 3, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: exit_model.run_to(1, x), inputs))

    assert [f.tobytes() for f in found] == [exit_model.run_to(1, x).tobytes() for x in inputs]
    assert list(exit_model._loaded) == ["span-0-1.onnx"]


def test_nothing_is_loaded_before_it_is_needed(exit_model: ExitModel) -> None:
    """One stage, one session."""
    exit_model.run_stage(0, exit_model.start(sample(1)))

    assert list(exit_model._loaded) == ["stage-0.onnx"]


def test_warming_loads_everything(exit_model: ExitModel) -> None:
    """Three stages and three spans."""
    exit_model.warm((1, 2))

    assert len(exit_model._loaded) == 6


def test_warming_can_leave_spans_out(exit_model: ExitModel) -> None:
    """For a server that only runs stages."""
    exit_model.warm(spans=False)

    assert len(exit_model._loaded) == 3


def test_all_that_is_wrong_with_inputs_is_said_at_once(exit_model: ExitModel) -> None:
    """A strange name, and a wrong type and shape."""
    with pytest.raises(BadDocument) as caught:
        exit_model.start({"x": np.zeros((2, 63)), "y": np.zeros(1)})

    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("given", [np.zeros((0, 64), np.float32), [], {"x": [[1.0]]}])
def test_inputs_that_hold_no_sample_are_refused(exit_model: ExitModel, given: object) -> None:
    """An empty batch, no arrays, lists."""
    with pytest.raises(BadDocument):
        exit_model.start(given)  # type: ignore[arg-type]


def test_features_run_in_the_stage_that_they_wait_for(exit_model: ExitModel) -> None:
    """Any other is refused."""
    with pytest.raises(SessionMisused, match="wait for stage 0 were given to stage 1"):
        exit_model.run_stage(1, exit_model.start(sample(1)))


@pytest.mark.parametrize("ends", [(2, 1), (0, 3), (-1, 0)])
def test_stages_that_do_not_exist_are_refused(exit_model: ExitModel, ends: tuple[int, int]) -> None:
    """With those that do."""
    with pytest.raises(SessionMisused, match="0 <= first <= last <= 2"):
        exit_model.run_span(*ends, exit_model.start(sample(1)))


def test_without_span_files_a_span_runs_its_stages(
    three: Path, tmp_path: Path, exit_model: ExitModel
) -> None:
    """The same bits; only the heads between are paid for."""
    export(three, tmp_path / "model", spans=False)
    model = ExitModel.open(tmp_path / "model", speed="exact")

    assert not model.has_span(0, 2)
    assert model.run_to(2, sample(3)).tobytes() == exit_model.run_to(2, sample(3)).tobytes()


def test_blocks_run_one_after_the_other(three: Path, tmp_path: Path, exit_model: ExitModel) -> None:
    """A stage is still a stage."""
    export(three, tmp_path / "model", granularity="block")
    model = ExitModel.open(tmp_path / "model", speed="exact")
    held = model.start(sample(3))
    for k in range(3):
        held, logits = model.run_stage(k, held)

    assert logits.tobytes() == exit_model.run_to(2, sample(3)).tobytes()


def test_a_folder_without_stages_says_so(three: Path, tmp_path: Path) -> None:
    """The way out is another granularity."""
    export(three, tmp_path / "model", granularity="model")
    model = ExitModel.open(tmp_path / "model")
    held, _ = model.run_span(0, 0, model.start(sample(1)))

    with pytest.raises(SessionMisused, match="granularity exit"):
        model.run_stage(1, held)


def test_a_fixed_batch_is_not_regrouped(onnx_exits: Callable[[str], Path], tmp_path: Path) -> None:
    """Neither taken apart nor stacked."""
    path = onnx_exits("""
        fixed (float[2, 4] x) => (float[2, 3] early, float[2, 3] late) <float[4, 3] h, float[4, 3] g> {
            early = MatMul(x, h)
            t = Tanh(x)
            late = MatMul(t, g)
        }""")
    export(path, tmp_path / "model")
    model = ExitModel.open(tmp_path / "model")
    held = model.start(np.zeros((2, 4), np.float32))

    assert held.rows == 2
    assert model.take(held, [0, 1]) is held
    with pytest.raises(SessionMisused, match="exactly 2"):
        model.take(held, [0])
    with pytest.raises(SessionMisused, match="exactly 2"):
        model.stack([held, held])


def test_files_with_other_bytes_are_refused_by_name(damaged: Path) -> None:
    """All of them, before anything runs."""
    (damaged / "stage-1.onnx").unlink()
    data = damaged / "stage-0.data"
    data.write_bytes(data.read_bytes()[:-1] + b"!")
    (damaged / "span-0-2.onnx").write_bytes(b"short")

    with pytest.raises(
        CorruptArtifact, match=r"span-0-2.onnx: has 5.*stage-0.data: other.*stage-1.onnx: is missing"
    ):
        ExitModel.open(damaged)


def test_a_file_that_does_not_load_is_said_so(damaged: Path) -> None:
    """Where nobody checked the digests."""
    (damaged / "stage-0.onnx").write_bytes(b"no onnx")
    model = ExitModel.open(damaged, check=False)

    with pytest.raises(PartFailed, match="cannot load"):
        model.run_stage(0, model.start(sample(1)))


def test_a_provider_that_is_not_there_is_refused_by_name(three_folder: Path) -> None:
    """With those that are."""
    with pytest.raises(BadDocument, match=r"'tensorrt' is not in this ONNX Runtime") as caught:
        ExitModel.open(three_folder, providers=["tensorrt"])

    assert "cpu" in caught.value.fix


def test_a_provider_is_understood_by_its_short_name(three_folder: Path) -> None:
    """In any case."""
    assert ExitModel.open(three_folder, providers=["cpu"]).providers == ("CPUExecutionProvider",)


def test_an_unknown_speed_is_refused(three_folder: Path) -> None:
    """There are two."""
    with pytest.raises(BadDocument, match="neither 'exact' nor 'fast'"):
        ExitModel.open(three_folder, speed="faster")  # type: ignore[arg-type]


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    """It names what is missing."""
    with pytest.raises(NotFound, match=r"no exits\.json"):
        ExitModel.open(tmp_path)


def test_the_digest_is_that_of_the_network_and_not_of_its_place(three_folder: Path, damaged: Path) -> None:
    """A copy is the same network."""
    assert ExitModel.open(damaged).digest == ExitModel.open(three_folder).digest


def test_made_up_inputs_are_the_same_at_every_call(exit_model: ExitModel) -> None:
    """And of the size asked for."""
    one, other = (made_inputs(exit_model.manifest, 3)["x"] for _ in range(2))

    assert one.shape == (3, 64)
    assert one.tobytes() == other.tobytes()


def test_samples_of_different_lengths_are_run_apart(
    onnx_exits: Callable[[str], Path], tmp_path: Path
) -> None:
    """A second open size is no obstacle, but such samples share no batch."""
    path = onnx_exits("""
        words (float[batch, seq, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[4, 4] w, float[4, 3] h, float[4, 3] g> {
            axes = Constant <value = int64[1] {1}> ()
            f = MatMul(x, w)
            e = ReduceMean <keepdims = 0> (f, axes)
            early = MatMul(e, h)
            t = Tanh(f)
            m = ReduceMax <keepdims = 0> (t, axes)
            late = MatMul(m, g)
        }""")
    export(path, tmp_path / "model")
    model = ExitModel.open(tmp_path / "model")
    short, long = (model.run_stage(0, np.ones((1, size, 4), np.float32))[0] for size in (3, 5))

    assert model.run_stage(1, long)[1].shape == (1, 3)
    with pytest.raises(BadDocument, match="same size"):
        model.stack([short, long])
