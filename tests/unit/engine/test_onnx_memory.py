"""Free memory as the kernel tells it: the tightest limit counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from partita.engine.onnx_memory import available_memory

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 8 GiB free."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable: {8 << 20} kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_limits_it_is_what_the_machine_has(root: Path) -> None:
    """Not the total, what is available."""
    assert available_memory(root) == 8 * GIB


def test_where_nothing_is_known_nothing_is_claimed(tmp_path: Path) -> None:
    """Another system than Linux."""
    assert available_memory(tmp_path) is None


def test_a_control_group_counts_with_its_parents(root: Path) -> None:
    """The limit stands two levels above the process; the page cache in it counts as free."""
    write(root / "proc/self/cgroup", "0::/pod/box/inner\n")
    write(root / "sys/fs/cgroup/pod/box/inner/memory.max", "max\n")
    write(root / "sys/fs/cgroup/pod/box/inner/memory.current", "1\n")
    write(root / "sys/fs/cgroup/pod/memory.max", f"{4 * GIB}\n")
    write(root / "sys/fs/cgroup/pod/memory.current", f"{3 * GIB}\n")
    write(root / "sys/fs/cgroup/pod/memory.stat", f"anon 5\ninactive_file {GIB}\n")

    assert available_memory(root) == 2 * GIB


def test_a_container_finds_its_group_at_the_top(root: Path) -> None:
    """Its own path outside is not visible inside."""
    write(root / "proc/self/cgroup", "0::/somewhere/else\n")
    write(root / "sys/fs/cgroup/memory.max", f"{GIB}\n")
    write(root / "sys/fs/cgroup/memory.current", f"{GIB // 4}\n")

    assert available_memory(root) == GIB - GIB // 4


def test_the_older_interface_counts_too(root: Path) -> None:
    """With its own names; other controllers are passed over."""
    write(root / "proc/self/cgroup", "9:cpu:/a\n4:memory:/a\n")
    write(root / "sys/fs/cgroup/memory/a/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(root / "sys/fs/cgroup/memory/a/memory.usage_in_bytes", f"{GIB}\n")
    write(root / "sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 4096\n")

    assert available_memory(root) == GIB + 4096


def test_a_limit_of_the_process_counts_too(root: Path) -> None:
    """Address space, as `ulimit -v` sets it."""
    write(root / "proc/self/limits", f"Limit  Soft Limit\nMax address space  {GIB}  unlimited  bytes\n")
    write(root / "proc/self/statm", "0 0 0 0 0 0 0\n")

    assert available_memory(root) == GIB


def test_a_limit_that_is_passed_already_leaves_nothing(root: Path) -> None:
    """Not less than nothing."""
    write(root / "proc/self/cgroup", "0::/\n")
    write(root / "sys/fs/cgroup/memory.max", "1000\n")
    write(root / "sys/fs/cgroup/memory.current", "2000\n")

    assert available_memory(root) == 0


def test_this_machine_has_some() -> None:
    """The real files."""
    free = available_memory()

    assert free is None or free > 1 << 20
