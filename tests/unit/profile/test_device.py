"""The stamp on a profile, from made-up system files."""

import pytest

from partita.profile.device import memory_bytes, processor, runtime_version, this_device

INTEL = "processor : {n}\nmodel name\t: A Xeon\nphysical id\t: 0\ncore id\t\t: {core}\n\n"


@pytest.fixture
def tree(tmp_path):
    """Writes files under a made-up root and gives the root."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_two_threads_of_one_core_are_one_core(tree):
    """Four logical processors on two cores."""
    root = tree({"proc/cpuinfo": "".join(INTEL.format(n=n, core=n // 2) for n in range(4))})

    assert processor(root) == "A Xeon, 2 cores"


def test_a_board_is_known_by_its_device_tree(tree):
    """ARM cores have no model name; the board has one."""
    info = "".join(f"processor : {n}\nCPU part : 0xd08\n\n" for n in range(4)) + "Model : Raspberry Pi 4\n"
    root = tree({"proc/cpuinfo": info, "proc/device-tree/model": "NVIDIA Jetson TX2\0"})

    assert processor(root) == "NVIDIA Jetson TX2, Raspberry Pi 4, 4 cores"


def test_a_machine_that_says_nothing_has_at_least_an_architecture(tmp_path):
    """Without any file the platform's own word is left."""
    assert processor(tmp_path)
    assert memory_bytes(tmp_path) == 0


@pytest.mark.parametrize(("limit", "expected"), [("max", 2048 << 10), ("1048576", 1 << 20)])
def test_a_container_has_the_memory_it_is_allowed(tree, limit, expected):
    """The machine's memory, or the limit of the group where that is less."""
    root = tree({"proc/meminfo": "MemTotal:    2048 kB\n", "sys/fs/cgroup/memory.max": limit + "\n"})

    assert memory_bytes(root) == expected


def test_the_runtime_is_named_without_being_loaded():
    """The version comes from the installed package; an engine without one has no runtime."""
    assert runtime_version("onnx").startswith("onnxruntime ")
    assert runtime_version("fake") == ""


def test_a_runtime_that_is_not_installed_is_left_empty(monkeypatch):
    """A stamp is no reason to fail."""
    monkeypatch.setattr("partita.profile.device._RUNTIMES", {"torch": "no-such-package"})

    assert runtime_version("torch") == ""


def test_this_machine_has_a_stamp():
    """Name, processor, threads and memory are known here."""
    device = this_device(name="bench")

    assert device.name == "bench"
    assert device.processor
    assert device.threads >= 1
    assert this_device(threads=3).threads == 3
