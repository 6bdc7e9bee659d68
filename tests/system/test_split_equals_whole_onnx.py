"""The oracle of ONNX parts: a model in parts gives the numbers of the model whole, as ONNX Runtime runs it.

With graph optimisation off the difference is 0 for every model, at every cut, with one kind of exception: ONNX
Runtime's CPU kernels compute float16 in float32 and drop the casts between two neighbours, so that a cut
between them rounds once more. HALVES names the cases of the onnx package where that shows.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import pytest

from partita.engine import largest_difference
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_proof import prove, run_parts
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.errors import PartitaError
from partita.testing.onnx_models import NAMES, with_weights, write_giant, write_onnx

DATA = Path(onnx.backend.test.__file__).parent / "data"
LIGHT = sorted(path.stem for path in (DATA / "light").glob("*.onnx"))
# Sessions of these small models take a millisecond; more threads only wait for each other.
ONE_THREAD = RunSettings(threads=1)
# Weights above this stay the constants that the light models have: the large layers of vgg19 (411 and 67 MB),
# alexnet (151 and 67 MB) and zfnet512 (302 and 67 MB), which would only cost disk.
LARGEST_WEIGHT = 32 << 20
# A float16 has 11 significant bits: rounding once more moves a value of about 1 by up to 2**-11, and a few such
# values meet in a sum.
HALF_TOLERANCE = 2.0**-10
HALVES = frozenset(
    {
        "test_attention_4d_fp16_expanded",
        "test_attention_4d_gqa_with_past_and_present_fp16_expanded",
        "test_attention_4d_causal_fp16_expanded",
        "test_attention_4d_gqa_causal_nonpad_decode_fp16_expanded",
        "test_attention_24_qk_matmul_output_mode3_softmax_precision_expanded",
        "test_flexattention_fp16_expanded_ver26",
    }
)
# With optimisation on, parts are fused each for itself and sum in another order: this much of the largest output.
OPTIMISED_TOLERANCE = 1e-5


def interior(model: OnnxModel) -> list[int]:
    """The legal cuts that leave something on both sides."""
    return [cut.position for cut in model.chain.cuts[1:-1] if cut.legal]


def logits(model: Any) -> Any:
    """The same model without its last softmax, which answers 0 or 1 under seeded weights and hides differences."""
    last = model.graph.node[-1]
    if last.op_type != "Softmax":  # densenet121 ends in a convolution
        return model
    assert last.output[0] == model.graph.output[0].name
    model.graph.output[0].name = last.input[0]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.node.pop()
    return model


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The light models with seeded weights, each written once."""
    folder, held = tmp_path_factory.mktemp("light"), {}

    def get(name: str) -> Path:
        if name not in held:
            model = onnx.load(DATA / "light" / f"{name}.onnx")
            model = logits(with_weights(model, largest=LARGEST_WEIGHT))
            held[name] = folder / f"{name}.onnx"
            held[name].write_bytes(model.SerializeToString())
        return held[name]

    yield get
    for path in held.values():
        path.unlink()


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_model_cut_in_two_equals_the_whole(name: str, light: Any) -> None:
    """Every architecture of the onnx package, cut at five positions one by one and at all five at once."""
    model = capture_onnx(light(name), settings=ONE_THREAD)
    cuts = sorted(random.Random(name).sample(interior(model), 5))
    values = model.example(seed=1)
    whole = model.whole(values)

    assert all(np.unique(value).size > 1 for value in whole.values())  # constants would prove nothing
    for chosen in (*([cut] for cut in cuts[1:4]), cuts):
        assert largest_difference(run_parts(model, chosen, values), whole) == 0.0


@pytest.mark.parametrize(
    "name",
    ["light_squeezenet", "light_shufflenet", "light_inception_v1", "light_resnet50", "light_densenet121"],
)
def test_a_larger_model_cut_at_every_position_equals_the_whole(name: str, light: Any) -> None:
    """Every stage a part of its own: 66 to 668 parts in a row lose no bit."""
    model = capture_onnx(light(name), settings=ONE_THREAD)

    proof = prove(model, interior(model), seed=2)

    assert proof.differences == dict.fromkeys(model.chain.outputs, 0.0)


