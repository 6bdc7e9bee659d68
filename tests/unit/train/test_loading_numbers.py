"""Random numbers of the data, apart from those of the training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partita.train.loading_numbers import Apart, data_seed


def test_a_stretch_goes_on_where_the_last_one_stood() -> None:
    """Whatever was drawn between."""
    apart, alone = Apart(3), Apart(3)
    with alone:
        expected = torch.rand(2)
    with apart:
        first = torch.rand(1)
    torch.rand(7)
    with apart:
        second = torch.rand(1)

    assert torch.equal(torch.cat([first, second]), expected)


def test_the_callers_numbers_are_put_back_after_an_error() -> None:
    """Too."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="invalid"), Apart(1):
        int(f"invalid {torch.rand(1)}")

    assert torch.equal(before, torch.get_rng_state())


@given(st.integers(0, 2**70), st.integers(0, 99), st.integers(-1, 99))
def test_seeds_fit_every_generator(seed: int, epoch: int, batch: int) -> None:
    """And neighbours differ."""
    assert 0 <= data_seed(seed, epoch, batch) < 2**63
    assert data_seed(seed, epoch, batch) != data_seed(seed, epoch, batch + 1)
