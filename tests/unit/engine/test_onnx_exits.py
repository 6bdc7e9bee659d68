"""An ONNX graph divided at its exits."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_exits import ExitGraph, exit_graph, part_of
from partita.errors import CannotCapture
from partita.testing.onnx_models import filled

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
# Two inputs, of which the second is read late; an exit that a later one reads; a skip connection.
TEXT = """
    exits (float[batch, 4] x, float[batch, 4] late) => (float[batch, 3] a, float[batch, 3] b, float[batch, 3] c)
    <float[4, 4] w, float[4, 4] v, float[4, 3] g, float[4, 3] h, float[4, 3] i> {
        one = MatMul(x, w)
        act = Tanh(one)
        pre = Relu(act)
        a = MatMul(pre, g)
        two = Add(act, late)
        mine = MatMul(two, h)
        b = Add(mine, a)
        three = MatMul(two, v)
        sum = Add(three, act)
        c = MatMul(sum, i)
    }"""


def graph_of(tmp_path: Path, text: str = TEXT, exits: tuple[str, ...] = ()) -> ExitGraph:
    path = tmp_path / "m.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(HEAD + text)).SerializeToString())
    return exit_graph(capture_onnx(path), exits)


def made(source: object) -> list[str]:
    return [name for stage in source.chain.stages for name in stage.outputs]  # type: ignore[attr-defined]


def test_a_stage_is_what_its_exit_needs_beyond_those_before(tmp_path: Path) -> None:
    """Each operator belongs to the first exit that needs it; heads come last."""
    graph = graph_of(tmp_path)

    assert [made(graph.span(k, k)) for k in range(3)] == [
        ["one", "act", "pre", "a"],
        ["two", "mine", "b"],
        ["three", "sum", "c"],
    ]


def test_what_is_held_at_a_border_comes_from_the_graph(tmp_path: Path) -> None:
    """A late input, a skip connection, an exit that is read later."""
    graph = graph_of(tmp_path)

    assert [set(border) for border in graph.borders] == [
        {"x", "late"},
        {"late", "act", "a"},
        {"act", "two"},
        set(),
    ]


def test_a_span_leaves_out_what_only_inner_exits_need(tmp_path: Path) -> None:
    """The head of `b`, but not that of `a` where `b` reads it."""
    graph = graph_of(tmp_path)

    assert made(graph.span(0, 1)) == ["one", "act", "pre", "a", "two", "mine", "b"]
    assert made(graph.span(0, 2)) == ["one", "act", "two", "three", "sum", "c"]


def test_a_span_takes_and_gives_what_its_borders_hold(tmp_path: Path) -> None:
    """No more than it reads, and no more than somebody reads after it."""
    chain = graph_of(tmp_path).span(1, 1).chain

    assert set(chain.inputs) == {"act", "late", "a"}
    assert set(chain.outputs) == {"b", "two"}


def test_operators_that_no_exit_needs_are_left_out(tmp_path: Path) -> None:
    """Where some outputs are chosen."""
    graph = graph_of(tmp_path, exits=("a", "c"))

    assert not {"b", "mine"} & set(made(graph.source))


def test_the_head_is_what_no_other_stage_reads(tmp_path: Path) -> None:
    """It stands last in its stage, whatever its place in the file."""
    graph = graph_of(tmp_path, exits=("a", "c"))
    heads = [s.outputs[0] for s, head in zip(graph.chain.stages, graph.head, strict=True) if head]

    assert heads[:2] == ["pre", "a"]


def test_blocks_end_where_one_tensor_crosses(tmp_path: Path) -> None:
    """Both tensors that a skip connection holds keep a block together."""
    graph = graph_of(tmp_path)

    assert [made(block) for block in graph.blocks(0)] == [["one", "act"], ["pre", "a"]]
    assert [made(block) for block in graph.blocks(2)] == [["three", "sum"], ["c"]]


def test_an_exit_that_an_earlier_one_contains_is_refused(tmp_path: Path) -> None:
    """With its name and the way out."""
    with pytest.raises(CannotCapture, match="'a' needs nothing"):
        graph_of(tmp_path, exits=("b", "a"))


@pytest.mark.parametrize(("exits", "said"), [(("a", "zz"), "no output 'zz'"), (("a", "a"), "named twice")])
def test_exits_are_outputs_each_once(tmp_path: Path, exits: tuple[str, ...], said: str) -> None:
    """The outputs there are, are listed."""
    with pytest.raises(CannotCapture, match=said) as caught:
        graph_of(tmp_path, exits=exits)

    assert "a, b, c" in caught.value.fix


def test_an_input_is_no_exit(tmp_path: Path) -> None:
    """Nothing would have to run for it."""
    text = "through (float[batch, 3] x) => (float[batch, 3] x, float[batch, 3] y) { y = Tanh(x) }"

    with pytest.raises(CannotCapture, match="one of the inputs"):
        graph_of(tmp_path, text)


def test_a_part_of_some_stages_takes_what_it_does_not_make(tmp_path: Path) -> None:
    """And carries only the weights that it uses."""
    source = graph_of(tmp_path).source
    chain = part_of(source, [0, 1], ["act"]).chain

    assert (chain.inputs, chain.outputs, set(chain.params)) == (("x",), ("act",), {"w"})


def test_where_arithmetic_cannot_be_counted_operators_are(tmp_path: Path) -> None:
    """The order of exits is still that of their depth."""
    text = """
        deep (float[6, batch, 4] x) => (float[1, batch, 5] late, float[1, batch, 5] early)
        <float[1, 5, 4] w, float[1, 5, 5] r> {
            all, early = RNN <hidden_size = 5> (x, w, r)
            late = Tanh(early)
        }"""

    assert graph_of(tmp_path, text).exits == ("early", "late")
