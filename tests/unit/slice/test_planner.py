"""A preparation is taken where it makes something smaller, is said, and is repeated by cutting."""

import re
from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.errors import BadDocument, Infeasible, UnboundDimension
from partita.plan import Limits, Platform, pick
from partita.slice import SliceQuestion, capture, cut, measured, plan, planner, prepare, verify
from partita.testing.onnx_models import NAMES, filled, write_onnx

HEAD = '<ir_version: 9, opset_import: ["" : 18]> '
WIDE = """
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        y = MatMul(d, w3)
    }"""
# Its one weight is added, and an addition cannot be divided.
STIFF = """
    stiff (float[batch, 4096] x) => (float[batch, 4096] y) <float[4096] w> {
        a = Neg(x)
        large = Add(a, w)
        y = Tanh(large)
    }"""
# What the first branch makes waits while the second runs, although nothing needs it before the end.
BRANCHES = """
    branches (float[batch, 64] x) => (float[batch, 4] y)
    <float[64, 64] w1, float[64, 64] w2, float[64, 4] v1, float[64, 4] v2> {
        a1 = MatMul(x, w1)
        a2 = MatMul(x, w2)
        b1 = MatMul(a1, v1)
        b2 = MatMul(a2, v2)
        y = Add(b1, b2)
    }"""
# Open sizes inside that only a run finds; those of `two_inputs` and `tied` are given.
DATA_DEPENDENT = ("found", "loop")


def model(text: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(HEAD + text)).SerializeToString())
    return path


def question(slices: int | None = None, dims: Any = None, **limits: Any) -> SliceQuestion:
    place = Platform("tiny", "for a test", Limits(**limits), store=0.001, store_rate=1e9)
    return SliceQuestion(platform=place, slices=slices, dims=dims or {})


@pytest.mark.parametrize("level", ["auto", "none"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DATA_DEPENDENT])
def test_a_plan_cuts_the_model_that_its_preparation_makes_again(
    tmp_path: Path, name: str, level: Any
) -> None:
    """What `plan` writes, `cut --plan` finds again, and the slices are equal to the whole."""
    path = write_onnx(name, tmp_path)
    dims = {"seq": 4} if name in ("two_inputs", "tied") else {}
    _, found = plan(capture(path, optimize=level), question(2, dims))
    again = prepare(path, found.preparation, batch=found.batch, dims=found.dims)

    cut(again, found, tmp_path / "slices")
    assert verify(path, tmp_path / "slices", seeds=1).equal


def test_a_model_too_large_for_this_machine_is_not_optimised_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "affordable", lambda _: False)
    path = model(WIDE, tmp_path)
    ready, found = plan(capture(path), question())

    assert found.preparation.optimize == ready.preparation.optimize == "none"
    assert any("not optimised" in note for note in found.notes)
    assert capture(path, optimize="extended").preparation.optimize == "extended"


def test_a_model_that_fits_is_optimised_without_a_word(tmp_path: Path) -> None:
    found = capture(model(WIDE, tmp_path))

    assert (found.preparation.optimize, found.notes) == ("extended", ())


def test_a_node_too_large_for_a_slice_is_divided_and_that_is_said(tmp_path: Path) -> None:
    path = model(WIDE, tmp_path)
    ready, found = plan(capture(path, optimize="none"), question(package=8_000))

    assert dict(found.preparation.divide) == {"MatMul_2": 4}
    assert any("'MatMul_2' is too large for one slice and becomes 4 pieces" in note for note in found.notes)
    assert max(piece.weights for piece in found.slices) <= 8_000
    cut(ready.model, found, tmp_path / "slices")
    assert verify(path, tmp_path / "slices").equal


def test_a_node_that_fits_is_not_divided(tmp_path: Path) -> None:
    _, found = plan(capture(model(WIDE, tmp_path)), question(package=1 << 20))

    assert not found.preparation.divide


def test_what_cannot_be_divided_is_refused_with_the_node_and_a_platform_that_takes_it(tmp_path: Path) -> None:
    prepared = capture(model(STIFF, tmp_path), optimize="none")

    with pytest.raises(Infeasible, match=r"1 of the model's nodes .*tiny.*'Add_1'.*Add is none of") as caught:
        plan(prepared, question(package=8_000))

    named = re.search(r"--platform ([\w-]+)", caught.value.fix)
    assert named
    assert plan(prepared, SliceQuestion(platform=pick(named[1])))[1].platform == named[1]


def test_more_pieces_than_columns_are_refused(tmp_path: Path) -> None:
    prepared = capture(model(WIDE, tmp_path), optimize="none")

    with pytest.raises(Infeasible, match=r"would have to become \d+ pieces, and \d+ are the most"):
        plan(prepared, question(package=200))


def test_a_straight_line_stays_in_the_order_of_the_file(tmp_path: Path) -> None:
    _, found = plan(capture(model(WIDE, tmp_path)), question(2))

    assert found.preparation.order == "file"


def test_another_order_is_taken_where_fewer_bytes_cross(tmp_path: Path) -> None:
    """In the file, both wide values are alive at once; branch after branch, one is."""
    prepared = capture(model(BRANCHES, tmp_path), optimize="none")
    ready, found = plan(prepared, question(2))
    names = [stage.name for stage in ready.chain.stages]

    assert found.preparation.order != "file"
    assert abs(names.index("MatMul_0") - names.index("MatMul_2")) == 1


def test_stages_that_are_folded_are_counted_in_a_note(tmp_path: Path) -> None:
    ready, found = plan(capture(write_onnx("integers", tmp_path), optimize="none"), question(2))

    assert len(found.preparation.recompute) == 2
    assert "2 cheap stages are run again where needed instead of being sent" in found.notes
    assert not {"Shape_0", "Concat_4"} & {stage.name for stage in ready.chain.stages}


def test_one_folded_stage_is_one(tmp_path: Path) -> None:
    _, found = plan(capture(write_onnx("early_output", tmp_path), optimize="none"), question(2))

    assert "1 cheap stage is run again where needed instead of being sent" in found.notes


def test_what_is_measured_is_the_prepared_model_once(tmp_path: Path) -> None:
    seen = []

    def clock(taken: Any) -> Any:
        seen.append(taken.chain.digest)
        return measured()(taken)

    ready, found = plan(capture(model(WIDE, tmp_path)), question(2), profile=clock)

    assert seen == [ready.chain.digest] == [found.digest]
    assert all(piece.seconds is not None and piece.seconds > 0 for piece in found.slices)


def test_a_value_for_a_dimension_that_is_not_there_is_refused(tmp_path: Path) -> None:
    prepared = capture(write_onnx("two_inputs", tmp_path))

    with pytest.raises(BadDocument, match=r"dims\.sequence: the model has no such open dimension") as caught:
        plan(prepared, question(dims={"sequence": 4, "seq": 4}))
    assert caught.value.fix == "those that it has: batch, seq"


def test_an_open_size_without_a_value_is_asked_for(tmp_path: Path) -> None:
    prepared = capture(write_onnx("two_inputs", tmp_path))

    with pytest.raises(UnboundDimension, match="depends on seq") as caught:
        plan(prepared, question())
    assert "--dim seq=" in caught.value.fix
