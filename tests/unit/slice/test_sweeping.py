"""The best plan for every number of slices; what is not possible keeps its reason."""

import sys
from typing import Any

import onnx
import pytest

from partita.errors import LimitExceeded
from partita.plan import Limits, Platform
from partita.slice import Prepared, SliceQuestion, capture, measured, plan, sweep
from partita.testing.onnx_models import filled

TEXT = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[5, 8] x) => (float[5, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        b = MatMul(a, w2)
        y = MatMul(b, w3)
    }"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = tmp_path_factory.mktemp("sweep") / "model.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(TEXT)).SerializeToString())
    return capture(path, optimize="none")


def asked(**limits: Any) -> SliceQuestion:
    return SliceQuestion(
        platform=Platform("tiny", "for a test", Limits(**limits), store=0.001, store_rate=1e9)
    )


def test_every_number_has_its_best_plan(prepared: Prepared) -> None:
    points = sweep(prepared, asked(), (1, 2, 3))

    assert [point.slices for point in points] == [1, 2, 3]
    assert [len(point.plan.slices) for point in points if point.plan] == [1, 2, 3]
    alone = plan(prepared, SliceQuestion(platform=asked().platform, slices=2))[1]
    assert points[1].plan == alone


def test_a_number_that_is_not_possible_keeps_its_reason(prepared: Prepared) -> None:
    points = sweep(prepared, asked(package=17 << 10), (1, 2, 3, 9))

    assert [point.plan is not None for point in points] == [False, False, True, False]
    assert all("package" in point.problem for point in points[:2])
    assert points[2].problem == ""
    assert "slices: 9 are more than" in points[3].problem


def test_the_model_is_measured_once(prepared: Prepared) -> None:
    calls = []

    def clock(model: Any) -> Any:
        calls.append(model)
        return measured()(model)

    points = sweep(prepared, asked(), (1, 2), profile=clock)

    assert len(calls) == 1
    assert all(point.plan and point.plan.totals and point.plan.totals.warm for point in points)


def test_progress_is_told_for_every_number(prepared: Prepared) -> None:
    heard: list[tuple[int, int, str]] = []
    sweep(prepared, asked(), (1, 3), progress=lambda *told: heard.append(told))

    assert heard == [(1, 2, "1 slice"), (2, 2, "3 slices")]


def test_a_rehearsed_number_has_its_measurements(prepared: Prepared) -> None:
    """The model fixes its batch at 5, and nobody gave inputs."""
    (point,) = sweep(prepared, asked(memory=1 << 30, runtime_memory=1 << 28), (2,), runs=1)

    assert point.problem == ""
    assert point.rehearsal is not None
    assert len(point.rehearsal.slices) == 2
    assert point.rehearsal.warm is not None
    assert point.rehearsal.peak > 0


def test_a_rehearsal_that_breaks_a_limit_keeps_its_plan_and_says_why(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise LimitExceeded("slice 0: memory", fix="order more")

    monkeypatch.setattr(sys.modules["partita.slice.sweeping"], "rehearse", broken)
    (point,) = sweep(prepared, asked(), (1,), runs=0)

    assert point.plan is not None
    assert (point.problem, point.rehearsal) == ("slice 0: memory", None)
