"""What the options of a training ask for, and what of it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from partita.cli.access import AccessOptions
from partita.cli.train_options import CutOptions, LearnOptions, order_of
from partita.errors import BadDocument, NotFound, UserError
from partita.graph import dump
from partita.plan import parse_plan
from partita.train import Settings, Watts

URL = "wss://host:7700"


def refused(learn: LearnOptions | None = None, cut: CutOptions | None = None, cloud: str = URL) -> UserError:
    with pytest.raises(UserError) as refusal:
        order_of("m", "d", learn or LearnOptions(), cut or CutOptions(), cloud, AccessOptions())
    return refusal.value


def test_without_options_everything_is_planned() -> None:
    order = order_of("m", "d", LearnOptions(), CutOptions(), URL, AccessOptions())

    assert order.settings == replace(
        Settings(), epochs=10, optimizer=order.settings.optimizer, loss="cross_entropy"
    )
    assert str(order.settings.optimizer) == "sgd:0.05,momentum=0.9"
    assert (order.plan, order.profiles, order.watts, order.cloud) == (None, {}, None, URL)


def test_options_become_settings() -> None:
    learn = LearnOptions(
        epochs=3, batch_size=8, schedule="cosine", seed=4, checkpoint_every=50, no_guard=True, watts="5,2", loss="mse"
    )  # fmt: skip
    cut = CutOptions(
        labels_private=True, private_front=2, window="0,2@3", max_window=6, codec_up="int8", feedback="delta", eager=True
    )  # fmt: skip
    order = order_of("m", "d", learn, cut, URL, AccessOptions())
    settings = order.settings

    assert (settings.epochs, settings.batch, settings.schedule, settings.seed) == (3, 8, "cosine", 4)
    assert (settings.checkpoint, settings.guard, settings.loss) == (50, False, "mse")
    assert (settings.labels_private, settings.min_front, settings.window) == (True, 2, "0,2@3")
    assert (settings.max_window, settings.codec_up, settings.codec_down) == (6, "int8", "auto")
    assert (settings.feedback, settings.order, order.watts) == ("delta", "eager", Watts(5, 2))


def test_a_loss_of_ones_own_has_no_name_in_the_settings() -> None:
    assert order_of("m", "d", LearnOptions(loss="my.py:loss")).settings.loss == ""


def test_everything_that_is_wrong_is_said_at_once() -> None:
    learn = LearnOptions(
        epochs=-1, optimizer="sgd:fast", schedule="slowly", loss="cros", threads=0, watts="3", held_out="1.5"
    )
    cut = CutOptions(codec_up="int7", slow=0.5, plan="edge[0:", profile=("x",), patience=-1)
    said = refused(learn, cut, cloud="host")

    wanted = (
        "epochs: -1", "'fast' is not a number", "'slowly' is no schedule", "no loss 'cros'", "--threads: 0", "'3'",
        "--held-out: 1.5", "--codec-up", "--slow: 0.5", "plan", "'x' is not PLACE=VALUE", "--patience: -1", "--cloud: 'host'",
    )  # fmt: skip
    assert isinstance(said, BadDocument)
    assert [words for words in wanted if words not in said.problem] == []
    assert len(said.problems) == len(wanted)


def test_a_single_problem_keeps_its_own_way_out() -> None:
    assert refused(LearnOptions(loss="cross_entopy")).fix.startswith("write cross_entropy")
    assert "--watts 5,2" in refused(LearnOptions(watts="x,y")).fix


@pytest.mark.parametrize("url", ["host:7700", "http://host:7700", "ws://", "ws://host:x", "ws://host:0", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert "is no address" in refused(cloud=url).problem


def test_a_token_that_is_not_there_is_refused(tmp_path: Path) -> None:
    access = AccessOptions(token_file=tmp_path / "absent")
    with pytest.raises(NotFound, match="token file"):
        order_of("m", "d", LearnOptions(), CutOptions(), URL, access)


def test_a_plan_is_read_from_text_or_file(tmp_path: Path) -> None:
    text = "edge[0:2] -raw/raw-> cloud[2:5] | K=1 batch=4 mode=train"
    plan = parse_plan(text)
    (tmp_path / "plan.json").write_text(dump(plan))
    for given in (text, str(tmp_path / "plan.json")):
        assert order_of("m", "d", LearnOptions(), CutOptions(plan=given), URL, AccessOptions()).plan == plan


def test_a_plan_that_shows_private_labels_is_refused() -> None:
    cut = CutOptions(plan="edge[0:2] -raw/raw-> cloud[2:5] | K=1 batch=4 mode=train", labels_private=True)
    assert "would see the labels" in refused(cut=cut).problem

    cut = replace(cut, plan="edge[0:2] -raw/raw-> cloud[2:5] -raw/raw-> edge | K=1 batch=4 mode=train")
    assert order_of("m", "d", LearnOptions(), cut, URL, AccessOptions()).plan is not None


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for run in (tmp_path / "notes", tmp_path / "notes" / "run"):
        assert "is a file, not a folder" in refused(LearnOptions(run=run)).problem


def test_a_share_or_a_reference_can_be_held_out() -> None:
    assert order_of("m", "d", LearnOptions(held_out="0.1")).share == 0.1
    assert order_of("m", "d", LearnOptions(held_out="made:digits")).share is None
    assert order_of("m", "d", LearnOptions(held_out="none")).share is None
