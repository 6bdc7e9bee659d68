"""`partita serve execute`, `explain` and `simulate`, on a network with four exits and known stage times."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.serve import (
    ExitModel,
    Measuring,
    StageTime,
    Truth,
    export,
    profile_from_original,
    profile_model,
    save_profile,
)
from partita.testing.onnx_models import filled

ORIGINALS = Path(__file__).parents[4] / "shared/originals/delen"
needs_originals = pytest.mark.skipif(
    not ORIGINALS.is_dir(), reason="the original's files are not in this checkout"
)
FOUR = """
    <ir_version: 9, opset_import: ["" : 18]>
    four (float[batch, 8] x) => (float[batch, 3] a, float[batch, 3] b, float[batch, 3] c, float[batch, 3] d)
    <float[8, 8] w1, float[8, 8] w2, float[8, 8] w3, float[8, 8] w4, float[8, 3] h1, float[8, 3] h2,
     float[8, 3] h3, float[8, 3] h4> {
        f1 = MatMul(x, w1)
        a = MatMul(f1, h1)
        f2 = MatMul(f1, w2)
        b = MatMul(f2, h2)
        f3 = MatMul(f2, w3)
        c = MatMul(f3, h3)
        f4 = MatMul(f3, w4)
        d = MatMul(f4, h4)
    }"""
RIGHT = (0.5, 0.7, 0.8, 0.9)
Write = Callable[[str, Any], str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured model whose times and answers are set by hand; to be copied."""
    folder = tmp_path_factory.mktemp("four")
    (folder / "four.onnx").write_bytes(filled(onnx.parser.parse_model(FOUR)).SerializeToString())
    export(folder / "four.onnx", folder / "model")
    model = ExitModel.open(folder / "model")
    measured = profile_model(model, batches=(1,), measuring=Measuring(runs=2, seconds=1.0))
    stages = tuple(StageTime({1: ms / 1e3}, {1: ms / 1e3}) for ms in (1.0, 2.0, 3.0, 4.0))
    exits = tuple(replace(cost, accuracy=right) for cost, right in zip(measured.exits, RIGHT, strict=True))
    save_profile(folder / "model", replace(measured, stages=stages, exits=exits, spans={}))
    correct = np.arange(200)[:, None] / 200 < np.array(RIGHT)
    confidence = np.where(correct, 0.9, 0.4).astype(np.float32)
    labels = np.zeros(200, np.int64)
    Truth(confidence, correct, None, labels, digest=model.digest).save(folder / "model/truth.npz")
    return folder / "model"


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file in the folder where commands run: text as it is, anything else as JSON."""

    def put(name: str, what: Any) -> str:
        (tmp_path / name).write_text(what if isinstance(what, str) else json.dumps(what))
        return name

    return put


def conditions(count: int, metric: str = "response_time") -> list[dict[str, Any]]:
    return [{"metric": metric, "op": "greater", "threshold": 0.02}] * count


def refused(told: Any, said: str) -> None:
    """The user's fault, in one sentence with a way out, and no traceback."""
    assert told.code == 2, told
    assert said in told.err
    assert "fix: " in told.err
    assert told.out == ""


@pytest.mark.parametrize(("deadline", "chosen"), [("20", 3), ("6.5", 2), ("3.5", 1), ("1.5", 0)])
def test_the_deepest_exit_that_fits_a_deadline_is_chosen(
    partita: Any, model: Path, deadline: str, chosen: int
) -> None:
    told = partita("serve", "explain", "model", "--deadline-ms", deadline, "--json")

    assert (told.code, told.document["chosen"]) == (0, chosen)


def test_an_explanation_in_words_names_what_is_chosen(partita: Any, model: Path) -> None:
    told = partita("serve", "explain", "model", "--accuracy-floor", "0.75", "--deadline-ms", "7")

    assert told.code == 0
    assert "CHOSEN" in told.out
    assert "accuracy floor 0.75" in told.out


def test_a_profile_by_itself_is_enough_to_explain(partita: Any, model: Path) -> None:
    whole = partita("serve", "explain", "model", "--json").document

    assert partita("serve", "explain", "model/profile.json", "--json").document == whole


