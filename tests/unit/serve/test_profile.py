"""What a network with exits costs: taken in turns, with intervals and sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, NotFound, ProfileMismatch
from partita.graph import dump, load
from partita.serve import ExitCost, ExitProfile, StageTime
from partita.serve.exporting import export
from partita.serve.model import ExitModel
from partita.serve.profile import (
    Measuring,
    interval,
    load_profile,
    notes,
    profile_model,
    rounds,
    save_profile,
)
from partita.serve.profile_truth import collect

QUICK = Measuring(runs=3)


class Ticks:
    """A clock that moves only when a job says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def held_out(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.standard_normal((rows, 64)).astype(np.float32), random.integers(0, 3, rows)


def test_every_stage_and_span_is_timed_at_every_batch_size(exit_model: ExitModel) -> None:
    """Stages apart, and spans of two or three."""
    found = profile_model(exit_model, batches=(2, 1), measuring=QUICK)

    assert len(found.stages) == 3
    assert sorted(found.spans) == ["0-1", "0-2", "1-2"]
    for time in (*found.stages, *found.spans.values()):
        assert list(time.p50) == [1, 2]
        assert all(0 < time.p50[b] <= time.p99[b] for b in (1, 2))


def test_the_profile_says_what_was_measured_where(exit_model: ExitModel) -> None:
    """The digest of the network, the threads and the way it runs."""
    found = profile_model(exit_model, batches=(1,), measuring=QUICK)

    assert found.digest == exit_model.digest
    assert "1 thread a run" in found.device
    assert found.device.endswith("CPU, exact")


def test_jobs_take_turns_and_every_second_round_runs_backwards() -> None:
    """So that none always follows the same other."""
    seen: list[str] = []
    rounds([lambda: seen.append("a"), lambda: seen.append("b")], Measuring(runs=3))

    assert "".join(seen[4:]) == "abbaab"


def test_each_job_gets_its_own_seconds() -> None:
    """By the clock given."""
    clock = Ticks()

    def job(seconds: float) -> Callable[[], None]:
        def run() -> None:
            clock.now += seconds

        return run

    found = rounds([job(1.0), job(5.0)], Measuring(runs=2, seconds=1e9, clock=clock))

    assert found == [[1.0, 1.0], [5.0, 5.0]]


def test_no_more_rounds_once_the_time_is_over() -> None:
    """But a least number of them always."""
    clock = Ticks()

    def job() -> None:
        clock.now += 10

    told: list[float] = []
    (found,) = rounds([job], Measuring(runs=1000, seconds=1, clock=clock), told.append)

    assert len(found) == 5
    assert told[-1] == 1.0


def test_accuracy_comes_with_its_interval(exit_model: ExitModel) -> None:
    """From held-out data; the share lies inside."""
    x, labels = held_out()
    found = profile_model(exit_model, batches=(1,), measuring=QUICK, data=(x, labels))
    wanted = [(exit_model.run_to(k, x).argmax(axis=1) == labels).mean() for k in range(3)]

    assert [cost.accuracy for cost in found.exits] == wanted
    assert all(c.accuracy_low < c.accuracy < c.accuracy_high for c in found.exits)  # type: ignore[operator]
    assert found.samples == 40


def test_without_labels_accuracy_is_unknown(exit_model: ExitModel) -> None:
    """Agreement with the last exit is no accuracy."""
    truth = collect(exit_model, held_out()[0], None)
    found = profile_model(exit_model, batches=(1,), measuring=QUICK, truth=truth)

    assert [cost.accuracy for cost in found.exits] == [None] * 3


def test_truth_of_another_network_is_refused(exit_model: ExitModel) -> None:
    """Its digest says so."""
    truth = replace(collect(exit_model, *held_out()), digest="sha256:other")

    with pytest.raises(ProfileMismatch):
        profile_model(exit_model, batches=(1,), measuring=QUICK, truth=truth)


def test_the_arithmetic_is_that_of_the_manifest(exit_model: ExitModel) -> None:
    """Counted when it was exported."""
    found = profile_model(exit_model, batches=(1,), measuring=QUICK)

    assert tuple(cost.flops for cost in found.exits) == exit_model.manifest.flops


def test_modelled_energy_is_called_modelled(exit_model: ExitModel) -> None:
    """With the watts that it stands on."""
    found = profile_model(exit_model, batches=(1,), measuring=QUICK, watts=6.0)

    assert found.energy_source == "modelled: processor seconds x 6 W"
    assert all(cost.joules is not None and cost.joules > 0 for cost in found.exits)


def test_without_meter_and_watts_energy_is_unknown(exit_model: ExitModel) -> None:
    """And a note says so."""
    found = profile_model(exit_model, batches=(1,), measuring=QUICK)

    assert (found.energy_source, found.exits[0].joules) == ("", None)
    assert any("energy is unknown" in note for note in notes(found))


def test_a_folder_without_stages_has_spans_only(three: Path, tmp_path: Path) -> None:
    """Each from the input."""
    export(three, tmp_path / "model", granularity="model")
    found = profile_model(ExitModel.open(tmp_path / "model"), batches=(1,), measuring=QUICK)

    assert found.stages == ()
    assert sorted(found.spans) == ["0-0", "0-1", "0-2"]


def test_blocks_are_timed_as_their_stage(three: Path, tmp_path: Path) -> None:
    """What a scheduler chooses from is stages."""
    export(three, tmp_path / "model", granularity="block")

    assert len(profile_model(ExitModel.open(tmp_path / "model"), batches=(1,), measuring=QUICK).stages) == 3


def test_a_dominated_exit_is_warned_about() -> None:
    """With the exit that is better, as the original's own profile has one."""
    exits = [ExitCost(f"exit {k}", accuracy=share) for k, share in enumerate((0.44, 0.68, 0.77, 0.76))]
    (note,) = [n for n in notes(ExitProfile("m", tuple(exits))) if "dominated" in n]

    assert "exit 3" in note
    assert "exit 2" in note


def test_what_stages_cost_more_than_all_as_one_is_noted() -> None:
    """The heads, and the borders."""
    time = StageTime({1: 0.006}, {1: 0.006})
    profile = ExitProfile(
        "m", (ExitCost("a"), ExitCost("b")), (time, time), {"0-1": StageTime({1: 0.01}, {1: 0.01})}
    )

    assert any("20.0% more" in note for note in notes(profile))


def test_a_profile_is_written_and_read_back(three: Path, tmp_path: Path) -> None:
    """Equal, beside the network."""
    export(three, tmp_path / "model")
    model = ExitModel.open(tmp_path / "model")
    found = profile_model(model, batches=(1, 2), measuring=QUICK, data=held_out())
    save_profile(model.folder, found)

    assert load_profile(model) == found
    assert load(ExitProfile, dump(found)) == found


def test_a_profile_of_another_network_is_refused(three: Path, tmp_path: Path) -> None:
    """Measured before the network was exported anew."""
    export(three, tmp_path / "model")
    model = ExitModel.open(tmp_path / "model")
    save_profile(model.folder, ExitProfile("m", (ExitCost("a"),), digest="sha256:other"))

    with pytest.raises(ProfileMismatch, match="another network"):
        load_profile(model)


def test_a_missing_profile_says_how_to_get_one(exit_model: ExitModel) -> None:
    """With the command."""
    with pytest.raises(NotFound) as caught:
        load_profile(exit_model)

    assert "partita serve profile" in caught.value.fix


@pytest.mark.parametrize("batches", [(), (0, 1)])
def test_batch_sizes_are_at_least_one(exit_model: ExitModel, batches: tuple[int, ...]) -> None:
    """And there is at least one."""
    with pytest.raises(BadDocument, match="batches"):
        profile_model(exit_model, batches=batches)


def test_a_meter_and_a_model_exclude_each_other(exit_model: ExitModel) -> None:
    """One number, one source."""
    from partita.profile import PowerModel

    with pytest.raises(BadDocument, match="energy"):
        profile_model(exit_model, meter=PowerModel(1.0), watts=1.0)


def test_measuring_refuses_all_wrong_numbers_at_once() -> None:
    """Runs and seconds."""
    with pytest.raises(BadDocument) as caught:
        Measuring(runs=0, seconds=-1)

    assert len(caught.value.problems) == 2


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share_and_stays_a_share(samples: int, data: st.DataObject) -> None:
    """At both ends too."""
    right = data.draw(st.integers(0, samples))
    low, high = interval(right, samples)

    assert 0 <= low <= right / samples <= high <= 1
    assert low < high


def test_an_interval_is_that_of_the_textbooks() -> None:
    """Wilson's for 81 of 263, as in Newcombe's comparison of methods: 0.2553 to 0.3662."""
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
