"""Timed repetitions in rounds."""

import gc

import pytest

from partita.errors import BadDocument
from partita.graph import Timing
from partita.profile.rounds import Effort, run_rounds, settled, timing


class Clock:
    """A clock that jobs move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def job(self, *seconds, log=None, name=""):
        """A job that takes these times one after the other, then the last one for ever."""
        times = list(seconds)

        def run():
            self.now += times.pop(0) if len(times) > 1 else times[0]
            if log is not None:
                log.append(name)

        return run


def test_jobs_take_turns():
    """Every round runs every job once, in order."""
    clock, log = Clock(), []
    jobs = [clock.job(1.0, log=log, name="a"), clock.job(2.0, log=log, name="b")]

    samples = run_rounds(jobs, Effort(runs=3, seconds=0, warmup=1, clock=clock), 1e9)

    assert log == ["a", "b"] * 4
    assert samples == [[1.0] * 3, [2.0] * 3]


def test_rounds_go_on_until_the_seconds_asked_for_are_full():
    """Short jobs are repeated until they have filled the time."""
    clock = Clock()

    (row,) = run_rounds([clock.job(0.1)], Effort(runs=2, seconds=1.0, warmup=0, clock=clock), 1e9)

    assert len(row) in (10, 11)


def test_rounds_stop_at_the_end_of_the_budget():
    """A job that takes long is run three times, and no more once the time is spent."""
    clock = Clock()

    (row,) = run_rounds([clock.job(100.0)], Effort(runs=50, seconds=0, warmup=0, clock=clock), 150.0)

    assert len(row) == 3


def test_a_budget_already_spent_still_gives_the_least():
    """Even without any time left a median of three comes out."""
    clock = Clock()

    (row,) = run_rounds([clock.job(1.0)], Effort(seconds=0, warmup=0, clock=clock), -1.0)

    assert len(row) == 3


def test_a_restless_job_is_repeated_up_to_four_times_as_often():
    """Where the quartiles lie far apart more rounds are taken, but not for ever."""
    clock = Clock()
    times = [1.0, 9.0] * 50

    (row,) = run_rounds([clock.job(*times)], Effort(runs=4, seconds=0, warmup=0, clock=clock), 1e9)

    assert len(row) == 16


def test_the_listener_hears_shares_that_end_at_one():
    """Progress ends at 1 and never passes it."""
    clock, heard = Clock(), []

    run_rounds([clock.job(1.0)], Effort(runs=4, seconds=0, warmup=0, clock=clock), 1e9, heard.append)

    assert heard[-1] == 1.0
    assert all(0 < share <= 1 for share in heard)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before(enabled):
    """It rests during the rounds and comes back only if it was on."""
    clock, seen = Clock(), []
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        run_rounds([lambda: seen.append(gc.isenabled())], Effort(runs=1, seconds=0, clock=clock), 0.0)
        assert seen == [False] * len(seen)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_a_timing_is_median_and_quartile_distance():
    """The middle half of the samples is what counts."""
    assert timing([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 5)
    assert timing([7.0]) == Timing(7.0, 0.0, 1)


def test_settled_means_that_the_median_is_known():
    """Equal samples are settled, scattered ones are not."""
    assert settled([1.0, 1.0, 1.0])
    assert not settled([1.0, 2.0, 3.0])


def test_an_impossible_effort_names_every_field():
    """All bad numbers are reported at once."""
    with pytest.raises(BadDocument) as caught:
        Effort(runs=0, warmup=-1, budget=float("nan"))

    assert len(caught.value.problems) == 3


def test_another_quantile_than_the_median_can_stand_for_all():
    """The fastest of five; the spread stays what it is."""
    found = timing([5.0, 1.0, 4.0, 2.0, 3.0], 0.0)

    assert found == Timing(1.0, 2.0, 5)


def test_a_quantile_above_one_is_refused():
    """It is a share."""
    with pytest.raises(BadDocument, match="quantile"):
        Effort(quantile=1.5)
