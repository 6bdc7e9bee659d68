"""Weights from elsewhere, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from partita.errors import BadDocument, NotFound
from partita.serve.exits import MultiExit
from partita.serve.exits_build import build_exits
from partita.serve.exits_pretrained import load_pretrained
from partita.zoo.guard import torchvision_works


def small(seed: int = 0, classes: int = 5) -> MultiExit:
    return build_exits("resnet18", classes, shape=(3, 16, 16), arguments={"width": 4}, seed=seed).eval()


@torch.no_grad()
def test_weights_of_the_plain_network_fill_all_but_the_early_heads(tmp_path: Path) -> None:
    theirs, model = small(1).restore_regular_model(), small(0)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    loaded = load_pretrained(model, tmp_path / "w.safetensors")

    assert not loaded.missing
    assert not loaded.unused
    assert torch.equal(model(*model.example(2))[-1], theirs(*model.example(2)))


def test_a_prefix_and_a_level_of_a_checkpoint_do_not_matter(tmp_path: Path) -> None:
    state = {f"module.{n}": t for n, t in small(1).restore_regular_model().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth")
    loaded = load_pretrained(small(), tmp_path / "w.pth")

    assert len(loaded.taken) == len(state)


def test_what_did_not_fit_is_reported_by_name(tmp_path: Path) -> None:
    state = small(1, classes=9).restore_regular_model().state_dict()
    del state["conv1.weight"]
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    loaded = load_pretrained(small(), tmp_path / "w.safetensors")

    assert loaded.missing == ("conv1.weight",)
    assert loaded.other_shape == ("fc.weight", "fc.bias")
    assert loaded.unused == ("extra",)
    assert "1 not in the file: conv1.weight" in str(loaded)


@torch.no_grad()
def test_the_networks_own_names_fill_the_early_heads_too(tmp_path: Path) -> None:
    theirs, model = small(1), small(0)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    load_pretrained(model, tmp_path / "w.pth")

    assert torch.equal(torch.stack(model(*model.example(2))), torch.stack(theirs(*model.example(2))))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"strange.name": torch.zeros(3)}, tmp_path / "w.safetensors")

    with pytest.raises(BadDocument, match=r"strange\.name"):
        load_pretrained(small(), tmp_path / "w.safetensors")


def test_a_file_that_holds_more_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"run": Path}, tmp_path / "w.pth")

    with pytest.raises(BadDocument, match="more than tensors"):
        load_pretrained(small(), tmp_path / "w.pth")


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "w.pth")

    with pytest.raises(BadDocument, match="no tensors by name"):
        load_pretrained(small(), tmp_path / "w.pth")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"absent\.pth"):
        load_pretrained(small(), tmp_path / "absent.pth")


def test_weights_of_transformers_fill_a_bert_by_name(tmp_path: Path) -> None:
    torchvision_works()  # transformers imports it where it is installed
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    save_file(dict(theirs.state_dict()), tmp_path / "w.safetensors")
    sizes = {"vocabulary": 40, "width": 24, "layers": 2, "heads": 4}
    model = build_exits("bert", 3, arguments=sizes, shape=(6,)).eval()
    loaded = load_pretrained(model, tmp_path / "w.safetensors")
    tokens, mask = model.example(2)
    hidden = (tokens, mask)
    for stage in model.stages:
        hidden = stage(hidden)

    assert loaded.missing == ("head.fc.weight", "head.fc.bias")
    assert torch.allclose(hidden[0], theirs(tokens, mask).last_hidden_state, atol=1e-5)
