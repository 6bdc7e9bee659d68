"""Real architectures in every number of slices from 2 to 13, planned, cut into files and run from them: not one bit is lost.

The whole is the model's own file, run by ONNX Runtime at the level that the slices were prepared with. Bits are
compared, so that a zero of another sign would count. Full sizes are in benchmarks/slice_exact.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import pytest

from partita.engine import Values
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.plan import Limits, Platform, pick
from partita.slice import (
    Preparation,
    Prepared,
    SlicePlan,
    SliceQuestion,
    capture,
    cut,
    export,
    open_slices,
    plan,
    prepare,
    rehearse,
    search,
    verify,
)
from partita.testing.onnx_models import with_weights

NUMBERS = range(2, 14)
PLACE = pick("process")
LIGHT = ("resnet50", "vgg19", "densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet")
# Two layers each. A table of a thousand rows is more than the exporter folds, so it stays tied, as in full size.
LANGUAGE = {
    "bert": "hf:bert?num_hidden_layers=2&hidden_size=32&intermediate_size=64&num_attention_heads=2&vocab_size=100",
    "gpt2": "hf:gpt2?n_layer=2&n_embd=32&n_head=2&vocab_size=1000&bos_token_id=1&eos_token_id=1"
    "&architecture=GPT2LMHeadModel",
    "t5": "hf:t5?num_layers=2&d_model=32&d_ff=64&d_kv=16&num_heads=2&vocab_size=1000"
    "&architecture=T5ForConditionalGeneration",
}
MODELS = (*LIGHT, *LANGUAGE)
TABLE = 1000 * 32 * 4
# What VGG-19's first fully connected layer has beside its 25 088 inputs: 4096 outputs are 411 MB, 256 are 26 MB.
NARROW = 256


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The models as files, each written once."""
    folder = tmp_path_factory.mktemp("networks")

    def get(name: str) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists() and name in LANGUAGE:
            export(LANGUAGE[name], path, dims={"seq": 16})
        elif not path.exists():
            path.write_bytes(light(name).SerializeToString())
        return path

    return get


def light(name: str) -> Any:
    """An architecture of the onnx package with weights, and without a last softmax that would hide differences."""
    data = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"
    model = onnx.load(data)
    if name == "vgg19":
        for tensor in model.graph.initializer:
            shape = onnx.numpy_helper.to_array(tensor)
            small = np.where(shape == 4096, NARROW, shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array(small, tensor.name))
        for value in model.graph.value_info:  # they say 4096
            value.type.tensor_type.ClearField("shape")
    model = with_weights(model)
    last, output = model.graph.node[-1], model.graph.output[0]
    if last.op_type == "Softmax":
        output.name = last.input[0]
        output.type.tensor_type.ClearField("shape")
        model.graph.node.pop()
    return model


def whole(path: Path, values: Values, level: Any = "extended", *, prepack: bool = True) -> Values:
    return OnnxPart.load(path, RunSettings(level=level, prepack=prepack)).forward(values)


def same(found: Values, wanted: Values) -> bool:
    """Every bit of every output."""
    return found.keys() == wanted.keys() and all(
        (found[n].dtype, found[n].shape, found[n].tobytes())
        == (wanted[n].dtype, wanted[n].shape, wanted[n].tobytes())
        for n in wanted
    )


