"""What a slice's own process knows of itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from partita.errors import NotFound
from partita.slice.event import FolderStore
from partita.slice.worker import CountingStore, Setup, memory_now, ran_out


@pytest.mark.parametrize(
    "words",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB",
        "Failed to allocate memory for requested buffer of size 8000000000",
        "RuntimeError: can't start new thread",
    ],
)
def test_words_of_lacking_memory_are_known(words: str) -> None:
    assert ran_out(words)


@pytest.mark.parametrize("words", ["", "Segmentation fault", "negative dimension"])
def test_other_words_are_not_taken_for_it(words: str) -> None:
    assert not ran_out(words)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of pages is Linux's")
def test_resident_memory_is_split_into_its_kinds() -> None:
    now = memory_now()

    assert 0 < now["anonymous"] + now["file"] <= now["now"] <= now["peak"]


def test_a_store_counts_what_goes_through_it(tmp_path: Path) -> None:
    store = CountingStore(FolderStore(tmp_path))
    store.put("runs/a/b", b"12345")
    store.get("runs/a/b")
    store.get("runs/a/b")
    with pytest.raises(NotFound):
        store.get("runs/a/c")

    assert (store.written, store.read) == (5, 10)


def test_a_setup_travels_as_text() -> None:
    import json

    setup = Setup("/slices", 3, "/store", threads=2, exactness="fast", memory=5, file=6)

    assert Setup(**json.loads(setup.dump())) == setup


HEAVY = ("torch", "onnx", "onnxruntime", "transformers", "partita.wire", "partita.store", "partita.cli")


def test_a_function_loads_little() -> None:
    """No torch, no onnx, no wire: what a handler imports stays in memory beside every slice."""
    script = f"import sys, partita.slice.worker; print([m for m in {HEAVY} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
