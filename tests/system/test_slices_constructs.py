"""Branches, loops, sequences, optionals and texts: what slicing handles, bit for bit, and what it refuses by name.

A body stays within its node and takes what it captures as inputs of the slice. Sequences, optionals and texts never
travel: a model is cut around them, and a cut through one is refused with the tensor's name and kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.errors import BadDocument, IllegalCut, PartFailed
from partita.plan import pick
from partita.slice import (
    Prepared,
    SliceQuestion,
    arranged,
    capture,
    cut,
    made_inputs,
    open_slices,
    plan,
    plan_at,
    read_manifest,
    verify,
)
from partita.testing.onnx_models import filled, onnx_model

# Texts are compared from version 19 on.
HEAD = '<ir_version: 9, opset_import: ["" : 19]>'
PLACE = pick("process")
# Beside those of partita.testing: what they do not have.
MORE = {
    "sequence_map": """
        sequence_map (float[4, 8] x) => (float[4, 8] y) <float[8] g> {
            a = Tanh(x)
            s = SplitToSequence <axis = 1> (a)
            k = Abs(g)
            m = SequenceMap (s, k) <body = each (float[4, 1] v, float[8] q) => (float[4, 1] o) {
                t = ReduceMax <keepdims = 0> (q)
                o = Mul(v, t)
            }>
            c = ConcatFromSequence <axis = 1> (m)
            y = Neg(c)
        }""",
    "optional": """
        optional (float[4, 8] x) => (float[4, 8] y) <float[8, 8] w> {
            a = MatMul(x, w)
            p = Optional(a)
            has = OptionalHasElement(p)
            e = OptionalGetElement(p)
            f = Cast <to = 1> (has)
            b = Mul(e, f)
            y = Tanh(b)
        }""",
    "nested": """
        nested (float[4, 8] x, int64 n, bool flag) => (float[4, 8] y) <float[8, 8] w, float[8] b> {
            a = MatMul(x, w)
            k = Relu(a)
            go = Constant <value = bool {1}> ()
            h = Loop (n, go, a) <body = step (int64 i, bool c, float[4, 8] h0) => (bool d, float[4, 8] h1) {
                d = Identity(c)
                h1 = If (flag) <
                    then_branch = yes () => (float[4, 8] o) { t = Mul(h0, k)  o = Add(t, b) },
                    else_branch = no () => (float[4, 8] o) { o = Sub(h0, x) }
                >
            }>
            y = Tanh(h)
        }""",
    "words": """
        words (string[n] text, float[n, 4] x) => (float[n, 4] y) <float[4, 4] w> {
            low = StringNormalizer <case_change_action = "LOWER", locale = "C"> (text)
            again = StringNormalizer <case_change_action = "UPPER", locale = "C"> (low)
            m = Equal(again, text)
            f = Cast <to = 1> (m)
            one = Constant <value = int64[1] {1}> ()
            g = Unsqueeze(f, one)
            a = MatMul(x, w)
            y = Mul(a, g)
        }""",
    "words_out": """
        words_out (string[n] text, float[n, 4] x) => (string[n] plain, float[n, 4] y) <float[4, 4] w> {
            a = MatMul(x, w)
            b = Relu(a)
            y = Tanh(b)
            plain = StringNormalizer <case_change_action = "UPPER", locale = "C"> (text)
        }""",
}
HANDLED = (
    "branch", "loop", "scan", "sequence", "sequence_map", "optional", "nested", "words", "functions", "sparse",
    "found", "passing", "optional_input",
)  # fmt: skip
# By model: a tensor that may not cross a cut, and what it is.
STUCK = {
    "sequence": ("s", "sequence"),
    "sequence_map": ("s", "sequence"),
    "optional": ("p", "optional"),
    "words": ("text", "string"),
    "words_out": ("text", "string"),
}


def write(name: str, folder: Path) -> Path:
    text = MORE.get(name)
    model = onnx_model(name) if text is None else filled(onnx.parser.parse_model(HEAD + text))
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def inputs(model: OnnxModel, seed: int) -> dict[str, Any]:
    """Made up, with rounds to go, and texts of which some are upper case."""
    values = dict(model.example(1 if model.chain.inputs[0] == "text" else None, seed))
    if "n" in values:
        values["n"] = np.array(3)
    if "flag" in values:
        values["flag"] = np.array(seed == 1)
    if "text" in values:
        values["text"] = np.array(["A", "bc", "DÉ"], dtype=object)
        values["x"] = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)
    return values


def sizes(taken: Prepared) -> dict[str, int]:
    """Some size for every open dimension: it decides where the planner cuts, and nothing else."""
    return {symbol: 3 for spec in taken.chain.tensors.values() for symbol in spec.symbols}


def bits(values: dict[str, Any]) -> dict[str, Any]:
    return {n: v.tolist() if v.dtype == object else (v.shape, v.tobytes()) for n, v in values.items()}


@pytest.mark.parametrize("name", HANDLED)
def test_every_number_of_slices_gives_the_bits_of_the_whole(name: str, tmp_path: Path) -> None:
    """As it is and optimised, up to every stage that folding leaves as a slice of its own."""
    path = write(name, tmp_path)
    whole = OnnxPart.load(path, RunSettings())
    for optimize in ("none", "extended"):
        taken = capture(path, optimize=optimize)
        question = SliceQuestion(PLACE, dims=sizes(taken))
        most = sum(at.legal for at in arranged(taken, question).chain.cuts[1:-1]) + 1
        assert most > 1
        for number in range(2, most + 1):
            ready, found = plan(taken, replace(question, slices=number))
            cut(ready.model, found, tmp_path / "slices")
            with open_slices(tmp_path / "slices") as slices:
                for seed in (1, 2):
                    values = inputs(ready.model, seed)
                    assert bits(slices.run(values).outputs) == bits(whole.forward(values)), (optimize, number)


@pytest.mark.parametrize("name", STUCK)
def test_a_cut_through_what_cannot_travel_is_refused_with_name_and_kind(name: str, tmp_path: Path) -> None:
    tensor, kind = STUCK[name]
    chain = capture(write(name, tmp_path), optimize="none").chain
    inside = chain.maker(tensor) + 1
    with pytest.raises(IllegalCut, match=rf"'{tensor}'.*{kind}") as caught:
        plan_at(chain, (inside or 1,))

    assert caught.value.fix


def special(name: str, folder: Path) -> Path:
    """A sequence or an optional at one end of a model."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    plain = make.make_tensor_value_info("x" if name.endswith("out") else "y", kind, [4, 8])
    sequence = make.make_tensor_sequence_value_info("s", kind, [2, 8])
    optional = make.make_value_info(
        "p", make.make_optional_type_proto(make.make_tensor_type_proto(kind, [4, 8]))
    )
    node = make.make_node
    nodes, given, made = {
        "sequence_in": ([node("ConcatFromSequence", ["s"], ["a"], axis=0), node("Neg", ["a"], ["b"]), node("Tanh", ["b"], ["y"])], sequence, plain),
        "sequence_out": ([node("Neg", ["x"], ["a"]), node("Tanh", ["a"], ["b"]), node("SplitToSequence", ["b"], ["s"], axis=1)], plain, sequence),
        "optional_in": ([node("OptionalGetElement", ["p"], ["a"]), node("Neg", ["a"], ["b"]), node("Tanh", ["b"], ["y"])], optional, plain),
        "optional_out": ([node("Neg", ["x"], ["a"]), node("Tanh", ["a"], ["b"]), node("Optional", ["b"], ["p"])], plain, optional),
    }[name]  # fmt: skip
    graph = make.make_graph(nodes, name, [given], [made])
    path = folder / f"{name}.onnx"
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("name", "tensor", "kind"), [("sequence_in", "s", "sequence"), ("optional_in", "p", "optional")]
)
def test_an_input_that_cannot_be_given_is_refused_with_name_and_kind(
    name: str, tensor: str, kind: str, tmp_path: Path
) -> None:
    """Such a model is cut behind it, and says what it cannot be run with."""
    path = special(name, tmp_path)
    taken = capture(path, optimize="none")
    ready, found = plan(taken, SliceQuestion(PLACE, slices=2, dims=sizes(taken)))
    cut(ready.model, found, tmp_path / "slices")
    manifest = read_manifest(tmp_path / "slices")

    with pytest.raises(BadDocument, match=rf"'{tensor}', a {kind}"):
        made_inputs(manifest)
    with pytest.raises(PartFailed, match=rf"'{tensor}': it is a {kind}"):
        verify(path, tmp_path / "slices")
    with open_slices(tmp_path / "slices") as slices:
        with pytest.raises(BadDocument, match=rf"'{tensor}' must be a numpy array, not list"):
            slices.run({tensor: [np.zeros((2, 8), np.float32)] * 2})