def run(ready: Prepared, chosen: SlicePlan, folder: Path, values: Values, *, prepack: bool = True) -> Values:
    """Cut into files, and what these give."""
    cut(ready.model, chosen, folder, prepack=prepack)
    with open_slices(folder, check=False) as slices:
        return slices.run(values).outputs


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_slices_gives_the_bits_of_the_whole(
    name: str, network: Callable[[str], Path], tmp_path: Path
) -> None:
    path = network(name)
    taken = capture(path, optimize="extended")
    inputs = [taken.model.example(1, seed) for seed in (1, 2)]
    part = OnnxPart.load(path, RunSettings(level="extended"))
    wanted = [part.forward(values) for values in inputs]
    for first, second in itertools.pairwise(wanted):  # else equality would prove nothing
        assert all(np.unique(first[n]).size > 30 and not np.array_equal(first[n], second[n]) for n in first)

    for number in NUMBERS:
        ready, chosen = plan(taken, SliceQuestion(PLACE, slices=number))
        cut(ready.model, chosen, tmp_path / "slices")
        with open_slices(tmp_path / "slices", check=False) as slices:
            assert len(slices) == number
            for values, outputs in zip(inputs, wanted, strict=True):
                assert same(slices.run(values).outputs, outputs), number


@pytest.mark.parametrize("name", LANGUAGE)
def test_another_batch_than_planned_gives_the_bits_of_the_whole(
    name: str, network: Callable[[str], Path], tmp_path: Path
) -> None:
    ready, chosen = plan(capture(network(name)), SliceQuestion(PLACE, slices=5, batch=1))
    values = ready.model.example(3, seed=3)

    assert same(run(ready, chosen, tmp_path / "slices", values), whole(network(name), values))


@pytest.mark.parametrize("prepack", [True, False])
@pytest.mark.parametrize("level", ["none", "basic", "extended"])
def test_every_preparation_gives_the_bits_of_the_whole_at_its_level(
    level: Any, prepack: bool, network: Callable[[str], Path], tmp_path: Path
) -> None:
    ready, chosen = plan(
        capture(network("bert"), optimize=level), SliceQuestion(PLACE, slices=5, prepack=prepack)
    )
    values = ready.model.example(2, seed=4)
    wanted = whole(network("bert"), values, "exact" if level == "none" else level, prepack=prepack)

    assert same(run(ready, chosen, tmp_path / "slices", values, prepack=prepack), wanted)


@pytest.mark.parametrize("order", ["file", "live", "lazy"])
@pytest.mark.parametrize("name", ["inception_v1", *LANGUAGE])
def test_any_order_with_every_cheap_stage_folded_gives_the_bits_of_the_whole(
    name: str, order: str, network: Callable[[str], Path], tmp_path: Path
) -> None:
    """Whether it is worth it or not: the order and the folding are forced."""
    path = network(name)
    row = prepare(path, Preparation("extended", order=order))
    cheap = tuple(row.chain.stages[index].name for index in sorted(row.cheap))
    folded = Preparation("extended", order=order, recompute=cheap)
    for preparation in (Preparation("extended", order=order), folded):
        ready = Prepared(prepare(path, preparation), preparation)
        chosen = search(ready.chain, SliceQuestion(PLACE, slices=4), preparation=preparation)
        values = ready.model.example(1, seed=5)
        assert same(run(ready, chosen, tmp_path / "slices", values), whole(path, values))


def test_a_layer_too_large_for_a_slice_is_divided_and_gives_the_bits_of_the_whole(
    network: Callable[[str], Path], tmp_path: Path
) -> None:
    """VGG-19, where the first fully connected layer is larger than a whole slice may be."""
    small = Platform("small", "for a test", Limits(package=20_000_000))
    ready, chosen = plan(capture(network("vgg19")), SliceQuestion(small))
    values = ready.model.example(1, seed=6)

    assert list(chosen.preparation.divide.values()) == [2]
    assert max(piece.weights for piece in chosen.slices) <= 20_000_000
    assert same(run(ready, chosen, tmp_path / "slices", values), whole(network("vgg19"), values))


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_a_tied_embedding_lies_once_in_each_slice_that_uses_it(
    name: str, network: Callable[[str], Path], tmp_path: Path
) -> None:
    """Without optimisation, which would give the last product a table of its own, already transposed."""
    tables = [t for t in onnx.load(network(name)).graph.initializer if list(t.dims) == [1000, 32]]
    taken = capture(network(name), optimize="none")
    ready, chosen = plan(taken, SliceQuestion(PLACE, slices=5))
    values = ready.model.example(1, seed=7)
    found = run(ready, chosen, tmp_path / "slices", values)
    users = sum(
        any(tables[0].name in stage.params for stage in ready.chain.stages[a:b]) for a, b in chosen.parts
    )

    assert len(tables) == 1
    assert users > 1
    assert chosen.totals is not None
    assert (users - 1) * TABLE <= chosen.totals.duplicated < users * TABLE
    assert chosen.totals.weights - chosen.totals.duplicated == sum(ready.chain.params.values())
    assert sum(path.stat().st_size for path in (tmp_path / "slices").glob("*.data")) > users * TABLE
    assert same(found, whole(network(name), values, "exact"))


