"""Slices as functions: each in a process of its own, under limits that stop it, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine import largest_difference
from partita.errors import BadDocument, CorruptArtifact, LimitExceeded, NotFound, PartFailed
from partita.plan import Limits, Platform
from partita.slice import Preparation, read_manifest
from partita.slice.event import first_event
from partita.slice.inputs import made_inputs
from partita.slice.rehearsal import rehearse
from partita.slice.rehearse_functions import Functions, Terms
from partita.slice.runner import open_slices
from partita.slice.slicer import cut, equal_nodes, plan_at, prepare
from partita.testing.onnx_models import filled, onnx_model

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
GROWS = """
    grows (float[batch, 8] x, int64[1] n) => (float[batch, 8] y) <float[8, 8] w> {
        a = MatMul(x, w)
        b = ConstantOfShape(n)
        s = ReduceSum <keepdims = 0> (b)
        y = Add(a, s)
    }"""
LASTS = """
    lasts (float[4, 8] x, int64 n) => (float[4, 8] y) <float[8, 8] w> {
        a = MatMul(x, w)
        go = Constant <value = bool {1}> ()
        h = Loop (n, go, a) <body = step (int64 i, bool c, float[4, 8] h0) => (bool d, float[4, 8] h1) {
            d = Identity(c)
            h1 = Sin(h0)
        }>
        y = Tanh(h)
    }"""
MB = 1_000_000


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A rehearsal cleans up after itself, however it ends."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    assert children() == set()


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        found |= {int(word) for word in task.read_text().split()}
    return found


def place(event: int | None = None, growth: float = 1.0, store_rate: float = 0.0, **limits: Any) -> Platform:
    return Platform(
        "tiny", "for a test", Limits(**limits), event=event, payload_growth=growth, store_rate=store_rate
    )


def sliced(
    model: Any,
    folder: Path,
    slices: int = 3,
    stored: tuple[str, ...] = (),
    memory: int = 0,
    platform: str = "tiny",
) -> Path:
    path = folder / "model.onnx"
    path.write_bytes((onnx_model(model) if isinstance(model, str) else model).SerializeToString())
    ready = prepare(path, Preparation())
    plan = plan_at(ready.chain, equal_nodes(ready.chain, slices), batch=2)
    ordered = tuple(replace(piece, function_memory=memory) for piece in plan.slices)
    cut(ready, replace(plan, stored=stored, slices=ordered, platform=platform), folder / "slices")
    return folder / "slices"


def text(body: str) -> Any:
    return filled(onnx.parser.parse_model(HEAD + body))


@pytest.mark.parametrize("name", ["split", "two_inputs", "passing", "branch"])
def test_processes_give_what_one_process_gives(name: str, tmp_path: Path) -> None:
    folder = sliced(name, tmp_path)
    values = made_inputs(read_manifest(folder))
    done = rehearse(folder, values, place())
    with open_slices(folder) as slices:
        assert largest_difference(done.outputs, slices.run(values).outputs) == 0.0


def test_a_rehearsal_measures_every_slice(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, stored=("a", "r", "d"))
    done = rehearse(folder, None, place(memory=500 * MB, seconds=60, runtime_package=7), runs=3)
    for piece, file in zip(done.slices, done.manifest.files, strict=True):
        assert piece.package == file.bytes + 7
        assert 20 * MB < piece.base <= piece.peak < 500 * MB
        assert piece.anonymous > 5 * MB
        assert piece.file > 5 * MB
        assert piece.cold > piece.load > 0
        assert piece.warm is not None
        assert piece.memory == 500 * MB

    assert done.slices[0].payload_out == done.slices[1].payload_in
    assert done.slices[0].stored_out > 0
    assert done.slices[1].stored_in > 0
    assert done.warm is not None
    assert done.cold > done.warm
    assert {row.check for row in done.rows} >= {"package", "memory", "time", "payload in", "payload out"}
    assert not any(row.failed for row in done.rows)


def test_sixteen_runs_at_once_are_all_right(tmp_path: Path) -> None:
    """Through the same functions, two for each slice, and through one store."""
    folder = sliced("skip", tmp_path, slices=2, stored=("x", "a", "r", "c", "d", "e"))
    manifest = read_manifest(folder)
    inputs = [made_inputs(manifest, seed) for seed in range(16)]
    done = rehearse(folder, inputs, place(memory=500 * MB), concurrency=16, environments=2)
    with open_slices(folder) as slices:
        for values, outputs in zip(inputs, done.answers, strict=True):
            assert largest_difference(outputs, slices.run(values).outputs) == 0.0


def inputs(folder: Path, n: int) -> dict[str, Any]:
    values = made_inputs(read_manifest(folder))
    return values | {"n": np.full(values["n"].shape, n)}


@pytest.mark.parametrize("n", [60 * MB, 2_000 * MB], ids=["seen by the watch", "refused by the kernel"])
def test_too_much_memory_is_stopped_and_told(n: int, tmp_path: Path) -> None:
    folder = sliced(text(GROWS), tmp_path, slices=2)
    with pytest.raises(LimitExceeded, match=r"slice \d: memory: needs .*allowed are 150,000,000 ") as caught:
        rehearse(folder, inputs(folder, n), place(memory=150 * MB))

    assert "--slices 3" in caught.value.fix


def test_memory_is_that_of_the_function_ordered(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, memory=30 * MB)
    with pytest.raises(LimitExceeded, match=r"slice 0: memory: .* allowed are 30,000,000 "):
        rehearse(folder, None, place(memory=500 * MB))


def test_what_another_platform_ordered_does_not_count(tmp_path: Path) -> None:
    """A plan for one place says nothing of the functions of another."""
    folder = sliced("skip", tmp_path, memory=30 * MB, platform="elsewhere")
    done = rehearse(folder, None, place(memory=500 * MB))

    assert {piece.memory for piece in done.slices} == {500 * MB}


def test_without_a_store_a_slice_has_to_fit_its_package(tmp_path: Path) -> None:
    """There is nowhere to fetch it from."""
    folder = sliced("skip", tmp_path)
    with pytest.raises(LimitExceeded, match="slice 0: package: needs"):
        rehearse(folder, None, place(package=50, tmp=100_000))


def test_a_peak_between_two_looks_is_found_by_the_kernel(tmp_path: Path) -> None:
    """The high water counts, not what was seen."""
    folder = sliced("skip", tmp_path, slices=1)
    done = rehearse(folder, None, place(), enforce=False)
    with pytest.raises(LimitExceeded, match="memory"):
        rehearse(folder, None, place(), memory=done.peak - 2 * MB)


def test_too_long_a_call_is_stopped_and_told(tmp_path: Path) -> None:
    folder = sliced(text(LASTS), tmp_path, slices=2)
    with pytest.raises(LimitExceeded, match=r"slice 1: time: was stopped after 0\.3s; tiny allows 0\.3s"):
        rehearse(folder, inputs(folder, 10**12), place(seconds=0.3))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"payload_in": 200}, "slice 0: payload in: needs 192 bytes"),
        ({"payload_out": 200}, "slice 0: payload out: needs"),
        ({"event": 200}, "slice 1: event: needs"),
    ],
)
def test_too_large_an_event_is_stopped_and_told(limits: Any, said: str, tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    size = len(first_event(read_manifest(folder), made_inputs(read_manifest(folder)), None).pack())
    with pytest.raises(LimitExceeded, match=said.replace("192", str(2 * size))) as caught:
        rehearse(folder, None, place(growth=2.0, store_rate=1e9, **limits))

    assert "--transport store" in caught.value.fix


def test_a_slice_that_fits_neither_package_nor_folder_is_told(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    need = read_manifest(folder).files[0].bytes
    with pytest.raises(LimitExceeded, match=rf"slice 0: temporary storage: needs {need:,} bytes .*are 100 "):
        rehearse(folder, None, place(package=50, tmp=100, store_rate=1e9))


def test_what_does_not_fit_the_package_is_fetched(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    done = rehearse(folder, None, place(package=1000, runtime_package=900, tmp=100_000, store_rate=1e9))
    for piece, file in zip(done.slices, done.manifest.files, strict=True):
        assert piece.package == 900
        assert piece.tmp == file.bytes


def test_without_enforcing_limits_are_only_measured(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    done = rehearse(
        folder, None, place(memory=MB, payload_in=10, event=10, tmp=10, seconds=1e-9), enforce=False
    )
    failed = {row.check for row in done.rows if row.failed}

    assert failed >= {"memory", "payload in", "event", "time"}
    assert all(row.fix for row in done.rows if row.failed)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    (folder / read_manifest(folder).files[2].path).unlink()
    with pytest.raises(NotFound, match="slice 2"):
        rehearse(folder, None, place())


def test_an_altered_slice_is_named(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    path = folder / read_manifest(folder).files[0].path
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorruptArtifact, match="slice 0"):
        rehearse(folder, None, place())


def test_wrong_wishes_are_named_all_at_once(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    with pytest.raises(BadDocument) as caught:
        rehearse(folder, None, place(), runs=-1, concurrency=0, environments=0)

    assert len(caught.value.problems) == 3


def test_a_part_that_raises_is_told_with_its_slice(tmp_path: Path) -> None:
    folder = sliced(text(GROWS), tmp_path, slices=2)
    with pytest.raises(PartFailed, match=r"slice \d: "):
        rehearse(folder, inputs(folder, -5), place())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_is_told_with_its_slice(number: signal.Signals, tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    manifest = read_manifest(folder)
    with tempfile.TemporaryDirectory() as home:
        functions = Functions(folder, manifest, place(), Path(home), Terms())
        process = functions.start(0)
        try:
            functions.ready(process)
            os.kill(process.pid, number)
            with pytest.raises(PartFailed, match=f"slice 0: its process was ended by {number.name}"):
                functions.call(
                    process, first_event(manifest, made_inputs(manifest), functions.store).pieces()
                )
        finally:
            functions.end(process)


def test_when_one_of_many_runs_breaks_a_limit_all_stop(tmp_path: Path) -> None:
    folder = sliced(text(GROWS), tmp_path, slices=2)
    sets = [inputs(folder, n) for n in (1, 1, 60 * MB, 1)]
    with pytest.raises(LimitExceeded, match="memory"):
        rehearse(folder, sets, place(memory=150 * MB), concurrency=4, environments=2)


def test_processes_end_with_the_one_that_started_them(
    kill_and_wait: Callable[[int, int], bool], tmp_path: Path
) -> None:
    """Even when it is killed in the middle of a call."""
    folder = sliced(text(LASTS), tmp_path, slices=2)
    script = f"""
import threading, sys
from pathlib import Path
from partita.plan import Limits, Platform
from partita.slice import read_manifest
from partita.slice.event import first_event
from partita.slice.rehearse_functions import Functions, Terms
import numpy as np
folder = Path({str(folder)!r})
manifest = read_manifest(folder)
functions = Functions(folder, manifest, Platform("x", "x", Limits()), Path({str(tmp_path)!r}), Terms())
processes = [functions.start(index) for index in range(2)]
for process in processes: functions.ready(process)
event = first_event(manifest, {{"x": np.ones((4, 8), np.float32), "n": np.array(10**12)}}, None)
event = functions.call(processes[0], event.pieces()).event
print(processes[1].pid, flush=True)
functions.call(processes[1], [event])
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert kill_and_wait(parent.pid, child)
    finally:
        parent.kill()
        parent.communicate()


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sliced(text(LASTS), tmp_path, slices=2)

    def interrupt(_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            rehearse(folder, inputs(folder, 10**12), place(), listen=interrupt)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
