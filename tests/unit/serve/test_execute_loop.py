"""Requests for some seconds under one file of conditions and then the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partita.errors import BadDocument, NotFound
from partita.serve import ExitCost, ExitProfile, StageTime
from partita.serve.execute import ConditionalExecutor
from partita.serve.execute_loop import condition_files, execute_files, execute_for, read_policy
from partita.serve.policy_read import parse_policy

STAGE = StageTime({1: 0.01}, {1: 0.011})
PROFILE = ExitProfile("m", tuple(ExitCost(f"e{k}", accuracy=0.6 + k / 10) for k in range(4)), (STAGE,) * 4)


class Ten:
    """Every stage takes ten milliseconds; it is its own clock."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def run_stage(self, k: int, features: Any) -> tuple[Any, Any]:
        self.now += 0.01
        return features, np.zeros((1, 2))


def made(document: Any = None, profile: ExitProfile = PROFILE) -> ConditionalExecutor:
    model = Ten()
    return ConditionalExecutor(model, parse_policy(document or {}), profile, clock=model)


def conditions(folder: Path, ms: int) -> Path:
    file = folder / f"conditions_{ms}ms.json"
    file.write_text(json.dumps([{"metric": "response_time", "op": "greater", "threshold": ms / 1e3}] * 4))
    return file


def one(_: int) -> Any:
    return np.zeros((1, 3))


def test_the_demonstration_of_the_original_prints_its_lines_and_keeps_its_bounds(tmp_path: Path) -> None:
    conditions(tmp_path, 40), conditions(tmp_path, 22)
    said: list[str] = []
    short, long = execute_files(made(), condition_files(tmp_path), one, seconds=0.1, say=said.append)

    update = f"[INFO] main Updating conditions from file {tmp_path / 'conditions_40ms.json'}"
    assert said[0] == "[INFO] main task TaskState.FINISHED, response time: 20.00, exit#: 1"
    assert said.count(update) == 1
    assert said[-1] == "[INFO] main task TaskState.FINISHED, response time: 30.00, exit#: 2"
    assert (short.within, long.within) == (1.0, 1.0)
    assert (short.bound, long.bound) == (0.022, 0.04)


def test_the_summary_counts_requests_exits_and_times() -> None:
    summary = execute_for(made({"slo": {"deadline_ms": 35}}), 0.06, one, say=lambda _: None)

    assert (summary.requests, summary.exits, summary.rejected) == (2, (0, 0, 2, 0), 0)
    assert (summary.p50, summary.p99) == pytest.approx((0.03, 0.03))
    assert summary.accuracy == pytest.approx(0.8)
    assert summary.within == 1.0


def test_late_answers_count_against_the_bound() -> None:
    policy = {"slo": {"deadline_ms": 5}}
    summary = execute_for(made(policy), 0.03, one, say=lambda _: None)

    assert summary.within == 0.0
    assert "0.00% within 5 ms" in str(summary)


def test_refused_requests_are_counted_and_not_within() -> None:
    policy = {"slo": {"deadline_ms": 5}, "on_infeasible": "reject"}
    summary = execute_for(made(policy), 0.0, one, say=lambda _: None)

    assert (summary.rejected, summary.within, summary.accuracy) == (1, 0.0, None)
    assert "no answers; 1 rejected" in str(summary)


def test_without_a_bound_there_is_no_share_within() -> None:
    summary = execute_for(made(), 0.0, one, say=lambda _: None)

    assert summary.within is None
    assert str(summary) == (
        "1 requests in 0.0 s; p50 40.00 ms, p99 40.00 ms; exit 3: 1; expected accuracy 0.9000"
    )


def test_accuracies_that_nobody_knows_are_not_expected() -> None:
    unknown = ExitProfile("m", tuple(ExitCost(f"e{k}") for k in range(4)))

    assert execute_for(made({}, unknown), 0.0, one, say=lambda _: None).accuracy is None


def test_files_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for ms in (100, 20, 40):
        conditions(tmp_path, ms)

    assert [file.name for file in condition_files(tmp_path)] == [
        "conditions_20ms.json",
        "conditions_40ms.json",
        "conditions_100ms.json",
    ]


def test_a_folder_without_conditions_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no conditions\*\.json"):
        condition_files(tmp_path)


def test_every_file_is_read_before_the_first_request(tmp_path: Path) -> None:
    good, bad = conditions(tmp_path, 20), tmp_path / "bad.json"
    bad.write_text("[true]")
    said: list[str] = []
    with pytest.raises(BadDocument, match=r"policy 'bad\.json'"):
        execute_files(made(), [good, bad], one, seconds=1.0, say=said.append)

    assert not said


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read_policy(tmp_path / "nothing.json")
