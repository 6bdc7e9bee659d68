"""Operators whose kernels trust the shapes they are given: what they need to hold is checked before they run.

Rule: each check here answers a crash or a corrupted heap that was seen when the shapes did not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

# Gates of one cell: how many times its width the weights are high.
_GATES: Final = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}

Given = Mapping[str, Any]


def _recurrent(name: str, given: Given) -> str:
    """Layers of LSTM, GRU and plain networks: every weight fits its state, whatever library runs them."""
    states = [given["hx"]] if isinstance(given["hx"], torch.Tensor) else list(given["hx"])
    layers, ways = int(given["num_layers"]), 2 if given["bidirectional"] else 1
    if (
        len(states) != (2 if name == "lstm" else 1)
        or any(t.ndim != 3 for t in states)
        or given["input"].ndim != 3
    ):
        return "takes an input and states of three dimensions each"
    batch = given["input"].shape[0 if given["batch_first"] else 1]
    width, given_back = states[-1].shape[2], states[0].shape[2]
    if any(t.shape[:2] != (layers * ways, batch) for t in states) or 0 in (width, given_back, batch, layers):
        return f"has states of {tuple(states[0].shape)} for {layers} layers in {ways} directions of a batch of {batch}"
    high, reads = _GATES[name] * width, given["input"].shape[2]
    wanted: list[tuple[int, ...]] = []
    for layer in range(layers):
        below = reads if layer == 0 else given_back * ways
        row: list[tuple[int, ...]] = [(high, below), (high, given_back)]
        row += [(high,), (high,)] if given["has_biases"] else []
        row += [(given_back, width)] if given_back != width else []
        wanted += row * ways
    if [tuple(t.shape) for t in given["params"]] != wanted:
        return f"has weights that do not fit states of {width}"
    return _alike([given["input"], *states, *given["params"]])


def _cell(_name: str, given: Given) -> str:
    hidden = given["hx"] if isinstance(given["hx"], (list, tuple)) else [given["hx"]]
    if any(t.ndim != 2 for t in (given["input"], given["w_ih"], given["w_hh"], *hidden)):
        return "takes tensors of two dimensions"
    return ""


def _weight_norm(_name: str, given: Given) -> str:
    v, g, dim = given["v"], given["g"], int(given["dim"])
    norms = tuple(size if axis == dim % max(1, v.ndim) else 1 for axis, size in enumerate(v.shape))
    if not v.numel() or not -1 <= dim < v.ndim or tuple(g.shape) not in (norms, () if dim == -1 else norms):
        return f"has lengths of {tuple(g.shape)} for directions of {tuple(v.shape)}"
    return _alike([v, g])


def _distances(_name: str, given: Given) -> str:
    return "" if given["self"].ndim == 2 and given["self"].numel() else "takes a table with something in it"


def _alike(tensors: Sequence[torch.Tensor]) -> str:
    return "" if len({t.dtype for t in tensors}) == 1 else "mixes element types"


GUARDS: Final[Mapping[str, Callable[[str, Given], str]]] = {
    **dict.fromkeys(_GATES, _recurrent),
    "_weight_norm": _weight_norm,
    "pdist": _distances,
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_relu_cell", "rnn_tanh_cell"), _cell),
}
