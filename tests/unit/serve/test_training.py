"""Joint training: it learns, it repeats itself, and it survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partita.engine.torch_state import load_file
from partita.errors import BadDocument, CorruptArtifact, MissingExtra, NotFound, PartFailed
from partita.serve.exits_build import build_exits
from partita.serve.train_run import load_run, read_run
from partita.serve.train_spec import Progress, TrainSpec
from partita.serve.training import train
from partita.zoo import open_data

SPEC = TrainSpec(
    "early-cnn",
    arguments={"width": 4},
    batch_size=16,
    epochs=2,
    learning_rate=0.01,
    one_cycle=True,
    distill=0.2,
    augment="flip",
)


@dataclass(frozen=True)
class Patches:
    """Pictures whose class is the place of a bright patch. Small, and not to be learnt without looking."""

    count: int
    seed: int = 0
    classes: tuple[str, ...] = ("north", "east", "south")
    shape: tuple[int, ...] = (3, 16, 16)
    kind: str = "image"

    def __len__(self) -> int:
        return self.count

    def batches(
        self,
        size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        step: int = 0,
        shuffle: bool = False,
        augment: Any = None,
    ) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng(self.seed)
        labels = rng.integers(0, len(self.classes), self.count)
        pictures = rng.normal(0, 0.3, (self.count, *self.shape)).astype(np.float32)
        for picture, label in zip(pictures, labels, strict=True):
            y, x = [(0, 6), (6, 6), (12, 6)][label]
            picture[:, y : y + 4, x : x + 4] += 2
        rows = np.arange(self.count)
        if shuffle:
            rows = np.random.default_rng([seed, epoch]).permutation(self.count)
        for at in range(step * size, self.count, size):
            chosen = pictures[rows[at : at + size]]
            if augment is not None:
                chosen = augment(chosen, np.random.default_rng([seed, epoch, at]))
            yield np.ascontiguousarray(chosen), labels[rows[at : at + size]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run(folder: Path, spec: TrainSpec = SPEC, **options: Any) -> Any:
    return train(spec, Patches(50), Patches(21, seed=1), folder=folder, threads=1, **options)


def test_every_exit_learns(tmp_path: Path) -> None:
    spec = replace(SPEC, epochs=8, optimizer="sgd", learning_rate=0.05, distill=0.3)
    result = run(tmp_path, spec)

    assert min(result.run.accuracy) > 0.8
    assert result.trace[-1]["loss"] < result.trace[0]["loss"]


def test_the_same_training_gives_the_same_weights(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b")

    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", replace(SPEC, seed=1))

    assert not same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_training_stopped_within_an_epoch_ends_with_the_same_weights(
    tmp_path: Path, optimizer: Any
) -> None:
    spec = replace(SPEC, optimizer=optimizer)

    class Stopped(Exception):
        pass

    def stop(now: Progress) -> None:
        if (now.epoch, now.step) == (2, 3):
            raise Stopped

    run(tmp_path / "whole", spec)
    with pytest.raises(Stopped):
        run(tmp_path / "cut", spec, progress=stop, checkpoint_every=2)
    seen: list[Progress] = []
    resumed = run(tmp_path / "cut", spec, progress=seen.append)

    assert (seen[0].epoch, seen[0].step) == (2, 3)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert len(resumed.trace) == 2


def test_a_training_killed_outright_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    script = (
        "import importlib.util, os, signal, sys\n"
        "spec = importlib.util.spec_from_file_location('told', sys.argv[1])\n"
        "told = importlib.util.module_from_spec(spec); sys.modules['told'] = told; spec.loader.exec_module(told)\n"
        "from pathlib import Path\n"
        "def kill(now):\n"
        "    if now.epoch == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "told.run(Path(sys.argv[2]), progress=kill)\n"
    )
    command = [sys.executable, "-c", script, __file__, str(tmp_path / "cut")]
    killed = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert not read_run(tmp_path / "cut").finished
    run(tmp_path / "cut")
    run(tmp_path / "whole")

    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_run_folder_gives_its_network_back(tmp_path: Path) -> None:
    result = run(tmp_path)
    model = load_run(tmp_path)
    right = np.zeros(4)
    for inputs, labels in Patches(21, seed=1).batches(5):
        with torch.no_grad():
            right += [(row.argmax(1).numpy() == labels).sum() for row in model(torch.from_numpy(inputs))]

    assert not model.training
    assert tuple(right / 21) == pytest.approx(result.run.accuracy)


def test_every_sample_counts_once_whatever_the_last_batch(tmp_path: Path) -> None:
    result = run(tmp_path)
    truth = np.load(tmp_path / "truth.npz")

    assert truth["correct"].shape == truth["confidence"].shape == (21, 4)
    assert truth["logits"].shape == (21, 4, 3)
    assert result.run.samples == 21
    assert result.run.accuracy == pytest.approx(truth["correct"].sum(0) / 21)


def test_what_a_run_leaves_behind_can_be_read(tmp_path: Path) -> None:
    result = run(tmp_path)
    results = (tmp_path / "validation_results.csv").read_text().splitlines()
    trace = (tmp_path / "training_trace.csv").read_text().splitlines()

    assert read_run(tmp_path) == result.run
    assert len(results) == 5
    assert results[0].startswith("exit,name,accuracy,accuracy_low,accuracy_high,loss,flops")
    assert len(trace) == 3
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_residual_exits_are_trained_and_served_as_sums(tmp_path: Path) -> None:
    spec = replace(SPEC, loss_fn="residual", eval_fn="residual", distill=0.0)
    run(tmp_path, spec)
    truth = np.load(tmp_path / "truth.npz")
    model = load_run(tmp_path)
    ((inputs, _),) = Patches(21, seed=1).batches(21)
    with torch.no_grad():
        answers = torch.stack(model(torch.from_numpy(inputs))).transpose(0, 1).numpy()

    assert np.allclose(answers, truth["logits"], atol=1e-5)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    run(tmp_path)
    seen: list[Progress] = []
    run(tmp_path, progress=seen.append)

    assert seen == []


def test_another_training_does_not_write_over_a_run(tmp_path: Path) -> None:
    run(tmp_path)

    with pytest.raises(BadDocument, match="other arguments"):
        run(tmp_path, replace(SPEC, seed=9))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", replace(SPEC, seed=9))
    state = Path("checkpoint", "state.safetensors")
    (tmp_path / "b" / state).replace(tmp_path / "a" / state)

    with pytest.raises(CorruptArtifact, match="other arguments or other data"):
        run(tmp_path / "a")


def test_weights_for_another_number_of_exits_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"2 \(0.5 0.5\) for 4 exits: tenth, third, two-thirds, final"):
        run(tmp_path, replace(SPEC, weights=(0.5, 0.5)))
    assert not list(tmp_path.iterdir())


def test_data_that_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    odd = Patches(9, classes=("a", "b", "c"), shape=(3, 8, 8))

    with pytest.raises(BadDocument) as caught:
        train(replace(SPEC, input_type="audio"), Patches(20), odd, folder=tmp_path)
    assert len(caught.value.problems) == 3


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="learning rate"):
        run(tmp_path, replace(SPEC, optimizer="sgd", learning_rate=1e30, one_cycle=False))


def test_a_last_batch_of_one_sample_does_not_stop_the_training(tmp_path: Path) -> None:
    result = train(replace(SPEC, epochs=1), Patches(17), Patches(5), folder=tmp_path, threads=1)

    assert result.run.finished


def test_pretrained_weights_are_where_a_training_begins(tmp_path: Path) -> None:
    model = build_exits("early-cnn", 3, arguments={"width": 4}, seed=7)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    spec = replace(SPEC, pretrained=str(tmp_path / "w.pth"), learning_rate=1e-12, one_cycle=False, epochs=1)
    result = run(tmp_path / "run", spec)

    assert "tensors taken" in result.run.pretrained
    assert torch.allclose(weights(tmp_path / "run")["heads.0.fc.weight"], model.heads[0].fc.weight)


def test_exits_added_to_a_module_are_trained_and_read_back(tmp_path: Path) -> None:
    spec = TrainSpec("zoo:resnet-tiny?classes=3", cuts=("layer1",), epochs=1, batch_size=25, frozen=True)
    result = run(tmp_path, spec)

    assert result.run.exits == ("layer1", "final")
    assert load_run(tmp_path).frozen


def test_a_network_given_as_an_object_is_read_back_with_it(tmp_path: Path) -> None:
    def network() -> Any:
        return build_exits("early-cnn", 3, arguments={"width": 4}, shape=(3, 16, 16))

    run(tmp_path, replace(SPEC, model=""), model=network())
    with pytest.raises(NotFound, match="given as an object"):
        load_run(tmp_path)
    model = load_run(tmp_path, model=network())

    assert torch.equal(model.state_dict()["heads.0.fc.weight"], weights(tmp_path)["heads.0.fc.weight"])


def test_the_callers_random_numbers_and_threads_stay(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    run(tmp_path)

    assert torch.equal(torch.rand(1), wanted)
    assert torch.get_num_threads() == threads


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")

    with pytest.raises(MissingExtra, match="cuda"):
        run(tmp_path, device="cuda")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"spec\.json"):
        load_run(tmp_path)


def test_a_run_whose_weights_and_words_do_not_agree_is_refused(tmp_path: Path) -> None:
    run(tmp_path)

    with pytest.raises(BadDocument, match="tenth, third"):
        load_run(tmp_path, model=build_exits("resnet18", 3, shape=(3, 16, 16), arguments={"width": 4}))


def test_an_unfinished_run_gives_no_network(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "weights.safetensors").unlink()

    with pytest.raises(NotFound, match="not finished"):
        load_run(tmp_path)


def test_texts_bring_their_vocabulary(tmp_path: Path) -> None:
    lines = [f"{word} {'good' if n % 2 else 'bad'} film\t{n % 2}" for n, word in enumerate(["a", "the"] * 30)]
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    texts, held_out = (
        open_data(str(tmp_path / "train.tsv"), split=split, size=6) for split in ("train", "test")
    )
    spec = TrainSpec("bert", arguments={"width": 24, "layers": 2, "heads": 4}, epochs=3, input_type="text")
    result = train(spec, texts, held_out, folder=tmp_path / "run", threads=1)

    assert result.run.vocabulary == len(texts.vocabulary)
    assert load_run(tmp_path / "run").example(2)[0].shape == (2, 6)


def test_a_data_set_of_ours_is_trained_on(tmp_path: Path) -> None:
    pictures, held_out = (open_data("made:shapes", split=split, limit=24) for split in ("train", "test"))
    result = train(
        replace(SPEC, epochs=1, augment="crop,flip"), pictures, held_out, folder=tmp_path, threads=1
    )

    assert result.run.data_digest
    assert result.run.classes == pictures.classes
