"""From which confidence an exit may answer, so that a stated bound holds.

Rules: thresholds move along one path from safe to greedy that is fixed before the samples that test it are looked at;
the path is walked until the first point that fails, and nothing behind it is tried, so that the confidence stated is
that of the whole search; the last exit always answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .calibrate_binomial import doubt
from .calibrate_evidence import Evidence, Floats, Integers

# No confidence reaches it: the exit never answers.
NEVER: Final = 2.0
# Steps per path. More cost time and prove nothing further; with fewer, the last point that passes lies farther from the bound.
_STEPS: Final = 240
# A softmax in single precision is wrong by about 1e-7: a threshold nearer to 1 than this would part equals.
_NEAREST: Final = 1e-6
# Strength of the belief, before any sample, that the chance to be wrong is 1 - confidence: one sample's worth.
_RIDGE: Final = 1.0
_NEWTON_STEPS: Final = 25


@dataclass(frozen=True)
class Found:
    """The greediest thresholds that passed. `losses` were counted on `samples` of the testing samples; `tried` points."""

    thresholds: tuple[float, ...]
    losses: float
    samples: int
    tried: int


def exits_taken(confidence: Floats, thresholds: Sequence[float]) -> Integers:
    """The exit at which each sample answers: the first that is sure enough, else the last."""
    sure = confidence >= np.asarray(thresholds)[:, None]
    sure[-1] = True
    first: Integers = np.argmax(sure, axis=0).astype(np.int64)
    return first


def common_path(exits: int) -> Floats:
    """One threshold for every exit, from one that is hardly ever reached down to 0: steps by exits."""
    common = 1.0 - np.geomspace(_NEAREST, 1.0, _STEPS)
    path = np.repeat(common[:, None], exits, axis=1)
    path[:, -1] = 0.0
    return path


def learned_path(evidence: Evidence, costs: Sequence[float]) -> Floats:
    """Thresholds at which every exit risks as much for the work it saves: steps by exits.

    The chance that something is lost at exit k is fitted as a (1 - confidence)^b; `costs` count from the input to each
    exit. A step of the path names a price, losses for work saved, and each exit answers where its chance is below it.
    Two numbers an exit are learned, so that a small part of the samples is enough; the rest must test the path.
    """
    spent = np.asarray(costs, float)
    saved = 1.0 - spent / spent[-1]
    prices = np.geomspace(1e-6, 1e2, _STEPS)
    path = np.zeros((_STEPS, evidence.exits))
    for k in range(evidence.exits - 1):
        loss = np.maximum(evidence.worth[-1] - evidence.worth[k], 0.0)
        level, slope = _fit_power(1.0 - evidence.confidence[k], loss)
        # An exit that saves nothing has no reason to answer before one that costs as much.
        doubtful = (prices * max(float(saved[k]), 1e-9) / level) ** (1.0 / slope)
        path[:, k] = np.where(doubtful < _NEAREST, NEVER, np.maximum(1.0 - doubtful, 0.0))
    return path


def certify(evidence: Evidence, path: Floats, max_drop: float, confidence: float) -> Found | None:
    """Walk a path, safe to greedy, while the mean loss is proven to be at most `max_drop`; the last point that passed.

    Fixed-sequence testing: each point is tested at the full level, because the walk ends at the first failure. None
    where not even the safest point passes.
    """
    found: Found | None = None
    before = np.empty(0, np.int64)
    binary = evidence.binary
    for tried, thresholds in enumerate(path, 1):
        taken = exits_taken(evidence.confidence, thresholds)
        losses = float(evidence.lost(taken).sum())
        # The same answers have the same loss: what passed once need not be tested again.
        if not np.array_equal(taken, before):
            if doubt(losses, evidence.samples, max_drop, binary=binary) > 1 - confidence:
                break
            before = taken
        found = Found(tuple(map(float, thresholds)), losses, evidence.samples, tried)
    return found


def _fit_power(unsure: Floats, loss: Floats) -> tuple[float, float]:
    """The level and slope of loss = level * unsure^slope, by Poisson regression drawn gently towards loss = unsure."""
    x = np.log(np.maximum(unsure, _NEAREST))
    design = np.stack([np.ones_like(x), x], axis=1)
    start = np.array([0.0, 1.0])
    weights = start.copy()
    for _ in range(_NEWTON_STEPS):
        mean = np.exp(np.clip(design @ weights, -40.0, 5.0))
        slope = design.T @ (loss - mean) - _RIDGE * (weights - start)
        curve = (design * mean[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curve, slope)
        # A full step from far away can overshoot into overflow.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        weights += step
    # A chance that hardly depends on the confidence, or falls with it, would make thresholds jump.
    return float(np.exp(np.clip(weights[0], -20.0, 5.0))), float(np.clip(weights[1], 0.2, 5.0))
