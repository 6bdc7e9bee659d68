"""Live tensors by computation, resident memory by measurement."""

import json
import mmap
import sys
import time
from pathlib import Path

import pytest

from partita.errors import BadDocument, PartFailed
from partita.graph import Chain, DType, Stage, TensorSpec
from partita.profile import PeakMemory, activation_bytes, live_bytes, peak_in_child
from partita.profile.memory import MemoryUse

MB = 1 << 20
STATUS = "Name:\tpython\nVmHWM:\t    {hwm} kB\nVmRSS:\t    {rss} kB\n"


@pytest.fixture
def skip():
    """x -> a -> b, and b is added to x: x has to wait for the third stage."""
    spec = {
        n: TensorSpec(n, DType.FLOAT32, ("batch", size))
        for n, size in (("x", 1), ("a", 10), ("b", 100), ("y", 2))
    }
    stages = (Stage("0", ("x",), ("a",)), Stage("1", ("a",), ("b",)), Stage("2", ("b", "x"), ("y",)))
    return Chain("skip", "fake", stages, spec, ("x",), ("y",))


def test_a_tensor_lives_until_it_was_read_for_the_last_time(skip):
    """While the second stage runs, the skip connection is alive beside its input and output."""
    assert live_bytes(skip, {"x": 1, "a": 10, "b": 100, "y": 2}) == (11, 111, 103)


def test_activations_grow_with_the_batch(skip):
    """From shapes alone, with the batch bound."""
    assert activation_bytes(skip, {"batch": 2}) == (88, 888, 824)


def test_a_tensor_without_bytes_of_its_own_counts_nothing(skip):
    """A sequence has no size, and that is no reason to refuse the sum."""
    spec = {**skip.tensors, "a": TensorSpec("a", DType.SEQUENCE, None)}
    chain = Chain("skip", "fake", skip.stages, spec, ("x",), ("y",))

    assert activation_bytes(chain, {"batch": 1})[0] == 4


def _touch(size):
    """Pages of their own, taken and given back: the heap of a process that measures keeps what it has."""
    with mmap.mmap(-1, size) as pages:
        for at in range(0, size, 4096):
            pages[at] = 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can forget an earlier peak")
def test_the_peak_of_a_block_is_seen_though_it_is_over():
    """Memory that was taken and given back inside the block counts; what came before does not."""
    _touch(60 * MB)
    with PeakMemory() as memory:
        _touch(30 * MB)

    assert 25 * MB < memory.use.grown < 55 * MB
    assert memory.use.source


@pytest.fixture
def proc(tmp_path):
    """A process's own folder, to be written by the test."""

    def write(*, hwm, rss):
        (tmp_path / "status").write_text(STATUS.format(hwm=hwm, rss=rss))

    write(hwm=900, rss=100)
    return tmp_path, write


def test_the_kernels_high_water_is_reset_first(proc):
    """The reset is the documented one, and the high water after it is what counts."""
    folder, write = proc
    with PeakMemory(folder) as memory:
        write(hwm=400, rss=100)

    assert (folder / "clear_refs").read_text() == "5"
    assert memory.use == MemoryUse(100 * 1024, 400 * 1024, "high water of the kernel")


def test_where_it_cannot_be_reset_the_size_is_sampled(proc):
    """A folder in the place of the file stands for a kernel that refuses; a peak that is over was seen."""
    folder, write = proc
    (folder / "clear_refs").mkdir()
    with PeakMemory(folder) as memory:
        write(hwm=900, rss=300)
        while memory.peak < 300 * 1024:
            time.sleep(0.001)
        write(hwm=900, rss=100)

    assert (memory.base, memory.peak) == (100 * 1024, 300 * 1024)
    assert "sampled" in memory.use.source


def test_without_proc_only_the_life_of_the_process_is_known(tmp_path):
    """macOS has no /proc: the answer says what it is."""
    with PeakMemory(tmp_path / "none") as memory:
        pass

    assert memory.use.peak >= memory.use.base > 0
    assert memory.use.source == "high water of the process since it began"


def test_a_fresh_process_answers_for_one_call_alone(tmp_path, monkeypatch):
    """What this process holds does not count in the child's answer."""
    Path(tmp_path / "greedy.py").write_text("def run(mb):\n    held = bytearray(b'x') * (mb << 20)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = peak_in_child("greedy:run", 50)

    assert 45 * MB < found.grown < 70 * MB


def test_a_child_that_fails_says_why():
    """The last line of its complaint is passed on."""
    with pytest.raises(PartFailed, match="JSONDecodeError"):
        peak_in_child("json:loads", "no json")


def test_a_child_that_takes_too_long_is_ended():
    """A timeout ends the process and says how long it was given."""
    with pytest.raises(PartFailed, match=r"longer than 0\.2 s"):
        peak_in_child("time:sleep", 30, timeout=0.2)


def test_a_call_is_named_by_module_and_function():
    """A name without a colon is refused before anything starts."""
    with pytest.raises(BadDocument, match=r"package\.module:function"):
        peak_in_child(json.__name__)
