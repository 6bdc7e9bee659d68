"""The repair of torchvision."""

from __future__ import annotations

import sys

import pytest

from partita.zoo import guard


@pytest.fixture(autouse=True)
def forget() -> object:
    """Each test decides anew; afterwards the true answer is found again."""
    guard.torchvision_works.cache_clear()
    yield
    guard.torchvision_works.cache_clear()


def test_a_torchvision_that_is_loaded_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is defined, nothing is purged."""
    guard.torchvision_works()
    loaded = sys.modules["torchvision"]
    guard.torchvision_works.cache_clear()
    monkeypatch.setattr(guard, "_define_schemas", pytest.fail)

    assert guard.torchvision_works()
    assert sys.modules["torchvision"] is loaded


def test_without_torchvision_there_is_nothing_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no error."""
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(guard.importlib.util, "find_spec", lambda _: None)

    assert not guard.torchvision_works()


def test_an_import_that_fails_for_another_reason_is_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only missing operators are defined."""
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(guard, "_plain_import", lambda: ImportError("broken"))
    monkeypatch.setattr(guard, "_define_schemas", pytest.fail)

    assert not guard.torchvision_works()


def test_missing_operators_are_defined_and_the_import_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a CPU torch beside a CUDA torchvision."""
    answers = [RuntimeError("operator torchvision::nms does not exist"), None]
    defined: list[bool] = []
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(guard, "_plain_import", lambda: answers.pop(0))
    monkeypatch.setattr(guard, "_define_schemas", lambda: defined.append(True))

    assert guard.torchvision_works()
    assert defined == [True]
