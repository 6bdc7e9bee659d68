"""How slow a link should be, as data that prints and parses: ``20mbit/40ms/1%`` or ``up=5mbit,down=20mbit,rtt=40ms``.

Two rules. Rates are bits per second, as links are sold; delays are seconds. What it prints, it parses to the same value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from ..errors import BadDocument
from ..graph import parse_rate, parse_seconds, print_rate, print_seconds

__all__ = ["LinkShape", "parse_shape"]

_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(%?)")
_WRITE: Final = (
    "write RATE/RTT/LOSS such as 20mbit/40ms/1%, or up=5mbit,down=20mbit,rtt=40ms,jitter=5ms,loss=1%,half"
)


@dataclass(frozen=True, slots=True)
class LinkShape:
    """Rates in bit/s (infinite is unshaped), round trip and jitter in seconds, loss as a fraction of packets."""

    up: float = math.inf
    down: float = math.inf
    rtt: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    # Both directions share one medium, as on Wi-Fi; its rate is then the smaller of the two.
    half_duplex: bool = False

    def __post_init__(self) -> None:
        problems = [f"{name}: {rate:g} bit/s is not a rate" for name, rate in self._rates() if not rate > 0]
        problems += [
            f"{name}: {seconds:g} s is not a time between 0 and 60 s"
            for name, seconds in (("rtt", self.rtt), ("jitter", self.jitter))
            if not 0 <= seconds <= 60
        ]
        if not 0 <= self.loss <= 0.5:
            problems.append(f"loss: {self.loss:g} is not between 0 and 50%")
        if problems:
            raise BadDocument("link shape", problems, fix=_WRITE)

    def _rates(self) -> tuple[tuple[str, float], ...]:
        return ("up", self.up), ("down", self.down)

    def __str__(self) -> str:
        if self.up == self.down and not self.jitter and not self.half_duplex:
            return "/".join((_rate_text(self.up), print_seconds(self.rtt), _loss_text(self.loss)))
        parts = [
            f"up={_rate_text(self.up)}",
            f"down={_rate_text(self.down)}",
            f"rtt={print_seconds(self.rtt)}",
        ]
        parts += [f"jitter={print_seconds(self.jitter)}"] if self.jitter else []
        parts += [f"loss={_loss_text(self.loss)}"] if self.loss else []
        parts += ["half"] if self.half_duplex else []
        return ",".join(parts)


def parse_shape(text: str) -> LinkShape:
    """The shape in a text; all that is wrong with it is said at once."""
    problems: list[str] = []
    fields: dict[str, float] = {}
    words = [word.strip() for word in text.strip().lower().split("/" if "=" not in text else ",")]
    for name, word in _named(words, problems):
        value = _value(name, word)
        if value is None:
            problems.append(f"{name}: {word!r} is not {_KINDS[name]}")
        elif name == "rate":
            fields["up"] = fields["down"] = value
        elif name in fields:
            problems.append(f"{name}: given twice")
        else:
            fields[name] = value
    if problems:
        raise BadDocument(f"link shape {text!r}", problems, fix=_WRITE)
    half = bool(fields.pop("half", 0.0))
    return LinkShape(**fields, half_duplex=half)


_KINDS: Final = {
    "rate": "a rate such as 20mbit or 'unlimited'",
    "up": "a rate such as 5mbit",
    "down": "a rate such as 20mbit",
    "rtt": "a time such as 40ms",
    "jitter": "a time such as 5ms",
    "loss": "a share such as 1% or 0.01",
    "half": "written alone",
}


def _named(words: list[str], problems: list[str]) -> list[tuple[str, str]]:
    if not any("=" in word for word in words):
        if len(words) > 3:
            problems.append(f"{len(words)} values, at most rate, rtt and loss have a place")
        return list(zip(("rate", "rtt", "loss"), words, strict=False))
    named = []
    for word in words:
        name, _, value = word.partition("=")
        if name not in _KINDS:
            problems.append(f"{name!r} is unknown; known are {', '.join(_KINDS)}")
        else:
            named.append((name, value))
    return named


def _value(name: str, word: str) -> float | None:
    if name == "half":
        return 1.0 if not word else None
    if name in ("rate", "up", "down") and word == "unlimited":
        return math.inf
    if name == "loss":
        match = _SHARE.fullmatch(word)
        return None if match is None else float(match[1]) / (100 if match[2] else 1)
    try:
        return parse_seconds(word) if name in ("rtt", "jitter") else parse_rate(word)
    except BadDocument:
        return None


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _rate_text(rate: float) -> str:
    if math.isinf(rate):
        return "unlimited"
    return print_rate(rate)


def _loss_text(loss: float) -> str:
    percent = f"{_number(loss * 100)}%"
    return percent if _value("loss", percent) == loss else _number(loss)
