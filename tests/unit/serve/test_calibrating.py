"""Calibration: tables, thresholds, and what is said beside them."""

from __future__ import annotations

import numpy as np
import pytest

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.serve import Calibration, ExitCost, ExitProfile
from partita.serve.calibrate_evidence import Evidence, evidence_of_answers, evidence_of_losses
from partita.serve.calibrate_thresholds import exits_taken
from partita.serve.calibrating import calibrate, examine, with_accuracy


def logits(samples: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Three exits that grow better, with five classes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 5, samples)
    shared = draw.normal(size=(samples, 5))
    exits = []
    for skill in (1.5, 3.0, 4.0):
        one = 0.8 * shared + 0.6 * draw.normal(size=(samples, 5))
        one[np.arange(samples), labels] += skill
        exits.append(one)
    return exits, labels


def made(samples: int, seed: int = 0) -> Evidence:
    """The same as evidence."""
    exits, labels = logits(samples, seed)
    return evidence_of_answers(
        [1 / np.exp(one - one.max(1, keepdims=True)).sum(1) for one in exits],
        [one.argmax(1) for one in exits],
        labels,
    )


def test_a_calibration_goes_to_disk_and_back() -> None:
    """Thresholds that never answer are numbers too."""
    exits, labels = logits(400)
    found = calibrate(exits, labels, digest="abc")

    assert load(Calibration, dump(found)) == found


def test_thresholds_are_off_unless_a_drop_is_allowed() -> None:
    """Then the last exit answers everything."""
    found = examine(made(400))

    assert found.calibration.thresholds == (2.0, 2.0, 0.0)
    assert found.calibration.stays == (1.0, 1.0, 0.0)
    assert found.calibration.max_drop is None
    assert (found.answered, found.saved, found.drop) == ((0.0, 0.0, 1.0), 0.0, 0.0)
    assert found.contradicted is None


def test_worth_is_the_share_right_in_a_bin_drawn_to_the_average() -> None:
    """Two bins of two samples each, ten pseudo-counts of the exit's mean."""
    found = examine(
        evidence_of_answers([[0.2, 0.3, 0.8, 0.9]] * 2, [[1, 1, 0, 0], [0, 0, 0, 1]], [0] * 4), bins=2
    )

    assert found.calibration.edges == (pytest.approx(0.55),)
    assert found.calibration.worth[0][0] == pytest.approx(((0 + 5) / 12, (2 + 7.5) / 12))
    assert found.calibration.worth[0][1] == pytest.approx(((2 + 5) / 12, (1 + 7.5) / 12))


def test_every_sample_falls_into_the_bin_that_a_request_of_its_confidence_will() -> None:
    """Borders belong to the bin above, here and in Calibration.bin."""
    evidence = made(1000)
    found = examine(evidence).calibration
    chosen = [found.bin(one) for one in evidence.confidence[0]]
    share = np.mean(evidence.worth[2][np.array(chosen) == 3])
    count = chosen.count(3)

    assert found.worth[0][3][2] == pytest.approx((share * count + 10 * found.accuracy[2]) / (count + 10))


def test_the_more_sure_an_exit_is_the_more_it_is_worth() -> None:
    """The last bin is worth more than the first, at every exit."""
    for rows in examine(made(4000)).calibration.worth[:2]:
        assert rows[-1][0] > rows[0][0]


def test_confidences_that_are_all_equal_make_one_bin() -> None:
    """No bin is there that nothing can be in."""
    found = examine(evidence_of_answers(np.ones((2, 300)), np.zeros((2, 300), int), np.zeros(300, int)))

    assert found.calibration.edges == ()
    assert found.calibration.worth == (((1.0, 1.0),), ((1.0, 1.0),))


def test_a_drop_that_is_allowed_is_used_and_kept() -> None:
    """Work is saved, and on fresh samples the loss is within the bound."""
    found = examine(made(4000), max_drop=0.02)
    fresh = made(20_000, seed=1)
    taken = exits_taken(fresh.confidence, found.calibration.thresholds)

    assert found.path == "learned"
    assert found.saved > 0.1
    assert fresh.lost(taken).mean() <= 0.02
    assert sum(found.answered) == pytest.approx(1)
    assert found.loss is not None
    assert found.drop <= 0.02


def test_stays_are_the_shares_of_those_that_reach_an_exit() -> None:
    """Multiplied up they give the share that reaches the last."""
    found = examine(made(4000), max_drop=0.02)
    first, second, last = found.calibration.stays

    assert first * second == pytest.approx(found.answered[2])
    assert last == 0


def test_where_nobody_reaches_an_exit_its_stays_are_those_of_all() -> None:
    """The scheduler may still send somebody there."""
    confidence = [[0.999] * 400, [0.4, 0.999] * 200, [0.9] * 400]
    found = examine(evidence_of_answers(confidence, np.zeros((3, 400), int)), max_drop=0.05, path="common")

    assert found.calibration.stays[0] == 0
    assert found.calibration.stays[1] in (0.0, 0.5)
    assert found.answered == (1.0, 0.0, 0.0)


def test_too_few_samples_are_refused_their_bound_with_the_number_needed() -> None:
    """299 without a single loss prove one in a hundred."""
    found = examine(made(150), max_drop=0.01)

    assert found.calibration.thresholds == (2.0, 2.0, 0.0)
    assert any("299 samples at the very least, here are 150" in note for note in found.notes)
    assert any("150 samples are few" in note for note in found.notes)


def test_few_samples_get_one_threshold_for_all_exits() -> None:
    """None is spent on learning a path, and a note tells how many would do."""
    found = examine(made(450), max_drop=0.05)

    assert found.path == "common"
    assert len(set(found.calibration.thresholds[:-1])) == 1
    assert any("too few to learn one for each, 500 would do" in note for note in found.notes)


