"""Price tables: how deep is worth it when a second costs this much, for every state a request can be in.

A request is a state: fresh, or holding the answer of exit k with a confidence in bin q. At a price (expected accuracy
per second) its cap is the exit with the largest worth less price times the work that remains; holding the best answer
already means leaving with it. Caps and the work they stand for are tabled once, so that pricing a whole queue is one
lookup and one running sum.

Rules: a higher price never asks for more work; price zero means the most accurate exit for everybody, whatever the
bins say; the last price asks for the least work the floors allow.

Over-share tenants pay first: the table has one row of prices after another for them while the others pay nothing, and
only then rows in which the others pay too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import BadDocument
from .tables import Calibration, ExitProfile

Floats = npt.NDArray[np.float64]
# Prices span three decades below the one at which nobody goes deeper: below that a second costs less than a tenth of a
# percent of the best bargain.
_DECADES = 1e-3
# Prices of a joule: none, and eleven more.
ENERGY_PRICES = 12


@dataclass(frozen=True)
class Worth:
    """How often exit e answers rightly: `fresh[e]`, and `held[k, q, e]` once exit k has spoken with confidence bin q."""

    fresh: Floats
    held: Floats
    stays: Floats

    @classmethod
    def of(cls, profile: ExitProfile, calibration: Calibration | None, *, thresholds: bool = False) -> Worth:
        """From held-out data, or from the profile's accuracies where nothing is known by confidence."""
        exits = len(profile.exits)
        if calibration is not None:
            if len(calibration.accuracy) != exits:
                raise BadDocument(
                    "calibration",
                    [f"accuracy: {len(calibration.accuracy)} exits where the profile has {exits}"],
                    fix="calibrate this network: partita serve calibrate",
                )
            stays = np.array(calibration.stays if thresholds else [1.0] * exits)
            return cls(np.array(calibration.accuracy), np.array(calibration.worth), stays)
        missing = [
            f"exits[{k}].accuracy: not known" for k, e in enumerate(profile.exits) if e.accuracy is None
        ]
        if missing:
            raise BadDocument("exit profile", missing, fix="calibrate the network: partita serve calibrate")
        fresh = np.array([cost.accuracy for cost in profile.exits], dtype=np.float64)
        return cls(fresh, np.broadcast_to(fresh, (exits, 1, exits)).copy(), np.ones(exits))


