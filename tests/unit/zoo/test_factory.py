"""The user's own factories."""

from __future__ import annotations

from pathlib import Path

import pytest

from partita.errors import BadReference
from partita.graph import parse_tensor
from partita.zoo import build, resolve

SOURCE = """
import torch
from torch import nn

def pair(width=4):
    return nn.Linear(8, width), torch.ones(2, 8)

def triple():
    return nn.Bilinear(3, 3, 2), (torch.ones(2, 3),), {"input2": torch.ones(2, 3)}

def bare():
    return nn.Linear(8, 4)

def wrong():
    return 5

def broken():
    raise KeyError("width")

number = 5
instance = nn.Linear(8, 4)
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mynets.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.mark.parametrize("name", ["pair", "triple"])
def test_a_factory_gives_a_module_with_its_example(file: str, name: str) -> None:
    """As (module, args) or (module, args, kwargs)."""
    assert len(resolve(f"{file}:{name}").chain) == 1


def test_options_are_the_factorys_keywords(file: str) -> None:
    """What stands behind `?`."""
    assert build(f"{file}:pair?width=9").module.out_features == 9


@pytest.mark.parametrize("name", ["bare", "instance"])
def test_a_module_without_an_example_needs_a_description(file: str, name: str) -> None:
    """`--input` says what it takes."""
    with pytest.raises(BadReference, match="without example inputs") as caught:
        build(f"{file}:{name}")

    assert "--input" in caught.value.fix
    assert len(resolve(f"{file}:{name}", inputs=(parse_tensor("input:float32[batch,8]"),)).chain) == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("wrong", "gave a int, no nn.Module"),
        ("number", "is a int, no factory"),
        ("broken", "could not be built: KeyError"),
        ("pairs", "has no 'pairs'"),
    ],
)
def test_what_is_no_factory_is_refused(file: str, name: str, problem: str) -> None:
    """Each with what it is."""
    with pytest.raises(BadReference, match=problem):
        build(f"{file}:{name}")


def test_a_package_beside_the_prompt_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `python -m`."""
    (tmp_path / "beside_the_prompt.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    assert build("beside_the_prompt:pair").module.out_features == 4


def test_a_module_that_is_not_there_and_one_that_fails_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing dependency of the user's code is not a missing reference."""
    (tmp_path / "needs_more.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadReference, match="there is no Python module 'no_such_place'"):
        build("no_such_place.nets:f")
    with pytest.raises(BadReference, match="no Python module 'torchvison'") as near:
        build("torchvison:resnet18")
    assert near.value.fix == "did you mean torchvision?"
    with pytest.raises(BadReference, match="could not be built: ModuleNotFoundError"):
        build("needs_more:f")
    with pytest.raises(BadReference, match="there is no file"):
        build("no_such_file.py:f")
