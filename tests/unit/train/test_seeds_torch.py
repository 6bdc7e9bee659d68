"""Random numbers of a part in a step."""

from __future__ import annotations

import pytest
import torch

from partita.engine.torch_capture import capture_torch
from partita.errors import BadDocument
from partita.train.seeds import step_seed
from partita.train.seeds_torch import Drawing, NoNumbers, Numbers, draws

CPU = torch.device("cpu")


def test_a_stretch_begins_where_manual_seed_begins() -> None:
    """What a plain loop would draw."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(3)
    with Drawing(CPU, 5):
        assert torch.equal(torch.rand(3), expected)


def test_a_state_that_is_told_on_continues_the_row() -> None:
    """Two parts draw what one would."""
    with Drawing(CPU, 5):
        whole = torch.rand(6)
    with Drawing(CPU, 5) as first:
        half = torch.rand(3)
        told = first.state()
    with Drawing(CPU, 99, told):
        assert torch.equal(torch.cat([half, torch.rand(3)]), whole)


def test_who_draws_nothing_tells_nothing() -> None:
    """None, and no bytes on the wire."""
    with Drawing(CPU, 5) as drawing:
        torch.ones(3)
        assert drawing.state() is None


def test_the_callers_numbers_go_on_as_if_nothing_happened() -> None:
    """Also where the work fails."""

    def work() -> None:
        with Drawing(CPU, 5):
            torch.rand(3)
            raise ZeroDivisionError

    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        work()

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("state", [b"", b"\0" * 100, b"\xff" * 5056, b"\0" * 6000])
def test_bytes_that_are_no_state_are_refused_and_leave_no_trace(state: bytes) -> None:
    """They come from outside."""
    before = torch.get_rng_state()
    with pytest.raises(BadDocument, match="rng"), Drawing(CPU, 5, state):
        pass

    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_from_a_gpu_serves_a_cpu_with_its_first_part() -> None:
    """The sixteen bytes of the GPU's generator mean nothing here."""
    with Drawing(CPU, 5) as first:
        torch.rand(3)
        told = first.state()
        expected = torch.rand(3)
    assert told is not None
    with Drawing(CPU, 0, told + b"\1" * 16):
        assert torch.equal(torch.rand(3), expected)


def test_numbers_of_a_part_are_those_of_its_seed() -> None:
    """Training, step, part."""
    with Numbers(lambda: CPU, 3, 4).draw(9):
        drawn = torch.rand(2)
    with Drawing(CPU, step_seed(3, 9, 4)):
        assert torch.equal(torch.rand(2), drawn)


def test_a_part_without_numbers_has_none() -> None:
    """Nothing is seeded and nothing told."""
    with NoNumbers().draw(1) as drawing:
        assert drawing is None


class Region(torch.nn.Module):
    """Operators inside a region of their own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * 2
        return y + x


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (torch.nn.Linear(4, 4), False),
        (torch.nn.BatchNorm1d(4), False),
        (torch.nn.Dropout(), True),
        (torch.nn.RReLU(), True),
        (torch.nn.LSTM(4, 4), True),
        (Region(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_draw_is_known_from_its_operators(module: torch.nn.Module, expected: bool) -> None:
    """torch says it of every operator; a region counts as drawing, because nobody looks into it."""
    model = capture_torch(module, (torch.randn(3, 4),), mode="train")

    assert draws(model.operators(0, len(model.chain), "train")) is expected
