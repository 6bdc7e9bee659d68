"""All plans of two places under one question, priced where the search looks and never all at once.

Rules: a pair of cuts comes with a bound that no codec and no window can beat; pairs are priced in chunks, under all
codecs and windows together; a plan over a limit is no candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .codec_option import RAW, CodecOption
from .estimate import Pricing
from .limits import Limits
from .objective import TIE, Terms, keys, rounded
from .place_cost import Numbers
from .placement import Hop, PlacedPart, Plan
from .question import Way as Asked
from .space import Index, Side, Space, Way, build

# Pairs that are priced under all codecs and windows at once: large enough for numpy, small enough for the cache.
_CHUNK = 64


def _with_ideal(way: Way, codecs: Index) -> Way:
    """One more codec, which does not exist: at every pair as good as the best of these in every respect."""

    def grown(values: Numbers) -> Numbers:
        return np.concatenate((values, values[codecs].min(axis=0, keepdims=True)))

    return Way(grown(way.wire), grown(way.largest), grown(way.home), grown(way.away), way.lossy)


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair of cuts with the best codecs and window for it, and its keys."""

    row: int
    up: int
    down: int
    window: int
    keys: tuple[float, ...]


class Candidates:
    """The plans of one question."""

    def __init__(
        self, pricing: Pricing, options: list[tuple[str, CodecOption]], limits: Mapping[str, Limits]
    ) -> None:
        self.pricing, self.options, self.limits = pricing, options, limits
        self.space: Space = build(pricing, options)
        self.ups, self.downs = self._codecs("up"), self._codecs("down")
        self._up = _with_ideal(self.space.up, self.ups)
        self._down = _with_ideal(self.space.down, self.downs)
        errors = [option.error for _, option in options]
        self._errors = np.array([*errors, min(errors)])
        self.windows = np.array(pricing.question.windows)
        self.considered = len(self.space.a) * len(self.ups) * len(self.downs) * len(self.windows)

    def _codecs(self, way: Asked) -> Index:
        admitted = self.pricing.question.admitted(way)
        return np.array([i for i, (name, _) in enumerate(self.options) if name in admitted])

    @property
    def baselines(self) -> Index:
        """The pairs that everybody would compare with: the first place alone, and all stages at the second."""
        count = len(self.pricing.model.chain)
        a, b = self.space.a, self.space.b
        return np.flatnonzero((a == count) | ((a == 0) & (b >= count)))

    def _side(
        self, side: Side, index: Index, window: Index, codec: Numbers
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Seconds, memory and joules of one place."""
        seconds = side.seconds[index] + (window > 0) * side.replay[index] + codec
        memory = side.memory[index] + window * side.waiting[index]
        joules = side.joules[index] + side.watts * np.maximum(seconds - side.known[index], 0.0)
        return seconds, memory, joules

    def terms(
        self, index: Index, up: Index, down: Index, window: Index, *, spread: Index | None = None
    ) -> tuple[Terms, dict[tuple[str, str], Numbers]]:
        """The terms of the objectives, and what is needed of each place, for arrays that broadcast together.

        `spread` is the window used for the time per step alone: a bound needs the largest there, the least elsewhere.
        """
        space, question = self.space, self.pricing.question
        # The first place alone has nothing under way.
        window = np.where(space.a[index] == len(self.pricing.model.chain), 0, window)
        ups, downs = self._up.wire[up, index], self._down.wire[down, index]
        home_codec = self._up.home[up, index] + self._down.home[down, index]
        away_codec = self._up.away[up, index] + self._down.away[down, index]
        home, home_memory, home_joules = self._side(space.home, index, window, home_codec)
        away, away_memory, away_joules = self._side(space.away, index, window, away_codec)
        home_joules = home_joules + question.joules_per_byte * (ups + downs)
        link = self.pricing.link
        out, back = ups * (8 / link.up), downs * (8 / link.down)
        busiest = np.maximum(np.maximum(home, away), out + back if link.shared else np.maximum(out, back))
        latency = home + away + out + back + space.delay[index]
        seconds = np.maximum(busiest, latency / ((window if spread is None else spread) + 1))
        lossy_up, lossy_down = self._up.lossy[index], self._down.lossy[index]
        terms = Terms(
            seconds=seconds,
            latency=latency,
            memory=np.maximum(home_memory, away_memory),
            joules=home_joules,
            bytes=ups + downs,
            parts=space.parts[index] + 0.0 * seconds,
            window=window + 0.0 * seconds,
            error=self._errors[up] * lossy_up + self._errors[down] * lossy_down,
        )
        first, second = self.pricing.places
        needs = {
            (first, "memory"): home_memory,
            (second, "memory"): away_memory,
            (first, "seconds"): home,
            (second, "seconds"): away,
            (first, "joules"): home_joules,
            (second, "joules"): away_joules,
            (first, "payload_out"): self._up.largest[up, index],
            (second, "payload_in"): self._up.largest[up, index],
            (first, "payload_in"): self._down.largest[down, index],
            (second, "payload_out"): self._down.largest[down, index],
        }
        for name in ("package", "storage", "tmp"):
            needs[first, name], needs[second, name] = space.home.weights[index], space.away.weights[index]
        return terms, needs

    def ratios(
        self, needs: Mapping[tuple[str, str], Numbers], index: Index
    ) -> dict[tuple[str, str], Numbers]:
        """Every need over its limit, where a limit is set. The second place has no needs where the first is alone."""
        found = {}
        places = list(self.pricing.places)
        for place, limits in self.limits.items():
            alone = self.space.a[index] == len(self.pricing.model.chain)
            present = ~alone | (place == places[0])
            for name, limit in limits.bounds.items():
                found[place, name] = np.where(
                    present, (needs[place, name] + limits.runtime(name)) / limit, 0.0
                )
        return found

    def _bounds(self) -> tuple[Numbers, Numbers]:
        """For every pair, an objective and a time per step that no codec and no window can beat."""
        index = np.arange(len(self.space.a))
        ideal = np.full(1, len(self.options))
        least, most = self.windows[:1], self.windows[-1:]
        terms, _ = self.terms(index, ideal, ideal, least, spread=most)
        first, second, *_ = keys(self.pricing.question, terms)
        return np.asarray(first), np.asarray(second)

    def leading(self, wanted: int) -> list[Choice]:
        """The best choices of so many pairs, best first."""
        first, second = self._bounds()
        found: list[Choice] = []
        order = np.lexsort((second, first))
        for at in range(0, len(order), _CHUNK):
            rows = order[at : at + _CHUNK]
            if len(found) >= wanted and _beyond(
                (first[rows[0]], second[rows[0]]), found[wanted - 1].keys[:2]
            ):
                break
            found += self.best(rows)
            found.sort(key=lambda choice: tuple(map(rounded, choice.keys)))
            del found[wanted:]
        return found

    def best(self, rows: Index) -> list[Choice]:
        """For every pair that fits the limits, its best codecs and window."""
        if not len(rows):
            return []
        index = rows.reshape(-1, 1, 1, 1)
        up, down = self.ups.reshape(1, -1, 1, 1), self.downs.reshape(1, 1, -1, 1)
        window = self.windows.reshape(1, 1, 1, -1)
        terms, needs = self.terms(index, up, down, window)
        shape = (len(rows), len(self.ups), len(self.downs), len(self.windows))
        fits: NDArray[np.bool_] = np.ones(shape, bool)
        for ratio in self.ratios(needs, index).values():
            fits &= ratio <= 1
        flat = fits.reshape(len(rows), -1)
        values = [np.broadcast_to(k, shape).reshape(flat.shape) for k in keys(self.pricing.question, terms)]
        chosen = _first_of(flat, values)
        found = []
        for i in np.flatnonzero(flat.any(axis=1)):
            _, u, d, k = np.unravel_index(chosen[i], (1, *shape[1:]))
            ways, kept = (int(self.ups[u]), int(self.downs[d])), int(self.windows[k])
            found.append(Choice(int(rows[i]), *ways, kept, tuple(float(v[i, chosen[i]]) for v in values)))
        return found

    def plan(self, choice: Choice) -> Plan:
        """A choice as a plan."""
        a, b = int(self.space.a[choice.row]), int(self.space.b[choice.row])
        question, chain = self.pricing.question, self.pricing.model.chain
        home, away = self.pricing.places
        up, down = self.options[choice.up][0], self.options[choice.down][0]
        count = len(chain)
        if a == count:
            parts: list[PlacedPart] = [PlacedPart(home, 0, count)]
            hops: list[Hop] = []
        else:
            parts = [PlacedPart(away, a, min(b, count))]
            hops = []
            if not question.inputs_at_cloud:
                parts.insert(0, PlacedPart(home, 0, a))
                hops.append(Hop(up, down if question.mode == "train" else RAW))
            if b <= count:
                parts.append(PlacedPart(home, b, count))
                hops.append(Hop(down, up if question.mode == "train" else RAW))
        return Plan(
            model=chain.name,
            digest=chain.digest,
            parts=tuple(parts),
            hops=tuple(hops),
            window=choice.window if a < count else 0,
            batch=question.batch,
            mode=question.mode,
            objective=question.objective,
        )


def _beyond(bound: tuple[float, float], worst: tuple[float, ...]) -> bool:
    """Whether nothing at or after this bound can displace the worst plan still wanted."""
    if abs(bound[0] - worst[0]) <= TIE * abs(worst[0]):
        return bound[1] > worst[1] * (1 + TIE)
    return bound[0] > worst[0]


def _first_of(fits: NDArray[np.bool_], values: list[Numbers]) -> Index:
    """For every row, the column that comes first by the keys in turn; near-equal values count as a tie."""
    left = fits.copy()
    for value in values:
        masked = np.where(left, value, np.inf)
        least = masked.min(axis=1, keepdims=True)
        left &= masked <= least + TIE * np.abs(np.where(np.isfinite(least), least, 0.0))
    return np.asarray(left.argmax(axis=1))
