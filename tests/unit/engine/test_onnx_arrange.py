"""Stages in another order, and cheap ones run again where they are read: other cuts, the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.engine.base import largest_difference
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_proof import prove
from partita.engine.onnx_run import OnnxPart
from partita.errors import BadDocument
from partita.graph import Chain
from partita.testing.onnx_models import NAMES, filled, write_onnx

# A mask of ones and zeros becomes one of numbers, for every pair of places, and every layer adds it.
MASKED = """
<ir_version: 9, opset_import: ["" : 18]>
masked (float[batch, 16, 8] x, int64[batch, 16] mask) => (float[batch, 16, 8] y)
<float[8, 8] w0, float[8, 8] w1, float[8, 8] w2> {
    axes = Constant <value = int64[1] {1}> ()
    one = Constant <value = float {1.0}> ()
    low = Constant <value = float {-10000.0}> ()
    seen = Cast <to = 1> (mask)
    rows = Unsqueeze (seen, axes)
    hidden = Sub (one, rows)
    added = Mul (hidden, low)
    zero = Sub (one, one)
    shape = Constant <value = int64[3] {1, 16, 16}> ()
    pairs = Expand (added, shape)
    q0 = MatMul (x, w0)
    t0 = Transpose <perm = [0, 2, 1]> (q0)
    s0 = MatMul (q0, t0)
    m0 = Add (s0, pairs)
    p0 = Softmax (m0)
    h0 = MatMul (p0, q0)
    q1 = MatMul (h0, w1)
    t1 = Transpose <perm = [0, 2, 1]> (q1)
    s1 = MatMul (q1, t1)
    m1 = Add (s1, pairs)
    p1 = Softmax (m1)
    h1 = MatMul (p1, q1)
    y = MatMul (h1, w2)
}"""


def masked(folder: Path) -> OnnxModel:
    """A small transformer with a mask; stages are called after what they make."""
    model = filled(onnx.parser.parse_model(MASKED))
    for node in model.graph.node:
        node.name = node.output[0]
    path = folder / "masked.onnx"
    path.write_bytes(model.SerializeToString())
    return capture_onnx(path)


def names(chain: Chain) -> list[str]:
    """The stages in order."""
    return [stage.name for stage in chain.stages]


def cheap_names(model: OnnxModel) -> list[str]:
    """The stages that may be run again."""
    return [model.chain.stages[index].name for index in sorted(model.cheap)]


def legal(model: OnnxModel) -> list[int]:
    """The places where the model may be cut."""
    return [cut.position for cut in model.chain.cuts if cut.legal][1:-1]


MASK = ["seen", "rows", "hidden", "added", "pairs"]


def test_what_makes_a_mask_is_cheap_and_what_multiplies_is_not(tmp_path: Path) -> None:
    """Only operators that hardly cost anything, and none that makes an output."""
    assert cheap_names(masked(tmp_path)) == [*MASK, "t0", "m0", "t1", "m1"]


def test_a_folded_mask_crosses_as_it_was_given(tmp_path: Path) -> None:
    """Between two layers cross 16 integers a row, not 256 numbers, and the outputs are the same."""
    model = masked(tmp_path)
    other = model.rearranged(recompute=MASK)
    before, after = (m.chain.legal_cut(names(m.chain).index("q1")) for m in (model, other))

    assert [t.name for t in before.tensors] == ["pairs", "h0"]
    assert [t.name for t in after.tensors] == ["mask", "h0"]
    values = model.example(3)
    assert prove(other, legal(other), values).equal
    assert largest_difference(other.whole(values), model.whole(values)) == 0.0


def test_folded_stages_are_in_every_reader(tmp_path: Path) -> None:
    """With what they read, weigh and count; the chain has them no more."""
    model = masked(tmp_path)
    chain = model.rearranged(recompute=MASK).chain
    readers = [stage for stage in chain.stages if stage.name in ("m0", "m1")]

    assert not set(MASK) & {*names(chain), *chain.tensors}
    assert [stage.inputs for stage in readers] == [("s0", "mask"), ("s1", "mask")]
    assert all({"axes", "low", "shape"} <= set(stage.params) for stage in readers)
    assert (
        sum(stage.ops for stage in chain.stages)
        == sum(s.ops for s in model.chain.stages) + readers[0].ops - 1
    )


def test_parts_of_a_rearranged_model_are_written_and_run(tmp_path: Path) -> None:
    """Files for another machine, each with the nodes it runs again."""
    model = masked(tmp_path)
    other = model.rearranged(recompute=MASK)
    middle = names(other.chain).index("q1")
    files = write_parts(other, [(0, middle), (middle, len(other.chain))], tmp_path / "parts")

    held = dict(values := model.example(2))
    for file in files:
        part = OnnxPart.load(file.path)
        held |= part.forward({name: held[name] for name in part.inputs})
    assert np.array_equal(held["y"], model.whole(values)["y"])


def test_only_some_of_a_row_of_cheap_stages_may_be_folded(tmp_path: Path) -> None:
    """What is not folded is sent to the readers of what is."""
    model = masked(tmp_path)
    other = model.rearranged(recompute=["pairs", "hidden"])

    assert {s.name: s.inputs for s in other.chain.stages}["m1"] == ("s1", "added")
    assert {s.name: s.inputs for s in other.chain.stages}["added"] == ("rows",)
    assert prove(other, legal(other)).equal


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_topological_order_and_any_cheap_stages_give_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At every cut."""
    model = masked(tmp_path_factory.mktemp("m"))
    chain, order = model.chain, []
    made = set(chain.inputs)
    while len(order) < len(chain):
        ready = [i for i, s in enumerate(chain.stages) if i not in order and made.issuperset(s.inputs)]
        order.append(data.draw(st.sampled_from(ready)))
        made.update(chain.stages[order[-1]].outputs)
    again = data.draw(st.lists(st.sampled_from(cheap_names(model)), unique=True))
    other = model.rearranged(order, again)

    assert names(other.chain) == [n for n in (chain.stages[i].name for i in order) if n not in again]
    assert prove(other, legal(other), model.example(2)).equal


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_cheap_may_be_folded_in_every_kind_of_model(name: str, tmp_path: Path) -> None:
    """Control flow that captures folded names, outputs of several, weights that are returned."""
    model = capture_onnx(write_onnx(name, tmp_path))
    other = model.rearranged(recompute=cheap_names(model))

    assert len(other.chain) == len(model.chain) - len(model.cheap)
    assert other.cheap <= set(range(len(other.chain)))
    assert prove(other, legal(other)).equal


