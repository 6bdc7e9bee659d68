"""References become captured models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partita.engine import largest_difference
from partita.errors import BadDocument, BadReference, MissingExtra, NotFound
from partita.graph import parse_tensor
from partita.testing.models import TINY_MODELS, tiny_model
from partita.zoo import build, resolve


def test_a_reference_names_the_chain() -> None:
    """Documents then say which model they are about."""
    assert resolve("zoo:towers-tiny").chain.name == "zoo:towers-tiny"


def test_a_seed_gives_the_same_weights_and_leaves_the_callers_random_numbers_alone() -> None:
    """Two processes build the same model."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two, other = (resolve("zoo:towers-tiny", seed=seed) for seed in (4, 4, 5))
    values = one.example()

    assert torch.equal(before, torch.get_rng_state())
    assert largest_difference(one.whole(values), two.whole(values)) == 0.0
    assert largest_difference(one.whole(values), other.whole(values)) > 0.0


def test_the_batch_and_dims_asked_for_are_those_of_the_example() -> None:
    """`batch` for every model, `seq` for texts."""
    bert = resolve(TINY_MODELS["bert"], batch=3, dims={"seq": 9})

    assert bert.example()["input_ids"].shape == (3, 9)


def unreachable(*_: object, **__: object) -> None:
    msg = "no network in tests"
    raise OSError(msg)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("zoo:resnet-tny", "did you mean resnet-tiny"),
        ("torchvision:resnet81", "did you mean resnet18"),
        ("hf:brt", "did you mean bert"),
        ("timm:resnet18dd", "did you mean resnet18d"),
    ],
)
def test_a_name_that_a_library_does_not_have_is_answered_with_what_is_close(
    text: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever the library; the hub is not asked here."""
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", unreachable)
    with pytest.raises(BadReference) as caught:
        build(text)
    assert fix in caught.value.fix


def test_options_reach_the_builder_and_wrong_ones_are_told() -> None:
    """What stands behind `?`."""
    assert build("zoo:resnet-tiny?classes=7").module.fc.out_features == 7
    with pytest.raises(BadReference, match="unexpected keyword argument 'clases'"):
        build("zoo:resnet-tiny?clases=7")


def test_described_inputs_replace_the_models_own() -> None:
    """With open dimensions bound by the batch."""
    specs = (parse_tensor("left:float32[batch,8]"), parse_tensor("right:float32[batch,6]"))

    assert build("zoo:towers-tiny", batch=5, inputs=specs).kwargs["right"].shape == (5, 6)


def test_described_inputs_that_the_model_does_not_take_are_refused() -> None:
    """With the names it takes."""
    with pytest.raises(BadDocument, match="'image' is no input of the model") as caught:
        build("zoo:towers-tiny", inputs=(parse_tensor("image:float32[1]"),))
    assert "left, right" in caught.value.fix


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    """A safetensors file of the whole model."""
    one = resolve("zoo:towers-tiny", seed=1)
    one.part(0, len(one.chain)).save_state(tmp_path / "w.safetensors")
    two = resolve("zoo:towers-tiny", seed=2, weights=tmp_path / "w.safetensors")

    assert largest_difference(one.whole(one.example()), two.whole(one.example())) == 0.0
    with pytest.raises(NotFound, match="no weights file"):
        build("zoo:towers-tiny", weights=tmp_path / "none.safetensors")


def test_an_onnx_file_takes_no_options_and_a_missing_one_is_told(tmp_path: Path) -> None:
    """Its weights are inside; names beside it are suggested."""
    (tmp_path / "network.onnx").touch()

    with pytest.raises(BadReference, match="holds its weights"):
        resolve(str(tmp_path / "network.onnx"), weights="w")
    with pytest.raises(BadReference) as caught:
        resolve(str(tmp_path / "netwrk.onnx"))
    assert caught.value.fix == "did you mean network.onnx?"


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge device without torch is told what to install."""
    import partita.zoo.load as module

    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="needs torch"):
        build("zoo:towers-tiny")


def test_tiny_models_pad_the_second_text() -> None:
    """Masks have something to mask."""
    assert tiny_model("bert").kwargs["attention_mask"].tolist()[1] == [1, 1, 1, 0, 0, 0]
    assert np.all([p.numel() < 20_000 for p in tiny_model("bert").module.parameters()])