def test_an_optional_answer_is_the_tensor_in_it(tmp_path: Path) -> None:
    path = special("optional_out", tmp_path)
    ready, found = plan(capture(path, optimize="none"), SliceQuestion(PLACE, slices=2))
    cut(ready.model, found, tmp_path / "slices")
    values = ready.model.example()
    with open_slices(tmp_path / "slices") as slices:
        outputs = slices.run(values).outputs

    assert bits(outputs) == bits(OnnxPart.load(path, RunSettings()).forward(values))


def test_a_sequence_answer_is_the_list_of_its_tensors(tmp_path: Path) -> None:
    path = special("sequence_out", tmp_path)
    ready, found = plan(capture(path, optimize="none"), SliceQuestion(PLACE, slices=2))
    cut(ready.model, found, tmp_path / "slices")
    values = ready.model.example()
    with open_slices(tmp_path / "slices") as slices:
        (answer,) = slices.run(values).outputs.values()
    (wanted,) = OnnxPart.load(path, RunSettings()).forward(values).values()

    assert len(answer) == len(wanted) == 8
    assert [item.tobytes() for item in answer] == [item.tobytes() for item in wanted]
    assert verify(path, tmp_path / "slices").equal


def test_the_command_handles_a_branch_from_plan_to_run(
    run_partita: Callable[..., Any], tmp_path: Path
) -> None:
    path = write("branch", tmp_path)
    assert (
        run_partita("slice", "plan", path, "--slices", 2, "--platform", "process", "-o", "plan.json")[0] == 0
    )
    assert run_partita("slice", "cut", path, "--plan", "plan.json", "-o", "slices")[0] == 0
    code, proof, _ = run_partita("slice", "verify", path, "slices")
    assert code == 0
    assert set(proof["absolute"].values()) == {0.0}


def test_the_command_refuses_more_slices_than_texts_allow(
    run_partita: Callable[..., Any], tmp_path: Path
) -> None:
    code, answer, said = run_partita(
        "slice", "plan", write("words_out", tmp_path), "--slices", 3, "--platform", "process"
    )

    assert code == 2
    assert answer["problems"] == ["slices: 3 are more than 'words_out' can be cut into, 1"]
    assert answer["fix"]
    assert "Traceback" not in said