def cases(kinds: tuple[str, ...]) -> list[tuple[str, Any, dict[str, Any] | None]]:
    """Test cases of the onnx package as (name, model, inputs); inputs as far as they are tensors."""
    from onnx.backend.test.loader import load_model_tests

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference implementations overflow on purpose
        for kind in kinds:
            for case in load_model_tests(kind=kind):
                model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
                values = None
                if case.data_sets and all(isinstance(v, np.ndarray) for v in case.data_sets[0][0]):
                    names = [value.name for value in model.graph.input]
                    values = dict(zip(names, case.data_sets[0][0], strict=False))
                found.append((case.name, model, values))
    return found


@pytest.fixture(scope="module")
def node_cases() -> list[tuple[str, Any, dict[str, Any] | None]]:
    """The cases of the node suite with more than one node: the others have no cut inside."""
    return [case for case in cases(("node",)) if len(case[1].graph.node) > 1]


def proofs(case: tuple[str, Any, dict[str, Any] | None], folder: Path) -> dict[int, float] | None:
    """The difference at every cut of a case; None where this ONNX Runtime does not run it at all."""
    name, proto, given = case
    path = folder / f"{name}.onnx"
    path.write_bytes(proto.SerializeToString())
    try:
        model = capture_onnx(path, settings=ONE_THREAD)
        values = model.example() if given is None else {n: given[n] for n in model.chain.inputs}
        whole = model.whole(values)
    except PartitaError:
        return None
    if any(model.chain.tensors[n].dtype.itemsize == 0 for n in model.chain.outputs):
        return None  # sequences and strings at the end: nothing to compare bit for bit
    return {cut: largest_difference(run_parts(model, [cut], values), whole) for cut in interior(model)}


def test_a_sample_of_the_node_suite_cut_at_every_position_equals_the_whole(
    node_cases: Any, tmp_path: Path
) -> None:
    """At least 200 models drawn by seed, thousands of cuts, each on its own: no bit lost but in HALVES."""
    random.Random(20).shuffle(node_cases)
    results: dict[str, dict[int, float]] = {}
    for case in node_cases:
        found = proofs(case, tmp_path)
        if found:
            results[case[0]] = found
        if len(results) == 240:
            break
    wrong = {name: max(d.values()) for name, d in results.items() if max(d.values()) > 0}

    assert len(results) >= 200
    assert sum(map(len, results.values())) > 3000
    assert wrong.keys() <= HALVES, wrong
    assert all(difference <= HALF_TOLERANCE for difference in wrong.values()), wrong


def test_half_precision_differs_by_a_rounding_at_most(node_cases: Any, tmp_path: Path) -> None:
    """The cases of HALVES, at every cut: they differ, and by no more than the tolerance that is stated."""
    named = [case for case in node_cases if case[0] in HALVES]
    worst = {case[0]: max((proofs(case, tmp_path) or {0: np.inf}).values()) for case in named}

    assert worst
    assert max(worst.values()) > 0  # else HALVES has nothing to except any more
    assert max(worst.values()) <= HALF_TOLERANCE, worst


def test_the_simple_and_converted_suites_cut_at_every_position_equal_the_whole(tmp_path: Path) -> None:
    """What the onnx package took from PyTorch and its hand-written models: no bit lost."""
    results = {
        case[0]: proofs(case, tmp_path) for case in cases(("simple", "pytorch-operator", "pytorch-converted"))
    }
    ran = {name: found for name, found in results.items() if found is not None}

    assert len(ran) >= 80
    assert {name: found for name, found in ran.items() if any(found.values())} == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_one_trait_cut_everywhere_equals_the_whole(name: str, tmp_path: Path) -> None:
    """Bodies that capture, several outputs, integers, late inputs, early outputs, functions and the rest."""
    model = capture_onnx(write_onnx(name, tmp_path), settings=ONE_THREAD)

    for chosen in (*([cut] for cut in interior(model)), interior(model)):
        proof = prove(model, chosen, seed=3)
        assert proof.equal, str(proof)


