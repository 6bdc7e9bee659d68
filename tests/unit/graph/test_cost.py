from dataclasses import replace

import pytest

from partita.errors import BadDocument, ProfileMismatch
from partita.graph import CodecCost, Device, Energy, Profile, StageCost, Timing
from partita.testing import random_chain


def cost(name: str, **seconds: float) -> StageCost:
    return StageCost(name, {int(batch[1:]): Timing(value) for batch, value in seconds.items()})


@pytest.fixture
def profile() -> Profile:
    stages = (cost("a", b1=1.0, b8=4.5), cost("b", b1=2.0, b8=2.0))
    return Profile("m", "sha256:0", Device("pi"), stages, cost("whole", b1=3.0, b8=6.5))


def test_between_batch_sizes_costs_are_interpolated(profile: Profile) -> None:
    """Half-way between two measured sizes lies half of the difference."""
    assert profile.stages[0].seconds(3) == pytest.approx(2.0)
    assert profile.stages[0].seconds(8) == 4.5


def test_beyond_the_measured_sizes_the_slope_goes_on(profile: Profile) -> None:
    """Twice the distance above costs twice the difference more."""
    assert profile.stages[0].seconds(15) == pytest.approx(8.0)


def test_a_falling_slope_never_promises_less_than_was_measured() -> None:
    """Noise that tilts a slope down does not make large batches free."""
    stage = cost("n", b4=2.0, b8=1.0)

    assert stage.seconds(100) == 2.0
    assert stage.seconds(1) >= 0.5


def test_a_single_size_is_scaled_in_proportion() -> None:
    """One measurement tells nothing of fixed costs."""
    assert cost("s", b32=3.2).seconds(8) == pytest.approx(0.8)


def test_a_part_costs_the_sum_of_its_stages(profile: Profile) -> None:
    """Without measured sums, stages add up; an empty part is free."""
    assert profile.seconds(0, 2, 8) == 6.5
    assert profile.seconds(1, 1, 8) == 0.0
    assert profile.seconds(0, 2, 8, "backward") == 0.0


def test_measured_sums_go_before_sums_over_stages(profile: Profile) -> None:
    """A profile that was taken by cut answers with what was measured."""
    by_cut = replace(profile, before={8: (0.0, 9.0, 10.0)}, after={8: (10.0, 5.0, 0.0)})

    assert by_cut.seconds(0, 1, 8) == 9.0
    assert by_cut.seconds(1, 2, 8) == 5.0
    assert replace(by_cut, before={}).seconds(0, 2, 8) == 10.0


def test_a_profile_of_another_model_is_refused(profile: Profile) -> None:
    """The error names both models and the command that measures the right one."""
    chain = random_chain(1)

    with pytest.raises(ProfileMismatch, match="partita profile made-up"):
        profile.check(chain)
    cost_of = {stage.name: StageCost(stage.name, {1: Timing(0.1)}) for stage in chain.stages}
    replace(profile, digest=chain.digest, stages=tuple(cost_of.values())).check(chain)


def test_what_was_not_measured_has_no_value(profile: Profile) -> None:
    """No meter means no joules, not zero; unmeasured peaks are zero."""
    assert profile.whole.joules(8) is None
    assert profile.whole.peak(8) == 0.0
    assert not profile.trained
    assert profile.batches == (1, 8)


def test_joules_and_peaks_follow_the_batch() -> None:
    """Energy and memory are interpolated like seconds."""
    stage = StageCost(
        "e", {1: Timing(1.0)}, {1: Timing(2.0)}, 4, {1: 10, 3: 30}, {1: Energy(1.0, "RAPL", True)}
    )

    assert stage.joules(2) == 2.0
    assert stage.peak(2) == 20.0


def test_a_slower_device_takes_longer_and_says_so(profile: Profile) -> None:
    """A what-if profile scales every time and never calls itself measured."""
    full = replace(profile, codecs={"int8": CodecCost(1.0, 2.0)}, before={8: (0.0, 1.0, 2.0)})
    slow = full.slowed(2.0)

    assert slow.seconds(1, 2, 8) == 4.0
    assert slow.before[8] == (0.0, 2.0, 4.0)
    assert slow.codecs["int8"] == CodecCost(2.0, 4.0)
    assert slow.source.startswith("modelled")


def test_an_impossible_profile_is_refused_with_all_problems(profile: Profile) -> None:
    """Rows of the wrong length, missing stages and unmeasured stages are all named."""
    with pytest.raises(BadDocument) as caught:
        replace(profile, stages=(StageCost("a", {}),), before={8: (1.0,)})
    assert len(caught.value.problems) == 2
    with pytest.raises(BadDocument, match="there are none"):
        replace(profile, stages=())


def test_times_below_zero_and_batches_of_nothing_are_refused() -> None:
    """A profile that promises less than nothing would win every plan."""
    with pytest.raises(BadDocument, match=r"median: -5\.0 is below zero"):
        Timing(-5.0, 1.0)
    with pytest.raises(BadDocument, match="batch 0 is not a positive number"):
        StageCost("a", {0: Timing(1.0)})


def test_a_profile_with_a_stage_too_few_is_refused(profile: Profile) -> None:
    """The digest alone is not believed."""
    chain = random_chain(1)

    with pytest.raises(ProfileMismatch, match="2 stages"):
        replace(profile, digest=chain.digest).check(chain)
