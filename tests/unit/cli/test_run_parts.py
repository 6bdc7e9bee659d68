import re
from pathlib import Path
from typing import Any

import pytest

MODEL = ("zoo:resnet-tiny", "--depth", "1", "-b", "2")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--cut", "1,2,3"], 2, "'1,2,3'"),
        (["--cut", "99"], 2, "99"),
        (["--cut", "-1"], 2, "cut"),
        (["--plan", "nowhere.json"], 2, "is not there"),
        (["--plan", "edge[0:2] -raw-> cloud[2:5]"], 2, "covers 5 stages"),
        (["--plan", "edge[0:2] -raw-> cloud[2:"], 2, "plan"),
        (["--plan", "edge[0:2] -raw-> a[2:4] -raw-> b[4:6]"], 2, "2 places besides edge"),
        (["--plan", "a[0:2] -raw-> b[2:6]"], 2, "begins at 'a'"),
        (["--plan", "edge[0:6]", "--cut", "2"], 2, "exclude each other"),
        (["--cut", "4,2"], 2, "two in order"),
        (["--threads", "0"], 2, "--threads: 0"),
        (["--listen", "127.0.0.1:99999"], 2, "99999"),
        (["--link", "fast"], 2, "fast"),
        (["--slow", "edge=0"], 2, "'edge=0'"),
        (["--steps", "0"], 2, "--steps"),
        (["--window", "-1"], 2, "window"),
        (["--codec", "int9"], 2, "int9"),
        (["--listen", "here"], 2, "'here' is not HOST:PORT"),
        (["--listen", "0.0.0.0:0"], 2, "no a token|no TLS|others can reach"),
        (["--cloud", "ws://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (["--cloud", "http://127.0.0.1:9"], 2, "http://127.0.0.1:9"),
        (["--cloud", "ws://127.0.0.1:9", "--link", "20mbit"], 2, "--link"),
    ],
)
def test_bad_wishes_are_refused_with_a_way_out(partita: Any, words: list[str], code: int, says: str) -> None:
    """Each wrong option names its value, before a second process is started."""
    outcome = partita("run-parts", *MODEL, *words, "--json")

    assert outcome.code == code, outcome
    assert re.search(says, outcome.document["problem"]), outcome.document
    assert outcome.document["fix"]


def test_a_plan_file_that_is_broken_is_refused_with_all_problems(partita: Any, tmp_path: Path) -> None:
    """Every bad field of a plan is named at once."""
    (tmp_path / "p.json").write_text('{"partita": "plan", "model": 1, "parts": [], "bogus": 2}')
    outcome = partita("run-parts", *MODEL, "--plan", "p.json", "--json")

    assert outcome.code == 2
    assert {"bogus: is not a field", "model: expected a text, got 1", "digest: is missing"} <= set(
        outcome.document["problems"]
    )


def test_an_edge_only_plan_needs_no_second_process(partita: Any) -> None:
    """What runs here alone is compared with the whole as well."""
    outcome = partita("run-parts", *MODEL, "--plan", "edge[0:6]", "--steps", "2")

    assert outcome.code == 0
    assert "0 (bit for bit)" in outcome.out


def test_a_plan_for_training_runs_its_forward_passes(partita: Any) -> None:
    """It is said, and the outputs are compared like with like."""
    outcome = partita(
        "run-parts", *MODEL, "--plan", "edge[0:6] | K=0 batch=2 mode=train", "--steps", "2", "--json"
    )

    assert outcome.document["difference"] == 0.0
    assert "forward passes only" in outcome.err
