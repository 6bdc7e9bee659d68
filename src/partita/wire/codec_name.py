"""What a codec is called: the text that stands in plans, frames and on the command line, parsed and printed.

    raw · fp16 · bf16 · lossless
    int8 · int4 · int2     [/channel[:AXIS]] [/stochastic[:SEED]]
    topk:FRACTION          [/fp32]
    any of them            [+lossless]

Two rules. Standard library only, so that a plan can be read where there is no numpy.
One codec has one text: `str(parse_name(text))` is canonical, and parsing it again gives the same name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, final

from ..errors import BadDocument

__all__ = ["KNOWN_CODECS", "CodecName", "parse_name"]

Kind = Literal["raw", "fp16", "bf16", "affine", "topk"]

# What the planner tries when nobody names codecs: one of each kind that changes the bytes.
KNOWN_CODECS = ("raw", "fp16", "bf16", "int8", "int4", "int2", "topk:0.1", "lossless")

# Longer than any name that parses; a longer one is refused unread.
LONGEST_NAME = 80

_AFFINE = re.compile(r"int([842])(?:/channel(?::(-?\d{1,2}))?)?(?:/stochastic(?::(\d{1,18}))?)?", re.ASCII)
_TOPK = re.compile(r"topk:(\d{0,3}(?:\.\d{1,20})?(?:e-?\d{1,2})?)(?:/(fp16|fp32))?", re.ASCII)
_PLAIN: dict[str, Kind] = {"raw": "raw", "fp16": "fp16", "bf16": "bf16"}


@final
@dataclass(frozen=True, slots=True)
class CodecName:
    """A codec's name in its parts. Fields that a kind does not use keep their defaults."""

    kind: Kind
    bits: int = 0
    axis: int | None = None  # affine: the channel axis; None is one scale for the whole tensor
    seed: int | None = None  # affine: the seed of stochastic rounding; None rounds to nearest
    fraction: float = 0.0  # topk: the share of values kept in each row
    wide: bool = False  # topk: values as fp32 instead of fp16
    lossless: bool = False

    def plain(self) -> CodecName:
        """The same codec without the lossless stage behind it."""
        return CodecName(self.kind, self.bits, self.axis, self.seed, self.fraction, self.wide)

    def packed(self) -> CodecName:
        """The same codec with the lossless stage behind it."""
        return CodecName(self.kind, self.bits, self.axis, self.seed, self.fraction, self.wide, lossless=True)

    def __str__(self) -> str:
        if not self.lossless:
            return _text(self)
        return "lossless" if self.kind == "raw" else f"{_text(self)}+lossless"


def parse_name(text: str) -> CodecName:
    """Read a codec's name; a name that says nothing is a `BadDocument` which lists those that do."""
    if len(text) > LONGEST_NAME:
        raise _unknown(f"{text[:LONGEST_NAME]}...", f"is {len(text)} characters long")
    if text == "lossless":
        return CodecName("raw", lossless=True)
    base = text.removesuffix("+lossless")
    name = _parse_base(base, text)
    return name.packed() if base != text else name


def _parse_base(base: str, text: str) -> CodecName:
    if base in _PLAIN:
        return CodecName(_PLAIN[base])
    if match := _AFFINE.fullmatch(base):
        bits, axis, seed = match.groups()
        return CodecName(
            "affine",
            bits=int(bits),
            axis=int(axis or 1) if "/channel" in base else None,
            seed=int(seed or 0) if "/stochastic" in base else None,
        )
    if match := _TOPK.fullmatch(base):
        return CodecName("topk", fraction=_fraction(match[1], text), wide=match[2] == "fp32")
    raise _unknown(text, "is not the name of a codec")


def _fraction(digits: str, text: str) -> float:
    try:
        fraction = float(digits)
    except ValueError:
        raise _unknown(text, "has no number after topk:") from None
    # Twelve digits print and parse back exactly; more would make two texts of one codec.
    fraction = float(f"{fraction:.12g}")
    if not (math.isfinite(fraction) and 0.0 < fraction <= 1.0):
        raise _unknown(text, "keeps a fraction that is not above 0 and at most 1")
    return fraction


def _text(name: CodecName) -> str:
    if name.kind == "affine":
        channel = "" if name.axis is None else "/channel" if name.axis == 1 else f"/channel:{name.axis}"
        seed = "" if name.seed is None else "/stochastic" if name.seed == 0 else f"/stochastic:{name.seed}"
        return f"int{name.bits}{channel}{seed}"
    if name.kind == "topk":
        return f"topk:{name.fraction:.12g}" + ("/fp32" if name.wide else "")
    return name.kind


def _unknown(text: str, problem: str) -> BadDocument:
    return BadDocument(
        f"codec {text!r}",
        [problem],
        fix=f"use one of {', '.join(KNOWN_CODECS)}; int8/4/2 take /channel[:AXIS] and /stochastic[:SEED],"
        " topk takes /fp32, all take +lossless",
    )
