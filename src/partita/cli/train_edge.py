"""`partita train edge` and `partita train local`: one network trained with a cloud, or on this machine alone."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter

from ..errors import MissingExtra
from .access import AccessOptions
from .render import Screen
from .train_options import CutOptions, LearnOptions, order_of

LEARN = LearnOptions()
CUT = CutOptions()
NO_ACCESS = AccessOptions()


def edge(
    *,
    model: Annotated[str, Parameter(alias="-m")],
    data: str,
    cloud: str,
    learn: LearnOptions = LEARN,
    cut: CutOptions = CUT,
    access: AccessOptions = NO_ACCESS,
    public_inputs: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Train a network on this device and a cloud together. A training that was stopped goes on when it is started again.

    Parameters
    ----------
    model
        A model reference: my.py:net, torchvision:resnet18, zoo:resnet-tiny, hf:NAME.
    data
        A folder or file of samples, or made:digits; see docs/data.md.
    cloud
        Where `partita train cloud` listens, like wss://host:7700.
    public_inputs
        Inputs may travel as they are. Without it everything up to the first stage with weights stays here.
    quiet
        Tell of epochs and events only.
    json
        Print one JSON document.
    """
    _need_torch()
    order = order_of(model, data, learn, cut, cloud, access)
    order = replace(order, settings=replace(order.settings, inputs_private=not public_inputs))
    from .train_job import carry_out

    return carry_out(Screen(as_json=json), order, quiet=quiet)


def local(
    *,
    model: Annotated[str, Parameter(alias="-m")],
    data: str,
    learn: LearnOptions = LEARN,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Train the original model on this machine alone, with the same engine: what a training with a cloud is held against.

    Parameters
    ----------
    model
        A model reference: my.py:net, torchvision:resnet18, zoo:resnet-tiny, hf:NAME.
    data
        A folder or file of samples, or made:digits; see docs/data.md.
    quiet
        Tell of epochs and events only.
    json
        Print one JSON document.
    """
    _need_torch()
    order = order_of(model, data, learn)
    from .train_job import carry_out

    return carry_out(Screen(as_json=json), order, quiet=quiet)


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtra("torch", extra="train", purpose="training")
