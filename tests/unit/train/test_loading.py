"""Batches of a training, whatever a user has: the order, the ids, and going on in the middle."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from partita.engine.torch_capture import capture_torch
from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.train.loading import Batch, Batches, example_of
from partita.train.settings import Settings
from partita.zoo import open_data

ONE = (TensorSpec("x", DType.FLOAT32, ("batch", 3)),)
SHARED = next((p / "shared/data" for p in Path(__file__).parents if (p / "shared/data").is_dir()), None)


def arrays(n: int = 23) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n * 3.0).reshape(n, 3), np.arange(n) % 2


def ids(batches: Any) -> list[list[int]]:
    return [batch.ids.tolist() for batch in batches]


def same(one: Batch, other: Batch) -> bool:
    kept = [(b.inputs | b.targets | ({} if b.ids is None else {"ids": b.ids})) for b in (one, other)]
    return kept[0].keys() == kept[1].keys() and all(np.array_equal(v, kept[1][k]) for k, v in kept[0].items())


def test_arrays_become_batches_by_name() -> None:
    """The last one is smaller; rows, labels and ids belong together; float64 becomes what the model takes."""
    data = Batches.of(arrays(), Settings(batch=8), ONE)
    epoch = list(data.epoch(1))

    assert (data.steps_per_epoch, [b.size for b in epoch]) == (3, [8, 8, 7])
    assert sorted(chain.from_iterable(ids(epoch))) == list(range(23))
    for batch in epoch:
        assert (batch.inputs["x"].dtype, batch.targets["label"].dtype) == (np.float32, np.int64)
        assert np.array_equal(batch.inputs["x"][:, 0], 3 * batch.ids)
        assert np.array_equal(batch.targets["label"], batch.ids % 2)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 9),
    drop=st.booleans(),
    epoch=st.integers(1, 5),
    start=st.integers(0, 6),
)
def test_an_epoch_begins_at_any_batch_and_gives_each_sample_once(
    n: int, size: int, drop: bool, epoch: int, start: int
) -> None:
    """Of arrays and of a loader."""
    x, y = arrays(n)
    loader = DataLoader(TensorDataset(torch.tensor(x), torch.tensor(y)), size, shuffle=True, drop_last=drop)
    for data in ((x, y), loader):
        if drop and data is loader and n < size:
            with pytest.raises(BadDocument, match="gives no batch"):
                Batches.of(data, Settings(batch=size), ONE)
            continue
        batches = Batches.of(data, Settings(batch=size), ONE)
        whole = list(batches.epoch(epoch))
        rest = list(batches.epoch(epoch, start))

        assert len(whole) == batches.steps_per_epoch
        assert len(rest) == max(0, len(whole) - start)
        assert all(map(same, whole[start:], rest))
        seen = list(chain.from_iterable(ids(whole)))
        assert len(set(seen)) == len(seen) == (n // size * size if data is loader and drop else n)


def test_orders_differ_by_epoch_and_seed_and_judging_has_none() -> None:
    """But come again."""
    data = Batches.of(arrays(), Settings(batch=23), ONE)
    other = Batches.of(arrays(), Settings(batch=23, seed=1), ONE)

    assert ids(data.epoch(1)) == ids(data.epoch(1)) != ids(data.epoch(2))
    assert ids(other.epoch(1)) != ids(data.epoch(1))
    assert ids(data.in_order()) == [list(range(23))]


def test_our_own_sets_go_with_positions_and_changes() -> None:
    """The changes depend on seed, epoch and batch; judged samples are not changed."""
    digits = open_data("made:digits?train=20", size=8)
    spec = (TensorSpec("image", DType.FLOAT32, ("batch", 1, 8, 8)),)
    data = Batches.of(digits, Settings(batch=8), spec, augment="crop,flip")
    whole, rest = list(data.epoch(2)), list(data.epoch(2, 1))

    assert [b.size for b in whole] == [8, 8, 4]
    assert all(map(same, whole[1:], rest))
    assert all(np.array_equal(digits.labels[b.ids], b.targets["label"]) for b in whole)
    judged = next(data.in_order())
    assert np.array_equal(judged.inputs["image"][3], digits[3][0])
    assert not np.array_equal(whole[0].inputs["image"][0], digits[int(whole[0].ids[0])][0])


def test_records_feed_models_with_several_inputs(tmp_path: Path) -> None:
    """By the names of the arrays."""
    np.savez(tmp_path / "r.npz", user=np.arange(10), item=np.zeros((10, 2), np.float64), y=np.arange(10) % 2)
    specs = (TensorSpec("item", DType.FLOAT32, ("batch", 2)), TensorSpec("user", DType.INT64, ("batch",)))
    data = Batches.of(open_data(tmp_path / "r.npz", split="train+val+test"), Settings(batch=4), specs)
    batch = data.first()

    assert list(batch.inputs) == ["item", "user"]
    assert np.array_equal(batch.inputs["user"], batch.ids)


def test_numbers_to_predict_come_as_floats(tmp_path: Path) -> None:
    """A regression over a table."""
    (tmp_path / "t.csv").write_text("a,b,c,price\n" + "".join(f"{n},1,2,{n / 2}\n" for n in range(20)))
    data = Batches.of(open_data(f"{tmp_path}/t.csv?targets=price", split="train+val+test"), Settings(), ONE)

    assert data.first().targets["label"].dtype == np.float32
    assert np.array_equal(data.first().targets["label"], data.first().inputs["x"][:, 0] / 2)


def test_samples_are_picked_by_id() -> None:
    """For a side that is told ids only."""
    x, y = arrays()
    loader = DataLoader(TensorDataset(torch.tensor(x), torch.tensor(y)), 8)
    for data in ((x, y), loader):
        found = Batches.of(data, Settings(batch=8), ONE).pick(np.array([7, 2]))
        assert (found["x"][:, 0].tolist(), found["label"].tolist()) == ([21, 6], [1, 0])
        with pytest.raises(BadDocument, match="not among the 23"):
            Batches.of(data, Settings(batch=8), ONE).pick(np.array([23]))


def test_a_last_batch_of_one_is_noted() -> None:
    """Batch normalisation cannot train on it."""
    assert "one sample" in Batches.of(arrays(9), Settings(batch=8), ONE).notes[0]
    assert not Batches.of(arrays(10), Settings(batch=8), ONE).notes
    x, y = map(torch.tensor, arrays(9))
    assert Batches.of(DataLoader(TensorDataset(x, y), 8), Settings(), ONE).notes
    assert not Batches.of(DataLoader(TensorDataset(x, y), 8, drop_last=True), Settings(), ONE).notes


def test_targets_are_put_together_as_they_came() -> None:
    """For a loss of the user's own."""
    x, y = arrays(6)
    data = Batches.of((x, {"kind": y, "box": (y / 2, [y, None])}), Settings(batch=6), ONE)
    values = data.first().targets

    assert sorted(values) == ["label/box/0", "label/box/1/0", "label/kind"]
    built = data.structure(values)
    assert built["kind"] is values["label/kind"]
    assert built["box"] == (values["label/box/0"], [values["label/box/1/0"], None])


