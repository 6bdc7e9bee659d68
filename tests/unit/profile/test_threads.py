"""How many threads a model runs on."""

import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from partita.errors import BadDocument, UserError
from partita.profile import measure
from partita.profile.threads import usable_cores, use_threads, with_threads


@dataclass(frozen=True)
class Settings:
    threads: int = 0


@dataclass(frozen=True)
class Adjustable:
    """A captured model that carries its settings."""

    chain: object = field(default_factory=lambda: SimpleNamespace(engine="onnx"))
    settings: Settings = field(default_factory=Settings)

    def with_settings(self, settings):
        return replace(self, settings=settings)


def test_a_model_with_settings_is_copied_with_others():
    """The model that was given keeps its own."""
    model = Adjustable()

    with use_threads(model, usable_cores() + 1) as (ready, count):
        assert (ready.settings.threads, count) == (usable_cores() + 1,) * 2
    assert model.settings.threads == 0


def test_zero_threads_mean_every_core():
    """ONNX Runtime's word for all of them is written as a number into a profile."""
    with use_threads(Adjustable(), None) as (_, count):
        assert count == usable_cores()


def test_the_count_of_a_process_is_put_back(monkeypatch):
    """PyTorch's count is set for the block only."""
    counts = [4]
    fake = SimpleNamespace(get_num_threads=lambda: counts[-1], set_num_threads=counts.append)
    monkeypatch.setitem(sys.modules, "torch", fake)
    model = SimpleNamespace(chain=SimpleNamespace(engine="torch"))

    with use_threads(model, 2) as (_, count):
        assert (count, counts) == (2, [4, 2])
    assert counts == [4, 2, 4]


def test_a_count_that_cannot_be_set_is_refused(model):
    """A wrong count in a profile would be believed."""
    with pytest.raises(UserError, match="cannot change its thread count") as caught:
        measure(model((0.1,)), threads=usable_cores() + 1)

    assert "OMP_NUM_THREADS" in caught.value.fix


def test_less_than_one_thread_is_refused(model):
    """Nothing runs on none."""
    with pytest.raises(BadDocument, match="threads: 0 is less than 1"):
        measure(model((0.1,)), threads=0)


def test_a_model_can_be_put_on_so_many_threads_for_good():
    """A copy for a model with settings; the model itself where the count is right already."""
    model = with_threads(Adjustable(), 7)

    assert model.settings.threads == 7
    assert with_threads(model, 7) is model
