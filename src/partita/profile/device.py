"""The stamp on a profile: which machine, which runtime, how many threads.

Rules: read from the system's own files (a root folder stands in for `/` in tests); what is not known stays empty.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

from ..graph import Device
from .threads import usable_cores

# The package that runs the parts of each engine.
_RUNTIMES: Final = {"torch": "torch", "onnx": "onnxruntime"}
# Boards name themselves here: /proc/cpuinfo of an ARM core has no model name.
_BOARD: Final = "proc/device-tree/model"


def this_device(
    *, threads: int | None = None, engine: str = "", name: str = "", root: str | Path = "/"
) -> Device:
    """What this machine is. `engine` adds the version of the runtime, read without importing it."""
    base = Path(root)
    return Device(
        name=name or platform.node() or "unnamed",
        processor=processor(base),
        threads=usable_cores() if threads is None else threads,
        runtime=runtime_version(engine),
        memory_bytes=memory_bytes(base),
    )


def runtime_version(engine: str) -> str:
    """`torch 2.6.0`, or empty for an engine whose runtime is not installed."""
    from importlib import metadata

    package = _RUNTIMES.get(engine, "")
    try:
        return f"{package} {metadata.version(package)}" if package else ""
    except metadata.PackageNotFoundError:
        return ""


def processor(root: Path = Path("/")) -> str:
    """`AMD EPYC, 2 cores`, with the board's name before it where there is one."""
    if sys.platform == "darwin" and root == Path("/"):  # pragma: no cover - not the platform of the tests
        return f"{_sysctl('machdep.cpu.brand_string')}, {_sysctl('hw.physicalcpu')} cores"
    info = _text(root / "proc/cpuinfo")
    model = next(
        (_value(info, key) for key in ("model name", "Model", "Hardware", "cpu model") if _value(info, key)),
        platform.machine(),
    )
    cores = _cores(info)
    board = _text(root / _BOARD).strip("\0\n ")
    return ", ".join(part for part in (board, model, f"{cores} cores" if cores else "") if part)


def _cores(info: str) -> int:
    """Physical cores: (package, core) pairs where the kernel gives them, else logical processors."""
    blocks = [block for block in info.split("\n\n") if _value(block, "processor")]
    pairs = {(_value(block, "physical id"), _value(block, "core id")) for block in blocks}
    return len(blocks) if ("", "") in pairs else len(pairs)


def memory_bytes(root: Path = Path("/")) -> int:
    """The memory this process may use: the machine's, or less where a container says so; 0 where unknown."""
    if sys.platform == "darwin" and root == Path("/"):  # pragma: no cover - not the platform of the tests
        return int(_sysctl("hw.memsize") or 0)
    words = _value(_text(root / "proc/meminfo"), "MemTotal").split()
    sizes = [int(words[0]) * 1024] if words else []
    limits = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
    sizes += [int(text) for path in limits if (text := _text(root / path).strip()).isdigit()]
    return min(sizes, default=0)


def _value(text: str, key: str) -> str:
    """What stands behind `key :` in the first line that has it."""
    rows = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in rows if name.strip() == key), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl(name: str) -> str:  # pragma: no cover - macOS
    found = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False, timeout=5)
    return found.stdout.strip()
