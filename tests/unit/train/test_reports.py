"""What a training tells of itself."""

from __future__ import annotations

from dataclasses import replace

from partita.graph import dump, load
from partita.train import EpochReport, Event, StepReport

STEP = StepReport(
    step=3, epoch=1, loss=0.5, right=3, count=4, seconds=0.1, latency=0.2, plan="edge[0:2]", version=1, window=0,
    staleness=0, codec_up="raw", codec_down="raw", bytes_up=10, bytes_down=20, edge_seconds=0.05, cloud_seconds=0.01,
    wait=0.0, rate_up=None, rate_down=1e6, rtt=0.01, rate=0.1,
)  # fmt: skip


def test_accuracy_is_a_share_of_a_batch() -> None:
    assert STEP.accuracy == 0.75


def test_accuracy_is_none_where_it_is_no_question() -> None:
    """A regression, or nobody judged."""
    assert replace(STEP, right=-1).accuracy is None
    assert replace(STEP, right=0, count=0).accuracy is None


def test_reports_go_through_json_unchanged() -> None:
    """As lines of a trace."""
    epoch = EpochReport(1, 9, 1.5, 0.4, None, 0.5, 0.75, 100, 200)
    event = Event("moved", 4, "to the cloud", {"bytes": 12.0, "why": "faster"})
    for report in (epoch, event):
        assert load(type(report), dump(report, indent=None)) == report
