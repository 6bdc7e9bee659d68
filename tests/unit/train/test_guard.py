"""The guard: silent on what normal training looks like, soon there when a training falls apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from partita.train.guard import Alarm, Watching, restarted, started, warning_before, watch

STEPS = np.arange(2000)
FALLING = 2.3 * np.exp(-STEPS / 300)
Losses = np.ndarray


def watched(losses: Losses, window: int = 4, state: Watching | None = None) -> Alarm | None:
    state = state or started(window)
    for step, loss in enumerate(losses):
        state, alarm = watch(state, float(loss), step)
        if alarm is not None:
            return alarm
    return None


def noise(seed: int, size: float) -> Losses:
    return np.random.default_rng(seed).lognormal(0, size, len(STEPS))


def between(*points: tuple[int, float]) -> Losses:
    return np.interp(STEPS, *zip(*points, strict=True))


def spikes(seed: int) -> Losses:
    return np.where(np.random.default_rng(seed).random(len(STEPS)) < 0.01, 50, 1)


def rare(seed: int) -> Losses:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(STEPS)) < 0.05, rng.exponential(1, len(STEPS)), 1e-4)


NORMAL: dict[str, Callable[[int], Losses]] = {
    "a little noise": lambda seed: (FALLING + 0.05) * noise(seed, 0.1),
    "heavy noise": lambda seed: (FALLING + 0.05) * noise(seed, 1.0),
    "nothing is learned": lambda seed: np.ones(len(STEPS)) * noise(seed, 0.5),
    "little is learned": lambda seed: between((0, 2.3), (2000, 2.0)) * noise(seed, 0.3),
    "near zero": lambda seed: (2.3 * np.exp(-STEPS / 50) + 1e-4) * noise(seed, 1.0),
    "zero at last": lambda seed: np.maximum(0, 2.3 - STEPS / 200) * noise(seed, 0.3),
    "a rise after the warm-up of the rate": lambda seed: (
        between((0, 2.3), (100, 1.9), (200, 2.1), (600, 1.2), (2000, 0.2)) * noise(seed, 0.15)
    ),
    "restarts of the rate": lambda seed: (FALLING + 0.05 + 0.4 * (STEPS % 500 < 40)) * noise(seed, 0.3),
    "bad batches": lambda seed: (FALLING + 0.1) * spikes(seed),
    "most batches are perfect": lambda seed: 2.3 * np.exp(-STEPS / 60) + rare(seed),
    "below zero": lambda seed: 1 - 4 * (1 - np.exp(-STEPS / 400)) + np.log(noise(seed, 1.0)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", NORMAL)
def test_normal_training_gives_no_alarm(kind: str, seed: int) -> None:
    assert watched(NORMAL[kind](seed)) is None


COLLAPSE: dict[str, tuple[Callable[[int], Losses], str, int]] = {
    "to guessing, from a small loss": (lambda seed: np.full(2000, 2.3), "exploded", 30),
    "far beyond": (lambda seed: np.full(2000, 50.0), "exploded", 20),
    "slowly growing": (lambda seed: 0.4 * 1.03 ** (STEPS - 800.0), "exploded", 80),
    "among heavy noise": (lambda seed: 2.3 * noise(seed, 0.5), "exploded", 100),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", COLLAPSE)
def test_a_collapse_is_seen_within_some_tens_of_steps(kind: str, seed: int) -> None:
    after, expected, within = COLLAPSE[kind]
    losses = (FALLING + 0.05) * noise(seed, 0.2)
    losses[800:] = after(seed)[800:]

    alarm = watched(losses)

    assert alarm is not None
    assert alarm.kind == expected
    assert 800 <= alarm.step < 800 + within


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_is_back_at_guessing_is_seen_although_it_never_doubled(seed: int) -> None:
    losses = between((0, 2.3), (700, 1.5), (2000, 1.5)) * noise(seed, 0.08)
    losses[700:705], losses[705:] = 6.0, 2.3

    alarm = watched(losses)

    assert alarm is not None
    assert alarm.kind == "unlearned"
    assert "window 4: it began at 2." in alarm.reason
    assert 700 < alarm.step < 850


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("window", [0, 4])
def test_a_loss_that_is_no_number_is_an_alarm_at_once(loss: float, window: int) -> None:
    assert watch(started(window), loss, 3)[1] == Alarm("not finite", 3, f"the loss of step 3 is {loss}")


def test_without_a_window_nothing_is_stale_and_no_rise_is_an_alarm() -> None:
    assert watched(np.concatenate([FALLING, np.full(300, 50.0)]), window=0) is None


def test_after_going_back_the_warm_up_begins_anew_from_where_training_stands() -> None:
    """The best of what was undone no longer counts: the checkpoint may be far above it."""
    state = started(4)
    for step, loss in enumerate(FALLING):
        state, _ = watch(state, float(loss), step)

    again = restarted(state, 2)

    assert (again.window, again.first) == (2, state.first)
    assert watched(np.full(500, 1.4), state=again) is None


def test_a_second_collapse_is_seen_too() -> None:
    state = started(4)
    for step, loss in enumerate(FALLING[:400]):
        state, _ = watch(state, float(loss), step)

    alarm = watched(np.concatenate([FALLING[200:600], np.full(200, 2.3)]), state=restarted(state, 2))

    assert alarm is not None
    assert alarm.step < 460


@pytest.mark.parametrize(
    ("has_norm", "momentum", "window", "warned"),
    [(False, 0.9, 2, True), (True, 0.9, 2, False), (False, 0.5, 2, False), (False, 0.9, 1, False)],
)
def test_a_training_known_to_fall_apart_is_warned_of(
    has_norm: bool, momentum: float, window: int, warned: bool
) -> None:
    said = warning_before(has_norm, momentum, window)

    assert (said is not None) is warned
    assert said is None or "momentum is 0.9 and the window is 2" in said


# -- a real one ----------------------------------------------------------------------------------------------------


def trained(digits: tuple[np.ndarray, np.ndarray], window: int, seed: int = 0) -> list[float]:
    """Losses of a net without normalisation, its front trained by gradients that come `window` steps late."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    front = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    tail = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.05, momentum=0.9) for part in (front, tail)]
    samples, labels = map(torch.from_numpy, digits)
    waiting: deque[tuple[torch.Tensor, torch.Tensor]] = deque()
    losses = []
    for step in range(700):
        chosen = torch.from_numpy(np.random.default_rng([seed, step]).integers(0, len(labels), 32))
        features = front(samples[chosen]).detach().requires_grad_()
        loss = nn.functional.cross_entropy(tail(features), labels[chosen])
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        losses.append(loss.item())
        assert features.grad is not None
        waiting.append((samples[chosen], features.grad))
        if len(waiting) > window:
            batch, slopes = waiting.popleft()
            optimizers[0].zero_grad()
            front(batch).backward(slopes)
            optimizers[0].step()
    return losses


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from partita.zoo import open_data

    samples, labels = next(open_data("made:digits?train=1500").in_memory().batches(1500))
    return (samples - samples.mean()) / samples.std(), labels


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets as small as these are slower on several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_real_collapse_under_a_window_is_seen(digits: tuple[np.ndarray, np.ndarray]) -> None:
    losses = trained(digits, window=6)

    assert min(losses) < 2.0
    assert np.mean(losses[-50:]) > 2.2
    assert watched(np.array(losses), 6) is not None


def test_the_same_training_without_a_window_would_give_no_alarm(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    losses = trained(digits, window=0)

    assert np.mean(losses[-50:]) < 0.6
    assert watched(np.array(losses), 1) is None
