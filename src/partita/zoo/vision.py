"""Models of torchvision and timm, with images of the size each was made for."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from ..errors import MissingExtra
from .factory import checked
from .guard import torchvision_works
from .network import Network
from .reference import Reference, refuse

# ImageNet's side, where a model does not state its own.
_SIDE = 224


def load_torchvision(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    """A model of torchvision."""
    if not torchvision_works():
        raise MissingExtra("torchvision", extra="vision", purpose=f"the model {parsed.text!r}")
    from torchvision import models

    known = models.list_models()
    if parsed.name not in known:
        raise refuse(f"torchvision has no model {parsed.name!r}", parsed.name, known)
    options = dict(parsed.options)
    if "weights_backbone" in inspect.signature(models.get_model_builder(parsed.name)).parameters:
        # Detectors and segmenters fetch a pretrained backbone unless they are told not to.
        options.setdefault("weights_backbone", None)
    module = checked(parsed, lambda: _quiet(models.get_model, parsed.name, weights=parsed.weights, **options))
    shape = _torchvision_shape(models.get_model_weights(parsed.name), dims)
    return Network(module.eval(), (torch.randn(batch, *shape),))


def _quiet(make: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        # Old architectures announce a change of their initialisation, which random weights do not mind.
        warnings.simplefilter("ignore")
        return make(*args, **kwargs)


def _torchvision_shape(weights: Any, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of one sample: what the preset of the default weights cuts images to."""
    preset = next((w.transforms for w in weights), None)
    known = getattr(preset, "keywords", {})
    side = known.get("crop_size") or known.get("resize_size") or _SIDE
    if isinstance(side, (tuple, list)):
        # Presets for videos give height and width; their models want frames before them.
        return (3, dims.get("frames", 16), *side)
    return (3, dims.get("image", side), dims.get("image", side))


def load_timm(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    """A model of timm."""
    if find_spec("timm") is None or not torchvision_works():
        raise MissingExtra("timm", extra="timm", purpose=f"the model {parsed.text!r}")
    import timm

    if not timm.is_model(parsed.name.partition(".")[0]):
        raise refuse(f"timm has no model {parsed.name!r}", parsed.name, timm.list_models())
    pretrained = parsed.weights is not None
    module = checked(
        parsed, lambda: _quiet(timm.create_model, parsed.name, pretrained=pretrained, **parsed.options)
    )
    channels, height, width = timm.data.resolve_model_data_config(module)["input_size"]
    return Network(
        module.eval(), (torch.randn(batch, channels, dims.get("image", height), dims.get("image", width)),)
    )
