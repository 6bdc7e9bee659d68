from pathlib import Path
from typing import Any

import pytest

from partita.graph import Chain, Profile, dump, load
from partita.plan import Plan
from partita.profile import Effort, measure
from partita.testing import TinyModel


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A chain and its profile on disk."""
    model = TinyModel(6)
    chain, profile = tmp_path / "tiny.json", tmp_path / "here.json"
    chain.write_text(dump(model.chain))
    profile.write_text(dump(measure(model, batches=(1, 4), effort=Effort(runs=3, seconds=0.0, warmup=0))))
    return {"chain": chain, "profile": profile}


def words(files: dict[str, Path], *more: str) -> list[str]:
    given = [f"{place}={files['profile']}" for place in ("edge", "cloud")]
    return [
        "plan",
        str(files["chain"]),
        "--link",
        "20mbit/5ms",
        "--profile",
        given[0],
        "--profile",
        given[1],
        *more,
    ]


def test_a_plan_is_ranked_explained_drawn_and_written(
    partita: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    """One command gives the table, the sentences, the file and the picture."""
    outcome = partita(*words(files, "--codecs", "raw", "-o", "plan.json", "--draw", "plan.html"))
    plan = load(Plan, (tmp_path / "plan.json").read_text())

    assert outcome.code == 0
    assert str(plan).partition(" | ")[0] in outcome.out
    assert "wins" in outcome.out
    assert "<svg" in (tmp_path / "plan.html").read_text()
    plan.check(load(Chain, files["chain"].read_text()))


def test_json_holds_every_alternative(partita: Any, files: dict[str, Path]) -> None:
    """Programs get the ranking with its numbers."""
    document = partita(*words(files, "--codecs", "raw", "--json", "--top", "3")).document

    assert len(document["alternatives"]) >= 3
    assert document["alternatives"][0]["plan"] == document["text"]


def test_a_slow_edge_moves_work_to_the_cloud(partita: Any, files: dict[str, Path]) -> None:
    """`--slow edge=100000` leaves the edge nothing to do."""
    document = partita(*words(files, "--codecs", "raw", "--slow", "edge=100000", "--json")).document

    assert document["text"].startswith("edge -raw-> cloud[0:6]")


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--slow", "moon=2"], 2, "'moon=2' is not PLACE=FACTOR"),
        (["--limits", "edge=nowhere"], 2, "'nowhere' is not a known platform"),
        (["--limits", "edge"], 2, "is not PLACE=VALUE"),
        (["--mode", "train"], 2, "backward"),
        (["--codecs", "int9"], 2, "int9"),
        (["--profile", "edge=missing.json"], 2, "'missing.json' is not there"),
        (["--top", "0"], 2, "--top"),
        (["--max-error", "-1"], 2, "--max-error"),
        (["--min-front", "99"], 2, "more than the 6 stages"),
        (["-o", "nowhere/plan.json"], 2, "'nowhere' is not there"),
        (["--draw", "."], 2, "is a folder"),
    ],
)
def test_bad_wishes_are_refused_with_a_way_out(
    partita: Any, files: dict[str, Path], more: list[str], code: int, says: str
) -> None:
    """Each wrong option names its value."""
    outcome = partita(*words(files, *more))

    assert outcome.code == code
    assert says in outcome.err
    assert "fix: " in outcome.err


def test_limits_that_nothing_fits_are_the_platforms_fault(
    partita: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    """Exit code 5, and the limit is named."""
    (tmp_path / "small.json").write_text('{"memory": 1}')
    outcome = partita(
        *words(files, "--codecs", "raw", "--limits", "edge=small.json", "--limits", "cloud=small.json")
    )

    assert outcome.code == 5
    assert "memory" in outcome.err


def test_a_profile_of_another_model_is_refused(partita: Any, files: dict[str, Path], tmp_path: Path) -> None:
    """A profile is never applied to a model it was not measured on."""
    profile = load(Profile, files["profile"].read_text())
    other = measure(TinyModel(3), batches=(1,), effort=Effort(runs=3, seconds=0.0, warmup=0))
    assert profile.digest != other.digest
    files["profile"].write_text(dump(other))
    outcome = partita(*words(files))

    assert outcome.code == 2
    assert "belongs to" in outcome.err


def test_a_chain_file_needs_both_profiles(partita: Any, files: dict[str, Path]) -> None:
    """What is not a model here cannot be measured here."""
    outcome = partita("plan", str(files["chain"]), "--link", "20mbit")

    assert outcome.code == 2
    assert "--profile edge=FILE is missing" in outcome.err


def test_a_chain_file_that_is_not_there_is_named(partita: Any) -> None:
    """The way out is the command that writes it."""
    outcome = partita("plan", "nothing.json", "--link", "20mbit")

    assert outcome.code == 2
    assert "partita inspect MODEL --output chain.json" in outcome.err


def test_bytes_that_are_no_text_are_refused(partita: Any, files: dict[str, Path]) -> None:
    """A profile of random bytes is a bad document, not a defect."""
    files["profile"].write_bytes(b"\xff\xfe\x00")
    outcome = partita(*words(files))

    assert outcome.code == 2
    assert "cannot be read" in outcome.err
