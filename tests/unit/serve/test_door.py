"""The door of the folder: every public name is there, and nothing is loaded that was not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import partita.serve as door


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


def test_a_device_that_serves_loads_nothing_that_trains_or_exports() -> None:
    """A network with exits, its policy and its scheduler: no torch, no onnx, no zoo."""
    code = (
        "import sys; from partita.serve import ExitModel, Scheduler, parse_policy, scheduler_for, simulate; "
        "print([m for m in ('torch', 'onnx', 'torchvision', 'partita.zoo', 'partita.serve.training', "
        "'partita.serve.exits', 'partita.serve.exporting', 'partita.engine.onnx_model') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
