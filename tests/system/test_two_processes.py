"""A model in parts, in two real processes over a real connection, and everything that can be wrong with it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from partita.testing.onnx_models import write_onnx

MODEL = ("zoo:resnet-tiny", "--depth", "1", "--threads", "1", "-b", "2")


def test_two_processes_give_what_one_gives(run_partita: Any, serve: Callable[..., Any]) -> None:
    """The difference is exactly 0, wherever the cut is; one place serves one visitor after the other."""
    place = serve(*MODEL)
    there = ["--cloud", place.url, "--token-file", place.token_file, "--steps", "3"]
    for cut in ("0", "2", "1,4"):
        code, document, complaints = run_partita("run-parts", *MODEL, "--cut", cut, *there)
        assert code == 0, complaints
        assert document["difference"] == 0.0


def test_the_edges_weights_are_those_that_count(run_partita: Any, serve: Callable[..., Any]) -> None:
    """The cloud was started with other weights; the edge's are sent, and the result is the edge's model."""
    place = serve(*MODEL, "--seed", "7")
    code, document, _ = run_partita(
        "run-parts",
        *MODEL,
        "--cut",
        "2",
        "--cloud",
        place.url,
        "--token-file",
        place.token_file,
        "--steps",
        "2",
    )

    assert code == 0
    assert document["difference"] == 0.0
    assert document["connection"]["sent_payload"] > 600_000


def test_a_second_process_is_started_over_a_slow_link(run_partita: Any) -> None:
    """Without --cloud everything is made here: a process, a link of 50 Mbit/s, a token."""
    code, document, complaints = run_partita(
        "run-parts",
        *MODEL,
        "--cut",
        "3",
        "--link",
        "50mbit/10ms",
        "--codec",
        "fp16",
        "--window",
        "1",
        "--steps",
        "4",
    )

    assert code == 0, complaints
    assert 0 < document["difference"] < 0.01
    assert document["report"]["step_seconds"] > 0.005


def test_an_onnx_file_runs_in_two_processes(run_partita: Any, tmp_path: Path) -> None:
    """ONNX parts give the same bits too."""
    path = write_onnx("split", tmp_path)
    code, document, complaints = run_partita("run-parts", str(path), "--steps", "2", "--threads", "1")

    assert code == 0, complaints
    assert document["difference"] == 0.0


def test_an_onnx_file_with_other_weights_is_refused(
    run_partita: Any, serve: Callable[..., Any], tmp_path: Path
) -> None:
    """Weights of ONNX parts are not sent, so they must be the same on both sides."""
    for side, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / side).mkdir()
        write_onnx("skip", tmp_path / side, seed=seed)
    place = serve(str(tmp_path / "a" / "skip.onnx"))
    there = ["--cloud", place.url, "--token-file", place.token_file, "--steps", "2"]
    assert run_partita("run-parts", str(tmp_path / "b" / "skip.onnx"), *there)[1]["difference"] == 0.0
    code, document, _ = run_partita("run-parts", str(tmp_path / "c" / "skip.onnx"), *there)

    assert (code, document["error"]) == (4, "digest-mismatch")
    assert "weights" in document["problem"]


def test_a_server_lives_through_every_wrong_visitor(
    run_partita: Any, serve: Callable[..., Any], tmp_path: Path
) -> None:
    """A wrong token, another model, another depth: each has its own error, and the next good visitor is served."""
    place = serve(*MODEL)
    good = ["--cloud", place.url, "--token-file", place.token_file, "--steps", "2"]
    wrong = tmp_path / "wrong"
    wrong.write_text("x" * 40)
    wrong.chmod(0o600)

    def error(*words: Any) -> tuple[int, str]:
        code, document, _ = run_partita("run-parts", *words)
        return code, document["error"]

    assert error(*MODEL, *good[:2], "--token-file", wrong) == (4, "access-denied")
    assert error(*MODEL, *good[:2]) == (4, "access-denied")
    assert error("zoo:unet-tiny", *good) == (4, "digest-mismatch")
    assert error("zoo:resnet-tiny", "--depth", "2", *good) == (4, "digest-mismatch")
    assert run_partita("run-parts", *MODEL, *good)[0] == 0


def test_the_second_process_ends_with_the_first(kill_and_wait: Callable[[int, int], bool]) -> None:
    """Even when the first is killed, nothing is left behind."""
    command = [
        sys.executable,
        "-m",
        "partita",
        "run-parts",
        *MODEL,
        "--listen",
        "127.0.0.1:0",
        "--until-eof",
        "--json",
    ]
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert kill_and_wait(parent.pid, child)
    finally:
        parent.kill()
        parent.communicate()


def test_weights_come_from_a_file(run_partita: Any, tmp_path: Path) -> None:
    """`--weights` takes a safetensors file; a wrong one is refused with every problem."""
    from partita.zoo import resolve

    state = resolve("zoo:resnet-tiny", batch=2, depth=1).part(0, 6).state()  # type: ignore[attr-defined]
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    code, document, complaints = run_partita(
        "run-parts", *MODEL, "--weights", path, "--cut", "2", "--steps", "2"
    )
    assert (code, document["difference"]) == (0, 0.0), complaints

    broken = load_file(path)
    broken["nonsense"] = broken.pop("fc.weight")
    save_file(broken, path)
    code, document, _ = run_partita("run-parts", *MODEL, "--weights", path)
    assert code == 2
    assert len(document["problems"]) == 2
