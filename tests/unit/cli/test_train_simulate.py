"""`partita train simulate`: tables, pictures and one document, from profiles and from the original's tables."""

from pathlib import Path
from typing import Any

import pytest

from partita.cli.train_simulate_view import mbit
from partita.graph import Link, dump
from partita.testing.cases import made_case

REAL = Path(__file__).parents[4] / "shared/originals/split-training/profile"
TABLES = {
    "featuresize.csv": "Resnet50,Chair\n8.00 ,0.05\n32.00 ,2.00\n4.00 ,3.00\n",
    "runtime_resnet50.csv": "TX2,Cloud,Pi\n0.1,0.9,1\n0.5,0.6,5\n0.8,0.3,3\n0.9,0,9\n",
    "runtime_chair.csv": "TX2,Cloud\n0.5,0\n0.4,0.1\n0.3,0.2\n",
    "compresstime.csv": "resnet50,Chair\n0.2,0.001\n0.9,\n",
}
BOTH = ("--profile", "small.json", "--profile", "large.json")
TRACE = "seconds,mbit\n0,200\n10,1\n60,200\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Two profiles, their chain beside them, a trace, and the tables of the original in small."""
    case = made_case(sizes=(1000, 40_000, 40_000, 20_000, 10))
    (tmp_path / "small.json").write_text(dump(case.profiles["edge"]))
    (tmp_path / "large.json").write_text(dump(case.profiles["cloud"]))
    (tmp_path / "made.chain.json").write_text(dump(case.chain))
    (tmp_path / "other.chain.json").write_text(dump(made_case().chain))
    (tmp_path / "broken-chain.json").write_text("no json")
    (tmp_path / "wifi.csv").write_text(TRACE)
    (tmp_path / "tables").mkdir()
    for name, text in TABLES.items():
        (tmp_path / "tables" / name).write_text(text)


def test_two_profiles_and_a_range_of_bandwidths_make_a_table(partita: Any) -> None:
    outcome = partita("train", "simulate", *BOTH, "--bandwidth", "1..100", "--min-front", "1")

    assert outcome.code == 0
    assert "made on small and large: seconds per step of 10 rows" in outcome.out
    assert all(arm in outcome.out for arm in ("edge only", "JointDNN", "paper", "window only", "auto"))
    assert "cloud only: not possible, the first stages stay at the edge" in outcome.out
    assert "edge: small: made up" in outcome.out
    assert "link: modelled" in outcome.out


def test_json_is_one_document_with_a_plan_for_every_point(partita: Any) -> None:
    document = partita("train", "simulate", *BOTH, "--bandwidth", "2,50", "--rtt", "40ms", "--json").document
    points = [point for point in document["cases"][0]["points"] if point["arm"] == "auto"]

    assert [point["link"] for point in points] == ["2mbit/40ms", "50mbit/40ms"]
    assert all(point["seconds"] > 0 and "edge" in point["plan"] for point in points)


def test_a_page_has_pictures_and_tables_and_fetches_nothing(partita: Any, tmp_path: Path) -> None:
    assert partita("train", "simulate", *BOTH, "--bandwidth", "2,50", "-o", "page.html").code == 0
    page = (tmp_path / "page.html").read_text()

    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_slow_device_is_slow_at_every_bandwidth(partita: Any) -> None:
    def alone(*words: str) -> float:
        document = partita("train", "simulate", *BOTH, "--bandwidth", "2", *words, "--json").document
        return next(p["seconds"] for p in document["cases"][0]["points"] if p["arm"] == "edge only")

    assert alone("--slow", "edge=4") == pytest.approx(4 * alone())


def test_a_trace_is_played_by_everybody(partita: Any, tmp_path: Path) -> None:
    words = ("--trace", "wifi.csv", "--steps", "600", "--min-front", "1", "-o", "page.html")
    outcome = partita("train", "simulate", *BOTH, *words)

    assert outcome.code == 0
    assert all(who in outcome.out for who in ("auto, live", "best fixed plan", "oracle", "JointDNN"))
    assert "what the live planner did" in outcome.out
    assert (tmp_path / "page.html").read_text().count("<svg") == 2


def test_a_trace_as_json_has_every_move(partita: Any) -> None:
    words = ("--trace", "wifi.csv", "--steps", "300", "--slow", "edge=2@5s..9s", "--noise", "0.1", "--json")
    (case,) = partita("train", "simulate", *BOTH, *words).document["cases"]

    assert case["runs"][0]["who"] == "auto, live"
    assert all(run["steps"] == 300 for run in case["runs"])
    assert {"at", "old", "new", "drain", "seconds", "reason"} <= case["runs"][0]["moves"][0].keys()


def test_a_made_up_trace_needs_no_file(partita: Any) -> None:
    words = (*BOTH, "--trace", "made:wifi", "--steps", "30", "--json")
    one, again, other = (
        partita("train", "simulate", *words, "--seed", seed).document["cases"][0]["runs"] for seed in "112"
    )

    assert one == again
    assert one != other


