"""Graphs that nobody captured: whoever writes the bytes by hand gets an error, not a crash, a file or memory."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from partita.engine.torch_model import TorchModel
from partita.engine.torch_portable import unpack_torch
from partita.engine.torch_portable_head import (
    Arg,
    Body,
    Constant,
    Graph,
    Head,
    Here,
    Input,
    Items,
    Kind,
    Named,
    Node,
    Ref,
    SizeOf,
    State,
    join,
)
from partita.errors import BadDocument, FrameCorrupt, LimitExceeded, PartFailed, PartitaError
from partita.graph import Chain, DType, Stage, TensorSpec, dump

MOST = 1 << 20
X = Ref(0)
Row = (
    tuple[str, list[Arg]]
    | tuple[str, list[Arg], dict[str, Arg]]
    | tuple[str, list[Arg], dict[str, Arg], Body]
)
FLOAT = DType.FLOAT32


def written(*rows: Row, states: tuple[State, ...] = (), **more: Any) -> Head:
    """A model of one stage: input `x` is node 0, states follow, then one node a row; the last is the output `y`."""
    names = list(dict.fromkeys([row[0] for row in rows] + more.pop("operators", [])))
    bodies = [row[3] if len(row) > 3 else None for row in rows]
    nodes = [
        Node(names.index(row[0]), row[1], row[2] if len(row) > 2 else {}, 0, body)
        for row, body in zip(rows, bodies, strict=True)
    ]
    params = {s.name: 4 * int(np.prod(s.shape)) for s in states}
    chain = Chain(
        "made",
        "torch",
        (Stage("all", ("x",), ("y",), tuple(params)),),
        {"x": TensorSpec("x", FLOAT, ("batch", 3)), "y": TensorSpec("y", FLOAT, ("batch", 3))},
        ("x",),
        ("y",),
        params,
    )
    constants = more.pop("constants", [])
    named = [Named("x", 0, carries=True), Named("y", len(rows) + len(states) + len(constants), carries=True)]
    fields: dict[str, Any] = {
        "mode": "eval",
        "chain": dump(chain, indent=None),
        "keys": ["all"],
        "states": list(range(len(states))),
        "constants": list(range(len(constants))),
        "nodes": nodes,
        "named": named,
        "sizes": [],
    }
    fields |= {k: more.pop(k) for k in list(more) if k in fields}
    inputs = [Input("x", "float32", (2, 3))]
    head = {
        "torch": "2",
        "batch": "batch",
        "operators": names,
        "states": list(states),
        "constants": constants,
    }
    return Head(name="made", **(head | more), inputs=inputs, graphs=[Graph(**fields)])


def unpacked(*rows: Row, buffers: tuple[bytes, ...] = (), most: int = MOST, **more: Any) -> TorchModel:
    return unpack_torch(join(written(*rows, **more), buffers), most_bytes=most)


def run(*rows: Row, batch: int = 2, **more: Any) -> Any:
    model = unpacked(*rows, **more)
    model.hold(tuple(model.chain.params))
    part = model.part(0, 1)
    return part.forward({"x": np.ones((batch, 3), np.float32)})["y"]


RELU: Row = ("aten.relu.default", [X])


def test_what_is_allowed_runs() -> None:
    """The attacks below differ from this by one thing each."""
    assert run(("aten.mul.Tensor", [X, 2.5]), ("aten.relu.default", [Ref(1)])).tolist() == [[2.5] * 3] * 2


@pytest.mark.parametrize(
    "name",
    [
        "aten.from_file.default",
        "aten.set_.source_Storage",
        "aten.set_.source_Tensor",
        "aten.resize_.default",
        "aten.as_strided.default",
        "aten.as_strided_.default",
        "aten.record_stream.default",
        "aten.save.default",
        "aten.manual_seed.default",
        "aten.empty_strided.default",
        "aten.pin_memory.default",
        "aten.embedding_bag.default",
        "aten.add.out",
        "aten.relu.out",
        "aten.remainder.int",
        "aten.mul.left_t",
        "aten.lstm.data",
        "aten.to_sparse.default",
        "aten._cudnn_rnn.default",
        "aten.to.prim_dtype",
        "prim.Print.default",
        "prims.add.default",
        "inductor.resize_storage_bytes_.default",
        "aten.__class__.default",
        "aten.relu.__init__",
        "aten.relu",
        "operator.pow",
        "operator.call",
        "operator.methodcaller",
        "builtins.eval",
        "os.system",
        "torch.load",
        "",
        "aten.relu.default\n",
    ],
)
def test_an_operator_off_the_list_is_refused_by_name(name: str) -> None:
    """Files, storages, streams, other people's memory, TorchScript's arithmetic, Python itself."""
    with pytest.raises(BadDocument, match="may not come from outside"):
        unpacked((name, [X]))


def test_an_operator_is_refused_even_where_nothing_uses_it() -> None:
    """The list is read before the graph."""
    with pytest.raises(BadDocument, match="may not come from outside"):
        unpacked(RELU, operators=["os.system"])


def test_sizes_that_are_written_out_are_judged_before_anything_is_made() -> None:
    """A megabyte is allowed here; which sizes count is tested beside `too_large`."""
    with pytest.raises(LimitExceeded, match=r"operator 'aten.zeros.default': size asks for"):
        unpacked(("aten.zeros.default", [Items([1 << 40])]))


@pytest.mark.parametrize(
    "rows",
    [
        [("aten.sym_size.int", [X, 0]), ("operator.mul", [Ref(1), 1 << 30]), ("aten.zeros.default", [Items([Ref(2)])])],
        [("aten.sym_size.int", [X, 0]), ("aten.repeat.default", [X, Items([300, Ref(1)])])],
        [("aten.repeat.default", [X, Items([300, 1])])],
        [("aten.expand.default", [X, Items([1, 1 << 9, -1, -1])])],
        [("aten.view.default", [X, Items([-1, 1])]), ("aten.view.default", [X, Items([1, -1])]),
         ("aten.mul.Tensor", [Ref(1), Ref(2)])],
        [("aten.view.default", [X, Items([-1, 1])]), ("aten.view.default", [X, Items([1, -1])]),
         ("aten.matmul.default", [Ref(1), Ref(2)])],
        [("aten.constant_pad_nd.default", [X, Items([400, 400])])],
    ],
)  # fmt: skip
def test_sizes_that_come_from_shapes_are_judged_when_they_are_known(rows: list[Row]) -> None:
    """By the batch that is there."""
    with pytest.raises(LimitExceeded, match="allowed"):
        run(*rows, batch=600)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("aten.relu.default", [Ref(1)]), "before it is there"),
        (("aten.relu.default", [Ref(7)]), "before it is there"),
        (("aten.relu.default", []), "needs self"),
        (("aten.relu.default", [X, X]), "takes 1 arguments"),
        (("aten.relu.default", [X], {"self": X}), "given 'self' twice"),
        (("aten.relu.default", [X], {"x = __import__('os')": X}), "has no argument"),
        (("aten.relu.default", ["x"]), "self is no Tensor"),
        (("aten.sum.dim_IntList", [X, Items(["a"])]), "dim is no"),
        (("aten.softmax.int", [X, None]), "dim is no int"),
        (("aten.einsum.default", ["a" * 300, Items([X])]), "equation is no str"),
        (("aten.to.dtype", [X, Kind("dtype", "quint8x")]), "no dtype known"),
        (("aten.zeros.default", [Items([1])], {"layout": Kind("layout", "sparse_coo")}), "no layout known"),
        (("aten.zeros.default", [Items([1])], {"pin_memory": True}), "pin_memory"),
        (("aten.rand.generator", [Items([1])], {"generator": 1}), "generator is no"),
        (("aten.view.dtype", [X, Kind("dtype", "bool")]), "neither 0 nor 1"),
        (("aten.cat.default", [Items([Items([Items([Items([Items([X])])])])])]), "nested"),
        (("operator.getitem", [X, "__class__"]), "does not take"),
        (("operator.getitem", [X, -1]), "does not take"),
        (("operator.add", ["a", "b"]), "numbers only"),
        (("operator.add", [1, 2], {"x": 1}), "does not take"),
        (("region.gradient", [False, X]), "do not go together"),
        (("aten.relu.default", [X], {}, Body(1, [], [Ref(0)])), "do not go together"),
        (("region.gradient", [False], {}, Body(1, [], [Ref(0)])), "values for 1 inputs"),
        (("region.gradient", [False, X], {}, Body(1, [Node(0, [Ref(5)])], [Ref(0)])), "before it is there"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(row: Row, problem: str) -> None:
    """Order, number, names and types of arguments; nesting; regions."""
    with pytest.raises(BadDocument, match=problem):
        unpacked(row)


def test_regions_in_regions_end_somewhere() -> None:
    """Four deep is allowed."""
    body = Body(1, [], [Ref(0)])
    for _ in range(6):
        body = Body(1, [Node(0, [False, Ref(0)], {}, 0, body)], [Ref(1)])
    with pytest.raises(BadDocument, match="at depth 4"):
        unpacked(("region.gradient", [False, X], {}, body))


def test_more_operators_than_allowed_are_refused_those_in_regions_too() -> None:
    """Before any is looked at."""
    body = Body(1, [Node(0, [Ref(0)])] * 60, [Ref(0)])
    for rows in ([RELU] * 60, [("region.gradient", [False, X], {}, body)]):
        with pytest.raises(LimitExceeded, match="more than the 50 operators"):
            unpack_torch(join(written(*rows), ()), most_nodes=50)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("aten.mm.default", [X, X])], "RuntimeError"),
        ([("aten.sym_size.int", [X, 0]), ("aten.relu.default", [Ref(1)])], "failed"),
        ([("aten.sym_size.int", [X, 0])], "no tensor"),
        ([("operator.mul", [X, 3])], "TypeError: operator.mul is for sizes"),
        ([("aten.split.Tensor", [X, 1]), ("operator.mul", [Ref(1), 1 << 40])], "is for sizes"),
        ([("aten.sym_size.int", [X, 0]), ("operator.floordiv", [Ref(1), 0])], "ZeroDivisionError"),
        ([("aten.sym_size.int", [X, 0]), ("operator.getitem", [Ref(1), 0])], "TypeError"),
        ([("region.autocast", ["mps", None, True, None, X], {}, Body(1, [], [Ref(0)]))], "autocast is for"),
        ([("aten.index_select.default", [X, 0, Ref(0)])], "failed"),
        ([("aten.linalg_inv.default", [X])], "failed"),
        ([("aten.pdist.default", [Ref(1)])], "something in it"),
        ([("aten._weight_norm.default", [X, X, 0])], "has lengths"),
        ([("aten.gru_cell.default", [X, Ref(1), X, X])], "two dimensions"),
    ],
)
def test_nonsense_fails_as_a_part(rows: list[Row], words: str) -> None:
    """What only the values can tell, they tell: the process lives on."""
    if rows[0][1] and Ref(1) in rows[0][1]:
        rows = [("aten.select.int", [X, 1, 0]), *rows]
    with pytest.raises(PartFailed, match=words):
        run(*rows)


def test_numbers_do_not_grow_beyond_64_bits() -> None:
    """Python's own would, until the memory is full."""
    rows: list[Row] = [
        ("aten.sym_size.int", [X, 0]),
        *(("operator.mul", [Ref(i), Ref(i)]) for i in range(1, 40)),
    ]
    with pytest.raises(PartFailed, match="beyond 64 bits"):
        run(*rows)