def test_the_number_that_would_do_does() -> None:
    """What a note promises is so."""
    assert examine(made(500), max_drop=0.05).path == "learned"


def test_a_note_says_when_nothing_could_be_proven() -> None:
    """Sure and always wrong."""
    found = examine(
        evidence_of_answers(np.ones((2, 500)), [[1] * 500, [0] * 500], [0] * 500),
        max_drop=0.01,
        path="common",
    )

    assert found.calibration.thresholds == (2.0, 0.0)
    assert any("no early answer could be proven" in note for note in found.notes)


def test_a_network_with_one_exit_has_no_thresholds_to_choose() -> None:
    """It is calibrated all the same."""
    found = examine(evidence_of_answers([[0.5, 0.9] * 200], [[0, 1] * 200], [0, 1] * 200), max_drop=0.01)

    assert found.calibration.thresholds == (0.0,)
    assert any("one exit" in note for note in found.notes)


def test_without_labels_it_is_consistency() -> None:
    """The last exit agrees with itself, and nothing is called accuracy."""
    exits, _ = logits(2000)
    plain = calibrate(exits, max_drop=0.05)
    exits, labels = logits(2000)

    assert not plain.labelled
    assert plain.accuracy[-1] == 1
    assert plain.thresholds[0] < 1
    assert calibrate(exits, labels).labelled


def test_what_is_measured_has_its_right_name() -> None:
    """A reader is never told accuracy where there were no labels."""
    unlabelled = examine(evidence_of_answers([[0.5] * 300] * 2, np.zeros((2, 300), int)))

    assert unlabelled.measure == "consistency with the last exit"
    assert "consistency, not accuracy" in unlabelled.notes[0]
    assert examine(made(300)).measure == "accuracy"


def test_dominated_exits_are_noted() -> None:
    """Deeper and no better."""
    found = examine(evidence_of_answers([[0.5] * 300] * 2, np.zeros((2, 300), int), [0] * 300))

    assert "no more accurate than an earlier exit: 1" in found.notes


def test_the_audit_is_told_how_often_the_last_exit_changes_early_answers() -> None:
    """An upper bound: above the share counted."""
    evidence = made(4000)
    found = examine(evidence, max_drop=0.02)
    taken = exits_taken(evidence.confidence, found.calibration.thresholds)
    counted = evidence.contradicted(taken).sum() / (taken < 2).sum()

    assert found.contradicted is not None
    assert counted < found.contradicted < counted + 0.02


def test_right_and_wrong_alone_do_not_tell_how_often_answers_change() -> None:
    """Two wrong answers may differ: no number is better than one too small."""
    evidence = made(4000)
    bare = Evidence(evidence.confidence, evidence.worth)

    assert examine(bare, max_drop=0.02).contradicted is None
    assert examine(bare, max_drop=0.02).saved == examine(evidence, max_drop=0.02).saved


def test_tasks_with_losses_are_calibrated_too() -> None:
    """Worth is a mean, and its interval holds for any spread."""
    draw = np.random.default_rng(0)
    confidence = draw.uniform(size=(2, 3000))
    losses = np.stack([0.4 * (1 - confidence[0]), np.zeros(3000)])
    found = examine(evidence_of_losses(confidence, losses), max_drop=0.05)
    low, high = found.intervals[0]

    assert found.calibration.thresholds[0] < 1
    assert low < found.calibration.accuracy[0] < high
    assert found.intervals[1][1] == 1


def test_costs_decide_where_to_leave() -> None:
    """Where the first exit already costs nearly everything, it is used less."""
    cheap = examine(made(4000), max_drop=0.02, costs=(0.1, 0.5, 1.0))
    dear = examine(made(4000), max_drop=0.02, costs=(0.49, 0.5, 1.0))

    assert dear.answered[0] < cheap.answered[0]
    assert dear.saved < cheap.saved


def test_a_profile_takes_its_accuracies_from_labelled_samples() -> None:
    """With both ends of each interval, and how many samples there were."""
    found = examine(made(500))
    profile = with_accuracy(ExitProfile("m", tuple(ExitCost(str(k)) for k in range(3))), found)

    assert profile.samples == 500
    for cost in profile.exits:
        assert cost.accuracy_low is not None
        assert cost.accuracy is not None
        assert cost.accuracy_high is not None
        assert cost.accuracy_low < cost.accuracy < cost.accuracy_high


def test_consistency_never_becomes_a_profiles_accuracy() -> None:
    """It would be taken for the truth."""
    profile = ExitProfile("m", (ExitCost("a"), ExitCost("b")))
    found = examine(evidence_of_answers([[0.5] * 300] * 2, np.zeros((2, 300), int)))

    assert with_accuracy(profile, found) is profile


def test_a_profile_of_another_network_is_refused() -> None:
    """Another number of exits."""
    with pytest.raises(BadDocument, match="3 exits, but the profile has 1"):
        with_accuracy(ExitProfile("m", (ExitCost("a"),)), examine(made(300)))


def test_bad_arguments_are_named_together() -> None:
    """Each with its value."""
    with pytest.raises(BadDocument) as refusal:
        examine(made(300), max_drop=1.5, confidence=95, bins=0, costs=(3.0, 2.0, 1.0))

    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "max_drop",
        "confidence",
        "bins",
        "costs",
    ]


def test_costs_for_another_number_of_exits_are_refused() -> None:
    """One for each."""
    with pytest.raises(BadDocument, match="costs: 2 for 3 exits"):
        examine(made(300), costs=(1.0, 2.0))
