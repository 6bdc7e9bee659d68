"""What a place allows, as data with its source: memory, package, payload, temporary storage, time, energy.

Rules: a limit that is not set does not exist; every table entry says where its figures come from and when they
were read; a user's own limits are a JSON file, with every bad field reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from types import MappingProxyType

from ..errors import BadDocument
from ..graph import load

_MB, _MIB, _GIB = 1_000_000, 1 << 20, 1 << 30


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

_READ = "2026-01"
# ONNX Runtime with numpy and its own files, measured: 46 MB resident, 110 MB unpacked.
_RUNTIME_MEMORY, _RUNTIME_PACKAGE = 46 * _MB, 110 * _MB

PLATFORMS: Mapping[str, Limits] = MappingProxyType(
    {
        "process": Limits(source="no limits: a process on this machine", date=_READ),
        "edge-512mb": Limits(
            memory=512 * _MB,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="a generic board with 512 MB; runtime measured",
            date=_READ,
        ),
        "container-2gb": Limits(
            memory=2 * _GIB,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="a generic container with 2 GiB; runtime measured",
            date=_READ,
        ),
        "aws-lambda": Limits(
            memory=10_240 * _MIB,
            package=250 * _MIB,
            tmp=10_240 * _MIB,
            payload_in=6 * _MIB,
            payload_out=6 * _MIB,
            seconds=900,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="AWS Lambda developer guide, quotas: zip package unzipped with layers, synchronous payload",
            date=_READ,
        ),
        "aws-lambda-image": Limits(
            memory=10_240 * _MIB,
            package=10 * _GIB,
            tmp=10_240 * _MIB,
            payload_in=6 * _MIB,
            payload_out=6 * _MIB,
            seconds=900,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="AWS Lambda developer guide, quotas: container image, synchronous payload",
            date=_READ,
        ),
        "step-functions": Limits(
            memory=10_240 * _MIB,
            package=250 * _MIB,
            tmp=10_240 * _MIB,
            payload_in=262_144,
            payload_out=262_144,
            seconds=900,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="AWS Step Functions service quotas: input and output of a task, 262,144 bytes; tasks on AWS Lambda",
            date=_READ,
        ),
        "cloud-run": Limits(
            memory=32 * _GIB,
            payload_in=32 * _MIB,
            payload_out=32 * _MIB,
            seconds=3600,
            runtime_memory=_RUNTIME_MEMORY,
            runtime_package=_RUNTIME_PACKAGE,
            source="Google Cloud Run quotas: HTTP/1 request and response; written files count as memory",
            date=_READ,
        ),
        "cloudflare-workers": Limits(
            memory=128 * _MB,
            package=10 * _MB,
            payload_in=100 * _MB,
            seconds=300,
            source="Cloudflare Workers limits, paid plan: CPU time, compressed script",
            date=_READ,
        ),
    }
)


def platform(name: str) -> Limits:
    """The built-in limits of a kind of place."""
    if name not in PLATFORMS:
        raise BadDocument(
            "limits",
            [f"{name!r} is not a known platform"],
            fix=f"choose from {', '.join(PLATFORMS)}, or give a JSON file of limits",
        )
    return PLATFORMS[name]


def load_limits(text: str, *, name: str = "") -> Limits:
    """A user's own limits from JSON, as `dump` writes them."""
    return load(Limits, text, name=name)