def test_a_recurrent_layer_whose_weights_do_not_fit_fails_as_a_part() -> None:
    """Its kernel would write beyond them."""
    states = tuple(State(f"w{i}", "float32", (8, 2), True, True, True) for i in range(4))
    zero: Row = ("aten.zeros.default", [Items([1, 2, 2])])
    values: list[Arg] = [
        Items([Ref(6), Ref(6)]),
        Items([Ref(1), Ref(2), Ref(3), Ref(4)]),
        True,
        1,
        0.0,
        False,
        False,
        True,
    ]
    rows: list[Row] = [("aten.unsqueeze.default", [X, 0]), zero, ("aten.lstm.input", [Ref(5), *values])]
    with pytest.raises(PartFailed, match=r"aten.lstm.input has"):
        run(*rows, ("operator.getitem", [Ref(7), 0]), states=states)


def test_memory_that_nobody_wrote_reads_as_zeros() -> None:
    """It may hold what another visitor left."""
    for row in (
        ("aten.empty.memory_format", [Items([2, 3])], {"device": Here()}),
        ("aten.empty_like.default", [X]),
        ("aten.new_empty.default", [X, Items([2, 3])]),
    ):
        assert not run(row).any()


def test_truth_values_are_0_or_1_whatever_the_byte() -> None:
    """Kernels count them as they are and pick them as true or false."""
    constants = [Constant("bool", (2, 3), 6)]
    rows: list[Row] = [("aten.to.dtype", [Ref(1), Kind("dtype", "float32")])]

    assert run(*rows, constants=constants, buffers=(bytes([0, 1, 2, 3, 255, 0]),)).tolist() == [
        [0, 1, 1],
        [1, 1, 0],
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"keys": []}, "does not go with 0 keys"),
        ({"named": [Named("x", 0)]}, "not those of the graph"),
        ({"named": [Named("x", 0), Named("y", 0)]}, "two names"),
        ({"named": [Named("x", 1), Named("y", 0)]}, "inputs of the chain"),
        ({"named": [Named("x", 0), Named("y", 9)]}, "before it is there"),
        ({"named": [Named("x", 0, order=(1, 1)), Named("y", 1)]}, "no order of its axes"),
        ({"sizes": [SizeOf(0, 1, "batch")]}, "no stage before it has"),
        ({"sizes": [SizeOf(0, 1, "other")]}, "is not told what 'other' needs"),
        ({"sizes": [SizeOf(3, 1, "batch")]}, "before it is there"),
        ({"constants": [Constant("float32", (2,), 7)], "buffers": (b"1234567",)}, "has 7 bytes"),
        ({"constants": [Constant("quint8", (2,), 2)], "buffers": (b"12",)}, "is no element type"),
    ],
)  # fmt: skip
def test_tables_that_do_not_go_together_are_refused(more: dict[str, Any], problem: str) -> None:
    """Names, numbers, orders, formulas and lengths."""
    with pytest.raises(BadDocument, match=problem):
        unpacked(RELU, **more)


