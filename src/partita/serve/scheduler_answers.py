"""The end of a request: what it is told, and why in words.

Rules: an answer in hand is given, never dropped; who gets less than it would have had on an idle device is told so;
the sentence names the numbers that decided.
"""

from __future__ import annotations

from typing import Literal

from .scheduler_orders import Answer, Entry, Outcome
from .scheduler_prices import Prices
from .tables import ExitProfile

Why = Literal["deepest", "confident", "price", "time", "late", "shed", "failed"]


class Answers:
    """Writes answers for one network."""

    def __init__(self, profile: ExitProfile, prices: Prices, thresholds: tuple[float, ...]) -> None:
        self._exits = profile.exits
        self._prices = prices
        self._thresholds = thresholds

    def give(self, entry: Entry, why: Why, now: float, *, step: int = 0, over: bool = False) -> Answer:
        """The answer of an entry that leaves now: with what it holds, or with nothing."""
        held = entry.exit >= 0 and (entry.answerable or entry.request.infeasible != "reject")
        outcome: Outcome = "answered"
        if not held:
            outcome = {"shed": "rejected", "failed": "failed"}.get(why, "expired")  # type: ignore[assignment]
        return Answer(
            entry.request,
            outcome,
            self._words(entry, why, step, over) if held else self._nothing(entry, why),
            now,
            exit=entry.exit if held else None,
            confidence=entry.confidence if held else None,
            expected_accuracy=float(self._prices.worth.held[entry.exit, entry.bin, entry.exit])
            if held
            else None,
            in_time=held and now <= entry.due,
            waited=max(0.0, now - entry.arrived - entry.ran),
            ran=entry.ran,
            # What it drew, answered or not.
            joules=self._exits[entry.exit].joules if entry.exit >= 0 else 0.0,
            degraded=held and (entry.exit < entry.wanted or why not in ("deepest", "confident")),
        )

    def _words(self, entry: Entry, why: Why, step: int, over: bool) -> str:
        k = entry.exit
        name = self._exits[k].name
        if why == "deepest":
            said = f"exit {name}: the most accurate that this request may reach"
        elif why == "confident":
            said = f"exit {name}: confidence {entry.confidence:.3f} reaches its threshold {self._thresholds[k]:.3f}"
        elif why == "price":
            said = self._bargain(entry, step, over)
        elif why == "time":
            said = f"exit {name}: no time for exit {self._exits[min(k + 1, len(self._exits) - 1)].name} before the deadline"
        else:
            said = f"exit {name}: the answer in hand, because going deeper {_CUT_SHORT[why]}"
        return (
            said
            if k >= entry.wanted
            else f"{said}; the floor, exit {self._exits[entry.wanted].name}, was out of reach"
        )

    def _bargain(self, entry: Entry, step: int, over: bool) -> str:
        """What the best deeper exit would have brought, and what that costs at the price of now."""
        prices, k = self._prices, entry.exit
        price = prices.price(step, over)
        deepest = prices.best(entry.floor, entry.ceiling)
        worth, work = prices.held[k][entry.bin], prices.seconds[k + 1]
        deeper = max(range(k + 1, deepest + 1), key=lambda e: worth[e] - price * work[e])
        gain, seconds = worth[deeper] - worth[k], work[deeper]
        if price == 0:
            return f"exit {self._exits[k].name}: joules are scarce, and exit {self._exits[deeper].name} would add {gain:.4f}"
        return (
            f"exit {self._exits[k].name}: exit {self._exits[deeper].name} would add {gain:.4f} for {1e3 * seconds:.3g} ms, "
            f"and a millisecond now has to bring {1e-3 * price:.2g}"
        )

    def _nothing(self, entry: Entry, why: Why) -> str:
        first = self._exits[entry.floor].name
        if why == "shed":
            return f"more work than time, even at the floors: the tenant furthest over its share gave way before exit {first}"
        if why == "failed":
            return "the worker failed before there was an answer"
        return f"too late for exit {first}, the first that may answer"


# How the other ends cut a request short.
_CUT_SHORT = {"late": "would have been late", "shed": "had to give way", "failed": "failed"}
