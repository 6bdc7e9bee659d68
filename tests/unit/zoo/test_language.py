"""Models of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from partita.engine import largest_difference
from partita.errors import BadReference
from partita.testing.models import TINY_MODELS
from partita.zoo import build, resolve


def test_a_folder_with_weights_gives_them(tmp_path: Path) -> None:
    """What save_pretrained wrote runs, with the head the configuration names."""
    saved = build(TINY_MODELS["gpt2"], seed=3).module
    saved.save_pretrained(tmp_path)
    loaded = build(f"hf:{tmp_path}", seed=4).module

    assert type(loaded) is type(saved)
    assert torch.equal(loaded.lm_head.weight, saved.lm_head.weight)


def test_a_folder_with_a_bare_configuration_gives_random_weights_from_the_seed(tmp_path: Path) -> None:
    """The same in every process."""
    build(TINY_MODELS["bert"]).module.config.save_pretrained(tmp_path)
    one, two = (resolve(f"hf:{tmp_path}", seed=6) for _ in range(2))

    assert largest_difference(one.whole(one.example()), two.whole(one.example())) == 0.0


def test_encoder_decoders_get_the_beginning_of_an_answer() -> None:
    """T5 reads a text and a decoder's text."""
    assert set(build(TINY_MODELS["t5"]).kwargs) == {"input_ids", "attention_mask", "decoder_input_ids"}


def test_models_of_images_get_images_of_their_size() -> None:
    """From the configuration."""
    tiny = "hidden_size=16&num_hidden_layers=1&num_attention_heads=2&intermediate_size=16&image_size=32&patch_size=8"

    assert build(f"hf:vit?{tiny}").kwargs["pixel_values"].shape == (2, 3, 32, 32)


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    """With how to make one."""
    with pytest.raises(BadReference, match=r"has no config\.json"):
        build(f"hf:{tmp_path}")


def test_a_head_that_does_not_exist_is_refused() -> None:
    """With names that are close."""
    with pytest.raises(BadReference) as caught:
        build("hf:bert?architecture=BertForSequenceClasification")
    assert "BertForSequenceClassification" in caught.value.fix
