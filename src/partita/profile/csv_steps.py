"""From seconds that were taken by cut to seconds by stage.

A table holds, for every cut, how long a training step takes on one side of it. The side that grows with the cut
gives `before`, the side that shrinks `after`; what lies between two cuts is a stage. Rules: measured rows stay as
they are, noise and all; only the differences come from a monotone fit, so that no stage takes less than no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# A row with replay holds two forward passes and a way back of about two: 4 parts, against 3 without the replay.
_WITH_REPLAY: Final = 4 / 3
# The part of an end that nobody measured is at most this share of the whole: beyond it the tables are noise.
_LARGEST_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Column:
    """One device of one table: its seconds before or after each position, and by stage."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    stages: tuple[float, ...]
    modelled: str = ""

    @property
    def whole(self) -> float:
        """Seconds of all stages together."""
        return self.before[-1] if self.before else self.after[0]


def rising_fit(values: Sequence[float]) -> tuple[float, ...]:
    """The closest row that never falls (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            last, many = pools.pop()
            mean, count = (last * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    return tuple(mean for mean, count in pools for _ in range(count))


def _differences(values: Sequence[float]) -> tuple[float, ...]:
    fit = rising_fit(values)
    return tuple(high - low for low, high in pairwise(fit))


def is_reversed(columns: Sequence[Sequence[float]]) -> bool:
    """Whether row i means that the cloud holds the first i blocks: then it holds nothing, and takes no time, in the
    first row. In the other tables it takes no time in the last."""
    return any(column[0] == 0 < column[-1] for column in columns)


def read_columns(columns: Sequence[Sequence[float]]) -> tuple[Column, ...]:
    """All columns of one table. Those of the side that was never measured alone borrow its missing end from the
    others: the share that the end stage has there."""
    turned = is_reversed(columns)
    # The far side is the one that some row leaves without work.
    far = [column[0 if turned else -1] == 0 for column in columns]
    near = [_near(column, turned) for column, is_far in zip(columns, far, strict=True) if not is_far]
    at = -1 if turned else 0
    shares = [column.stages[at] / sum(column.stages) for column in near if sum(column.stages)]
    share = min(sum(shares) / len(shares), _LARGEST_SHARE) if shares else 1 / len(columns[0])
    rest = iter(near)
    return tuple(
        _far(column, turned, share) if is_far else next(rest)
        for column, is_far in zip(columns, far, strict=True)
    )


def _near(column: Sequence[float], turned: bool) -> Column:
    """The side that can hold everything: its last row (first, when turned) is the whole model there."""
    if turned:
        after = (*column, 0.0)
        return Column((), after, _differences(after[::-1])[::-1])
    before = (0.0, *column)
    # The last row alone has no replay: on the scale of the others the whole takes a third longer.
    return Column(before, (), _differences((*before[:-1], max(before[-2], before[-1] * _WITH_REPLAY))))


def _far(column: Sequence[float], turned: bool, share: float) -> Column:
    """The side that never holds everything: the row in which it would is modelled."""
    if turned:
        before = (*column, max(column) / (1 - share))
        return Column(before, (), _differences(before), modelled="the last position")
    after = (max(column) / (1 - share), *column)
    return Column((), after, _differences(after[::-1])[::-1], modelled="position 0")
