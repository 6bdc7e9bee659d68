from pathlib import Path
from typing import Any

import pytest

from partita.graph import Profile, load


def test_a_profile_is_shown_and_written(partita: Any, tmp_path: Path) -> None:
    """The table has every stage and the whole; the file is the profile."""
    outcome = partita(
        "profile", "zoo:resnet-tiny", "--depth", "1", "--batches", "1,2", "--runs", "3", "--seconds", "2", "--threads", "1",
        "--codecs", "raw,int8", "--watts", "5", "--backward", "-o", "p.json",
    )  # fmt: skip
    profile = load(Profile, (tmp_path / "p.json").read_text())

    assert outcome.code == 0
    assert "whole model" in outcome.out
    assert "modelled" in outcome.out
    assert (profile.batches, profile.trained, profile.device.threads) == ((1, 2), True, 1)
    assert set(profile.codecs) == {"raw", "int8"}


def test_json_is_the_profile_itself(partita: Any) -> None:
    """What a program reads parses back."""
    outcome = partita(
        "profile",
        "zoo:resnet-tiny",
        "--depth",
        "1",
        "--batches",
        "1",
        "--runs",
        "3",
        "--seconds",
        "1",
        "--codecs",
        "",
        "--json",
    )

    assert load(Profile, outcome.out).model == "zoo:resnet-tiny"


@pytest.mark.parametrize(
    ("more", "says"),
    [(["--batches", "1,x"], "'1,x'"), (["--threads", "0"], "threads"), (["--runs", "0"], "runs")],
)
def test_bad_numbers_are_refused(partita: Any, more: list[str], says: str) -> None:
    """Each option is checked before anything is measured."""
    outcome = partita("profile", "zoo:resnet-tiny", "--depth", "1", *more)

    assert outcome.code == 2
    assert says in outcome.err


def test_a_folder_without_profiles_is_refused(partita: Any, tmp_path: Path) -> None:
    """The import names the files it looks for."""
    assert partita("profile", "import", "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    outcome = partita("profile", "import", "empty")
    assert outcome.code == 2
    assert "csv" in outcome.err


def test_csv_profiles_become_chains_and_profiles(partita: Any, tmp_path: Path) -> None:
    """Imported files can be planned with at once."""
    rows = ["TX2,Cloud,Pi", *(f"{0.1 * (i + 1)},{0.05 * (4 - i)},{1.0 * (i + 1)}" for i in range(5))]
    (tmp_path / "runtime_rnn.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "featuresize.csv").write_text("BILSTM\n" + "\n".join(["3.13", "6.25", "3.13", "0.05"]) + "\n")
    outcome = partita("profile", "import", str(tmp_path), "--output", "out", "--json")

    assert outcome.code == 0
    name, model = next(iter(outcome.document["models"].items()))
    assert set(model["devices"]) == {"TX2", "Cloud", "Pi"}
    assert (tmp_path / "out" / f"{name}.chain.json").is_file()