@pytest.mark.parametrize("name", NAMES)
def test_written_parts_run_from_their_files_alone(name: str, tmp_path: Path) -> None:
    """Every stage in a valid file of its own: together they give what the whole gives."""
    model = capture_onnx(write_onnx(name, tmp_path), settings=ONE_THREAD)
    ends = [cut.position for cut in model.chain.cuts if cut.legal]
    values = model.example(seed=4)
    files = write_parts(model, list(pairwise(ends)), tmp_path / "parts")
    held = dict(values)
    for file in files:
        onnx.checker.check_model(str(file.path))
        part = OnnxPart.load(file.path, ONE_THREAD)
        held |= part.forward({name: held[name] for name in part.inputs})

    assert largest_difference({n: held[n] for n in model.chain.outputs}, model.whole(values)) == 0.0


@pytest.mark.parametrize("name", ["light_squeezenet", "light_densenet121", "light_inception_v2"])
def test_a_model_optimised_before_the_cut_equals_the_whole(name: str, light: Any) -> None:
    """Optimise once, cut that, run the parts as they are: still no bit lost."""
    model = capture_onnx(light(name), optimize="extended", settings=ONE_THREAD)
    cuts = sorted(random.Random(name).sample(interior(model), 5))

    assert prove(model, cuts, seed=5).equal


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
@pytest.mark.parametrize("name", ["light_squeezenet", "light_densenet121", "light_shufflenet"])
def test_parts_optimised_each_for_itself_stay_within_the_tolerance(name: str, level: Any, light: Any) -> None:
    """With graph optimisation on, the difference stays below 1e-5 of the largest output."""
    model = capture_onnx(light(name), settings=RunSettings(threads=1, level=level))
    cuts = sorted(random.Random(name).sample(interior(model), 4))
    values = model.example(seed=6)
    largest = max(float(np.abs(value).max()) for value in model.whole(values).values())

    assert prove(model, cuts, values).largest <= OPTIMISED_TOLERANCE * largest


def test_a_model_with_its_weights_outside_equals_the_whole(light: Any, tmp_path: Path) -> None:
    """External data is read by range and written by range, inside and outside of the parts' messages."""
    inline = onnx.load(light("light_squeezenet"))
    path = tmp_path / "outside.onnx"
    onnx.save_model(inline, path, save_as_external_data=True, location="outside.data", size_threshold=1024)
    model = capture_onnx(path, settings=ONE_THREAD)
    cut = interior(model)[20]
    values = model.example(seed=7)
    whole = capture_onnx(light("light_squeezenet"), settings=ONE_THREAD).whole(values)

    assert largest_difference(run_parts(model, [cut], values), whole) == 0.0
    for external in (None, True, False):
        files = write_parts(
            model, [(0, cut), (cut, len(model.chain))], tmp_path / f"{external}", external=external
        )
        held = dict(values)
        for file in files:
            assert (file.data is None) == (external is False)
            part = OnnxPart.load(file.path, ONE_THREAD)
            held |= part.forward({name: held[name] for name in part.inputs})
        assert largest_difference({n: held[n] for n in model.chain.outputs}, whole) == 0.0


def test_a_model_beyond_two_gigabytes_is_cut_and_equals_the_whole(tmp_path: Path) -> None:
    """2.4 GB of weights in a sparse file: captured, cut into three and run, and nothing of it takes disk."""
    path = write_giant(tmp_path)
    weights = (tmp_path / "giant.data").stat()
    if weights.st_blocks * 512 > weights.st_size // 10:
        pytest.skip("this file system has no sparse files: the model would take 2.4 GB of disk twice")
    # Rearranged weights would be a copy of all of them in memory.
    settings = RunSettings(threads=1, prepack=False)
    model = capture_onnx(path, settings=settings)
    values = {name: np.abs(value) for name, value in model.example(seed=8).items()}
    files = write_parts(model, [(0, 6), (6, 12), (12, 18)], tmp_path / "parts")
    held = dict(values)
    for file in files:
        assert file.bytes > 3 * (1 << 28)
        held |= OnnxPart.load(file.path, settings).forward(
            {n: held[n] for n in model.chain.part_inputs(file.start, file.stop)}
        )

    assert model.chain.part_bytes(0, 18) > 1 << 31
    assert largest_difference({n: held[n] for n in model.chain.outputs}, model.whole(values)) == 0.0
    assert any(np.any(value) for value in model.whole(values).values())
