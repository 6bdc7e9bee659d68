"""What one slice hands to the next: a small event, and a store for what is too large to travel in it.

Rules: an event says which run and which cut it belongs to, and whoever receives it checks both; everything of a run
rests under the name of the run, so that concurrent runs never meet; a stored value appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, final

import msgspec

from ..engine import Array, Values
from ..errors import BadDocument, FrameCorrupt, NotFound, PlanMismatch, StoreUnavailable
from ..graph import dump
from .inputs import check_inputs
from .manifest import Manifest
from .payload import MOST_BYTES, Buffer, pack, pieces, unpack

_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_READABLE: Final = 40


class ValueStore(Protocol):
    """Where values rest between two slices: a folder, a bucket."""

    def get(self, key: str) -> Buffer:
        """The bytes under a key; `NotFound` where there are none."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes under a key, all of them or none; an older value is replaced."""
        ...


@dataclass(frozen=True)
class Event:
    """Before slice `stage` (or after the last): tensors that travel inside, and the names of those in the store."""

    run: str
    plan: str
    stage: int
    values: Mapping[str, Array] = field(default_factory=dict)
    stored: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """The event as bytes."""
        return b"".join(self.pieces())

    def pieces(self) -> list[Buffer]:
        """The same, not copied yet."""
        note = _Note(self.run, self.plan, self.stage, self.stored)
        return pieces(self.values, note=_ENCODER.encode(note))

    @classmethod
    def unpack(cls, data: Buffer, *, limit: int = MOST_BYTES) -> Event:
        """An event from bytes that need not be trusted."""
        payload = unpack(data, limit=limit)
        try:
            note = _DECODER.decode(payload.note)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FrameCorrupt(f"event: {error}", fix="send what the slice before gave") from None
        check_run(note.run)
        return cls(note.run, note.plan, note.stage, payload.values, note.stored)


class _Note(msgspec.Struct, frozen=True, array_like=True):
    run: str
    plan: str
    stage: int
    stored: tuple[str, ...]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Note)


def new_run() -> str:
    """A name that no other run has."""
    return os.urandom(16).hex()


def check_run(run: str) -> str:
    """The name of a run is a plain word: it becomes part of keys and paths."""
    if not _RUN.fullmatch(run):
        raise BadDocument(
            "run", [f"{run[:80]!r} is not 1 to 64 letters, digits and . _ -"], fix="name runs like run-17"
        )
    return run


def cut_digest(manifest: Manifest) -> str:
    """Names one cut: other places, other files or other settings have another digest."""
    return hashlib.sha256(dump(manifest, indent=None).encode()).hexdigest()[:32]


def check_event(event: Event, digest: str, stage: int) -> None:
    """Refuse what was not meant for this slice."""
    if event.plan != digest:
        raise PlanMismatch(
            f"slice {stage}: the event belongs to the cut {event.plan[:16]!r}, not to {digest[:16]!r}",
            fix="deploy all slices of one cut together, and start the run again",
        )
    if event.stage != stage:
        raise PlanMismatch(
            f"slice {stage}: the event is for slice {event.stage}", fix="call the slices in their order"
        )


def key_of(run: str, tensor: str) -> str:
    """Where a tensor of a run rests: readable as far as it goes, and unlike that of any other name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", tensor, flags=re.ASCII)[:_READABLE]
    return f"runs/{check_run(run)}/t{plain}-{hashlib.sha256(tensor.encode()).hexdigest()[:32]}"


def store_value(store: ValueStore, run: str, name: str, value: Array) -> None:
    """Lay one tensor down for the slices to come."""
    store.put(key_of(run, name), pack({name: value}))


def stored_value(store: ValueStore, run: str, name: str) -> Array:
    """Take one tensor up again."""
    values = unpack(store.get(key_of(run, name))).values
    if tuple(values) != (name,):
        raise FrameCorrupt(
            f"store: under {key_of(run, name)} there is no {name!r}", fix="start the run again"
        )
    return values[name]


def first_event(
    manifest: Manifest, values: Mapping[str, Array], store: ValueStore | None, *, run: str = ""
) -> Event:
    """The model's inputs as the event for the first slice; what the plan stores is laid down."""
    check_inputs(manifest, values)
    run = check_run(run or new_run())
    return handed(manifest, 0, values, (), store, Event(run, cut_digest(manifest), -1))


def handed(
    manifest: Manifest,
    index: int,
    values: Mapping[str, Array],
    already: tuple[str, ...],
    store: ValueStore | None,
    before: Event,
) -> Event:
    """What goes on to slice `index`: inline or, where the plan says so, through the store."""
    wanted = manifest.needed(index)
    stored = [name for name in wanted if name in already]
    inline: Values = {}
    for name in wanted:
        if name in already:
            continue
        if name not in values:
            raise BadDocument(
                f"slice {index - 1}",
                [f"{name!r} is needed later and did not come"],
                fix="start the run again",
            )
        if name in manifest.plan.stored:
            store_value(needs_store(store), before.run, name, values[name])
            stored.append(name)
        else:
            inline[name] = values[name]
    return Event(before.run, before.plan, index, inline, tuple(stored))


def answer(manifest: Manifest, event: Event, store: ValueStore | None) -> Values:
    """The model's outputs from the event behind the last slice."""
    check_event(event, cut_digest(manifest), len(manifest.files))
    return {
        name: event.values[name]
        if name in event.values
        else stored_value(needs_store(store), event.run, name)
        for name in manifest.outputs
    }


def needs_store(store: ValueStore | None) -> ValueStore:
    """The store, where one is needed."""
    if store is None:
        raise BadDocument(
            "slices", ["this plan sends tensors through a store, and none was given"], fix="give a store"
        )
    return store


@final
class FolderStore:
    """Values in a folder: for runs on one machine, and for rehearsals."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes:
        """The bytes under a key."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"store: nothing rests under {key}", fix="start the run again") from None
        except OSError as error:
            raise self._broken(key, error) from error

    def put(self, key: str, data: bytes) -> None:
        """Written beside its place, then renamed: readers see all or nothing."""
        path = self._path(key)
        partial = path.with_name(f".{os.urandom(8).hex()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise self._broken(key, error) from error

    def forget(self, run: str) -> None:
        """Remove everything of one run."""
        import shutil

        shutil.rmtree(self._folder / "runs" / check_run(run), ignore_errors=True)

    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise BadDocument(
                "key", [f"{key[:80]!r} is not words between slashes"], fix="use key_of(run, tensor)"
            )
        return self._folder.joinpath(*segments)

    def _broken(self, key: str, error: OSError) -> StoreUnavailable:
        why = error.strerror or os.strerror(error.errno or 0)
        return StoreUnavailable(
            f"store: {key} in {self._folder}: {why}", fix="check the folder, its rights and the space left"
        )
