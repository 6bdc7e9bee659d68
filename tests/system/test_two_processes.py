"""A model in parts, in two real processes over a real connection, and everything that can be wrong with it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from partita.testing.onnx_models import write_onnx

MODEL = ("zoo:resnet-tiny", "--depth", "1", "--threads", "1", "-b", "2")


@pytest.mark.parametrize("cut", ["0", "2", "6", "1,4", "2,6"])
def test_two_processes_give_what_one_gives(run_partita: Any, serve: Callable[..., Any], cut: str) -> None:
    """The difference is exactly 0, wherever the cut is."""
    place = serve(*MODEL)
    code, document, complaints = run_partita(
        "run-parts", *MODEL, "--cut", cut, "--cloud", place.url, "--token-file", place.token_file, "--steps", "3"
    )

    assert code == 0, complaints
    assert document["difference"] == 0.0


def test_the_edges_weights_are_those_that_count(run_partita: Any, serve: Callable[..., Any]) -> None:
    """The cloud was started with other weights; the edge's are sent, and the result is the edge's model."""
    place = serve(*MODEL, "--seed", "7")
    code, document, _ = run_partita(
        "run-parts", *MODEL, "--cut", "2", "--cloud", place.url, "--token-file", place.token_file, "--steps", "2"
    )

    assert code == 0
    assert document["difference"] == 0.0
    assert document["connection"]["sent_payload"] > 600_000


def test_a_second_process_is_started_over_a_slow_link(run_partita: Any) -> None:
    """Without --cloud everything is made here: a process, a link of 50 Mbit/s, a token."""
    code, document, complaints = run_partita(
        "run-parts", *MODEL, "--cut", "3", "--link", "50mbit/10ms", "--codec", "fp16", "--window", "1", "--steps", "4"
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


def test_an_onnx_file_with_other_weights_is_refused(run_partita: Any, serve: Callable[..., Any], tmp_path: Path) -> None:
    """Weights of ONNX parts are not sent, so they must be the same on both sides."""
    path = write_onnx("skip", tmp_path, seed=1)
    place = serve(str(path))
    good = ["run-parts", str(path), "--cloud", place.url, "--token-file", place.token_file, "--steps", "2"]
    assert run_partita(*good)[1]["difference"] == 0.0
    write_onnx("skip", tmp_path, seed=2)
    code, document, _ = run_partita(*good)

    assert (code, document["error"]) == (4, "digest-mismatch")
    assert "weights" in document["problem"]


def test_a_server_lives_through_every_wrong_visitor(run_partita: Any, serve: Callable[..., Any], tmp_path: Path) -> None:
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
    assert error("zoo:unet-tiny", *good) == (2, "not-found")
    assert error("zoo:resnet-tiny", "--depth", "2", *good) == (4, "digest-mismatch")
    assert run_partita("run-parts", *MODEL, *good)[0] == 0


def test_a_place_that_nobody_serves_is_unreachable(run_partita: Any) -> None:
    """The address is named."""
    code, document, _ = run_partita("run-parts", *MODEL, "--cloud", "ws://127.0.0.1:9")

    assert (code, document["error"]) == (4, "unreachable")
    assert "127.0.0.1:9" in document["problem"]


def test_a_public_address_without_token_and_tls_is_refused(run_partita: Any) -> None:
    """The way out is the command."""
    code, document, _ = run_partita("run-parts", *MODEL, "--listen", "0.0.0.0:0")

    assert (code, document["error"]) == (2, "insecure-bind")
    assert "partita certs" in document["fix"]


def test_the_second_process_ends_with_the_first(kill_and_wait: Callable[[int, int], bool]) -> None:
    """Even when the first is killed, nothing is left behind."""
    command = [sys.executable, "-m", "partita", "run-parts", *MODEL, "--listen", "127.0.0.1:0", "--until-eof", "--json"]
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
    code, document, complaints = run_partita("run-parts", *MODEL, "--weights", path, "--cut", "2", "--steps", "2")
    assert (code, document["difference"]) == (0, 0.0), complaints

    broken = load_file(path)
    broken["nonsense"] = broken.pop("fc.weight")
    save_file(broken, path)
    code, document, _ = run_partita("run-parts", *MODEL, "--weights", path)
    assert code == 2
    assert len(document["problems"]) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--cut", "1,2,3"], "'1,2,3'"),
        (["--cut", "99"], "does not exist|covers|stops|ends"),
        (["--plan", "nowhere.json"], "not a file"),
        (["--plan", "edge[0:2] -raw-> cloud[2:5]"], "covers 5 stages"),
        (["--link", "fast"], "fast"),
        (["--slow", "edge=0"], "'edge=0'"),
        (["--listen", "here"], "'here' is not HOST:PORT"),
    ],
)
def test_bad_wishes_are_refused_before_anything_runs(run_partita: Any, words: list[str], says: str) -> None:
    """Each wrong option names its value and the way out."""
    import re

    code, document, complaints = run_partita("run-parts", *MODEL, *words)

    assert code == 2, complaints
    assert re.search(says, document["problem"]), document
    assert document["fix"]
