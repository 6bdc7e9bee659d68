"""`partita slice sweep`: a row for every number of slices, and a page with pictures."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.testing.onnx_models import filled

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        b = MatMul(a, w2)
        y = MatMul(b, w3)
    }"""


@pytest.fixture(autouse=True)
def wide(tmp_path: Path) -> None:
    (tmp_path / "wide.onnx").write_bytes(filled(onnx.parser.parse_model(WIDE)).SerializeToString())
    (tmp_path / "p.toml").write_text('[small]\ntitle = "little room"\npackage = "17 KB"\n')


def test_a_table_and_a_page_are_made(partita: Any, tmp_path: Path) -> None:
    words = ("--slices", "1..3", "--platform", "aws-lambda", "--threads", "1", "-o", "sweep.html")
    outcome = partita("slice", "sweep", "wide.onnx", *words)
    page = (tmp_path / "sweep.html").read_text()

    assert outcome.code == 0
    assert "wide on aws-lambda, by the number of slices" in outcome.out
    assert "pictures written to sweep.html" in outcome.out
    assert page.count("<svg") >= 3
    assert "http" not in page.replace("http://www.w3.org", "")


def test_json_has_the_plan_of_every_number(partita: Any) -> None:
    points = partita("slice", "sweep", "wide.onnx", "--slices", "1,2", "--threads", "1", "--json").document[
        "points"
    ]

    assert [point["slices"] for point in points] == [1, 2]
    assert [len(point["plan"]["slices"]) for point in points] == [1, 2]
    assert [point["measured"] for point in points] == [None, None]


def test_numbers_that_are_not_possible_are_said_and_the_others_stand(partita: Any) -> None:
    words = ("--slices", "1,3,9", "--platforms", "p.toml", "--platform", "small", "--threads", "1")
    outcome = partita("slice", "sweep", "wide.onnx", *words)

    assert outcome.code == 0
    assert "package" in outcome.out
    assert "slices: 9 are more than" in outcome.out


def test_rehearsals_stand_beside_the_predictions(partita: Any) -> None:
    words = (
        "--slices",
        "2",
        "--platform",
        "aws-lambda",
        "--rehearse",
        "--runs",
        "1",
        "--threads",
        "1",
        "--json",
    )
    (point,) = partita("slice", "sweep", "wide.onnx", *words).document["points"]

    assert point["problem"] == ""
    assert point["measured"]["warm"] > 0
    assert point["measured"]["peak"] > 1 << 20


def test_no_possible_number_ends_with_5_and_writes_nothing(partita: Any, tmp_path: Path) -> None:
    words = (
        "--slices",
        "1,2",
        "--platforms",
        "p.toml",
        "--platform",
        "small",
        "--threads",
        "1",
        "-o",
        "sweep.html",
    )
    outcome = partita("slice", "sweep", "wide.onnx", *words)

    assert outcome.code == 5
    assert "none of these numbers of slices is possible" in outcome.err
    assert not (tmp_path / "sweep.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["p.toml"], "not an ONNX file"),
        (["wide.onnx", "--slices", "one"], "'one' is no number or range of numbers"),
        (["wide.onnx", "--slices", "3..1"], "'3..1' is no number or range of numbers"),
        (["wide.onnx", "-o", "no/where.html"], "the folder 'no' is not there"),
        (["wide.onnx", "--platform", "nowhere"], "'nowhere' is not a known platform"),
        (["wide.onnx", "--slices", "1", "--rehearse", "--runs", "-1"], "runs: -1 is below 0"),
        (["wide.onnx", "--slices", "1", "-i", "nowhere.npz"], "there is no file nowhere.npz"),
    ],
)
def test_a_wrong_sweep_is_a_sentence(partita: Any, words: list[str], said: str) -> None:
    outcome = partita("slice", "sweep", *words)

    assert outcome.code == 2
    assert said in outcome.err