def test_nothing_asked_is_nothing_changed(tmp_path: Path) -> None:
    """The same chain, to the digest."""
    model = masked(tmp_path)

    assert model.rearranged().chain.digest == model.chain.digest


def test_an_order_that_reads_before_it_makes_is_refused(tmp_path: Path) -> None:
    """With the stage and the one that it must follow."""
    model = masked(tmp_path)
    order = [1, 0, *range(2, len(model.chain))]

    with pytest.raises(BadDocument, match="stage 'rows' reads 'seen' and must follow 'seen'"):
        model.rearranged(order)
    with pytest.raises(BadDocument, match="each of the 18 stages once"):
        model.rearranged([0, 0, 1])


def test_all_that_cannot_run_again_is_refused_at_once(tmp_path: Path) -> None:
    """By name, each with its reason."""
    model = masked(tmp_path)

    with pytest.raises(BadDocument) as caught:
        model.rearranged(recompute=["p0", "y", "nobody", "seen"])
    assert caught.value.problems == (
        "recompute: there is no stage 'nobody'",
        "recompute: stage 'p0': Softmax is not among the cheap operators of the standard set",
        "recompute: stage 'y': the model returns its output 'y'",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("b = RandomNormalLike (x)", "RandomNormalLike is not among the cheap operators"),
        ("b = Add (x, w)", "it uses 8192 bytes of weights"),
        ("s = SequenceConstruct (x) b = ConcatFromSequence <axis = 0> (s)", "SequenceConstruct is not among"),
    ],
)
def test_random_heavy_and_sequence_stages_are_not_cheap(text: str, reason: str, tmp_path: Path) -> None:
    """They would give other values, weigh twice, or have no bytes."""
    model = filled(
        onnx.parser.parse_model(
            f"""<ir_version: 9, opset_import: ["" : 18]>
            g (float[2, 1024] x) => (float[n, 1024] y) <float[2, 1024] w> {{ {text} y = Neg (b) }}"""
        )
    )
    if "w)" not in text:
        del model.graph.initializer[:]
    path = tmp_path / "g.onnx"
    path.write_bytes(model.SerializeToString())
    captured = capture_onnx(path)

    assert not captured.cheap
    with pytest.raises(BadDocument, match=reason):
        captured.rearranged(recompute=[captured.chain.stages[0].name])


def test_functions_of_the_model_are_not_cheap(tmp_path: Path) -> None:
    """Whatever they are called."""
    model = capture_onnx(write_onnx("functions", tmp_path))
    special = {index for index, stage in enumerate(model.chain.stages) if stage.kind}

    assert special
    assert not special & model.cheap
