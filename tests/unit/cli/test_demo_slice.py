"""The act of `slice` in the demo, on a network that exports in a moment."""

from pathlib import Path

import pytest

from partita.cli.demo_slice import ROOM, act, small_functions
from partita.cli.render import Screen
from partita.plan import pick

FACTORY = """
import torch

def net():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(256, 1024), torch.nn.Linear(1024, 1024), torch.nn.Linear(1024, 16)]
    return torch.nn.Sequential(*layers), torch.ones(2, 256)
"""


def test_the_functions_of_the_demo_have_less_room_and_nothing_else_differs() -> None:
    place, real = small_functions(), pick("aws-lambda")

    assert place.limits.package == real.limits.runtime_package + ROOM
    assert (place.limits.memory, place.event, place.prices) == (real.limits.memory, real.event, real.prices)


def test_the_act_shows_a_layer_divided_and_all_numbers_equal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The middle layer has 4.2 MB, and a function has room for 2.3 MB."""
    (tmp_path / "nets.py").write_text(FACTORY)
    found = act(Screen(as_json=False), f"{tmp_path / 'nets.py'}:net")
    said = capfd.readouterr().out

    assert found.equal
    assert found.slices >= 3
    assert found.warm > 0
    assert "divided" in said
    assert [value for name, value, _ in found.claims if "largest difference" in name] == ["0, bit for bit"]