def test_targets_that_change_their_structure_are_refused() -> None:
    """With the batch."""
    x, y = arrays(4)
    with pytest.raises(BadDocument, match="batch 1 of the data: its targets are put together in another way"):
        list(Batches.of([(x, y), (x, {"a": y})], Settings(), ONE).epoch(1))


def test_what_a_transform_raises_is_told_with_its_batch() -> None:
    """Not as a traceback."""

    class Bad(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, at: int) -> Any:
            if at == 6:
                raise ValueError("no such\nfile: 6.png")
            return np.zeros(3), 0

    with pytest.raises(BadDocument, match=r"batch 1 of the data: ValueError: file: 6\.png"):
        list(Batches.of(DataLoader(Bad(), 4), Settings(), ONE).epoch(1))


def test_unlabelled_data_of_ours_is_refused(tmp_path: Path) -> None:
    """Before a training begins."""
    (tmp_path / "a.txt").write_text("one\ntwo\n" * 20)
    with pytest.raises(BadDocument, match="have no label"):
        Batches.of(open_data(tmp_path / "a.txt"), Settings(), ONE)


def test_a_model_is_captured_from_the_first_batch_and_then_fits_it() -> None:
    """One sample is doubled: it is no proof of an open size."""
    x, y = arrays(9)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    args, kwargs = example_of((x[:1], y[:1]), net)
    model = capture_torch(net, args, kwargs, mode="train")

    assert args[0].shape == (2, 3)
    assert args[0].dtype == torch.float32
    data = Batches.of((x, y), Settings(batch=4), model)
    assert model.whole(data.first().inputs)["output"].shape == (4, 4)


@pytest.mark.skipif(SHARED is None, reason="shared/data is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "spec", "count"),
    [
        ("cifar10-subset.zip", TensorSpec("x", DType.FLOAT32, ("batch", 3, 32, 32)), 2000),
        ("sst2", TensorSpec("ids", DType.INT64, ("batch", 64)), 1821),
    ],
)
def test_real_data_opens_and_feeds(name: str, spec: TensorSpec, count: int) -> None:
    """Photographs in a zip, reviews in tables."""
    assert SHARED is not None
    data = Batches.of(open_data(SHARED / name, split="test"), Settings(batch=64), (spec,))
    batch = next(data.epoch(1, start=2))

    assert (data.steps_per_epoch, batch.size) == (-(-count // 64), 64)
    assert len(set(batch.ids.tolist())) == 64
