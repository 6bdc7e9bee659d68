"""Order, captures and what travels with its readers."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from partita.engine.onnx_graph import Graph, function_key, reachable
from partita.errors import CannotCapture
from partita.testing.onnx_models import onnx_model

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


def graph(text: str) -> Graph:
    """A graph from its text."""
    return Graph.of(onnx.parser.parse_model(HEAD + text))


def operators(found: Graph) -> list[str]:
    """The operators of the stages, in order."""
    return [step.node.op if step.node else "-" for step in found.steps()]


def test_a_body_reads_what_it_captures_and_nothing_it_binds() -> None:
    """Outer values in both branches are inputs of the If; names made inside are not."""
    found = Graph.of(onnx_model("branch"))
    (node,) = [node for node in found.nodes if node.op == "If"]

    assert node.reads == ("flag", "k", "b", "a", "x")
    assert node.control
    assert node.ops == 5


def test_captures_reach_through_nested_bodies() -> None:
    """A value used two bodies deep is read by the outermost node."""
    found = graph("""g (float[2] x, bool p) => (float[2] y) {
        deep = Neg(x)
        y = If (p) <
            then_branch = t () => (float[2] o) {
                o = If (p) <then_branch = tt () => (float[2] q) { q = Abs(deep) },
                            else_branch = te () => (float[2] q) { q = Neg(x) }> },
            else_branch = e () => (float[2] o) { o = Identity(x) }>
    }""")

    assert found.nodes[1].reads == ("p", "deep", "x")


def test_a_body_may_return_an_outer_value() -> None:
    """An output of a body that nothing inside makes is a capture too."""
    model = onnx_model("branch")
    body = next(node for node in model.graph.node if node.op_type == "If").attribute[0].g
    del body.node[:]
    body.output[0].name = "k"

    assert "k" in Graph.of(model).nodes[2].reads


def test_the_files_order_is_kept_where_it_is_one() -> None:
    """Two independent rows of nodes stay interleaved as they were written."""
    found = graph(
        "g (float[2] x) => (float[2] y) { a = Neg(x) b = Abs(x) c = Exp(a) d = Exp(b) y = Add(c, d) }"
    )

    assert found.order == (0, 1, 2, 3, 4)


def test_a_file_out_of_order_is_sorted() -> None:
    """Readers wait for their makers."""
    assert operators(Graph.of(onnx_model("unordered"))) == ["MatMul", "Relu", "Add", "Tanh"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("g (float[2] x) => (float[2] y) { a = Add(x, b) b = Neg(a) y = Neg(b) }", "cycle through 'Add_0'"),
        ("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }", "reads 'ghost', which nothing makes"),
        ("g (float[2] x) => (float[2] y) { y = Neg(x) y = Abs(x) }", "'y' is made twice"),
        ("g (float[2] x) => (float[2] ghost) { y = Neg(x) }", "output 'ghost' is made by no node"),
    ],
)
def test_what_is_no_graph_is_refused(text: str, said: str) -> None:
    """Cycles, loose ends and double names are named."""
    with pytest.raises(CannotCapture, match=said):
        graph(text).steps()


def test_constants_travel_with_each_reader() -> None:
    """What depends on no input is no stage, and is computed again in every part that needs it."""
    found = Graph.of(onnx_model("scan"))
    free = {found.nodes[index].op for index in found.free}
    scan = found.steps()[1]

    assert free == {"Mul", "Sqrt"}
    assert operators(found) == ["Abs", "Scan", "Neg"]
    assert {found.nodes[index].op for index in scan.free} == {"Mul", "Sqrt"}
    assert set(scan.weights) == {"gain", "start"}


def test_random_numbers_are_drawn_once() -> None:
    """An operator that gives other values when it runs again is a stage, with or without inputs."""
    found = graph(
        "g (float[2] x) => (float[2] y) { r = RandomNormal <shape = [2]> () n = Neg(r) y = Add(x, n) }"
    )

    assert operators(found) == ["RandomNormal", "Neg", "Add"]


def test_outputs_without_a_reader_of_inputs_are_stages_of_their_own() -> None:
    """A weight or a constant that the model returns is made by somebody."""
    found = graph(
        "g (float[2] x) => (float[2] c, float[2] y) { c = Constant <value_floats = [1.0, 2.0]> () y = Add(x, c) }"
    )

    assert operators(found) == ["Constant", "Add"]
    assert operators(Graph.of(onnx_model("passing")))[-1] == "-"


def test_nodes_that_nothing_needs_are_left_out() -> None:
    """`dead` of the passing model reaches no output."""
    assert "Neg" not in operators(Graph.of(onnx_model("passing")))


def test_names_of_stages_are_unique() -> None:
    """Two nodes of one name are told apart, and nodes without one get theirs."""
    model = onnx_model("skip")
    for node in model.graph.node[:2]:
        node.name = "same"
    names = [node.name for node in Graph.of(model).nodes]

    assert len(set(names)) == len(names)
    assert names[:3] == ["same", "same_1", "MatMul_2"]


def test_functions_are_reached_through_bodies_and_functions() -> None:
    """`inner` is called from a branch and from `outer`; `unused` by nobody."""
    model: Any = onnx_model("functions")
    functions = {function_key(item): item for item in model.functions}

    assert [key[1] for key in reachable(model.graph.node, functions)] == ["inner", "outer"]
    assert [key[1] for key in reachable(model.graph.node[:2], functions)] == ["inner", "outer"]
    assert [key[1] for key in reachable(model.graph.node[2:3], functions)] == ["inner"]
    assert reachable(model.graph.node[:1], functions) == []