@pytest.mark.parametrize("name", ["squeezenet", "gpt2"])
def test_verify_proves_it_from_the_files(name: str, network: Callable[[str], Path], tmp_path: Path) -> None:
    ready, chosen = plan(capture(network(name)), SliceQuestion(PLACE, slices=7))
    cut(ready.model, chosen, tmp_path / "slices")
    proof = verify(network(name), tmp_path / "slices")

    assert proof.runs == 3
    assert proof.slices == 7
    assert set(proof.absolute.values()) == {0.0}


@pytest.mark.parametrize("number", [2, 5, 13])
@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_a_model_in_fewer_bits_gives_the_bits_of_the_whole(
    kind: str, number: int, network: Callable[[str], Path], tmp_path: Path
) -> None:
    """Float16 too, though it is computed in float32 here: the preparation puts every cast where the whole has it."""
    path = tmp_path / "small.onnx"
    if kind == "int8":
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(network("gpt2"), path)
    else:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(network("bert"))), path)
    ready, chosen = plan(capture(path), SliceQuestion(PLACE, slices=number))
    values = ready.model.example(2, seed=9)

    assert same(run(ready, chosen, tmp_path / "slices", values), whole(path, values))


def test_functions_in_their_own_processes_give_the_bits_of_the_whole(
    network: Callable[[str], Path], tmp_path: Path
) -> None:
    """Tensors through events and store, integers and floats, and back."""
    place = pick("aws-lambda")
    ready, chosen = plan(capture(network("t5")), SliceQuestion(place, slices=4))
    cut(ready.model, chosen, tmp_path / "slices")
    values = ready.model.example(1, seed=10)

    assert same(dict(rehearse(tmp_path / "slices", values, place).outputs), whole(network("t5"), values))


def test_one_altered_weight_is_seen(network: Callable[[str], Path], tmp_path: Path) -> None:
    """The proof is not blind: the last bit but seven of one weight in the middle is enough."""
    ready, chosen = plan(capture(network("squeezenet")), SliceQuestion(PLACE, slices=5))
    values = ready.model.example(1, seed=8)
    wanted = whole(network("squeezenet"), values)
    cut(ready.model, chosen, tmp_path / "slices")
    data = max((tmp_path / "slices").glob("slice-02*.data"), key=lambda path: path.stat().st_size)
    raw = bytearray(data.read_bytes())
    at = next(i for i in range(len(raw) // 8 * 4, len(raw), 4) if any(raw[i : i + 4]))
    raw[at + 1] ^= 1
    data.write_bytes(raw)
    with open_slices(tmp_path / "slices", check=False) as slices:
        found = slices.run(values).outputs

    assert not same(found, wanted)


def test_fast_slices_stay_within_the_tolerance(network: Callable[[str], Path], tmp_path: Path) -> None:
    ready, chosen = plan(capture(network("squeezenet")), SliceQuestion(PLACE, slices=5))
    cut(ready.model, chosen, tmp_path / "slices", exactness="fast")
    proof = verify(network("squeezenet"), tmp_path / "slices")

    assert proof.exactness == "fast"
    assert proof.passed
    assert max(proof.relative.values()) <= 1e-5
