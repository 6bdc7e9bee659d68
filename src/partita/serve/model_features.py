"""What is held of some samples between two stages, and how samples change their company there.

Rules: pure numpy; nothing is copied where a view will do; samples share a batch only at the same border and with the
same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import Array
from ..errors import BadDocument, SessionMisused
from .model_manifest import Feature


@dataclass(frozen=True, slots=True)
class Features:
    """`rows` samples on their way, before stage `border`."""

    border: int
    rows: int
    values: Mapping[str, Array]


def rows_of(features: Mapping[str, Array], specs: Sequence[Feature]) -> int:
    """How many samples some values are of; refuses values that disagree."""
    counts = {
        spec.name: features[spec.name].shape[spec.axis] // spec.each
        for spec in specs
        if spec.axis is not None
    }
    if len(set(counts.values())) > 1:
        listed = [f"{name}: {count} samples" for name, count in counts.items()]
        raise BadDocument("inputs", listed, fix="give every input for the same samples")
    return next(iter(counts.values()), 1)


def take(features: Features, rows: Sequence[int], specs: Sequence[Feature]) -> Features:
    """Some of the samples, in the order given."""
    wanted = [int(row) for row in rows]
    if not wanted or min(wanted) < 0 or max(wanted) >= features.rows:
        raise SessionMisused(
            f"samples {wanted} were asked for, and there are {features.rows}",
            fix="give indices of samples it holds",
        )
    first, count = wanted[0], len(wanted)
    straight = wanted == list(range(first, first + count))
    if straight and count == features.rows:
        return features
    values = {}
    for spec in specs:
        value = features.values[spec.name]
        if spec.axis is None:
            values[spec.name] = value
        elif straight:
            place = slice(first * spec.each, (first + count) * spec.each)
            values[spec.name] = value[(slice(None),) * spec.axis + (place,)]
        else:
            places = np.asarray(wanted)
            if spec.each > 1:
                places = (places[:, None] * spec.each + np.arange(spec.each)).reshape(-1)
            values[spec.name] = value.take(places, axis=spec.axis)
    return Features(features.border, count, values)


def stack(groups: Sequence[Features], specs: Sequence[Feature]) -> Features:
    """Several groups as one, in the order given."""
    if not groups:
        raise SessionMisused("no samples were given to stack", fix="give at least one group of features")
    if len(groups) == 1:
        return groups[0]
    borders = sorted({group.border for group in groups})
    if len(borders) > 1:
        raise SessionMisused(
            f"samples before stages {', '.join(map(str, borders))} cannot share a batch",
            fix="stack only samples that wait for the same stage",
        )
    values = {}
    for spec in specs:
        parts = [group.values[spec.name] for group in groups]
        if spec.axis is None:
            values[spec.name] = parts[0]
            continue
        sizes = {part.shape[: spec.axis] + part.shape[spec.axis + 1 :] for part in parts}
        if len(sizes) > 1:
            raise BadDocument(
                "batch",
                [f"{spec.name}: sizes {' and '.join(map(str, sorted(sizes)))} of one sample"],
                fix="put only samples of the same size into a batch, or pad them",
            )
        values[spec.name] = np.concatenate(parts, axis=spec.axis)
    return Features(borders[0], sum(group.rows for group in groups), values)


@dataclass(frozen=True, slots=True)
class Answers:
    """What some logits say, one entry for each sample: the class, how sure it is (the largest probability), the
    distance to the second, and the entropy of the probabilities in nats."""

    label: Array
    confidence: Array
    margin: Array
    entropy: Array


def answers(logits: Array) -> Answers:
    """The answers in logits of shape [samples, classes]."""
    if logits.ndim != 2 or not logits.shape[1]:
        raise SessionMisused(
            f"logits have the shape {list(logits.shape)}, not [samples, classes]",
            fix="give the logits of one exit",
        )
    wide = logits.astype(np.float64)
    label = wide.argmax(axis=1)
    # A network that broke gives infinities or NaN: its confidence becomes NaN, which reaches no threshold.
    with np.errstate(invalid="ignore"):
        shifted = wide - wide.max(axis=1, keepdims=True)
        odds = np.exp(shifted)
        total = odds.sum(axis=1)
        chances = odds / total[:, None]
        confidence = 1.0 / total
        alone = logits.shape[1] == 1
        second = np.zeros_like(confidence) if alone else np.partition(chances, -2, axis=1)[:, -2]
        # -sum p log p, with log p = shifted - log total: no logarithm of zero.
        entropy = np.log(total) - (chances * np.where(odds > 0, shifted, 0.0)).sum(axis=1)
    return Answers(label, confidence, confidence - second, np.maximum(entropy, 0.0))
