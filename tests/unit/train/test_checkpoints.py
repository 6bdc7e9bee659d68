"""Checkpoints are whole or not there, whatever kills the process or changes the bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from partita.engine import Values, largest_difference
from partita.errors import BadDocument, CorruptArtifact, LocalError, NotFound, StoreUnavailable
from partita.train.checkpoints import Checkpoints

DOCUMENT = {"plan": "edge | cloud", "epoch": 2, "loss": float("inf"), "name": "Größe"}


def some_values(step: int = 0) -> Values:
    rng = np.random.default_rng(step)
    return {
        "weight/a.weight": rng.standard_normal((4, 3)).astype(np.float32),
        "weight/half": rng.standard_normal(5).astype(ml_dtypes.bfloat16),
        "optimizer/a.weight/step": np.array(step, np.int64),
        "weight/turned": rng.standard_normal((3, 4)).T,
        "weight/empty": np.zeros((0, 2), np.float16),
        "rng": rng.integers(0, 255, 16).astype(np.uint8),
    }


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(12, DOCUMENT, some_values())

        document, values = checkpoints.load(12)

    assert document == DOCUMENT
    assert largest_difference(values, some_values()) == 0.0


def test_loaded_arrays_may_be_written_to(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {}, some_values())

        assert all(array.flags.writeable for array in checkpoints.load(1)[1].values())


def test_the_newest_ones_stay(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 10, 9999999999999):
            checkpoints.save(step, {}, {})

        assert checkpoints.steps() == (10, 9999999999999)


@pytest.mark.parametrize(
    ("keep", "stay"), [(1, (5,)), (2, (5, 30)), (4, (5, 10, 20, 30)), (9, (5, 10, 20, 30))]
)
def test_the_one_just_saved_stays_also_where_later_ones_are(
    tmp_path: Path, keep: int, stay: tuple[int, ...]
) -> None:
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, {}, {})
    with Checkpoints(tmp_path, keep=keep) as checkpoints:
        checkpoints.save(5, {}, {})

        assert checkpoints.steps() == stay


def test_going_back_discards_what_came_later(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {}, {})

        checkpoints.discard_after(1)

        assert checkpoints.steps() == (1,)


def test_a_step_is_saved_anew_in_place(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"window": 4}, {})
        checkpoints.save(1, {"window": 2}, {})

        assert checkpoints.load(1)[0] == {"window": 2}


def test_a_flipped_bit_is_never_loaded(saved: tuple[Path, bytes]) -> None:
    """Anywhere in the file: lengths, names, document, digest, values."""
    path, whole = saved

    with Checkpoints(path.parent) as checkpoints:
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(CorruptArtifact, match=path.name):
                checkpoints.load(2)


@pytest.mark.parametrize("length", [0, 7, 8, 100, 500, -1, -30])
def test_a_file_cut_short_is_neither_listed_nor_loaded(saved: tuple[Path, bytes], length: int) -> None:
    path, whole = saved
    path.write_bytes(whole[:length])

    with Checkpoints(path.parent) as checkpoints:
        assert checkpoints.steps() == (1,)
        with pytest.raises(CorruptArtifact, match="go on from step 1"):
            checkpoints.load(2)


def test_a_checkpoint_under_the_name_of_another_step_is_refused(saved: tuple[Path, bytes]) -> None:
    path, whole = saved
    path.with_name("step-000000000003.safetensors").write_bytes(whole)

    with Checkpoints(path.parent) as checkpoints, pytest.raises(CorruptArtifact, match="digest"):
        checkpoints.load(3)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, bytes]:
    """A folder with steps 1 and 2; the file of step 2 and its bytes."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {}, some_values(1))
        path = checkpoints.save(2, DOCUMENT, some_values(2))
    return path, path.read_bytes()


def test_a_step_that_is_not_there_is_answered_with_those_that_are(saved: tuple[Path, bytes]) -> None:
    with Checkpoints(saved[0].parent) as checkpoints, pytest.raises(NotFound, match="1, 2"):
        checkpoints.load(7)


# -- killed ----------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from partita.train.checkpoints import Checkpoints

folder, call, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
checkpoints = Checkpoints(folder, keep=1)
real, count = getattr(os, call), 0

