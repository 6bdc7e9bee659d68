"""A divided node gives the bits of the whole one, whatever its form, and what cannot be divided says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.engine.base import largest_difference
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_example import batch_symbol
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_proof import prove
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.testing.onnx_models import with_weights, write_onnx

DOMAINS = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
Weights = dict[str, np.ndarray[Any, Any]]


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Values with all their bits in use."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(
    folder: Path,
    nodes: list[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    weights: Weights,
    *,
    outputs: tuple[str, ...] = ("y",),
    outside: bool = False,
    opset: int = 18,
    **fields: Any,
) -> Path:
    """A model of some nodes as a file."""
    ends = [onnx.helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    for value in made:
        value.type.tensor_type.elem_type = FLOAT
    held = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(nodes, "g", ends, made, held)
    opsets = [onnx.helper.make_opsetid("", opset), DOMAINS[1]]
    model = onnx.helper.make_model(graph, opset_imports=opsets, **{"ir_version": 9, **fields})
    path = folder / "m.onnx"
    onnx.save_model(model, path, save_as_external_data=outside, location="m.data", size_threshold=0)
    return path


def one(op: str, inputs: list[str], **attributes: Any) -> list[Any]:
    """A node called `it`, between two that are cheap."""
    return [
        onnx.helper.make_node("Neg", ["x"], ["n"], "before"),
        onnx.helper.make_node(op, ["n", *inputs], ["m"], "it", **attributes),
        onnx.helper.make_node("Neg", ["m"], ["y"], "after"),
    ]


def check(path: Path, pieces: dict[str, int], values: Any = None, **options: Any) -> OnnxModel:
    """Divide, and compare with the original: whole, and cut at every place."""
    model = capture_onnx(path, **options)
    other = model.divided(pieces)
    if values is None:
        values = model.example(3 if batch_symbol(model.chain) else None)
    assert largest_difference(other.whole(values), model.whole(values)) == 0.0
    assert prove(other, range(1, len(other.chain)), values).equal
    return other


FORMS: dict[str, tuple[str, dict[str, Any], Weights, tuple[Any, ...]]] = {
    "matmul": ("MatMul", {}, {"w": normal(70, 101)}, ("b", 70)),
    "matmul of three axes": ("MatMul", {}, {"w": normal(70, 101)}, ("b", 3, 70)),
    "matmul of a vector": ("MatMul", {}, {"w": normal(70, 101)}, (70,)),
    "gemm": ("Gemm", {}, {"w": normal(70, 101), "c": normal(101)}, ("b", 70)),
    "gemm without bias": ("Gemm", {"alpha": 0.3}, {"w": normal(70, 101)}, ("b", 70)),
    "gemm turned": ("Gemm", {"transB": 1, "beta": 0.7}, {"w": normal(101, 70), "c": normal(101)}, ("b", 70)),
    "gemm with a row": ("Gemm", {"transB": 1}, {"w": normal(101, 70), "c": normal(1, 101)}, ("b", 70)),
    "gemm with rows": ("Gemm", {}, {"w": normal(70, 101), "c": normal(2, 101)}, (2, 70)),
    "gemm with a column": ("Gemm", {}, {"w": normal(70, 101), "c": normal(2, 1)}, (2, 70)),
    "gemm with a number": ("Gemm", {}, {"w": normal(70, 101), "c": normal()}, ("b", 70)),
    "gemm turned input": ("Gemm", {"transA": 1}, {"w": normal(70, 101), "c": normal(1)}, (70, 5)),
    "fused gemm": (
        "FusedGemm",
        {"domain": "com.microsoft", "activation": "Relu"},
        {"w": normal(70, 101), "c": normal(101)},
        ("b", 70),
    ),
    "fused matmul": (
        "FusedMatMul",
        {"domain": "com.microsoft", "alpha": 0.125, "transB": 1},
        {"w": normal(101, 70)},
        ("b", 3, 70),
    ),
    "conv": ("Conv", {"pads": [1] * 4}, {"w": normal(101, 5, 3, 3), "c": normal(101)}, ("b", 5, 9, 9)),
    "conv without bias": ("Conv", {"strides": [2, 2]}, {"w": normal(101, 5, 3, 3)}, ("b", 5, 9, 9)),
    "conv of one axis": ("Conv", {}, {"w": normal(101, 5, 3), "c": normal(101)}, ("b", 5, 90)),
    "turned conv": (
        "ConvTranspose",
        {"strides": [2, 2]},
        {"w": normal(5, 101, 3, 3), "c": normal(101)},
        ("b", 5, 9, 9),
    ),
    "fused conv": (
        "FusedConv",
        {"domain": "com.microsoft", "activation": "Sigmoid"},
        {"w": normal(101, 5, 3, 3), "c": normal(101)},
        ("b", 5, 9, 9),
    ),
}


@pytest.mark.parametrize("outside", [False, True], ids=["inline", "outside"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_bits_of_the_whole(form: str, outside: bool, tmp_path: Path) -> None:
    """Whole and cut everywhere, with weights in the message and beside it."""
    op, attributes, weights, shape = FORMS[form]
    nodes = one(op, list(weights), **attributes)
    path = saved(tmp_path, nodes, {"x": (FLOAT, list(shape))}, weights, outside=outside)
    other = check(path, {"it": 3})

    names = [stage.name for stage in other.chain.stages]
    assert names == ["before", "it.0", "it.1", "it.2", "it", "after"]
    assert "w" not in other.chain.params


def test_pieces_are_balanced_and_begin_at_blocks(tmp_path: Path) -> None:
    """100 columns in 3 pieces are 32, 32 and 36: full vectors, and the rest at the end."""
    weights = {"w": normal(64, 100)}
    path = saved(tmp_path, one("MatMul", ["w"]), {"x": (FLOAT, ["b", 64])}, weights)
    chain = capture_onnx(path).divided({"it": 3}).chain

    sizes = [chain.tensors[name].shape for name in chain.stages[4].inputs]
    assert sizes == [("b", 32), ("b", 32), ("b", 36)]
    assert [chain.part_bytes(k, k + 1) for k in (1, 2, 3)] == [64 * 4 * n for n in (32, 32, 36)]


def test_a_divided_model_is_what_capture_makes_of_its_file(tmp_path: Path) -> None:
    """The chain that is put together has the stages, sizes and weights of the one that is captured."""
    table = {"t": normal(50, 8), "w": normal(8, 40), "c": normal(40)}
    nodes = [
        onnx.helper.make_node("Gather", ["t", "x"], ["e"], "look"),
        onnx.helper.make_node("MatMul", ["e", "w"], ["m"], "it"),
        onnx.helper.make_node("Add", ["m", "c"], ["y"], "add"),
    ]
    path = saved(tmp_path, nodes, {"x": (INT64, ["b", 3])}, table)
    chain = (other := capture_onnx(path).divided({"look": 3, "it": 2})).chain
    again = capture_onnx(other.path).chain

    assert {s.name: s for s in again.stages} == {s.name: s for s in chain.stages}
    assert (again.tensors, again.params) == (chain.tensors, chain.params)


RANKS = st.lists(st.integers(1, 3), min_size=0, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_products_of_any_size_keep_their_bits(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Gemm with any sizes, turns and numbers of pieces."""
    rows, terms = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 300))
    columns = data.draw(st.integers(2, 200))
    turned = data.draw(st.booleans())
    weights = {"w": normal(*((columns, terms) if turned else (terms, columns))), "c": normal(columns, seed=1)}
    nodes = one("Gemm", ["w", "c"], transB=int(turned), alpha=data.draw(st.sampled_from([1.0, 0.3])))
    path = saved(tmp_path_factory.mktemp("m"), nodes, {"x": (FLOAT, [rows, terms])}, weights)
    check(path, {"it": data.draw(st.integers(2, min(columns, 7)))})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_convolutions_keep_their_bits_wherever_they_may_be_divided(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    """Any channels, kernel and picture: either the same bits, or a reason why not."""
    size, kernel = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([1, 3]))
    channels = data.draw(st.integers(2, 130))
    weights = {"w": normal(channels, data.draw(st.integers(1, 40)), kernel, kernel), "c": normal(channels)}
    pads = [kernel // 2] * 4
    nodes = one("Conv", ["w", "c"], pads=pads, strides=[data.draw(st.integers(1, 2))] * 2)
    shape = [data.draw(st.integers(1, 2)), weights["w"].shape[1], size, size]
    path = saved(tmp_path_factory.mktemp("m"), nodes, {"x": (FLOAT, shape)}, weights)
    chosen = RunSettings(threads=data.draw(st.integers(1, 2)))
    way = capture_onnx(path, settings=chosen).division("it")
    if way:
        check(path, {"it": data.draw(st.integers(2, min(way.pieces, 7)))}, settings=chosen)
    else:
        assert way.reason


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tables_of_any_size_give_the_same_rows(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Indices from both ends, of any rank, into rows of any rank."""
    rows = data.draw(st.integers(2, 70))
    weights = {"t": normal(rows, *data.draw(RANKS))}
    shape = data.draw(RANKS)
    count = int(np.prod(shape, dtype=int))
    ids = data.draw(st.lists(st.integers(-rows, rows - 1), min_size=count, max_size=count))
    kind = data.draw(st.sampled_from([np.int32, np.int64]))
    opset = data.draw(st.sampled_from([11, 12, 18]))
    nodes = [onnx.helper.make_node("Gather", ["t", "x"], ["y"], "look")]
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    folder = tmp_path_factory.mktemp("m")
    path = saved(folder, nodes, {"x": (code, shape)}, weights, opset=opset)
    pieces = data.draw(st.integers(2, min(rows, 6)))
    check(path, {"look": pieces}, {"x": np.array(ids, kind).reshape(shape)})


@pytest.mark.parametrize("index", [-8, 7, -9, 100, -100])
def test_an_index_out_of_range_is_refused_as_before(index: int, tmp_path: Path) -> None:
    """Neither clamped nor taken for another row."""
    nodes = [onnx.helper.make_node("Gather", ["t", "x"], ["y"], "look")]
    path = saved(tmp_path, nodes, {"x": (INT64, ["b"])}, {"t": normal(7, 4)})
    model = capture_onnx(path)

    for one_of in (model, model.divided({"look": 3})):
        with pytest.raises(Exception, match="out of"):
            one_of.whole({"x": np.array([0, index])})


def test_a_tied_table_is_divided_where_it_is_looked_up_and_where_it_is_turned(tmp_path: Path) -> None:
    """Both ends use the same ranges, and the whole table is gone."""
    weights = {"t": normal(400, 8)}
    nodes = [
        onnx.helper.make_node("Gather", ["t", "x"], ["e"], "look"),
        onnx.helper.make_node("Transpose", ["t"], ["turned"], "turn"),
        onnx.helper.make_node("MatMul", ["e", "turned"], ["y"], "head"),
    ]
    path = saved(tmp_path, nodes, {"x": (INT64, ["b", 3])}, weights)
    chosen = RunSettings(threads=1)
    values = {"x": np.array([[0, 399, -1], [200, 100, -400]])}
    other = check(path, {"look": 4, "head": 4}, values, settings=chosen)

    tables = [name for name, size in other.chain.params.items() if size > 1000]
    assert sorted(tables) == ["t.0-96", "t.192-288", "t.288-400", "t.96-192"]
    assert sum(other.chain.params[name] for name in tables) == 400 * 8 * 4


@pytest.mark.parametrize("optimize", ["none", "extended"])
def test_all_that_can_be_divided_in_a_real_network_keeps_its_bits(
    optimize: Literal["none", "extended"], tmp_path: Path
) -> None:
    """SqueezeNet with 26 convolutions in three pieces each, as it is and fused, on every core."""
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    path = tmp_path / "squeezenet.onnx"
    path.write_bytes(with_weights(onnx.load(light)).SerializeToString())
    model = capture_onnx(path, optimize=optimize)
    stages = [stage.name for stage in model.chain.stages if model.division(stage.name)]
    other = model.divided(dict.fromkeys(stages, 3))

    assert len(stages) == 26
    values = model.example()
    assert largest_difference(other.whole(values), model.whole(values)) == 0.0
    assert prove(other, range(10, len(other.chain), 20), values).equal


def test_a_weight_that_others_read_stays_whole_for_them(tmp_path: Path) -> None:
    """Only what nobody reads any more is left out."""
    other = check(write_onnx("tied", tmp_path), {"Gather_0": 2})

    assert other.chain.params["table"] == 32 * 8 * 4
    assert {"table.0-16", "table.16-32"} <= set(other.chain.params)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["matmul", "turned"])
def test_weights_that_are_not_rearranged_keep_their_bits(kind: str, threads: int, tmp_path: Path) -> None:
    """Without prepack only wide pieces are offered, and they are equal."""
    weights = {"w": normal(300, 1100)} if kind == "matmul" else {"w": normal(1100, 300)}
    nodes = one("Gemm", ["w"], transB=int(kind == "turned"))
    path = saved(tmp_path, nodes, {"x": (FLOAT, [3, 300])}, weights)
    chosen = RunSettings(threads=threads, prepack=False)
    most = capture_onnx(path, settings=chosen).division("it").pieces

    assert 2 <= most < 20
    for pieces in {2, most // 2 + 1, most}:
        check(path, {"it": pieces}, settings=chosen)


def test_a_model_of_an_old_version_lists_its_new_weights_as_inputs(tmp_path: Path) -> None:
    """As IR version 3 asks for; nobody has to give them."""
    model = onnx.load(write_onnx("old", tmp_path))
    model.graph.node[0].name = "it"
    path = tmp_path / "old.onnx"
    path.write_bytes(model.SerializeToString())
    other = check(path, {"it": 2})

    held = {value.name for value in onnx.load(other.path).graph.input}
    assert {"w1.0-4", "w1.4-8"} <= held
    assert "w1" not in held


def test_parts_of_a_divided_model_hold_their_ranges_only(tmp_path: Path) -> None:
    """A large weight lies outside, and every part file has its own range of it."""
    weights = {"w": normal(256, 512), "c": normal(512)}
    path = saved(tmp_path, one("Gemm", ["w", "c"]), {"x": (FLOAT, [2, 256])}, weights, outside=True)
    other = capture_onnx(path).divided({"it": 4})
    files = write_parts(other, [(0, 2), (2, 3), (3, 4), (4, 7)], tmp_path / "parts")

    held = dict(values := other.example())
    for file in files:
        part = OnnxPart.load(file.path)
        held |= part.forward({name: held[name] for name in part.inputs})
    assert np.array_equal(held["y"], capture_onnx(path).whole(values)["y"])
    assert max(file.bytes for file in files) < 256 * 512 * 4 // 4 + 5000


def test_a_divided_model_needs_the_original_no_more(tmp_path: Path) -> None:
    """It lies in a folder of its own, which goes when the model goes; the original stays as it was."""
    weights = {"w": normal(256, 512)}
    path = saved(tmp_path, one("MatMul", ["w"]), {"x": (FLOAT, [2, 256])}, weights, outside=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = capture_onnx(path).divided({"it": 4})
    folder = other.path.parent

    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert folder.is_dir()
    del other
    assert not folder.exists()


def test_a_divided_model_is_divided_and_rearranged_like_any_other(tmp_path: Path) -> None:
    """Pieces of pieces, and readers of folded stages."""
    weights = {"w": normal(70, 101)}
    path = saved(tmp_path, one("MatMul", ["w"]), {"x": (FLOAT, ["b", 70])}, weights)
    model = capture_onnx(path)
    values = model.example(3)
    twice = model.rearranged(recompute=["before"]).divided({"it": 2}).divided({"it.1": 2})

    assert [s.name for s in twice.chain.stages] == ["it.0", "it.1.0", "it.1.1", "it.1", "it", "after"]
    assert all(s.inputs == ("x",) for s in twice.chain.stages[:3])
    assert prove(twice, range(1, 6), values).equal
    assert largest_difference(twice.whole(values), model.whole(values)) == 0.0
