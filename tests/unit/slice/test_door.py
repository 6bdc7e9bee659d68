"""The door of the folder: every public name is there, and nothing is loaded that was not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import partita.slice as door


def test_every_public_name_is_there() -> None:
    """Each comes from the module that the door names."""
    assert all(getattr(door, name) is not None for name in door.__all__)
    assert sorted(door._HOME) == sorted(door.__all__)


def test_no_module_is_called_like_a_public_name() -> None:
    """Once it is imported, it would be found in the name's place."""
    assert not set(door._HOMES) & set(door.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        door.nothing  # noqa: B018


def test_one_slice_is_run_without_the_planner() -> None:
    """A function pays for what it loads: no planning, no event loop, no onnx."""
    code = (
        "import sys; import partita.slice.stage, partita.slice.worker; "
        "print([m for m in ('asyncio', 'onnx', 'torch', 'partita.slice.planner', 'partita.slice.searching', "
        "'partita.plan', 'partita.engine.onnx_model', 'partita.wire') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
