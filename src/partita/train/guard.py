"""Whether a training falls apart: stale gradients can make a loss explode, or send it back to where it began.

    state = started(window)
    state, alarm = watch(state, loss, step)        # once a step; an alarm says what happened, in a sentence
    state = restarted(state, window)               # after going back to a checkpoint with a smaller window

On a net without normalisation (momentum 0.9, K = 4) the loss falls for some hundred steps, jumps up once, and then
stands for ever at the level of guessing, where it began. Often that is less than twice its best: a rule on doubling
alone sees nothing. So there are three alarms, and the last two must hold for some steps:

    not finite    the loss is NaN or infinite, at any time and under any window
    exploded      the mean loss is twice its best, and half of everything that was gained is lost
    unlearned     most of everything that was gained is lost again

Rules: pure, a state is a value; no clock and no torch; the same losses give the same alarm at the same step. Means
move, and what one step can add to them is bounded, so that one bad batch is no alarm. A rise counts only if it is
large beside the noise of the losses. With window 0 nothing is stale: then only a loss that is not finite is an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from typing import Final, Literal

__all__ = ["Alarm", "Watching", "restarted", "started", "warning_before", "watch"]

Kind = Literal["not finite", "exploded", "unlearned"]

# A mean over about 20 steps says where the loss is, one over about 100 what was reached: a lucky run of batches
# is no best.
_FAST: Final = 0.05
_SLOW: Final = 0.01
# The losses of the first steps say where the training began; nothing is judged before the warm-up is over.
_FIRST: Final = 5
_WARM_UP: Final = 40
# Steps in a row: an explosion is plain soon; guessing differs from a bad spell by its lasting.
_EXPLODED: Final = 5
_UNLEARNED: Final = 40
# How many times the noise of the mean a rise must be.
_CLEAR: Final = 6.0
# The deviation of a moving mean beside that of single losses.
_OF_MEAN: Final = sqrt(_FAST / (2 - _FAST))
_FAR: Final = 16.0
# The share of what was gained that must be lost: collapsed nets stand a little below or above where they began.
_BACK: Final = 0.7
# Above this, momentum adds to staleness what small steps would forgive.
_HIGH_MOMENTUM: Final = 0.5


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why training must go back: the sentence for people, the kind for programs."""

    kind: Kind
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Watching:
    """What is remembered of the losses: `first` is where they began, `best` the lowest slow mean so far."""

    window: int
    seen: int = 0
    first: float = 0.0
    counted: int = 0
    fast: float = 0.0
    slow: float = 0.0
    spread: float = 0.0
    best: float = inf
    exploded: int = 0
    unlearned: int = 0


def started(window: int) -> Watching:
    """The state before the first step."""
    return Watching(window)


def restarted(state: Watching, window: int) -> Watching:
    """The state after going back: where the training began is still known, its best and the warm-up begin anew."""
    return Watching(window, first=state.first, counted=state.counted)


def watch(state: Watching, loss: float, step: int) -> tuple[Watching, Alarm | None]:
    """Take in the loss of one step; says whether it is time to go back."""
    if not isfinite(loss):
        return state, Alarm("not finite", step, f"the loss of step {step} is {loss}")
    state = _taken_in(state, loss)
    if state.window == 0 or state.seen < _WARM_UP:
        return state, None
    gained, rise = state.first - state.best, state.fast - state.best
    noise = sqrt(state.spread)
    clear = rise > _CLEAR * noise * _OF_MEAN
    exploded = clear and rise > max(abs(state.best), gained / 2)
    unlearned = clear and gained > noise and rise > _BACK * gained
    state = replace(
        state,
        exploded=state.exploded + 1 if exploded else 0,
        unlearned=state.unlearned + 1 if unlearned else 0,
    )
    now = f"the mean loss is {state.fast:.4g} at step {step} with window {state.window}"
    if state.exploded >= _EXPLODED:
        return state, Alarm("exploded", step, f"{now}: it had come down to {state.best:.4g}")
    if state.unlearned >= _UNLEARNED:
        reason = f"{now}: it began at {state.first:.4g}, had come down to {state.best:.4g}, and most of that is lost"
        return state, Alarm("unlearned", step, reason)
    return state, None


def _taken_in(state: Watching, loss: float) -> Watching:
    seen = state.seen + 1
    counted = min(state.counted + 1, _FIRST + 1)
    first = state.first + (loss - state.first) / counted if counted <= _FIRST else state.first
    if seen == 1:
        return replace(state, seen=1, first=first, counted=counted, fast=loss, slow=loss)
    # One batch may say at most: as bad as at the beginning, or four times the mean.
    most = max(state.fast + 3 * abs(state.fast), first)
    told = min(loss, most)
    off = told - state.fast
    # While there are few losses, their plain mean.
    quick, lazy = max(_FAST, 1 / seen), max(_SLOW, 1 / seen)
    slow = state.slow + lazy * (told - state.slow)
    # Nor may it say much of the noise, or an explosion would hide what follows.
    wide = off * off if seen <= _WARM_UP else min(off * off, _FAR * state.spread)
    spread = (1 - lazy) * (state.spread + lazy * wide)
    best = min(state.best, slow) if seen >= _WARM_UP // 2 else state.best
    return replace(
        state, seen=seen, first=first, counted=counted, fast=state.fast + quick * off, slow=slow, spread=spread,
        best=best,
    )  # fmt: skip


def warning_before(has_norm: bool, momentum: float, window: int) -> str | None:
    """What to say before training begins, if such a training is known to fall apart."""
    if has_norm or momentum <= _HIGH_MOMENTUM or window < 2:
        return None
    return (
        f"the model has no normalisation, momentum is {momentum:g} and the window is {window}: stale gradients may"
        " undo what was learned. Add normalisation layers, lower momentum or learning rate, or choose window 0 or 1"
    )
