"""The shadow audit: rarely wrong, soon right, and the same after a restart."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.serve import Calibration
from partita.serve.audit import Audit, AuditState

CALIBRATION = Calibration(
    edges=(),
    worth=(((0.8, 0.9),), ((0.8, 0.9),)),
    accuracy=(0.8, 0.9),
    thresholds=(0.8, 0.0),
    stays=(0.4, 0.0),
    samples=4000,
    max_drop=0.01,
    confidence=0.95,
)
EXPECTED = 0.02
# Measured over 100 runs each: a drift of 5 points on 2% is noticed after about 280 observations, 607 at the latest.
SOON = 1000


def feed(audit: Audit, share: float, count: int, draw: random.Random) -> int:
    """Observe answers of which a share is changed, until the alarm or the end; how many it took."""
    for i in range(count):
        if audit.observe(draw.random() >= share, exit=0, confidence=0.8 + 0.2 * draw.random()):
            return i + 1
    return count


def test_without_drift_alarms_are_as_rare_as_stated() -> None:
    """A tenth of the runs may ring at the most; the bound is wide, so ten of 60 is far outside."""
    rang = 0
    for seed in range(60):
        audit = Audit(CALIBRATION, expected=EXPECTED, false_alarm=0.1, horizon=2000)
        feed(audit, EXPECTED, 2000, random.Random(seed))
        rang += audit.alarmed

    assert rang <= 6


def test_a_drift_of_five_points_is_noticed_within_a_thousand_observations() -> None:
    """In every one of 30 runs, at the default of one false alarm in a hundred horizons of 10,000."""
    for seed in range(30):
        audit = Audit(CALIBRATION, expected=EXPECTED)

        assert feed(audit, EXPECTED + 0.05, SOON, random.Random(seed)) < SOON


def test_a_long_quiet_time_does_not_delay_the_alarm() -> None:
    """Nothing learned in 3,000 observations has to be unlearned."""
    draw = random.Random(4)
    audit = Audit(CALIBRATION, expected=EXPECTED)
    feed(audit, EXPECTED, 3000, draw)

    assert not audit.alarmed
    assert feed(audit, EXPECTED + 0.05, SOON, draw) < SOON


def test_a_large_drift_is_noticed_at_once() -> None:
    """When most answers change, a handful is enough."""
    audit = Audit(CALIBRATION, expected=EXPECTED)

    assert feed(audit, 0.9, 20, random.Random(1)) < 20


def test_the_first_alarm_is_remembered() -> None:
    """It stays, however well things go afterwards, and detectors never overflow."""
    audit = Audit(CALIBRATION, expected=EXPECTED)
    first = feed(audit, 1.0, 50, random.Random(1))
    for _ in range(500):
        audit.observe(False, exit=0, confidence=0.9)
    audit.observe(True, exit=0, confidence=0.9)

    assert audit.alarmed
    assert audit.state.alarmed == first
    assert max(audit.state.detectors) < float("inf")


def test_the_state_goes_to_disk_and_the_audit_goes_on_as_if_nothing_was() -> None:
    """Choices and detectors alike."""
    whole, half = (Audit(CALIBRATION, expected=EXPECTED, rate=0.3) for _ in range(2))
    choices = [whole.wants() for _ in range(100)]
    feed(whole, EXPECTED, 100, random.Random(1))
    draw = random.Random(1)
    again = [half.wants() for _ in range(40)]
    feed(half, EXPECTED, 30, draw)
    resumed = Audit(CALIBRATION, expected=EXPECTED, rate=0.3, state=load(AuditState, dump(half.state)))
    again += [resumed.wants() for _ in range(60)]
    feed(resumed, EXPECTED, 70, draw)

    assert again == choices
    assert resumed.state == whole.state


def test_about_the_share_asked_for_is_audited() -> None:
    """One in ten of 5,000, give or take."""
    audit = Audit(CALIBRATION, expected=EXPECTED, rate=0.1)

    assert sum(audit.wants() for _ in range(5000)) == pytest.approx(500, abs=70)


def test_nobody_is_audited_while_others_wait() -> None:
    """What would have been chosen is counted as skipped."""
    audit = Audit(CALIBRATION, expected=EXPECTED, rate=1.0)

    assert not audit.wants(idle=False)
    assert audit.wants()
    assert (audit.state.drawn, audit.state.skipped) == (2, 1)


def test_the_draw_can_be_given() -> None:
    """Below the rate is chosen."""
    values = iter([0.009, 0.01])
    audit = Audit(CALIBRATION, expected=EXPECTED, draw=lambda: next(values))

    assert [audit.wants(), audit.wants()] == [True, False]


def test_tightening_leaves_early_only_where_recent_answers_agree() -> None:
    """Below 0.9 everything is changed of late, above nothing: the threshold rises to where it holds."""
    draw = random.Random(2)
    audit = Audit(CALIBRATION, expected=EXPECTED)
    feed(audit, 0.0, 300, draw)
    for _ in range(1500):
        confidence = 0.8 + 0.2 * draw.random()
        audit.observe(confidence > 0.9, exit=0, confidence=confidence)
    found = audit.tighten()

    assert audit.alarmed
    assert 0.89 < found.thresholds[0] < 0.93
    assert found.thresholds[-1] == 0
    assert 1480 <= found.since <= 1550
    assert "0 of" in found.reason


def test_early_answers_go_off_where_no_threshold_is_borne_out() -> None:
    """When confidence says nothing any more."""
    audit = Audit(CALIBRATION, expected=EXPECTED)
    feed(audit, 0.5, 200, random.Random(1))
    found = audit.tighten()

    assert found.thresholds == (2.0, 0.0)
    assert "no tighter thresholds" in found.reason


def test_an_audit_that_saw_nothing_proposes_nothing_early() -> None:
    """Nothing observed bears nothing out."""
    assert Audit(CALIBRATION, expected=EXPECTED).tighten().thresholds == (2.0, 0.0)


def test_tightened_thresholds_promise_nothing() -> None:
    """They come from few answers without labels, so the calibration names no drop any more."""
    found = Audit(CALIBRATION, expected=EXPECTED).tighten().applied(CALIBRATION)

    assert (found.thresholds, found.max_drop, found.confidence) == ((2.0, 0.0), None, None)


def test_without_labels_the_promise_itself_is_what_is_expected() -> None:
    """One in a hundred of all answers is one in sixty of the 60% that leave early."""
    audit = Audit(replace(CALIBRATION, labelled=False))

    assert audit.expected == pytest.approx(0.01 / 0.6)


@pytest.mark.parametrize(
    "calibration",
    [
        CALIBRATION,
        replace(CALIBRATION, labelled=False, max_drop=None),
        replace(CALIBRATION, labelled=False, stays=(1.0, 0.0)),
    ],
)
def test_what_is_expected_has_to_be_known(calibration: Calibration) -> None:
    """With labels the drop says nothing of how often answers change."""
    with pytest.raises(BadDocument, match=r"(?s)expected.*Examination\.contradicted"):
        Audit(calibration)


def test_bad_settings_are_named_together() -> None:
    """Each with its value."""
    with pytest.raises(BadDocument) as refusal:
        Audit(CALIBRATION, expected=0.0, rate=2.0, false_alarm=1.0, horizon=0)

    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "expected",
        "false_alarm",
        "rate",
        "horizon",
    ]
