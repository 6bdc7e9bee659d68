"""The connection between two places: how fast each way, how far."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from ..errors import BadDocument
from .quantity import parse_rate, parse_seconds, print_rate, print_seconds

_FIX = "write it like 20mbit/40ms, or up=5mbit,down=20mbit,rtt=40ms"


@dataclass(frozen=True, slots=True)
class Link:
    """Bits per second up (edge to cloud) and down, and the round-trip time in seconds.

    `shared` says that both directions take turns on one medium, as on Wi-Fi.
    """

    up: float
    down: float
    rtt: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not a positive number of bits per second"
            for name, value in (("up", self.up), ("down", self.down))
            if not (isfinite(value) and value > 0)
        ]
        if not (isfinite(self.rtt) and self.rtt >= 0):
            problems.append(f"rtt: {self.rtt!r} is not a time of zero or more seconds")
        if problems:
            raise BadDocument("link", problems, fix=_FIX)

    def __str__(self) -> str:
        rates = (
            [print_rate(self.up)]
            if self.up == self.down
            else [f"up={print_rate(self.up)}", f"down={print_rate(self.down)}"]
        )
        if len(rates) == 1 and not self.shared:
            return f"{rates[0]}/{print_seconds(self.rtt)}" if self.rtt else rates[0]
        if len(rates) == 1:
            rates = [f"up={rates[0]}", f"down={rates[0]}"]
        return ",".join([*rates, f"rtt={print_seconds(self.rtt)}", *(["shared"] if self.shared else [])])


def parse_link(text: str) -> Link:
    """A link from `20mbit`, `20mbit/40ms` or `up=5mbit,down=20mbit,rtt=40ms,shared`."""
    if "=" not in text:
        rate, _, rtt = text.partition("/")
        bits = parse_rate(rate)
        return Link(bits, bits, parse_seconds(rtt) if rtt else 0.0)
    up = down = None
    rtt_seconds, shared = 0.0, False
    for field in text.split(","):
        key, _, value = field.strip().partition("=")
        match key:
            case "up":
                up = parse_rate(value)
            case "down":
                down = parse_rate(value)
            case "rtt":
                rtt_seconds = parse_seconds(value)
            case "shared":
                shared = True
            case _:
                raise BadDocument("link", [f"{key!r} is not a field of a link"], fix=_FIX)
    if up is None or down is None:
        raise BadDocument("link", [f"{text!r} lacks up or down"], fix=_FIX)
    return Link(up, down, rtt_seconds, shared)
