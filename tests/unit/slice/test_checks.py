"""Every limit is held against its need, and a way out that is offered works when it is taken."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.errors import BadDocument, Infeasible, PlanMismatch
from partita.plan import Limits, Platform, pick, platforms
from partita.slice import (
    Prepared,
    Report,
    Row,
    SliceQuestion,
    amount,
    arranged,
    capture,
    check,
    check_plan,
    measured,
    plan,
    plan_at,
)
from partita.testing.onnx_models import filled

# 38 KB of weights, 2, 16, 1, 1, 16 and 2; 256 B cross where it is wide, and 16 B in the middle.
TEXT = """
    <ir_version: 9, opset_import: ["" : 18]>
    hourglass (float[batch, 8] x) => (float[batch, 8] y)
    <float[8, 64] w1, float[64, 64] w2, float[64, 4] w3, float[4, 64] w4, float[64, 64] w5, float[64, 8] w6> {
        a = MatMul(x, w1)
        b = MatMul(a, w2)
        c = MatMul(b, w3)
        d = MatMul(c, w4)
        e = MatMul(d, w5)
        y = MatMul(e, w6)
    }"""
STIFF = """
    <ir_version: 9, opset_import: ["" : 18]>
    stiff (float[batch, 4096] x) => (float[batch, 4096] y) <float[4096] w> {
        a = Neg(x)
        large = Add(a, w)
        y = Tanh(large)
    }"""
KB = 1024


def written(text: str, folder: Path) -> Prepared:
    path = folder / "model.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(text)).SerializeToString())
    return capture(path, optimize="none")


@pytest.fixture(scope="module")
def hourglass(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return written(TEXT, tmp_path_factory.mktemp("check"))


def asked(
    *, event: int | None = None, transport: Any = "auto", slices: int | None = None, **limits: Any
) -> SliceQuestion:
    place = Platform(
        "tiny", "for a test", Limits(**limits), event=event, payload_growth=4 / 3, store=0.001, store_rate=1e9
    )
    return SliceQuestion(platform=place, transport=transport, slices=slices)


def followed(question: SliceQuestion, advice: str) -> SliceQuestion:
    """The question as the advice says: the first way out of those it offers."""
    words = advice.removeprefix("use ").partition(" or ")[0].split()
    if "--slices" in words:
        question = replace(question, slices=int(words[words.index("--slices") + 1]))
    if "--transport" in words:
        question = replace(question, transport=words[words.index("--transport") + 1])  # type: ignore[arg-type]
    if "--platform" in words:
        question = replace(question, platform=pick(words[words.index("--platform") + 1]))
    return question


def failing(report: Report) -> dict[str, Row]:
    return {row.check: row for row in report.rows if row.failed}


def test_what_fits_passes_with_its_headroom(hourglass: Prepared) -> None:
    report = check(hourglass, asked(package=60 * KB, memory=400 * KB))
    package = next(row for row in report.rows if row.check == "package")

    assert report.passed
    assert (report.problem, report.advice) == ("", "")
    assert package.need == 38 * KB
    assert package.headroom == pytest.approx(1 - 38 / 60)


def test_every_check_is_made(hourglass: Prepared) -> None:
    report = check(hourglass, asked(event=9_000, package=60 * KB, storage=60 * KB, seconds=1))

    assert [row.check for row in report.rows] == [
        "largest node", "package", "storage", "temporary storage", "payload of a layer",
        "payload in", "payload out", "event", "memory", "time",
    ]  # fmt: skip


def test_too_few_slices_fail_at_the_package_and_as_many_as_advised_pass(hourglass: Prepared) -> None:
    question = asked(package=25 * KB, slices=1)
    report = check(hourglass, question)

    assert set(failing(report)) == {"package"}
    assert failing(report)["package"].where == "slice 0"
    assert re.fullmatch(r"use --slices 2", report.advice)
    assert check(hourglass, followed(question, report.advice)).passed


def test_a_payload_too_large_fails_and_the_store_helps(hourglass: Prepared) -> None:
    question = asked(package=10 * KB, payload_in=200, payload_out=200, transport="inline")
    report = check(hourglass, question)

    assert {"payload in", "payload out"} <= set(failing(report))
    assert "--transport auto" in report.advice
    assert check(hourglass, followed(question, report.advice)).passed


def test_only_what_cannot_be_kept_fails(hourglass: Prepared) -> None:
    """The events are too small; the packages, which more slices keep, do not fail with them."""
    report = check(hourglass, asked(package=25 * KB, payload_in=20, transport="inline"))

    assert set(failing(report)) == {"payload in"}


def test_both_ways_together_are_only_advised_where_one_does_not_do(hourglass: Prepared) -> None:
    question = asked(package=10 * KB, payload_in=200, payload_out=200, transport="inline", slices=1)
    report = check(hourglass, question)

    assert re.fullmatch(r"use --slices \d+ --transport auto", report.advice)
    assert check(hourglass, followed(question, report.advice)).passed


def test_where_no_option_helps_a_larger_platform_is_named_and_takes_it(hourglass: Prepared) -> None:
    question = replace(asked(memory=1 * KB), batch=64)
    report = check(hourglass, question)

    assert not report.passed
    assert "--platform" in report.advice
    assert check(hourglass, replace(question, platform=pick(report.advice.split()[-1]))).passed


def test_a_node_that_can_be_divided_is_not_a_failure(hourglass: Prepared) -> None:
    report = check(hourglass, asked(package=10 * KB))
    node = report.rows[0]

    assert (node.check, node.status) == ("largest node", "divided")
    assert re.fullmatch(r"is divided into \d by output columns", node.fix)
    assert report.passed


def test_a_node_that_cannot_be_divided_fails_by_name(tmp_path: Path) -> None:
    report = check(written(STIFF, tmp_path), asked(package=8 * KB))

    assert not report.passed
    assert report.plan is None
    assert failing(report)["largest node"].where == "Add_1"
    assert "cannot be divided" in report.problem
    assert "--platform" in report.advice


def test_a_layer_too_large_to_be_sent_is_avoided_and_not_a_failure(hourglass: Prepared) -> None:
    report = check(hourglass, asked(package=25 * KB, payload_in=200, payload_out=200, transport="inline"))
    layer = next(row for row in report.rows if row.check == "payload of a layer")

    assert layer.status == "avoided"
    assert layer.fix.startswith("4 of 6 stages")
    assert report.passed


def test_time_is_unknown_until_it_is_measured(hourglass: Prepared) -> None:
    question = asked(seconds=60, slices=2)
    unknown, known = check(hourglass, question), check(hourglass, question, profile=measured())

    assert unknown.rows[-1].status == "unknown"
    assert (known.rows[-1].status, known.rows[-1].source) == ("pass", "measured here")
    assert (known.rows[-1].need or 0) > 0


def test_more_slices_than_there_are_places_is_a_wrong_question(hourglass: Prepared) -> None:
    with pytest.raises(BadDocument, match="slices: 99"):
        check(hourglass, asked(slices=99))


@pytest.mark.parametrize("transport", ["auto", "inline"])
@pytest.mark.parametrize("event", [None, 30])
@pytest.mark.parametrize("payload", [None, 30, 300])
@pytest.mark.parametrize("package", [None, 5 * KB, 18 * KB])
@pytest.mark.parametrize("slices", [None, 1, 3])
def test_the_checks_and_the_planner_agree(
    hourglass: Prepared, transport: Any, event: Any, payload: Any, package: Any, slices: Any
) -> None:
    """A plan that exists passes every check; where there is none, a check fails, and advice to plan otherwise works."""
    question = asked(
        event=event,
        transport=transport,
        slices=slices,
        package=package,
        payload_out=payload,
        payload_in=payload,
    )
    report = check(hourglass, question)
    try:
        plan(hourglass, question)
    except Infeasible:
        assert not report.passed
        assert report.problem or failing(report)
    else:
        assert report.passed, report.rows
    if report.advice.startswith("use"):
        assert check(hourglass, followed(question, report.advice)).passed


@pytest.mark.parametrize("name", sorted(platforms()))
def test_every_platform_can_be_asked(hourglass: Prepared, name: str) -> None:
    assert check(hourglass, SliceQuestion(platform=pick(name))).passed


def test_a_plan_is_held_against_another_platform(hourglass: Prepared) -> None:
    ready = arranged(hourglass, asked())
    found = plan_at(ready.chain, (3,))
    small = asked(package=10 * KB).platform

    assert check_plan(found, ready.chain, asked(package=25 * KB).platform).passed
    report = check_plan(found, ready.chain, small)
    assert set(failing(report)) == {"package"}
    assert "partita slice plan" in report.advice
    with pytest.raises(PlanMismatch):
        check_plan(found, replace(ready.chain, stages=ready.chain.stages[:-1], outputs=("e",)), small)


@pytest.mark.parametrize(
    ("check", "value", "text"),
    [
        ("memory", 68_600_000, "68.6 MB"),
        ("time", 0.00105, "1.05 ms"),
        ("time", 1.04e-07, "0.000104 ms"),
        ("time", 900, "900 s"),
        ("time", 0.0, "0 s"),
        ("package", None, "-"),
    ],
)
def test_amounts_are_printed_for_reading(check: str, value: float | None, text: str) -> None:
    assert amount(Row(check, "", value, None, "pass", "exact"), value) == text
