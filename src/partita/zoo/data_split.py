"""Which samples train, which validate, which test: what the data says itself, and a draw for what it leaves open.

Rules: the three never share a sample; a split that the data brings is taken as it is; the draw depends on the seed and on
the names of the samples alone, so it is the same on every machine, in any order of files and for any library version.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..errors import BadReference

SPLITS = ("train", "val", "test")
SEED = 404
Indices = NDArray[np.int64]

# Of data without any split, four fifths train; the fifth held out is halved. Of data that brings training samples and
# one held-out split, the other is a tenth of the training samples.
_TENTH = 0.1


@dataclass(frozen=True)
class Roll:
    """What a draw knows of samples: how many there are, how each is called, its label, and with whom it must stay."""

    labels: NDArray[np.int64]
    name: Callable[[int], str]
    # Samples of one speaker, say, have to lie in one split. The same text for all of a group.
    group: Callable[[int], str] | None = None


def parse_split(split: str) -> tuple[str, ...]:
    """`train`, `val`, `test`, or several with `+` between."""
    asked = tuple(dict.fromkeys(word.strip() for word in split.split("+")))
    for word in asked:
        if word not in SPLITS:
            near = difflib.get_close_matches(word, SPLITS, n=1)
            raise BadReference(
                f"split: {word!r} is none",
                fix=f"did you mean {near[0]}?" if near else "write train, val or test, or several: train+val",
            )
    return asked


def select(split: str, own: Mapping[str, Indices], roll: Roll, seed: int, where: str) -> Indices:
    """The samples of the splits asked for, sorted. `own` holds the splits that the data brings."""
    asked = parse_split(split)
    parts = {name: part for name, part in own.items() if len(part)}
    if not parts:
        parts = _drawn(np.arange(len(roll.labels)), ("test", "val"), roll, seed)
    elif "train" in parts:
        missing = tuple(s for s in ("test", "val") if s not in parts)
        parts |= _drawn(parts["train"], missing, roll, seed)
    # Of several, one may be empty where there were too few samples to draw it from; none may be missing.
    empty = not any(len(parts.get(name, ())) for name in asked)
    for name in asked:
        if empty or name not in parts:
            there = ", ".join(s for s in SPLITS if len(parts.get(s, ())))
            raise BadReference(
                f"{where} has no samples for {name}: it brings {there or 'none'}",
                fix=f"ask for split={there.split(', ')[0]!r}, or add samples",
            )
    return np.sort(np.concatenate([parts[name] for name in asked]))


def limited(indices: Indices, limit: int, roll: Roll, seed: int) -> Indices:
    """At most `limit` of them, as even over the classes as they allow, drawn by name."""
    rows = [ordered(group, roll, seed) for group in _by_class(indices, roll)]
    turns = [(turn, row, index) for row, found in enumerate(rows) for turn, index in enumerate(found)]
    return np.sort(np.array([index for _, _, index in sorted(turns)[:limit]], np.int64))


def divided(indices: Indices, share: float, roll: Roll, seed: int) -> tuple[Indices, Indices]:
    """Two disjoint parts, class by class: the first holds `share` of the samples."""
    first: list[Indices] = []
    for group in _by_class(indices, roll):
        found = ordered(group, roll, seed)
        first.append(found[: round(len(found) * share)])
    chosen = np.sort(np.concatenate(first)) if first else indices[:0]
    return chosen, np.setdiff1d(indices, chosen)


def ordered(indices: Indices, roll: Roll, seed: int) -> Indices:
    """Samples in the order of the draw."""
    keys = [_key(seed, roll.name(int(i))) for i in indices]
    return indices[np.argsort(np.array(keys, np.uint64), kind="stable")]


def _drawn(train: Indices, missing: Sequence[str], roll: Roll, seed: int) -> dict[str, Indices]:
    """Training samples, with a tenth of them for each split that is missing."""
    if roll.group is not None:
        return _drawn_groups(train, missing, roll, seed)
    parts: dict[str, list[Indices]] = {name: [] for name in ("train", *missing)}
    for group in _by_class(train, roll):
        found = ordered(group, roll, seed)
        held = round(len(found) * _TENTH * len(missing))
        for at, name in enumerate(missing):
            # An odd one goes to the first, which is the test.
            parts[name].append(found[:held][at :: len(missing)])
        parts["train"].append(found[held:])
    return {name: np.sort(np.concatenate(found)) for name, found in parts.items()}


def _drawn_groups(train: Indices, missing: Sequence[str], roll: Roll, seed: int) -> dict[str, Indices]:
    """The same where samples belong together: a group falls into a split as a whole, so shares are near a tenth."""
    group = roll.group or roll.name
    share = {g: _key(seed, g) / 2**64 for g in {group(int(i)) for i in train}}
    at = np.array([share[group(int(i))] for i in train])
    parts = {name: train[(at >= n * _TENTH) & (at < (n + 1) * _TENTH)] for n, name in enumerate(missing)}
    return {"train": train[at >= len(missing) * _TENTH], **parts}


def _by_class(indices: Indices, roll: Roll) -> list[Indices]:
    labels = roll.labels[indices]
    return [indices[labels == label] for label in np.unique(labels)]


def _key(seed: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")
