"""What may be divided and how finely; what may not, and why."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_divide_rules import Way
from partita.engine.onnx_graph import Step
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_run import RunSettings
from partita.errors import BadDocument
from partita.testing.onnx_models import filled, write_onnx

ONE = RunSettings(threads=1)


def model(folder: Path, text: str, settings: RunSettings = ONE, **changes: Any) -> OnnxModel:
    """A model from text; its last node is called `it`."""
    opset = changes.get("opset", 18)
    head = f'<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    proto = filled(onnx.parser.parse_model(head + "g " + text))
    proto.graph.node[-1].name = "it"
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return capture_onnx(path, settings=settings, dims=changes.get("dims"))


@pytest.mark.parametrize(
    ("text", "axis", "pieces"),
    [
        ("(float[b, 8] x) => (float[b, 40] y) <float[8, 40] w> { y = MatMul (x, w) }", "output columns", 40),
        ("(float[b, 8] x) => (float[b, 40] y) <float[40, 8] w> { y = Gemm <transB=1> (x, w) }", "output columns", 40),
        ("(int64[b] x) => (float[b, 8] y) <float[40, 8] w> { y = Gather (w, x) }", "vocabulary ranges", 40),
        ("(float[b,3,9,9] x) => (float[b,40,9,9] y) <float[40,3,1,1] w> { y = Conv (x, w) }", "output channels", 20),
    ],
)  # fmt: skip
def test_what_can_be_divided_says_along_what_and_how_finely(
    text: str, axis: str, pieces: int, tmp_path: Path
) -> None:
    """Columns and rows of a table one by one, channels in pairs."""
    found = model(tmp_path, text).division("it")

    assert (found.axis, found.pieces, found.reason) == (axis, pieces, "")
    assert found


REFUSED = {
    "(float[b, 8] x) => (float[b, 8] y) { y = Softmax (x) }": "Softmax is none of MatMul, Gemm",
    "(float[b, 8] x, float[8, 8] w) => (float[b, 8] y) { y = MatMul (x, w) }": "'w' is computed, not a weight",
    "(float[8, b] x) => (float[8, b] y) <float[8, 8] w> { y = MatMul (w, x) }": "'x' is computed, not a weight",
    "(float[b, 8] x) => (float[b] y) <float[8] w> { y = MatMul (x, w) }": "its weight 'w' is a vector",
    "(float[b, 8] x) => (float[b, 1] y) <float[8, 1] w> { y = MatMul (x, w) }": "1 output columns are too few",
    "(float[b, 8] x, float[8] c) => (float[b, 8] y) <float[8, 8] w> { y = Gemm (x, w, c) }": "'c' is computed",
    "(float[b,8,4,4] x) => (float[b,8,4,4] y) <float[8,2,1,1] w> { y = Conv <group=4> (x, w) }": "it has 4 groups",
    "(float[b,8,h,h] x) => (float[b,8,h,h] y) <float[8,8,1,1] w> { y = Conv (x, w) }": "the size of its picture is open",
    "(int64[b] x) => (float[9, b] y) <float[9, 40] w> { y = Gather <axis=1> (w, x) }": "it picks along axis 1",
    "(float[b,8,4,4] x, float[b,8,4,4] z) => (float[b,8,4,4] y) <float[8,8,1,1] w, float[8] c>"
    " { y = com.microsoft.FusedConv <activation=\"Relu\"> (x, w, c, z) }": "it adds 'z' to its result",
    "(float[b, 8] x) => (float[b, 8] y) <float[8, 8] w, float[8] c>"
    " { y = com.microsoft.FusedGemm <activation=\"Softsign\"> (x, w, c) }": "its activation Softsign is not known",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_divided_has_a_reason(text: str, tmp_path: Path) -> None:
    """The same one when it is asked and when it is tried."""
    captured = model(tmp_path, text)
    found = captured.division("it")

    assert not found
    assert (found.pieces, found.axis) == (1, "")
    assert REFUSED[text] in found.reason
    with pytest.raises(BadDocument, match="stage 'it' cannot be divided: "):
        captured.divided({"it": 2})


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    """They have no ranges."""
    captured = capture_onnx(write_onnx("sparse", tmp_path))

    assert captured.division("MatMul_2").reason == "its weight 'w2' is sparse"


def test_tables_of_types_that_cannot_be_selected_are_refused(tmp_path: Path) -> None:
    """ONNX Runtime has no Where for them."""
    text = "(int64[b] x) => (float16[b, 8] y) { y = Gather (w, x) }"
    head = '<ir_version: 9, opset_import: ["" : 18]> g '
    proto = onnx.parser.parse_model(head + text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((9, 8), np.float16), "w"))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    (stage,) = capture_onnx(path).chain.stages

    assert "no Where for the type" in capture_onnx(path).division(stage.name).reason


def test_open_pictures_can_be_divided_when_they_are_bound(tmp_path: Path) -> None:
    """The size decides how sums are made."""
    text = "(float[b,8,h,h] x) => (float[b,8,h,h] y) <float[8,8,1,1] w> { y = Conv (x, w) }"

    assert model(tmp_path, text, dims={"h": 6}).division("it").pieces == 4


@pytest.mark.parametrize(
    ("threads", "prepack", "columns", "pieces"),
    [(1, True, 640, 640), (4, True, 640, 640), (1, False, 640, 8), (2, False, 640, 4), (4, False, 640, 2)],
)
def test_weights_that_are_not_rearranged_need_wide_pieces(
    threads: int, prepack: bool, columns: int, pieces: int, tmp_path: Path
) -> None:
    """More than 64 columns for every thread, or sums are made in longer runs."""
    text = f"(float[b, 8] x) => (float[b, {columns}] y) <float[8, {columns}] w> {{ y = MatMul (x, w) }}"
    settings = RunSettings(threads=threads, prepack=prepack)

    assert model(tmp_path, text, settings).division("it").pieces == pieces


def test_all_wrong_fields_are_refused_at_once(tmp_path: Path) -> None:
    """Unknown stages, stages that cannot be divided and counts beyond what is possible; nothing is made."""
    captured = capture_onnx(write_onnx("skip", tmp_path))

    with pytest.raises(BadDocument) as caught:
        captured.divided({"nobody": 2, "Relu_1": 2, "MatMul_0": 9, "MatMul_2": 1})
    assert [text.split(":")[0] for text in caught.value.problems] == [
        "there is no stage 'nobody'",
        "stage 'Relu_1' cannot be divided",
        "stage 'MatMul_0' can be divided into 2 to 8 output columns, not 9 pieces",
        "stage 'MatMul_2' can be divided into 2 to 8 output columns, not 1 pieces",
    ]
    with pytest.raises(BadDocument, match="there is no stage 'nobody'"):
        captured.division("nobody")


@given(
    size=st.integers(1, 3000), least=st.integers(1, 200), unit=st.sampled_from([4, 16]), strict=st.booleans()
)
def test_ranges_cover_all_and_keep_their_least(size: int, least: int, unit: int, strict: bool) -> None:
    """For every number of pieces up to the most, in order, without gaps, none far larger than another."""
    step = Step(None, (), (), (), ())
    way = Way(
        step,
        "output columns",
        size,
        (),
        least=max(least, unit) if strict else least,
        unit=unit,
        strict=strict,
    )
    for count in {1, 2, way.most // 2, way.most} & set(range(1, way.most + 1)):
        ranges = way.ranges(count)
        widths = [stop - start for start, stop in ranges]
        assert (ranges[0][0], ranges[-1][1], len(ranges)) == (0, size, count)
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
        assert count == 1 or min(widths) >= way.least
        assert max(widths) - min(widths) < 2 * unit
