"""Two profiles side by side."""

import pytest

from partita.errors import ProfileMismatch
from partita.profile import compare_profiles, measure


def test_every_stage_stands_beside_itself(model):
    """The ratio says how many times longer the second device takes."""
    fake = model((0.1, 0.2))
    here = measure(fake, batches=(1,), effort=fake.effort())

    found = compare_profiles(here, here.slowed(3), batch=2)

    assert [stage.ratio for stage in found.stages] == pytest.approx([3, 3])
    assert found.whole.left == pytest.approx(0.6)
    assert found.right == f"{here.device.name} x3"


def test_a_stage_that_took_no_time_has_no_finite_ratio(model):
    """Division by nothing is said, not raised."""
    fake = model((0.0, 0.2))
    here = measure(fake, batches=(1,), effort=fake.effort())

    assert compare_profiles(here, here).stages[0].ratio == float("inf")


def test_profiles_of_two_models_are_not_compared(model):
    """Stages of different models have nothing to do with each other."""
    one, two = model((0.1,)), model((0.1, 0.2))

    with pytest.raises(ProfileMismatch, match="two models"):
        compare_profiles(measure(one, effort=one.effort()), measure(two, effort=two.effort()))
