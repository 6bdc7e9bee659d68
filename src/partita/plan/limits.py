"""What a place allows: memory, package, payload, temporary storage, time, energy.

Rules: a limit that is not set does not exist; those of the known platforms are in the table of platforms and nowhere
else; a user's own limits are a JSON file, with every bad field reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from ..errors import BadDocument
from ..graph import load


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one place; None means no bound. Sizes in bytes.

    `memory` bounds weights, activations and the runtime; `package` the weights as they are deployed with the
    runtime; `storage` the same on a device's disk; `tmp` weights fetched at run time; `payload_in` and `payload_out`
    one message; `seconds` the compute of one step; `joules` the energy of one step. `runtime_memory` and
    `runtime_package` are what the runtime takes before any weight.
    """

    memory: int | None = None
    package: int | None = None
    storage: int | None = None
    tmp: int | None = None
    payload_in: int | None = None
    payload_out: int | None = None
    seconds: float | None = None
    joules: float | None = None
    runtime_memory: int = 0
    runtime_package: int = 0
    source: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"{field.name}: {value!r} is not above zero"
            for field in fields(self)
            if field.name in BOUNDS
            and (value := getattr(self, field.name)) is not None
            and not (isfinite(value) and value > 0)
        ]
        problems += [
            f"{name}: {getattr(self, name)!r} is below zero"
            for name in ("runtime_memory", "runtime_package")
            if getattr(self, name) < 0
        ]
        if problems:
            raise BadDocument("limits", problems, fix="leave a limit out where there is none")

    @property
    def bounds(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name in BOUNDS if (value := getattr(self, name)) is not None}

    def runtime(self, name: str) -> int:
        """What the runtime itself takes of a limit."""
        own = {
            "memory": self.runtime_memory,
            "package": self.runtime_package,
            "storage": self.runtime_package,
        }
        return own.get(name, 0)


# In the order in which they are named in explanations.
BOUNDS = ("memory", "package", "storage", "tmp", "payload_in", "payload_out", "seconds", "joules")


def load_limits(text: str, *, name: str = "") -> Limits:
    """A user's own limits from JSON, as `dump` writes them."""
    return load(Limits, text, name=name)
