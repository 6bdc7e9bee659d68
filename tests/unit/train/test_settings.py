"""What can be asked of a training, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.train import Optimizing, Settings


def test_settings_travel_as_json_and_come_back_equal() -> None:
    """Both sides read the same document."""
    settings = Settings(
        epochs=3, optimizer=Optimizing("adamw", 0.01, {"weight_decay": 0.1}, clip=1.0), window="0,2@3"
    )

    assert load(Settings, dump(settings, indent=None)) == settings


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(BadDocument) as refusal:
        Settings(
            epochs=-1,
            batch=0,
            seed=-1,
            max_window=-1,
            min_front=-1,
            checkpoint=-1,
            feedback="loud",  # type: ignore[arg-type]
            feedback_down="more",  # type: ignore[arg-type]
            order="any",  # type: ignore[arg-type]
            window="2@",
        )

    for name in ("epochs", "batch", "seed", "max_window", "min_front", "checkpoint", "order", "window"):
        assert f"{name}:" in str(refusal.value)
    assert "'loud'" in str(refusal.value)
    assert "'more'" in str(refusal.value)
    assert refusal.value.fix


@pytest.mark.parametrize("window", ["", "-1", "1.5", "2@3", "2,", "2,3", "2,3@x", " 2", "2\n"])
def test_a_window_that_is_no_window_is_refused(window: str) -> None:
    with pytest.raises(BadDocument, match="window"):
        Settings(window=window)


def test_no_input_leaves_unless_that_is_asked_for() -> None:
    """What is not said is private, for the inputs; the labels of edge | cloud are the plan's business."""
    assert (Settings().inputs_private, Settings().labels_private) == (True, False)


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ("auto", [None, None, None, None]),
        ("3", [3, 3, 3, 3]),
        ("0,2@3", [0, 0, 2, 2]),
        ("4,1@2,0@4", [4, 1, 1, 0]),
        ("1,9@1", [9, 9, 9, 9]),
    ],
)
def test_windows_go_by_epoch(window: str, found: list[int | None]) -> None:
    settings = Settings(window=window)

    assert [settings.window_at(epoch) for epoch in (1, 2, 3, 4)] == found
    assert settings.fixed_window == (window != "auto")


@given(st.integers(0, 99), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=4))
def test_the_last_rule_that_has_begun_counts(first: int, rules: list[tuple[int, int]]) -> None:
    text = ",".join([str(first), *(f"{window}@{since}" for window, since in rules)])
    for epoch in (1, 7, 30):
        begun = [window for window, since in rules if epoch >= since]
        assert Settings(window=text).window_at(epoch) == (begun[-1] if begun else first)


def test_an_optimizer_prints_as_it_is_written_on_a_command_line() -> None:
    assert str(Optimizing("sgd", 0.05, {"momentum": 0.9}, clip=1)) == "sgd:0.05,momentum=0.9,clip=1"
    assert str(Optimizing("adam", 1e-3)) == "adam:0.001"


def test_an_optimizer_is_refused_with_all_its_bad_numbers() -> None:
    with pytest.raises(BadDocument) as refusal:
        Optimizing("sgd", float("nan"), {"momentum": float("inf")}, clip=-1.0)

    for name in ("rate", "clip", "options.momentum"):
        assert name in str(refusal.value)


def test_the_numbers_of_an_optimizer_do_not_change_afterwards() -> None:
    numbers = {"momentum": 0.9}
    spec = Optimizing("sgd", 0.1, numbers)
    numbers["momentum"] = 0.0

    assert spec.options["momentum"] == 0.9
    with pytest.raises(TypeError):
        spec.options["momentum"] = 0.5  # type: ignore[index]
