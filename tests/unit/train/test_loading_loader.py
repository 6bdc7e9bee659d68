"""DataLoaders taken apart: samplers, collate functions, workers, random transforms."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.train import loading_loader
from partita.train.loading import Batches
from partita.train.settings import Settings

ONE = (TensorSpec("x", DType.FLOAT32, ("batch", 2)),)


class Noisy(Dataset[Any]):
    """Draws from all three sources of random numbers, as transforms do."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        return torch.rand(2) + random.random() + float(np.random.rand()), at


def calm(_: int) -> None:
    """Whoever measures coverage warns when a worker ends, and warnings are errors here."""
    warnings.simplefilter("ignore")


def drawn(loader: Any, epoch: int = 1, start: int = 0, seed: int = 0) -> list[tuple[list[float], list[int]]]:
    batches = Batches.of(loader, Settings(seed=seed), ONE).epoch(epoch, start)
    return [(b.inputs["x"][:, 0].tolist(), b.ids.tolist()) for b in batches]


def test_workers_change_nothing() -> None:
    """Not the order, not what transforms draw, not after a resume."""
    alone = drawn(DataLoader(Noisy(), 4, shuffle=True))
    worked = DataLoader(Noisy(), 4, shuffle=True, num_workers=2, worker_init_fn=calm)

    assert alone == drawn(worked)
    assert alone[3:] == drawn(worked, start=3)
    assert alone != drawn(worked, epoch=2)
    assert alone != drawn(DataLoader(Noisy(), 4, shuffle=True), seed=1)


def test_the_callers_random_numbers_stay_as_they_were() -> None:
    """Those of torch, numpy, `random` and the loader's own generator."""
    own = torch.Generator().manual_seed(5)
    batches = Batches.of(DataLoader(Noisy(), 4, shuffle=True, generator=own), Settings(), ONE)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = torch.rand(1).item(), random.random(), float(np.random.rand()), own.get_state().tolist()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    list(batches.epoch(1))

    assert before == (
        torch.rand(1).item(),
        random.random(),
        float(np.random.rand()),
        own.get_state().tolist(),
    )


@pytest.mark.parametrize(
    "sampler",
    [
        lambda: {"sampler": WeightedRandomSampler([0.0] * 10 + [1.0] * 10, 12)},
        lambda: {"sampler": RandomSampler(Noisy(), generator=torch.Generator())},
        lambda: {"sampler": list(range(19, -1, -1))},
        lambda: {"sampler": DistributedSampler(Noisy(), num_replicas=2, rank=1)},
    ],
)
def test_a_sampler_of_the_users_own_is_respected(sampler: Any) -> None:
    """And what it draws is a function of seed and epoch."""
    asked = sampler()
    loader = DataLoader(Noisy(), 4, **asked)
    found = drawn(loader, epoch=3)

    assert found == drawn(DataLoader(Noisy(), 4, **sampler()), epoch=3)
    assert found[2:] == drawn(loader, epoch=3, start=2)
    if isinstance(asked["sampler"], WeightedRandomSampler):
        assert min(min(ids) for _, ids in found) >= 10
    elif isinstance(asked["sampler"], list):
        assert found[0][1] == [19, 18, 17, 16]
    else:
        assert found != drawn(loader, epoch=4)


def test_a_batch_sampler_is_respected() -> None:
    """Batches of any sizes."""

    class Growing:
        def __iter__(self) -> Iterator[list[int]]:
            yield from ([0], [1, 2], [3, 4, 5])

    for sampler, sizes in ((Growing(), [1, 2, 3]), (BatchSampler(range(7), 3, False), [3, 3, 1])):
        batches = Batches.of(DataLoader(Noisy(), batch_sampler=sampler), Settings(), ONE)
        assert [b.size for b in batches.epoch(1)] == sizes
    assert Batches.of(DataLoader(Noisy(), batch_sampler=Growing()), Settings(), ONE).steps_per_epoch is None


def test_a_collate_function_is_respected_and_may_drop_samples() -> None:
    """Ids that no longer belong to rows are not told."""

    def tidy(samples: list[Any]) -> Any:
        kept = [s for s in samples if s[1] != 5]
        return torch.stack([s[0] for s in kept]), torch.tensor([s[1] * 10 for s in kept])

    batches = list(Batches.of(DataLoader(Noisy(), 4, collate_fn=tidy), Settings(), ONE).epoch(1))

    assert batches[0].targets["label"].tolist() == [0, 10, 20, 30]
    assert (batches[1].size, batches[1].ids) == (3, None)


def test_data_that_gives_whole_batches_by_position_is_respected() -> None:
    """batch_size=None: the data set makes batches itself."""

    class Whole(Dataset[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: int) -> Any:
            return np.full((4, 2), at, np.float32), np.full(4, at)

    batches = list(Batches.of(DataLoader(Whole(), batch_size=None), Settings(), ONE).epoch(1, 1))

    assert [(b.size, b.ids, b.targets["label"][0]) for b in batches] == [(4, None, 1), (4, None, 2)]


def test_many_samples_may_be_fetched_at_once() -> None:
    """By a data set that knows how."""

    class Many(TensorDataset):
        def __getitems__(self, order: list[int]) -> list[Any]:
            return [(torch.zeros(2), at) for at in order]

    loader = DataLoader(Many(torch.zeros(5, 2), torch.zeros(5)), 2)

    assert [b.targets["label"].tolist() for b in Batches.of(loader, Settings(), ONE).epoch(1)] == [
        [0, 1],
        [2, 3],
        [4],
    ]


def test_a_data_set_alone_gets_the_batch_of_the_settings() -> None:
    """Shuffled for training, as it lies for judging."""
    batches = Batches.of(Noisy(), Settings(batch=8), ONE)

    assert [b.size for b in batches.epoch(1)] == [8, 8, 4]
    assert next(batches.epoch(1)).ids.tolist() != list(range(8))
    assert [b.ids[0] for b in batches.in_order()] == [0, 8, 16]


def test_judging_with_a_shuffled_loader_is_the_same_each_time() -> None:
    """Its order is drawn once for all."""
    batches = Batches.of(DataLoader(Noisy(), 4, shuffle=True), Settings(), ONE)

    assert [b.inputs["x"].tolist() for b in batches.in_order()] == [
        b.inputs["x"].tolist() for b in batches.in_order()
    ]


def test_a_sampler_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it fills the memory."""
    monkeypatch.setattr(loading_loader, "_MOST", 50)

    class Endless:
        def __iter__(self) -> Iterator[list[int]]:
            while True:
                yield [0]

    with pytest.raises(BadDocument, match="more than 50 batches"):
        Batches.of(DataLoader(Noisy(), batch_sampler=Endless()), Settings(), ONE)


def test_what_a_worker_raises_is_told_in_one_line() -> None:
    """Without the traceback that torch wraps around it."""

    class Bad(Noisy):
        def __getitem__(self, at: int) -> Any:
            if at > 8:
                raise KeyError("gone")
            return super().__getitem__(at)

    with pytest.raises(BadDocument) as caught:
        list(Batches.of(DataLoader(Bad(), 4, num_workers=1, worker_init_fn=calm), Settings(), ONE).epoch(1))
    assert caught.value.problem == "batch 2 of the data: KeyError: KeyError: 'gone'"
