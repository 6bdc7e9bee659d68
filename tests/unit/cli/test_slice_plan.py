"""`partita slice check` and `plan`, as one types them."""

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.graph import load
from partita.slice import SlicePlan
from partita.testing.onnx_models import filled

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        y = MatMul(d, w3)
    }"""
STIFF = """
    <ir_version: 9, opset_import: ["" : 18]>
    stiff (float[batch, 4096] x) => (float[batch, 4096] y) <float[4096] w> { a = Neg(x)  y = Add(a, w) }"""
PLATFORMS = """
[small]
title = "little room"
package = "19 KB"
[smaller]
title = "less room"
package = "10 KB"
[quiet]
title = "little is sent, all is stored"
payload_in = "200 B"
payload_out = "200 B"
store_rate = "1 gbit"
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    for name, text in (("wide", WIDE), ("stiff", STIFF)):
        (tmp_path / f"{name}.onnx").write_bytes(filled(onnx.parser.parse_model(text)).SerializeToString())
    (tmp_path / "p.toml").write_text(PLATFORMS)


def on(platform: str) -> list[str]:
    return ["--platforms", "p.toml", "--platform", platform]


def test_what_fits_is_said_with_every_limit(partita: Any) -> None:
    outcome = partita("slice", "check", "wide.onnx", "--platform", "aws-lambda")

    assert outcome.code == 0
    assert all(
        word in outcome.out for word in ("package", "payload in", "memory", "headroom", "everything fits")
    )


def test_json_is_one_document_with_the_plan(partita: Any) -> None:
    document = partita("slice", "check", "wide.onnx", "--platform", "aws-lambda", "--json").document

    assert (document["passed"], document["slices"]) == (True, 1)
    assert {"package", "memory", "time"} <= {row["check"] for row in document["rows"]}
    assert load(SlicePlan, json.dumps(document["plan"])).platform == "aws-lambda"


def test_what_does_not_fit_ends_with_5_and_its_advice_works(partita: Any) -> None:
    outcome = partita("slice", "check", "wide.onnx", *on("small"), "--slices", "1")
    advice = re.search(r"fix: use (--slices \d+)", outcome.out)

    assert outcome.code == 5
    assert "it does not fit as asked" in outcome.out
    assert "fail: slice 0: package" in outcome.out
    assert advice
    assert partita("slice", "check", "wide.onnx", *on("small"), *advice[1].split()).code == 0


def test_the_store_is_advised_where_it_helps(partita: Any) -> None:
    outcome = partita("slice", "check", "wide.onnx", *on("quiet"), "--slices", "3", "--transport", "inline")

    assert outcome.code == 5
    assert "--transport auto" in outcome.out
    assert (
        partita("slice", "check", "wide.onnx", *on("quiet"), "--slices", "3", "--transport", "auto").code == 0
    )


def test_a_node_that_cannot_be_divided_is_named_with_a_platform_that_takes_it(partita: Any) -> None:
    outcome = partita("slice", "check", "stiff.onnx", *on("smaller"))
    platform = re.search(r"--platform ([\w-]+)", outcome.out)

    assert outcome.code == 5
    assert "Add_1" in outcome.out
    assert "cannot be divided" in outcome.out
    assert platform
    assert partita("slice", "check", "stiff.onnx", "--platform", platform[1]).code == 0
    assert partita("slice", "plan", "stiff.onnx", *on("smaller")).code == 5


def test_a_plan_is_explained_and_written(partita: Any, tmp_path: Path) -> None:
    outcome = partita("slice", "plan", "wide.onnx", *on("small"), "-o", "plan.json")
    plan = load(SlicePlan, (tmp_path / "plan.json").read_text())

    assert outcome.code == 0
    assert len(plan.slices) == 2
    assert "slice 1" in outcome.out
    assert "ends here: the model ends here" in outcome.out
    assert "plan written to plan.json" in outcome.out


def test_a_plan_as_json_is_the_document_that_is_written(partita: Any, tmp_path: Path) -> None:
    printed = partita("slice", "plan", "wide.onnx", "--slices", "2", "-o", "plan.json", "--json")

    assert load(SlicePlan, printed.out) == load(SlicePlan, (tmp_path / "plan.json").read_text())


@pytest.mark.parametrize("objective", ["latency", "memory", "payload", "cost", "throughput"])
def test_every_objective_has_a_plan(partita: Any, objective: str) -> None:
    words = ("--platform", "aws-lambda", "--slices", "2", "--objective", objective, "--threads", "1")
    outcome = partita("slice", "plan", "wide.onnx", *words)

    assert outcome.code == 0
    assert "slice 1" in outcome.out


@pytest.mark.parametrize("verb", ["check", "plan"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["p.toml"], "not an ONNX file"),
        (["wide.onnx", "--slices", "50"], "slices: 50 are more than"),
        (["wide.onnx", "--platform", "aws"], "'aws' is not a known platform"),
        (["wide.onnx", "--platforms", "wide.onnx", "--platform", "x"], "cannot be read"),
        (["wide.onnx", "--platforms", "p.toml", "--platform", "x"], "'x' is not a known platform"),
        (["wide.onnx", "--dim", "seq"], "NAME=NUMBER"),
        (["wide.onnx", "--objective", "beauty"], "beauty"),
        (["wide.onnx", "--memory", "much"], "'much' is not a size"),
        (["wide.onnx", "--profile", "nowhere.json"], "nowhere.json"),
        (["wide.onnx", "--batch", "0"], "0"),
        (["wide.onnx", "--transport", "store"], "has no store"),
    ],
)
def test_a_wrong_question_is_a_sentence(partita: Any, verb: str, words: list[str], said: str) -> None:
    outcome = partita("slice", verb, *words)

    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_a_plan_that_cannot_be_written_is_refused_before_the_work(partita: Any) -> None:
    outcome = partita("slice", "plan", "nowhere.onnx", "-o", "no/where/plan.json")

    assert outcome.code == 2
    assert "no/where" in outcome.err


def test_a_folder_of_slices_is_measured(partita: Any) -> None:
    partita("slice", "cut", "wide.onnx", "--slices", "2", "--platform", "aws-lambda", "-o", "slices")
    outcome = partita("slice", "check", "slices", "--json")
    rows = [row for row in outcome.document["rows"] if row["check"] == "memory"]

    assert outcome.code == 0
    assert [(row["where"], row["status"], row["source"]) for row in rows] == [
        ("slice 0", "pass", "measured here"),
        ("slice 1", "pass", "measured here"),
    ]
    assert all(row["need"] > 1 << 20 for row in rows)


def test_a_folder_that_breaks_a_limit_is_measured_to_the_end(partita: Any) -> None:
    """Under a platform that sends less than the slices do, every slice still has its rows."""
    partita("slice", "cut", "wide.onnx", "--slices", "2", "--platform", "aws-lambda", "-o", "slices")
    outcome = partita("slice", "check", "slices", *on("quiet"), "--json")
    failed = [(row["check"], row["where"]) for row in outcome.document["rows"] if row["status"] == "fail"]

    assert outcome.code == 5
    assert {("payload out", "slice 0"), ("payload in", "slice 1")} <= set(failed)
    assert {row["where"] for row in outcome.document["rows"]} >= {"slice 0", "slice 1"}