def changed(head: Head, **fields: Any) -> bytes:
    """The bytes of a head with other fields, of its graph where they are the graph's."""
    graph = {
        k: fields.pop(k)
        for k in list(fields)
        if k in Graph.__struct_fields__ and k not in ("states", "constants")
    }
    graphs = [msgspec.structs.replace(head.graphs[0], **graph)]
    return join(msgspec.structs.replace(head, **{"graphs": graphs} | fields), ())


def test_tables_of_the_head_that_do_not_go_with_the_graph_are_refused() -> None:
    """Inputs, states by number and by name, modes."""
    state = State("w", "float32", (3,), True, True, True)
    head = written(("aten.add.Tensor", [X, Ref(1)]), states=(state,))
    whole = [msgspec.structs.replace(state, learns=True, dtype="int32")]
    for problem, fields in {
        "example inputs": {"inputs": []},
        "before it is there": {"states": []},
        "two states have one name": {"states": [state, state]},
        "has 20 bytes, not 12": {"states": [msgspec.structs.replace(state, shape=(5,))]},
        "is int32 and learns": {"states": whole},
        "is there twice": {"graphs": [head.graphs[0]] * 2},
        "no order of axes": {"states": [msgspec.structs.replace(state, order=(1,))]},
    }.items():
        with pytest.raises(BadDocument, match=problem):
            unpack_torch(changed(head, **fields))


