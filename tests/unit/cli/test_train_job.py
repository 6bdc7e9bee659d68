"""A training as one types it, with a session that only says that it trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import partita.train
from partita.cli.train_edge import edge, local
from partita.cli.train_job import plans_of, prepare
from partita.cli.train_options import LearnOptions, Order, order_of
from partita.errors import BadDocument, UserError
from partita.train import EpochReport, Event, RunLine, StepReport, TraceWriter, Watts

STEP = StepReport(
    0, 1, 0.5, 24, 32, 0.04, 0.12, "edge[0:2]", 1, 0, 0, "raw", "raw", 9, 9, 0.02, 0.01, 0.01, None, None, None, 0.1
)  # fmt: skip
EPOCH = EpochReport(1, 2, 4.0, 0.25, 0.9, 0.3, 0.8, 10_000, 20_000)
NET = """
from torch import nn

def net(classes=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes))

def loss(answer, target):
    return nn.functional.cross_entropy(answer, target)
"""


class Trained:
    """Says that it trained: two steps under one plan, one under another."""

    made: list[Trained]
    fail: BaseException | None = None

    def __init__(self, model: Any, *, on_event: Callable[[Any], None], **words: Any) -> None:
        self.model, self.tell, self.words = model, on_event, words
        self.epochs, self.steps, self.closed = (EPOCH,), 3, False
        Trained.made.append(self)

    def __enter__(self) -> Trained:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def train(self, data: Any, *, held_out: Any, augment: str) -> Iterator[StepReport]:
        self.data, self.held_out, self.augment = data, held_out, augment
        steps = [STEP, replace(STEP, step=1, joules=2.0, joules_source="RAPL")]
        steps += [replace(STEP, step=2, plan="cloud[0:2]")]
        self.words["folder"].mkdir(exist_ok=True)
        with TraceWriter(self.words["folder"] / "trace.jsonl", RunLine(self.model.chain.name, "d")) as trace:
            for report in (*steps, EPOCH):
                trace.add(report)
        self.tell(Event("began", 0, "it begins"))
        yield from steps[:2]
        if self.fail is not None:
            raise self.fail
        yield steps[2]
        self.tell(EPOCH)

    def save(self, path: Path) -> None:
        path.write_text("weights")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setitem(vars(partita.train), "Session", Trained)
    Trained.made, Trained.fail = [], None
    (tmp_path / "my.py").write_text(NET)


DATA = "made:shapes?train=60&val=20&test=20"
LEARN = LearnOptions(size=8, epochs=1)


def order(model: str = "my.py:net", **learn: Any) -> Order:
    return order_of(model, DATA, replace(LEARN, **learn))


def test_a_training_leaves_weights_and_a_trace_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert local(model="my.py:net", data=DATA, learn=LEARN) == 0
    told = capsys.readouterr()

    assert "60 samples to learn from, 20 held out, 8 classes; 4 stages" in told.out
    assert "model written to run/model.safetensors" in told.out
    assert "from step 2: cloud[0:2]" in told.out
    assert "energy of this device: 2 J (RAPL)" in told.out
    assert [line for line in told.err.splitlines() if line] == [
        "it begins",
        "epoch 1: loss 0.2500, right 90.00%, held out 80.00%, 2 steps in 4 s, 10 KB up, 20 KB down",
    ]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    local(model="my.py:net", data=DATA, learn=LEARN, json=True, quiet=True)
    document = json.loads(capsys.readouterr().out)

    assert document["steps"] == 3
    assert document["plans"] == [{"from": 0, "plan": "edge[0:2]"}, {"from": 2, "plan": "cloud[0:2]"}]
    assert document["epochs"][0]["held_out_accuracy"] == 0.8
    assert document["energy"] == {"joules": 2.0, "source": "RAPL"}


def test_the_session_gets_what_was_asked_for() -> None:
    learn = replace(LEARN, watts="5,2", loss="my.py:loss", threads=1, trace_rate=20)
    edge(model="my.py:net", data=DATA, cloud="ws://127.0.0.1:1", learn=learn)
    (session,) = Trained.made

    assert session.words["cloud"] == "ws://127.0.0.1:1"
    assert session.words["loss"].__name__ == "loss"
    assert (session.words["threads"], session.words["folder"]) == (1, Path("run"))
    assert session.words["meter"].source
    assert (session.words["trace"].rate, session.words["trace"].data) == (20, DATA)
    assert session.model.chain.name == "my.py:net"
    assert session.closed


def test_inputs_travel_only_where_that_was_said() -> None:
    for public in (False, True):
        edge(model="my.py:net", data=DATA, cloud="ws://127.0.0.1:1", learn=LEARN, public_inputs=public)

    assert [session.words["settings"].inputs_private for session in Trained.made] == [True, False]


def test_local_has_no_cloud() -> None:
    local(model="my.py:net", data=DATA, learn=LEARN)

    assert Trained.made[0].words["cloud"] is None


def test_a_stopped_training_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    Trained.fail = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        local(model="my.py:net", data=DATA, learn=LEARN)

    assert "the same command goes on" in capsys.readouterr().err
    assert Trained.made[0].closed


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (prepare(order(seed=seed)).model.module.state_dict() for seed in (1, 1, 2))

    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_a_model_with_too_few_answers_is_refused_before_anything_is_begun() -> None:
    with pytest.raises(BadDocument, match=r"gives 4 answers, and .* has 8 classes") as refusal:
        local(model="my.py:net?classes=4", data=DATA, learn=LEARN)

    assert "?classes=8" in refusal.value.fix
    assert not Path("run").exists()
    assert Trained.made == []


def test_a_share_is_held_out_of_the_data() -> None:
    material = prepare(order(held_out="0.25"))

    assert material.held_out is not None
    assert (len(material.data), len(material.held_out)) == (44, 16)
    assert not set(material.data.names) & set(material.held_out.names)


def test_changes_of_samples_are_handed_on_and_checked_first() -> None:
    local(model="my.py:net", data=DATA, learn=replace(LEARN, augment="flip"))
    with pytest.raises(UserError, match="spin"):
        local(model="my.py:net", data=DATA, learn=replace(LEARN, augment="spin"))

    assert [session.augment for session in Trained.made] == ["flip"]


def test_nothing_may_be_held_out() -> None:
    assert prepare(order(held_out="none")).held_out is None


def test_held_out_texts_are_read_with_the_words_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words, self.out = nn.Embedding(20001, 4), nn.Linear(4, 2)\n"
        "    def forward(self, words):\n"
        "        return self.out(self.words(words).mean(1))\n"
        "def net():\n"
        "    return Net()\n"
    )
    made = order_of(
        "words.py:net", "made:phrases?train=40", LearnOptions(size=8, held_out="made:phrases?train=40&draw=2")
    )
    material = prepare(made)

    assert material.held_out is not None
    assert material.held_out.vocabulary == material.data.vocabulary


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="--device: 'nowhere'"):
        prepare(order(device="nowhere"))


def test_plans_are_told_in_their_order() -> None:
    row = [replace(STEP, step=n, plan=plan) for n, plan in enumerate("aabba")]

    assert plans_of(tuple(row)) == [(0, "a"), (2, "b"), (4, "a")]
    assert plans_of(()) == []


def test_watts_are_an_order_too() -> None:
    assert order(watts="6,1").watts == Watts(6, 1)
