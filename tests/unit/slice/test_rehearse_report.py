"""What a rehearsal found, held against the limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partita.plan import Limits, Platform
from partita.slice import Manifest, Preparation
from partita.slice.rehearse_report import CHECKS, Rehearsal, RehearsedSlice, broken, remedy, use
from partita.slice.slicer import cut, plan_at, prepare
from partita.testing.onnx_models import write_onnx

PIECE = RehearsedSlice(
    index=0, package=100, tmp=20, base=40, peak=70, anonymous=30, file=40, payload_in=6, payload_out=9,
    stored_in=0, stored_out=0, cold=1.0, load=0.5, first=0.2, warm=0.1, slowest=0.2, memory=60,
)  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder: Path = tmp_path_factory.mktemp("report")
    ready = prepare(write_onnx("skip", folder), Preparation())
    return cut(ready, plan_at(ready.chain, (3,)), folder / "slices")


def place(event: int | None = None, **limits: Any) -> Platform:
    return Platform("tiny", "for a test", Limits(**limits), event=event, payload_growth=4 / 3)


def test_every_check_has_its_need_and_its_bound() -> None:
    platform = place(event=7, package=1, tmp=2, payload_in=3, payload_out=4, seconds=5)
    needs = {check: use(check, PIECE, platform) for check in CHECKS}

    assert needs == {
        "package": (100, 1),
        "temporary storage": (20, 2),
        "payload in": (8, 3),
        "payload out": (12, 4),
        "event": (8, 7),
        "memory": (70, 60),
        "time": (0.2, 5),
    }


def test_rows_name_what_is_broken_and_what_helps(manifest: Manifest) -> None:
    pieces = (PIECE, replace(PIECE, index=1, peak=50))
    rows = Rehearsal(place(seconds=1), manifest, pieces, ({},)).rows
    memory = [row for row in rows if row.check == "memory"]

    assert [(row.where, row.failed, bool(row.fix)) for row in memory] == [
        ("slice 0", True, True),
        ("slice 1", False, False),
    ]
    assert [row.where for row in rows if row.check == "time"] == ["slice 0", "slice 1"]


def test_a_limit_that_is_not_set_shows_the_slice_that_needs_most(manifest: Manifest) -> None:
    pieces = (PIECE, replace(PIECE, index=1, package=300))
    rows = Rehearsal(place(), manifest, pieces, ({},)).rows

    assert [(r.where, r.need, r.bound) for r in rows if r.check == "package"] == [("slice 1", 300, None)]
    assert not [row for row in rows if row.check == "event"]


def test_totals_are_those_of_a_request(manifest: Manifest) -> None:
    done = Rehearsal(place(), manifest, (PIECE, replace(PIECE, index=1, peak=90)), ({},))

    assert done.cold == pytest.approx(2.4)
    assert done.warm == pytest.approx(0.2)
    assert done.peak == 90


def test_without_warm_calls_there_is_no_warm_time(manifest: Manifest) -> None:
    assert Rehearsal(place(), manifest, (replace(PIECE, warm=None),), ({},)).warm is None


def test_a_broken_limit_tells_slice_bound_and_bytes(manifest: Manifest) -> None:
    error = broken("payload out", manifest, place(), 3, 8_000_000, 6_000_000)

    assert error.problem.startswith("slice 3: payload out: needs 8,000,000 bytes (8 MB)")
    assert "6,000,000" in error.problem


@pytest.mark.parametrize("check", CHECKS)
def test_there_is_always_something_that_helps(check: str, manifest: Manifest) -> None:
    assert remedy(check, manifest, place())
