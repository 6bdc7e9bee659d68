"""Models of transformers: from a folder, from a model type's configuration, or from the hub.

Rules: a folder with weights gives them, a bare configuration gives random ones; the head is the one the
configuration names; weights come from safetensors only.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..errors import BadReference, MissingExtra
from .factory import checked
from .guard import torchvision_works
from .network import Network
from .reference import Reference, refuse

# The length of a made-up text, of an answer begun, and of a second of sound.
_TEXT, _ANSWER, _SOUND = 32, 8, 16_000
# The side of an image where the configuration does not state it.
_SIDE = 224


def load_hf(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    """A model of transformers."""
    if find_spec("transformers") is None:
        raise MissingExtra("transformers", extra="hf", purpose=f"the model {parsed.text!r}")
    torchvision_works()  # transformers imports it where it is installed
    config = _config(parsed)
    if hasattr(config, "use_cache"):
        # A cache is for writing on and on; one pass through the parts has no use for it.
        config.use_cache = False
    module = checked(parsed, lambda: _module(parsed, config))
    return Network(module.eval(), (), example_inputs(module, config, batch, dims))


def _config(parsed: Reference) -> Any:
    """The configuration, with what stands behind `?` written over it; `architecture` picks the head."""
    options = dict(parsed.options)
    head = options.pop("architecture", None)
    config = _plain_config(parsed, options)
    if head is not None:
        config.architectures = [str(head)]
    return config


def _plain_config(parsed: Reference, options: dict[str, object]) -> Any:
    import transformers

    known = transformers.CONFIG_MAPPING
    folder = Path(parsed.name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadReference(
                f"the folder {parsed.name!r} has no config.json", fix="save one with save_pretrained"
            )
        return checked(
            parsed,
            lambda: transformers.AutoConfig.from_pretrained(folder, local_files_only=True, **options),
        )
    if parsed.name in known:
        return checked(parsed, lambda: known[parsed.name](**options))
    try:
        return transformers.AutoConfig.from_pretrained(parsed.name, **options)
    except Exception:
        raise refuse(
            f"{parsed.name!r} is no folder, no model type of transformers, and the hub has no such name or cannot be reached",
            parsed.name,
            list(known.keys()),
        ) from None


def _module(parsed: Reference, config: Any) -> torch.nn.Module:
    import transformers

    named = (config.architectures or ["AutoModel"])[0]
    made_for = getattr(transformers, named, None)
    if made_for is None:
        near = [name for name in dir(transformers) if name.startswith(named[:3])]
        raise refuse(f"transformers has no model class {named!r} for {parsed.text!r}", named, near)
    folder = Path(parsed.name)
    module: torch.nn.Module
    if parsed.weights is not None or any(folder.glob("*.safetensors")):
        module = made_for.from_pretrained(parsed.name, config=config, use_safetensors=True)
    elif made_for is transformers.AutoModel:
        module = made_for.from_config(config)
    else:
        module = made_for(config)
    return module


def example_inputs(
    module: torch.nn.Module, config: Any, batch: int, dims: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """What the model's forward takes, in sizes its configuration allows."""
    takes = inspect.signature(module.forward).parameters
    text = getattr(config, "text_config", None) or config
    vision = getattr(config, "vision_config", None) or config
    length = dims.get("seq", min([_TEXT, *_longest(text)]))
    side = _side(vision, dims)
    channels = getattr(vision, "num_channels", 3)
    offers = {
        "input_ids": lambda: _tokens(text, batch, length),
        "attention_mask": lambda: torch.ones(batch, length, dtype=torch.int64),
        "pixel_values": lambda: torch.randn(batch, channels, side, side),
        "input_features": lambda: torch.randn(
            batch, getattr(config, "num_mel_bins", 80), 2 * getattr(config, "max_source_positions", 1500)
        ),
        "input_values": lambda: torch.randn(batch, dims.get("samples", _SOUND)),
        "decoder_input_ids": lambda: _tokens(text, batch, min(_ANSWER, length)),
    }
    wanted = [name for name in offers if name in takes]
    if "input_ids" not in takes and "attention_mask" in wanted:
        wanted.remove("attention_mask")  # images and sounds are not padded here
    return {name: offers[name]() for name in wanted}


def _longest(config: Any) -> list[int]:
    """How long a text may be, where the configuration limits it."""
    stated = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
    return [limit for limit in stated if isinstance(limit, int) and limit > 0]


def _tokens(config: Any, batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, int(getattr(config, "vocab_size", 2)), (batch, length))


def _side(config: Any, dims: Mapping[str, int]) -> int:
    stated = getattr(config, "image_size", None) or _SIDE
    first = stated[0] if isinstance(stated, (list, tuple)) else stated
    return dims.get("image", int(first))