class Prices:
    """The tables of all blocks. A block is one pair of floor and ceiling at one price of energy.

    `cost[step]`, `leave[step]` and `cap[step]` are indexed by row: the block, who pays, the state.
    """

    def __init__(self, worth: Worth, units: list[float], joules: list[float], prices: int) -> None:
        self.worth, self.joules = worth, joules
        exits, bins, _ = worth.held.shape
        self.exits, self.bins = int(exits), int(bins)
        self.states = 1 + self.exits * self.bins
        self.steps = 2 * prices - 1
        self.middle = prices - 1  # from this step on, all over-share requests pay the highest price
        # Plain lists: a single number is read many times a second, and costs a tenth of what an array asks for it.
        self.held: list[list[list[float]]] = worth.held.tolist()
        fresh: list[float] = worth.fresh.tolist()
        self._best = [
            [max(range(low, max(low, high) + 1), key=fresh.__getitem__) for high in range(self.exits)]
            for low in range(self.exits)
        ]
        self._blocks: dict[tuple[int, int, int], int] = {}
        self._prices = prices
        self._set_grid(units)
        self.cost: Floats = np.zeros((self.steps, 0))
        self.leave: npt.NDArray[np.bool_] = np.zeros((self.steps, 0), dtype=np.bool_)
        self.cap: npt.NDArray[np.int8] = np.zeros((self.steps, 0), dtype=np.int8)
        self.stops: npt.NDArray[np.bool_] = np.zeros((self.steps, 0, self.exits), dtype=np.bool_)

    def block(self, floor: int, ceiling: int, energy: int = 0) -> int:
        """The first row of a block, built on first use."""
        key = (floor, ceiling, energy)
        if key not in self._blocks:
            self._blocks[key] = int(self.cost.shape[1])
            self._append(*key)
        return self._blocks[key]

    def row(self, block: int, exit_: int, bin_: int, over: bool) -> int:
        """The row of a state; exit -1 is the fresh one."""
        state = 0 if exit_ < 0 else 1 + exit_ * self.bins + bin_
        return block + over * self.states + state

    def reprice(self, units: list[float]) -> None:
        """Build every block again for other stage times; rows stay where they are."""
        self._set_grid(units)
        keys = sorted(self._blocks, key=self._blocks.__getitem__)
        self.cost, self.leave, self.cap = self.cost[:, :0], self.leave[:, :0], self.cap[:, :0]
        self.stops = self.stops[:, :0]
        for key in keys:
            self._append(*key)

    def must_pass(self, step: int, half: int, first: int) -> int:
        """The first stage from `first` after which somebody of this half block (row // states) might leave."""
        last = first
        while last < self.exits - 1 and not self.stops[step, half, last]:
            last += 1
        return last

    def price(self, step: int, over: bool) -> float:
        """Expected accuracy per second at a step."""
        return float(self.grid[min(step, self.middle) if over else max(0, step - self.middle)])

    def best(self, floor: int, ceiling: int) -> int:
        """The exit that answers where nothing presses: the most accurate, and the cheaper of two equals."""
        return self._best[floor][ceiling]

    def _set_grid(self, units: list[float]) -> None:
        exits, stays = self.exits, self.worth.stays
        # Work from after exit k to exit e; k = -1 is a fresh request.
        self.work = np.zeros((exits + 1, exits))
        self.draw = np.zeros((exits + 1, exits))
        for k in range(-1, exits):
            reach = 1.0
            for e in range(k + 1, exits):
                before = (self.work[k + 1, e - 1], self.draw[k + 1, e - 1]) if e > k + 1 else (0.0, 0.0)
                self.work[k + 1, e] = before[0] + reach * units[e]
                self.draw[k + 1, e] = before[1] + reach * self.joules[e]
                reach *= stays[e]
        self.seconds: list[list[float]] = self.work.tolist()
        top = self._dearest(self.work)
        self.grid: Floats = np.concatenate([[0.0], np.geomspace(top * _DECADES, top, self._prices - 1)])
        dearest = self._dearest(self.draw)
        self.energy: Floats = np.concatenate(
            [[0.0], np.geomspace(dearest * _DECADES, dearest, ENERGY_PRICES - 1)]
        )

    def _dearest(self, spent: Floats) -> float:
        """The price from which on no state finds any deeper exit worth it."""
        top = 1e-12
        for k in range(-1, self.exits - 1):
            worth = self.worth.fresh[None] if k < 0 else self.worth.held[k, :, k:]
            step = np.diff(spent[k + 1, max(k, 0) :])
            slopes = np.diff(worth, axis=1)[:, step > 0] / step[step > 0]
            top = max(top, float(slopes.max(initial=0.0)))
        # A bargain over several exits is never better than its best single step, so the steepest step decides.
        return 1.001 * top

    def _append(self, floor: int, ceiling: int, energy: int) -> None:
        """Table one block: first the rows of who is within its share, then of who is over it."""
        best = self.best(floor, ceiling)
        at = np.concatenate(
            [[-1], np.repeat(np.arange(self.exits), self.bins)]
        )  # the exit each state stands at
        exits = np.arange(self.exits)
        worth = np.concatenate([self.worth.fresh[None], self.worth.held.reshape(-1, self.exits)])
        # What may answer: floor to best, never behind; who stands deeper than that answers where it stands.
        allowed = (exits >= floor) & (exits <= best) & (exits >= at[:, None])
        allowed[at >= best, :] = False
        allowed[at >= best, at[at >= best]] = True
        work, draw = self.work[at + 1], self.draw[at + 1]
        score = worth - self.energy[energy] * draw - self.grid[:, None, None] * work
        if energy == 0:
            score[0] = self.worth.fresh
        cap = np.where(allowed, score, -np.inf).argmax(axis=2)
        cost = work[np.arange(self.states), cap]
        leave = (cap == at) & (at >= 0)
        stops = leave[:, 1:].reshape(len(self.grid), self.exits, self.bins).any(axis=2)
        steps = np.arange(self.steps)
        within, over = np.maximum(0, steps - self.middle), np.minimum(steps, self.middle)
        self.cost = np.concatenate([self.cost, cost[within], cost[over]], axis=1)
        self.leave = np.concatenate([self.leave, leave[within], leave[over]], axis=1)
        self.cap = np.concatenate([self.cap, cap[within].astype(np.int8), cap[over].astype(np.int8)], axis=1)
        self.stops = np.concatenate([self.stops, stops[within][:, None], stops[over][:, None]], axis=1)