@needs_originals
def test_the_originals_profile_is_explained(partita: Any) -> None:
    """Exit 3 of it is less accurate than exit 2, and costs more."""
    profile = ORIGINALS / "resnet50_profile.json"
    read = profile_from_original(profile.read_text())
    told = partita("serve", "explain", profile, "--json")

    assert [cost.accuracy for cost in read.exits] == [e["accuracy"] for e in told.document["exits"]]
    assert told.document["chosen"] == 2
    assert any("not worth running" in note for note in told.document["notes"])


@needs_originals
def test_the_originals_conditions_run_one_after_the_other(partita: Any, model: Path) -> None:
    files = [str(ORIGINALS / name) for name in ("conditions_20ms.json", "conditions_40ms.json")]
    words = ("--conditions", files[0], "--then", files[1], "--seconds", "0.1", "--json")
    told = partita("serve", "execute", "model", *words)

    assert told.code == 0
    runs = told.document["runs"]
    assert [(run["file"], run["bound"]) for run in runs] == [(files[0], 0.02), (files[1], 0.04)]
    assert all(run["requests"] == sum(run["exits"]) > 0 for run in runs)
    assert "exit#: " in told.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (conditions(1), "1 conditions for a network with 4 exits"),
        (conditions(4, "respons_time"), "did you mean 'response_time'?"),
        ({"version": 1, "slo": {"accuracy_floor": 0.99}}, "0.99 is above the best exit, which has 0.9"),
        ("{", "is not JSON"),
        ("5", "expected an object"),
    ],
)
@pytest.mark.parametrize("command", [("explain", "--policy"), ("execute", "--conditions")])
def test_a_policy_that_does_not_fit_is_refused(
    partita: Any, model: Path, write: Write, command: tuple[str, str], given: Any, said: str
) -> None:
    refused(partita("serve", command[0], "model", command[1], write("policy.json", given)), said)


