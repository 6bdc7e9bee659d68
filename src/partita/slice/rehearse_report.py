"""What a rehearsal found: every slice measured in a process of its own, held against every limit of the platform.

Rules: everything here was measured on this machine; a limit that is broken is told with the slice, the bound, what
was needed and what helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from ..engine import Values
from ..errors import LimitExceeded
from ..graph import print_seconds, print_size
from ..plan import Platform
from .manifest import Manifest

if TYPE_CHECKING:
    from .checks import Row, Status

_STORE: Final = "send through a store what is large: --transport store"
_MORE: Final = "cut into more slices: --slices {more}"
_LESS: Final = "a smaller batch"


@dataclass(frozen=True)
class RehearsedSlice:
    """One slice. Bytes are resident, in its package, in its temporary folder, in its events and through the store.

    `base` is resident before the slice is loaded; `peak` at the worst moment, by the kernel's own account;
    `anonymous` and `file` what of the resident bytes was its own and what lay over files, as seen after the load
    and after every call. `cold` runs from the start of the process until the slice is loaded, `load` is the last
    piece of it; `first` is the first call, `warm` the median of those after it.
    """

    index: int
    package: int
    tmp: int
    base: int
    peak: int
    anonymous: int
    file: int
    payload_in: int
    payload_out: int
    stored_in: int
    stored_out: int
    cold: float
    load: float
    first: float
    warm: float | None
    slowest: float
    memory: int | None
    """What it may hold: the function ordered for it, or what the platform allows."""


@dataclass(frozen=True)
class Rehearsal:
    """All slices, and the outputs of every run: the first alone, those after it at the same time."""

    platform: Platform
    manifest: Manifest
    slices: tuple[RehearsedSlice, ...]
    answers: tuple[Values, ...]
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> Values:
        """The outputs of the first run."""
        return self.answers[0]

    @property
    def cold(self) -> float:
        """A request that finds nothing warm: all slices started, loaded and called for the first time."""
        return sum(piece.cold + piece.first for piece in self.slices)

    @property
    def warm(self) -> float | None:
        """A request through warm slices; without what the platform adds to a call."""
        warm = [piece.warm for piece in self.slices if piece.warm is not None]
        return sum(warm) if len(warm) == len(self.slices) else None

    @property
    def peak(self) -> int:
        """The slice that held most."""
        return max(piece.peak for piece in self.slices)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every limit with what was needed: for every slice where it is set, else for the slice that needs most."""
        from .checks import Row

        found: list[Row] = []
        for check in CHECKS:
            needs = [(piece.index, *use(check, piece, self.platform)) for piece in self.slices]
            if check == "event":
                needs = needs[1:]
            if all(bound is None for _, _, bound in needs):
                needs = [max(needs, key=lambda need: need[1])] if needs and check != "event" else []
            for index, need, bound in needs:
                broken = bound is not None and need > bound
                fix = remedy(check, self.manifest, self.platform) if broken else ""
                status: Status = "fail" if broken else "pass"
                found.append(Row(check, f"slice {index}", need, bound, status, "measured here", fix))
        return tuple(found)


# By the names that the checks before anything is built have too.
CHECKS: Final = ("package", "temporary storage", "payload in", "payload out", "event", "memory", "time")


def use(check: str, piece: RehearsedSlice, platform: Platform) -> tuple[float, float | None]:
    """What a slice needed of a limit, and the limit."""
    limits = platform.limits
    match check:
        case "package":
            return piece.package, limits.package
        case "temporary storage":
            return piece.tmp, limits.tmp
        case "payload in":
            return grown(piece.payload_in, platform), limits.payload_in
        case "payload out":
            return grown(piece.payload_out, platform), limits.payload_out
        case "event":
            return grown(piece.payload_in, platform), platform.event
        case "memory":
            return piece.peak, piece.memory
        case _:
            return piece.slowest, limits.seconds


def grown(size: int, platform: Platform) -> int:
    """What encoded bytes become in a request of this platform."""
    return ceil(size * platform.payload_growth)


def broken(
    check: str, manifest: Manifest, platform: Platform, index: int, need: float, bound: float
) -> LimitExceeded:
    """The error for a slice that was stopped at a limit."""
    if check == "time":
        said = (
            f"was stopped after {print_seconds(need)}; {platform.name} allows {print_seconds(bound)} a call"
        )
    else:
        # A refused allocation does not say how large it was.
        least = "" if check != "memory" else "at least " if need > bound else "more than "
        said = (
            f"needs {least}{round(need):,} bytes ({print_size(round(need))}); "
            f"allowed are {round(bound):,} ({print_size(round(bound))}) on {platform.name}"
        )
    return LimitExceeded(f"slice {index}: {check}: {said}", fix=remedy(check, manifest, platform))


def remedy(check: str, manifest: Manifest, platform: Platform) -> str:
    """What helps against a limit."""
    return "; or ".join(_helps(check, manifest, platform))


def _helps(check: str, manifest: Manifest, platform: Platform) -> Iterator[str]:
    more = _MORE.format(more=len(manifest.files) + 1)
    if check in ("payload in", "payload out", "event"):
        if platform.has_store:
            yield _STORE
        yield "cut where less crosses: --objective payload"
        yield _LESS
        return
    yield more
    if check == "memory":
        yield "order a larger function: --memory"
        if manifest.prepack:
            yield "map the weights as they are: --no-prepack"
    if check == "time":
        yield "order a larger function, which has more processors: --memory"
    if check in ("memory", "time"):
        yield _LESS
