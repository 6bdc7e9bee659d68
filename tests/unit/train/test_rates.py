"""Schedules of the learning rate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.train.rates import Schedule, parse_schedule

TEXTS = ["constant", "linear", "cosine", "onecycle", "step:2,5@0.1", "cosine+warmup:7", "constant+warmup:3"]
schedules = st.sampled_from(TEXTS).map(parse_schedule)


def rates(text: str, per_epoch: int = 10, epochs: int = 4) -> list[float]:
    schedule = parse_schedule(text)
    return [schedule.rate_at(step, per_epoch, epochs) for step in range(per_epoch * epochs)]


@given(schedules, st.integers(0, 10**6), st.integers(1, 1000), st.integers(0, 50), st.floats(0, 10))
def test_a_rate_is_never_negative_and_never_above_its_peak(
    schedule: Schedule, step: int, per_epoch: int, epochs: int, peak: float
) -> None:
    """At any step of any training, past its end too."""
    rate = schedule.rate_at(step, per_epoch, epochs, peak)

    assert 0 <= rate <= peak * (1 + 1e-12)
    assert rate == schedule.rate_at(step, per_epoch, epochs, peak)


@pytest.mark.parametrize("text", TEXTS)
def test_a_schedule_prints_as_it_was_written(text: str) -> None:
    """And parses back."""
    assert str(parse_schedule(text)) == text
    assert parse_schedule(str(parse_schedule(text))) == parse_schedule(text)


def test_constant_is_constant() -> None:
    """Without any length."""
    assert Schedule().rate_at(123, None, 0, 0.3) == 0.3


def test_linear_falls_in_a_straight_line() -> None:
    """From the peak, with equal steps."""
    found = rates("linear")

    assert found[:3] == pytest.approx([1, 0.975, 0.95])
    assert found[-1] == pytest.approx(1 / 40)


def test_cosine_is_that_of_torch() -> None:
    """CosineAnnealingLR over all steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for rate in rates("cosine"):
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_one_cycle_is_that_of_torch() -> None:
    """OneCycleLR with its own defaults."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=41, cycle_momentum=False)
    expected = []
    for _ in range(40):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    found = parse_schedule("onecycle")

    assert [found.rate_at(s, 41, 1) for s in range(40)] == pytest.approx(expected)


def test_steps_fall_after_their_epochs() -> None:
    """As torch's MultiStepLR with milestones in epochs."""
    found = rates("step:1,3@0.1")

    assert found[9:11] == pytest.approx([1, 0.1])
    assert found[29:31] == pytest.approx([0.1, 0.01])


def test_warming_up_rises_to_the_schedule() -> None:
    """A tenth in the first of ten steps, all of it in the tenth."""
    found = rates("constant+warmup:10")

    assert found[:2] == pytest.approx([0.1, 0.2])
    assert found[9:] == [1.0] * 31


def test_without_a_length_only_constant_is_possible() -> None:
    """Said before the first step, with the way out."""
    with pytest.raises(BadDocument, match="nobody knows how many steps an epoch has"):
        parse_schedule("cosine").rate_at(0, None, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sine", "'sine' is no schedule"),
        ("step", "'step' is no schedule"),
        ("step:3,2@0.1", "do not rise"),
        ("step:3@2", "factor is above 1"),
        ("cosine+warm", "'warm' is not like warmup:100"),
        ("wrong+worse", "'worse' is not like.*'wrong' is no schedule"),
    ],
)
def test_what_is_wrong_is_said_all_at_once(text: str, said: str) -> None:
    """With examples of what is right."""
    with pytest.raises(BadDocument, match=said) as caught:
        parse_schedule(text)

    assert "step:30,60@0.1" in caught.value.fix
