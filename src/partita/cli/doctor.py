"""`partita doctor`: what this machine has, and what each missing piece would enable."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cyclopts import App

from .. import __version__
from ..graph import print_size
from .render import PLAIN, Column, Screen

app = App(
    name="doctor",
    help="Say what this machine has, and what each missing piece would enable.",
    default_parameter=PLAIN,
)

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: its state, what was found, and what to do (or what it enables)."""

    name: str
    state: State
    found: str
    enables: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """An optional library: what it is for and which extra brings it."""

    name: str
    enables: str
    extra: str


LIBRARIES = (
    Library("onnxruntime", "running parts of ONNX models", ""),
    Library("onnx", "cutting ONNX models", "onnx"),
    Library("torch", "capturing, running and training PyTorch models", "torch"),
    Library("transformers", "models by hf:NAME", "hf"),
    Library("torchvision", "models by torchvision:NAME", "vision"),
    Library("timm", "models by timm:NAME", "timm"),
    Library("obstore", "artifacts on S3, GCS and Azure", "objects"),
    Library("boto3", "AWS Lambda and Step Functions", "aws"),
    Library("ray", "work on a Ray cluster", "ray"),
)


@app.default
def doctor(*, json: bool = False) -> int:
    """Look at this machine and print what was found.

    Parameters
    ----------
    json
        Print one JSON document instead of a table.
    """
    screen = Screen(as_json=json)
    findings = examine()
    rows = [(f.name, f.state, f.found, f.fix or f.enables) for f in findings]
    screen.table(
        "Partita on this machine",
        [Column("what"), Column("state"), Column("found"), Column("it enables / what to do")],
        rows,
    )
    missing = [f.name for f in findings if f.state != "ok"]
    screen.say(
        f"{len(findings) - len(missing)} of {len(findings)} are here. Missing pieces are optional."
        if missing
        else "Everything is here."
    )
    screen.result({"partita": __version__, "findings": [asdict(f) for f in findings]})
    return 0


def examine() -> list[Finding]:
    """Everything the doctor looks at, in order."""
    checks: list[Callable[[], Finding]] = [_python, _machine, _disk]
    findings = [check() for check in checks]
    findings += [_library(library) for library in LIBRARIES]
    return [*findings, _providers(), _gpu(), _meters(), _credentials()]


def _python() -> Finding:
    return Finding(
        "python",
        "ok",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        f"Partita {__version__}",
    )


def _machine() -> Finding:
    from ..profile import this_device

    device = this_device()
    memory = print_size(device.memory_bytes) if device.memory_bytes else "unknown memory"
    return Finding(
        "machine",
        "ok",
        f"{device.processor or 'unknown processor'}, {memory}",
        "profiles carry this stamp",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding("disk", "ok", f"{print_size(free)} free here", "parts and artifacts")


def _library(library: Library) -> Finding:
    fix = (
        f"{library.enables}: pip install 'partita[{library.extra}]'"
        if library.extra
        else "pip install --force-reinstall partita"
    )
    if find_spec(library.name) is None:
        return Finding(library.name, "missing", "not installed", library.enables, fix)
    try:
        return Finding(library.name, "ok", version(library.name), library.enables)
    except PackageNotFoundError:
        return Finding(library.name, "broken", "importable, but without package data", library.enables, fix)


def _providers() -> Finding:
    from ..engine.onnx_run import onnx_providers

    providers = onnx_providers()
    return Finding(
        "ONNX Runtime providers",
        "ok" if providers else "missing",
        ", ".join(providers) or "none",
        "where ONNX parts run",
    )


def _gpu() -> Finding:
    driver = shutil.which("nvidia-smi")
    found = f"nvidia-smi at {driver}" if driver else "no NVIDIA driver"
    return Finding(
        "gpu",
        "ok" if driver else "missing",
        found,
        "parts on an NVIDIA GPU",
        "" if driver else "parts run on the CPU",
    )


def _meters() -> Finding:
    from ..profile import find_meters

    meters = find_meters()
    if meters:
        return Finding(
            "energy meters", "ok", ", ".join(meter.source for meter in meters), "measured joules in profiles"
        )
    fix = "joules stay empty; give --watts to `partita profile` for a modelled value"
    return Finding(
        "energy meters",
        "missing",
        "no RAPL, NVIDIA, INA or battery sensor readable",
        "measured joules in profiles",
        fix,
    )


def _credentials() -> Finding:
    places = [
        name
        for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
        if os.environ.get(name)
    ]
    files = [
        str(p)
        for p in (Path("~/.aws/credentials").expanduser(), Path("~/.aws/config").expanduser())
        if p.exists()
    ]
    found = ", ".join(places + files)
    fix = "" if found else "set AWS_PROFILE or AWS_ACCESS_KEY_ID to use S3 and AWS"
    return Finding(
        "AWS credentials",
        "ok" if found else "missing",
        found or "none",
        "artifacts on S3, functions on AWS",
        fix,
    )
