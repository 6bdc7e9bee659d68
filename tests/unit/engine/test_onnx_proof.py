"""Proofs say equal only when it is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_proof import Proof, prove, run_parts
from partita.errors import IllegalCut
from partita.testing.onnx_models import write_onnx


def test_a_proof_names_every_output(tmp_path: Path) -> None:
    """Early outputs too."""
    proof = prove(capture_onnx(write_onnx("early_output", tmp_path)), [3, 1], batch=2)

    assert proof.differences == {"early": 0.0, "y": 0.0}
    assert proof.equal
    assert str(proof) == "early_output cut at 1, 3 (exact): equal bit for bit"


def test_a_proof_of_a_difference_states_it() -> None:
    """The largest of all outputs."""
    proof = Proof("m", (), "all", {"a": 0.0, "b": 1.5e-6})

    assert not proof.equal
    assert proof.largest == 1.5e-6
    assert str(proof) == "m cut at nowhere (all): differs by up to 1.5e-06"


def test_a_wrong_part_would_be_found(tmp_path: Path) -> None:
    """Other weights behind the same names: the proof fails, as it must."""
    first = capture_onnx(write_onnx("skip", tmp_path, seed=1))
    values = first.example()
    whole = first.whole(values)
    second = capture_onnx(write_onnx("skip", tmp_path, seed=2))

    assert not np.array_equal(run_parts(second, [3], values)["y"], whole["y"])


def test_illegal_cuts_prove_nothing(tmp_path: Path) -> None:
    """They are refused before anything runs."""
    with pytest.raises(IllegalCut):
        prove(capture_onnx(write_onnx("sequence", tmp_path)), [2])
