"""How tensors get from slice to slice: in the event, or through the store; who carries what, in bytes per span.

Rules: a tensor in the event is handed on at every cut up to its last reader and counts at each; a tensor in the store
is written once by its maker and read once by every slice that uses it; the model's own inputs and outputs travel in
the event at the two ends unless they do not fit; only the caller writes an input and reads an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..graph import GIVEN
from ..plan import Platform
from .costs import Tensors
from .grid import Index, Mask, Numbers, Rectangles, Uses, segments
from .question import SliceQuestion

# How many ways to divide tensors between event and store are tried at most.
MOST_CHOICES = 8


@dataclass(frozen=True)
class Choice:
    """Which tensors go through the store: `crossing` wherever they cross a cut, `always` even at the model's ends."""

    crossing: Mask
    always: Mask

    def stored(self, tensors: Tensors, positions: Index) -> Mask:
        """Those that do when the slices end at these positions."""
        return (self.crossing & tensors.crossing(positions)) | self.always


@dataclass(frozen=True)
class Moved:
    """Bytes of every span: inside its events, through the store, and with how many calls of the store.

    `crossed` is what the events of a span's start carry between two slices: nothing at the model's start. What goes
    through the store is counted when it is asked for.
    """

    tensors: Tensors
    positions: Index
    choice: Choice
    event_in: Numbers
    event_out: Numbers
    crossed: Numbers

    @cached_property
    def stored_in(self) -> Numbers:
        """Bytes that every span reads from the store."""
        return _fetched(self, self.tensors.size)

    @cached_property
    def stored_out(self) -> Numbers:
        """Bytes that every span writes to the store."""
        return _put(self, self.tensors.size)

    @cached_property
    def gets(self) -> Numbers:
        """Tensors that every span reads from the store."""
        return _fetched(self, np.ones_like(self.tensors.size))

    @cached_property
    def puts(self) -> Numbers:
        """Tensors that every span writes to the store."""
        return _put(self, np.ones_like(self.tensors.size))

    @cached_property
    def payload(self) -> Numbers:
        """All bytes between slices: those of the event at every cut, those of the store written and read.

        What the caller writes for the first slice and reads from the last is not between slices.
        """
        if not (self.choice.crossing | self.choice.always).any():
            return self.crossed
        payload = self.crossed + self.stored_in
        payload[0] = 0.0
        payload[:, :-1] += self.stored_out[:, :-1]
        return payload


def bound(platform: Platform, way: str) -> float:
    """How many bytes of tensors an event may hold on the way `in` or `out`."""
    most = platform.limits.payload_in if way == "in" else platform.limits.payload_out
    sizes = [size for size in (most, platform.event) if size is not None]
    return min(sizes, default=float("inf")) / platform.payload_growth


def choices(tensors: Tensors, positions: Index, question: SliceQuestion) -> tuple[Choice, ...]:
    """From everything in the event to everything in the store, each with the larger tensors of the one after it."""
    none = np.zeros(len(tensors.size), bool)
    inline = Choice(none, none)
    if question.transport == "inline" or not question.platform.has_store:
        return (inline,)
    ends = _too_large(tensors, question.platform)
    crossing = tensors.crossing(positions) & tensors.travels & (tensors.size > 0)
    if question.transport == "store":
        return (Choice(tensors.travels, ends),)
    sizes = np.unique(tensors.size[crossing])[::-1]
    steps = np.linspace(0, len(sizes) - 1, min(len(sizes), MOST_CHOICES - 2))
    limits = sizes[np.unique(steps.round().astype(int))] if len(sizes) else sizes
    found = [inline, *([Choice(none, ends)] if ends.any() else [])]
    return (*found, *(Choice(crossing & (tensors.size >= limit), ends) for limit in limits))


def _too_large(tensors: Tensors, platform: Platform) -> Mask:
    """The inputs and answers that go through the store because all of them together do not fit an event."""
    chosen = np.zeros(len(tensors.size), bool)
    for way, ends in (("in", tensors.given), ("out", tensors.answer)):
        free = bound(platform, way) - tensors.size[ends & ~chosen].sum()
        for at in sorted(np.flatnonzero(ends & ~chosen), key=lambda i: (-tensors.size[i], i)):
            if free >= 0:
                break
            chosen[at] = True
            free += tensors.size[at]
    return chosen


def moved(tensors: Tensors, positions: Index, choice: Choice) -> Moved:
    """What every span takes in and gives out under a choice."""
    side = len(positions)
    made, last = segments(tensors.made, positions), segments(tensors.last, positions)
    stored = choice.crossing | choice.always
    events = tensors.frontier(~stored)[positions]
    shape = (side, side)
    crossed = np.broadcast_to(np.where(np.arange(side) > 0, events, 0.0)[:, None], shape)
    if not stored.any():
        into, out = np.broadcast_to(events[:, None], shape), np.broadcast_to(events[None, :], shape)
        return Moved(tensors, positions, choice, into, out, crossed)
    into, out = np.repeat(events[:, None], side, axis=1), np.repeat(events[None, :], side, axis=0)
    # Without a cut in its way, a stored tensor that fits still travels in the event of the model's start or end.
    soft = stored & ~choice.always
    given, answers = soft & tensors.given, soft & tensors.answer & (tensors.made > GIVEN)
    whole = soft & tensors.given & tensors.answer
    into[0, :] += _before(last[given], tensors.size[given], side)
    out[:, -1] += tensors.size[answers].sum() - _before(made[answers], tensors.size[answers], side)
    into[0, -1] += tensors.size[whole].sum()
    out[0, -1] += tensors.size[whole].sum()
    return Moved(tensors, positions, choice, into, out, crossed)


def _before(segment: Index, amounts: Numbers, side: int) -> Numbers:
    """At every position, the sum of what lies in segments before it."""
    return np.concatenate(([0.0], np.cumsum(np.bincount(segment, amounts, minlength=side))))[:side]


def _fetched(flow: Moved, amounts: Numbers) -> Numbers:
    """What every span reads from the store. An input that no other slice needs comes in the event instead."""
    tensors, positions, choice = flow.tensors, flow.positions, flow.choice
    side = len(positions)
    stored = choice.crossing | choice.always
    if not stored.any():
        return np.broadcast_to(0.0, (side, side))
    uses = Uses.of(tensors.who, tensors.stage, tensors.made, positions)
    fetched = uses.within(np.where(stored, amounts, 0.0), side)
    last = segments(tensors.last, positions)
    for at in np.flatnonzero(stored & ~choice.always & tensors.given):
        read = tensors.stage[tensors.who == at].min() < tensors.count
        # Where it is an answer as well, only a model in one slice needs no cut for it.
        fetched[0, min(last[at] + 1, side - 1 if read else side) :] -= amounts[at]
    return fetched


def _put(flow: Moved, amounts: Numbers) -> Numbers:
    """What every span writes to the store. An answer of the last slice goes in its event instead."""
    tensors, positions, choice = flow.tensors, flow.positions, flow.choice
    side = len(positions)
    stored = choice.crossing | choice.always
    if not stored.any():
        return np.broadcast_to(0.0, (side, side))
    made, last = segments(tensors.made, positions), segments(tensors.last, positions)
    last = np.where(~choice.always & tensors.answer, side - 2, last)
    kept = stored & (tensors.made > GIVEN) & (last > made)
    made, last = made[kept], last[kept]
    spans = Rectangles(np.zeros_like(made), made + 1, made + 1, last + 1)
    return spans.total(amounts[kept], (side, side))