def test_all_conditions_are_read_before_the_first_request_runs(
    partita: Any, model: Path, write: Write
) -> None:
    first, second = write("good.json", conditions(4)), write("bad.json", conditions(3))

    refused(partita("serve", "execute", "model", "--conditions", first, "--then", second), "'bad.json'")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seconds", "0"), "--seconds: 0 is not a time above 0"),
        (("--seconds", "inf"), "--seconds: inf is not a time above 0"),
        (("--seed", "-1"), "--seed: -1 is below 0"),
        (("--threads", "0"), "--threads: 0 is not above 0"),
    ],
)
def test_what_cannot_be_executed_is_refused(
    partita: Any, model: Path, write: Write, words: tuple[str, str], said: str
) -> None:
    told = partita("serve", "execute", "model", "--conditions", write("good.json", conditions(4)), *words)

    refused(told, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--deadline-ms", "-5"), "--deadline-ms: -5 is not above 0"),
        (("--energy-budget-mj", "nan"), "--energy-budget-mj: nan is not above 0"),
        (("--accuracy-floor", "0.99"), "the best exit has 0.9"),
        (("--max-exit", "9"), "exits are 0 to 3"),
        (("--min-exit", "3", "--max-exit", "1"), "min_exit: 3 is above max_exit, 1"),
        (("--load", "nan"), "--load: nan is no share from 0 up"),
        (("--policy", "absent.json"), "there is no file 'absent.json'"),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(
    partita: Any, model: Path, words: tuple[str, ...], said: str
) -> None:
    refused(partita("serve", "explain", "model", *words), said)


@pytest.mark.parametrize("command", [("explain",), ("simulate", "--rate", "5")])
def test_a_folder_that_is_not_there_or_not_measured_is_refused(
    partita: Any, model: Path, command: tuple[str, ...]
) -> None:
    (model / "profile.json").unlink()

    refused(partita("serve", command[0], "nowhere", *command[1:]), "partita serve export")
    refused(partita("serve", command[0], "model", *command[1:]), "partita serve profile model")


def test_with_json_a_refusal_is_one_document_too(partita: Any, model: Path) -> None:
    told = partita("serve", "explain", "model", "--max-exit", "9", "--json")

    assert (told.code, told.document["fault"]) == (2, "user")


def test_a_simulation_counts_every_request_of_every_tenant(partita: Any, model: Path) -> None:
    words = ("--rate", "60", "--burst", "3x", "--deadlines-ms", "20,40", "--tenants", "a:1,b:3")
    told = partita("serve", "simulate", "model", *words, "--seconds", "2", "--json")

    assert told.code == 0
    whole, tenants = told.document["whole"], told.document["tenants"]
    assert set(tenants) == {"a", "b"}
    assert whole["requests"] == tenants["a"]["requests"] + tenants["b"]["requests"] > 60
    assert whole["requests"] == sum(whole["exits"]) + whole["rejected"] + whole["expired"]
    table = partita("serve", "simulate", "model", *words, "--seconds", "2").out.splitlines()
    assert [line.split()[0] for line in table if "%" in line] == ["all", "a", "b"]


def test_under_more_load_than_the_whole_can_take_exits_become_earlier(partita: Any, model: Path) -> None:
    """The whole takes 10 ms: 20 a second all run to the end, 200 a second cannot."""
    calm, busy = (
        partita("serve", "simulate", "model", "--rate", rate, "--deadline-ms", "60", "--json").document
        for rate in ("20", "200")
    )

    assert calm["whole"]["exits"][3] / calm["whole"]["requests"] > 0.9
    assert busy["whole"]["exits"][3] / busy["whole"]["requests"] < 0.5
    assert busy["whole"]["in_time"] > 0.9


def test_a_trace_is_served_request_by_request(partita: Any, model: Path, write: Write) -> None:
    trace = write("trace.csv", "time,tenant,deadline_ms\n0.1,a,50\n0.2,b,50\n0.3,a,\n")
    told = partita("serve", "simulate", "model", "--trace", trace, "--json")

    assert {name: tally["requests"] for name, tally in told.document["tenants"].items()} == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of --trace and --rate"),
        (("--rate", "5", "--trace", "trace.csv"), "not both"),
        (("--trace", "trace.csv", "--burst", "3x"), "are those of the --trace"),
        (("--trace", "trace.csv"), "line 2: deadline_ms is 'abc'; line 3: time is 'x'"),
        (("--trace", "absent.csv"), "'absent.csv' is not there"),
        (("--rate", "-4"), "-4.0 requests per second"),
        (("--rate", "1e12"), "are more than 5000000"),
        (("--rate", "5", "--burst", "9999999x"), "are more than 5000000"),
        (("--rate", "5", "--seconds", "0"), "not a time above 0"),
        (("--rate", "5", "--burst", "3"), "write it like --burst 3x"),
        (("--rate", "5", "--tenants", "a:b"), "'a:b' is not NAME:WEIGHT"),
        (("--rate", "5", "--tenants", "a:nan"), "'a:nan' is not NAME:WEIGHT"),
        (("--rate", "5", "--tenants", "a:1,a:2"), "a: declared twice"),
        (("--rate", "5", "--deadlines-ms", "abc"), "write it like --deadlines-ms 60,100"),
        (("--rate", "5", "--deadlines-ms", "20,-1"), "write it like --deadlines-ms 60,100"),
        (("--rate", "5", "--workers", "0"), "workers: 0 is below 1"),
        (("--rate", "5", "--seed", "-1"), "--seed: -1 is below 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    partita: Any, model: Path, write: Write, words: tuple[str, ...], said: str
) -> None:
    write("trace.csv", "time,deadline_ms\n0.1,abc\nx,20\n")

    refused(partita("serve", "simulate", "model", *words), said)


def test_a_profile_without_times_cannot_be_simulated(partita: Any, model: Path, write: Write) -> None:
    untimed = write("untimed.json", [{"accuracy": 0.5, "flops": 1, "energy": 1}] * 4)

    refused(partita("serve", "simulate", untimed, "--rate", "5"), "no times were measured")


def test_answers_of_held_out_data_are_needed(partita: Any, model: Path) -> None:
    (model / "truth.npz").unlink()

    refused(partita("serve", "simulate", "model", "--rate", "5"), "serve profile model --data FOLDER")


@pytest.mark.parametrize("held", ["hello", None])
def test_a_truth_file_of_something_else_is_refused(partita: Any, model: Path, held: str | None) -> None:
    if held:
        (model / "truth.npz").write_text(held)
    else:
        np.savez(model / "truth.npz", other=np.ones(3))

    refused(partita("serve", "simulate", "model", "--rate", "5"), "collect it again")
