"""What is known of a network with exits: documents that check themselves, and questions to them."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.serve import Calibration, ExitCost, ExitProfile, StageTime

TIME = StageTime({1: 1.0, 4: 2.5, 8: 4.0}, {1: 1.5, 4: 3.0, 8: 6.0})
HALVES = ((0.5, 0.5), (0.5, 0.5))


@pytest.mark.parametrize(
    ("batch", "tail", "seconds"),
    [(1, False, 1.0), (2, False, 1.5), (6, True, 4.5), (16, False, 8.0), (8, True, 6.0)],
)
def test_times_are_linear_between_sizes_and_in_proportion_beyond(batch, tail, seconds) -> None:
    assert TIME.seconds(batch, tail=tail) == pytest.approx(seconds)


def test_below_the_smallest_size_a_batch_takes_as_long_as_that() -> None:
    """One sample in a batch of four runs as the batch of four does."""
    assert StageTime({4: 2.0}, {4: 3.0}).seconds(1) == 2.0


@pytest.mark.parametrize(
    ("p50", "p99", "said"),
    [
        ({}, {}, "p50: no batch size was measured"),
        ({1: 1.0}, {2: 1.0}, "p99: other batch sizes than p50"),
        ({0: 1.0}, {0: 1.0}, r"p50\.0: 1\.0 at batch 0"),
        ({1: -1.0}, {1: 1.0}, r"p50\.1: -1\.0 at batch 1"),
    ],
)
def test_times_that_cannot_be_are_refused(p50, p99, said) -> None:
    with pytest.raises(BadDocument, match=said):
        StageTime(p50, p99)


def test_a_profile_prints_and_parses_back() -> None:
    exits = (ExitCost("a", accuracy=0.5), ExitCost("b", accuracy=0.4), ExitCost("c"))
    profile = ExitProfile("m", exits, (TIME,) * 3, {"0-2": TIME}, energy_source="modelled: 5 W")

    assert load(ExitProfile, dump(profile)) == profile


def test_dominated_exits_are_those_no_better_than_one_before() -> None:
    """Exits of unknown worth are left out."""
    worths = (0.4, None, 0.7, 0.7, 0.8)
    profile = ExitProfile("m", tuple(ExitCost(str(k), accuracy=a) for k, a in enumerate(worths)))

    assert profile.dominated == (3,)
    assert not profile.timed


def test_a_span_of_one_is_the_stage() -> None:
    profile = ExitProfile("m", (ExitCost("a"), ExitCost("b")), (TIME, TIME), {"0-1": TIME})

    assert profile.timed
    assert profile.span(1, 1) is profile.stages[1]
    assert profile.span(0, 1) is profile.spans["0-1"]
    assert ExitProfile("m", (ExitCost("a"),)).span(0, 0) is None


@pytest.mark.parametrize(
    ("exits", "stages", "said"),
    [
        ((), (), "exits: there are none"),
        ((ExitCost("a"),), (TIME, TIME), "stages: 2 for 1 exits"),
        ((ExitCost("a", accuracy=1.5),), (), r"exits\[0\]\.accuracy: 1\.5 is no share"),
    ],
)
def test_profiles_that_cannot_be_are_refused(exits, stages, said) -> None:
    with pytest.raises(BadDocument, match=said):
        ExitProfile("m", exits, stages)


def test_a_confidence_falls_into_the_bin_between_its_edges() -> None:
    found = Calibration((0.5,), (HALVES, HALVES), (0.6, 0.7), (2.0, 0.0), (1.0, 0.0), 100)

    assert [found.bin(c) for c in (0.1, 0.5, 0.9)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accuracy": ()}, "accuracy: there are no exits"),
        ({"worth": (HALVES,)}, "worth: 1 for 2 exits"),
        ({"thresholds": (0.0,)}, "thresholds: 1 for 2 exits"),
        ({"worth": (HALVES, ((0.5,), (0.5, 0.5)))}, r"worth\[1\]\[0\]: 1 of 2 bins or 2 exits"),
        ({"edges": (0.7, 0.5), "worth": ((*HALVES, (0.5, 0.5)),) * 2}, "edges: they do not grow"),
    ],
)
def test_calibrations_that_cannot_be_are_refused(changed, said) -> None:
    fields = {
        "edges": (0.5,),
        "worth": (HALVES, HALVES),
        "accuracy": (0.6, 0.7),
        "thresholds": (2.0, 0.0),
        "stays": (1.0, 0.0),
        "samples": 100,
    }
    with pytest.raises(BadDocument, match=said):
        Calibration(**(fields | changed))