def hooked(*args, **kwargs):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if count == -at:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, call, hooked)
checkpoints.save(2, {"new": True}, {"a": np.ones(200_000)})
"""


# Before and after: the first fsync is of the file, the second of the folder; unlink first takes the partial file away.
@pytest.mark.parametrize(
    ("call", "at", "steps"),
    [
        ("fsync", 1, (1,)),
        ("fsync", -1, (1,)),
        ("replace", 1, (1,)),
        ("replace", -1, (1, 2)),
        ("fsync", 2, (1, 2)),
        ("fsync", -2, (1, 2)),
        ("unlink", 1, (1, 2)),
        ("unlink", 2, (1, 2)),
        ("unlink", -2, (2,)),
    ],
)
def test_a_kill_inside_save_leaves_whole_checkpoints_only(
    tmp_path: Path, call: str, at: int, steps: tuple[int, ...]
) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, DOCUMENT, some_values(1))

    child = subprocess.run([sys.executable, "-c", KILLED, tmp_path, call, str(at)], check=False)

    assert child.returncode == -9
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == steps
        assert [checkpoints.load(step)[0] for step in steps]
        assert not list(tmp_path.glob(".partial-*"))


# -- what this machine may refuse ------------------------------------------------------------------------------


def test_a_full_disk_says_so_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {}, {})
        monkeypatch.setattr(os, "fsync", full)

        with pytest.raises(LocalError, match=r"No space left.*\n.*free some space"):
            checkpoints.save(2, {}, {})

        assert checkpoints.steps() == (1,)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="choose a folder"):
        Checkpoints(tmp_path / "file" / "run")


@pytest.mark.parametrize("call", ["load", "steps", "discard"])
def test_a_folder_that_may_not_be_read_or_written_is_said(
    saved: tuple[Path, bytes], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with Checkpoints(saved[0].parent) as checkpoints:
        for method in {"load": ["read_bytes"], "steps": ["iterdir"], "discard": ["unlink"]}[call]:
            monkeypatch.setattr(Path, method, refused)
        acts = {
            "load": lambda: checkpoints.load(1),
            "steps": checkpoints.steps,
            "discard": lambda: checkpoints.discard_after(0),
        }

        with pytest.raises(StoreUnavailable, match=r"Permission denied.*\n.*fix: check that"):
            acts[call]()


def test_the_folder_opens_to_its_owner_only(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "deep" / "run"):
        assert stat.S_IMODE((tmp_path / "deep" / "run").stat().st_mode) == 0o700


def test_a_second_user_of_a_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from partita.train.checkpoints import Checkpoints\n"
    code += "Checkpoints(Path(sys.argv[1]))"
    with Checkpoints(tmp_path):
        with pytest.raises(StoreUnavailable, match="in use by this process"):
            Checkpoints(tmp_path)
        other = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False)

    assert f"in use by process {os.getpid()}" in other.stderr.decode()


FORKING = """
import os, sys, time
from partita.train.checkpoints import Checkpoints
checkpoints = Checkpoints(__import__("pathlib").Path(sys.argv[1]))
child = os.fork()
if child:
    print(child, flush=True)
    os._exit(0)
os.close(1)
time.sleep(60)
"""


def test_a_child_that_outlives_its_parent_holds_no_folder(tmp_path: Path) -> None:
    """Loaders of data fork children, and a parent that is killed cannot end them."""
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    child = int(subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True).stdout)
    try:
        Checkpoints(tmp_path).close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_said_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", none)
        with pytest.raises(StoreUnavailable, match="No locks available"):
            Checkpoints(tmp_path)

    Checkpoints(tmp_path).close()


def test_a_closed_folder_is_free_and_takes_nothing_more(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path)
    first.close()
    first.close()

    with Checkpoints(tmp_path) as second:
        second.save(1, {}, {})
    with pytest.raises(StoreUnavailable, match="closed"):
        first.save(2, {}, {})


def test_files_that_are_no_checkpoints_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, {}, {})
        checkpoints.discard_after(-1)

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_at_least_one_checkpoint_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="keep: 0"):
        Checkpoints(tmp_path, keep=0)