def test_many_moves_are_listed_in_part(partita: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partita.cli.train_simulate_view._MOVES", 1)
    (tmp_path / "wifi.csv").write_text("0,200\n15,2\n40,200\n")

    outcome = partita("train", "simulate", *BOTH, "--trace", "wifi.csv", "--steps", "600", "--min-front", "1")
    assert "more moves; --json has them all" in outcome.out


def test_the_original_needs_its_folder_only(partita: Any) -> None:
    outcome = partita("train", "simulate", "--original", "tables", "--bandwidth", "10,100")

    assert outcome.code == 0
    for case in (
        "ResNet-50 on CIFAR-10, TX2",
        "ResNet-50 on CIFAR-10, Pi",
        "chair generator, cloud first, TX2",
    ):
        assert f"{case}: seconds per step" in outcome.out
    assert "a move costs its drain only" in outcome.out


def test_networks_and_devices_of_the_original_can_be_chosen(partita: Any) -> None:
    words = (
        "--original",
        "tables",
        "--network",
        "resnet50",
        "--device",
        "tx2",
        "--bandwidth",
        "10",
        "--formula",
    )
    document = partita("train", "simulate", *words, "--json").document

    assert [case["case"] for case in document["cases"]] == ["ResNet-50 on CIFAR-10, TX2"]
    assert "codecs taken to cost no time" in document["cases"][0]["sources"]["edge"]


def test_profiles_are_told_apart_by_name_or_by_order(partita: Any) -> None:
    named = ("--profile", "cloud=large.json", "--profile", "edge=small.json", "--bandwidth", "10", "--json")
    plain = (*BOTH, "--bandwidth", "10", "--json")

    assert partita("train", "simulate", *named).document == partita("train", "simulate", *plain).document


def test_a_chain_can_be_named_and_must_be_that_of_the_profiles(partita: Any) -> None:
    assert partita("train", "simulate", "made.chain.json", *BOTH, "--bandwidth", "10").code == 0
    wrong = partita("train", "simulate", "other.chain.json", *BOTH, "--bandwidth", "10")

    assert wrong.code == 2
    assert "this profile belongs to" in wrong.err


def test_without_any_chain_the_way_out_is_named(partita: Any, tmp_path: Path) -> None:
    (tmp_path / "made.chain.json").unlink()
    outcome = partita("train", "simulate", *BOTH, "--bandwidth", "10")

    assert outcome.code == 2
    assert "no chain file beside them is of it" in outcome.err
    assert "partita inspect" in outcome.err


def test_a_model_can_be_named_by_its_reference(partita: Any) -> None:
    """It is captured, and then is not the one that the profiles are of."""
    outcome = partita("train", "simulate", "zoo:resnet-tiny", *BOTH, "--bandwidth", "10")

    assert outcome.code == 2
    assert "this profile belongs to 'made'" in outcome.err


def test_a_codec_that_was_not_measured_is_left_out_aloud(partita: Any) -> None:
    outcome = partita("train", "simulate", *BOTH, "--bandwidth", "10", "--codecs", "int8,int4")

    assert "note: codec int4 is left out: a profile does not say what it costs" in outcome.out


def test_the_batch_is_the_largest_that_both_hold_or_the_one_asked_for(partita: Any) -> None:
    document = partita("train", "simulate", *BOTH, "--bandwidth", "10", "--batch", "20", "--json").document

    assert document["cases"][0]["batch"] == 20


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "give two --profile files, or --original with a folder"),
        ((*BOTH, "--original", "tables"), "not both"),
        (("made", "--original", "tables"), "named with --network"),
        ((*BOTH, "--network", "resnet50"), "--network, --device and --formula are of --original"),
        ((*BOTH, "--trace", "wifi.csv", "--bandwidth", "10"), "one of --bandwidth and --trace, not both"),
        ((*BOTH, "--slow", "edge=4@10s"), "--slow with a time needs a --trace"),
        ((*BOTH, "--noise", "0.1"), "--noise is for a --trace"),
        ((*BOTH, "--noise", "7", "--trace", "wifi.csv"), "--noise: 7 is not from 0 to 2"),
        ((*BOTH, "--steps", "0"), "not 1 to 2000000 steps"),
        ((*BOTH, "--max-window", "-1"), "max_window: -1 is below 0"),
        (("--profile", "small.json"), "there is no profile of the cloud"),
        ((*BOTH, "--profile", "x.json"), "'x.json' is one too many"),
        (("--profile", "edge=small.json", "--profile", "edge=large.json"), "is one too many"),
        ((*BOTH, "--bandwidth", "fast"), "'fast' is no bandwidth"),
        ((*BOTH, "--trace", "none.csv"), "trace file 'none.csv' is not there"),
        ((*BOTH, "--trace", "made:snow"), "'made:snow' is not one of made:step, made:wifi, made:train"),
        ((*BOTH, "--batch", "0"), "batch: 0 is below 1"),
    ],
)
def test_what_does_not_go_together_is_said(partita: Any, words: tuple[str, ...], problem: str) -> None:
    outcome = partita("train", "simulate", *words)

    assert outcome.code == 2
    assert problem in outcome.err


def test_rates_are_written_once_where_both_ways_are_equal() -> None:
    assert mbit(Link(20e6, 20e6)) == "20"
    assert mbit(Link(5e6, 20e6)) == "5 up, 20 down"


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the tables of the original research project are not beside this folder"
)
def test_every_network_of_the_original_on_every_device(partita: Any) -> None:
    """Seven networks; three of them were measured on the TX2 alone besides the cloud."""
    document = partita("train", "simulate", "--original", str(REAL), "--bandwidth", "20", "--json").document

    assert len(document["cases"]) == 12
