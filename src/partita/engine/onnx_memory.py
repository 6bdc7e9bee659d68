"""How much memory this process may still take, from what the kernel says.

Rules: the tightest limit counts, the machine's, a container's or the process's own; memory that the kernel gives
back on demand (the page cache) counts as free; where nothing is known, nothing is claimed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes, or None where the system does not tell."""
    found = [*_machine(root), *_groups(root), *_process(root)]
    return max(0, min(found)) if found else None


def _machine(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _groups(root: Path) -> Iterator[int]:
    """What every control group above this process leaves, in either version of the interface."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            top = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        # Inside a container its own group is often mounted at the top, whatever path it has outside.
        inner = Path(path.lstrip("/"))
        for level in (inner, *inner.parents):
            yield from _group(top / level, *names)


def _group(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if most.isdigit() and used.isdigit():
        rows = (line.split() for line in _text(folder / "memory.stat").splitlines())
        free = next((int(row[1]) for row in rows if len(row) == 2 and row[0] == cache), 0)
        yield int(most) - int(used) + free


def _process(root: Path) -> Iterator[int]:
    """What `ulimit -v` leaves."""
    for line in _text(root / "proc/self/limits").splitlines():
        if line.startswith("Max address space"):
            soft = line.split()[3]
            pages = _text(root / "proc/self/statm").split()
            if soft.isdigit() and pages:
                yield int(soft) - int(pages[0]) * os.sysconf("SC_PAGE_SIZE")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