def test_a_state_that_the_stage_does_not_list_is_refused() -> None:
    """A part would not hold it."""
    state = State("w", "float32", (3,), True, True, True)
    head = written(("aten.add.Tensor", [X, Ref(1)]), states=(state,))
    chain = head.graphs[0].chain.replace('"params": ["w"]', '"params": []')
    with pytest.raises(BadDocument, match="reads 'state_0'"):
        unpack_torch(changed(head, chain=chain))


@pytest.mark.parametrize("size", [1 << 30, 1 << 48])
def test_a_state_larger_than_allowed_is_refused(size: int) -> None:
    """It could never be held."""
    with pytest.raises((LimitExceeded, FrameCorrupt)):
        unpacked(RELU, states=(State("w", "float32", (size, size), True, True, True),))


def test_sharing_memory_in_very_many_ways_is_refused() -> None:
    """What is followed is bounded."""
    rows: list[Row] = [("aten.zeros.default", [Items([1])]) for _ in range(600)]
    rows += [("aten.broadcast_tensors.default", [Items([Ref(i) for i in range(1, 601)])]) for _ in range(600)]
    with pytest.raises(LimitExceeded, match="share memory"):
        unpacked(*rows, ("aten.relu.default", [X]))


def test_all_of_it_is_one_kind_of_error() -> None:
    """Whoever serves strangers catches one root."""
    with pytest.raises(PartitaError):
        unpack_torch(b"")
