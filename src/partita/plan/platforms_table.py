"""The platforms that come with Partita: the one table from which planning and slicing take their figures.

Rules: the table is data beside this file, read once and on first use; a user's own platforms come before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from ..errors import BadDocument
from .limits import Limits
from .platforms import Platform
from .platforms_text import load_platforms, nearest


@lru_cache(maxsize=1)
def platforms() -> Mapping[str, Platform]:
    """Every platform that comes with Partita, by name."""
    from importlib.resources import files

    text = files(__package__).joinpath("platforms.toml").read_text(encoding="utf-8")
    return MappingProxyType(load_platforms(text, name="platforms.toml"))


def pick(name: str, own: Mapping[str, Platform] = MappingProxyType({})) -> Platform:
    """The platform of a name: one of the user's own, or one that comes with Partita."""
    known = {**platforms(), **own}
    if name not in known:
        raise BadDocument(
            "platform",
            [f"{name!r} is not a known platform{nearest(name, known)}"],
            fix=f"choose from {', '.join(known)}, or give a file of your own",
        )
    return known[name]


def platform(name: str) -> Limits:
    """The limits of a platform that comes with Partita."""
    return pick(name).limits


class _PlatformLimits(Mapping[str, Limits]):
    """The limits of every known platform; the table is read when one is asked for."""

    def __getitem__(self, name: str) -> Limits:
        return platforms()[name].limits

    def __iter__(self) -> Iterator[str]:
        return iter(platforms())

    def __len__(self) -> int:
        return len(platforms())


PLATFORMS: Mapping[str, Limits] = _PlatformLimits()
