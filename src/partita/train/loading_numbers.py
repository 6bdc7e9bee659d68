"""Random numbers of the data: apart from those of the training, and a function of seed, epoch and batch.

Rules: whoever draws while data is read, be it a sampler, a transform or a user's generator, draws from numbers that begin
anew for every epoch or batch; the caller's own go on afterwards as if nothing had been drawn; only the CPU's are touched.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

_State = tuple[torch.Tensor, Any, Any]


def data_seed(seed: int, epoch: int, batch: int = -1) -> int:
    """63 bits for an epoch's order, or for one batch of it; neighbours have nothing in common."""
    digest = blake2b(f"data/{seed}/{epoch}/{batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Apart:
    """Numbers of their own for torch, numpy and `random`: `with apart: ...`, again and again; they go on where they stood.

    `generators` are those that samplers hold: they are treated alike, and put back at the end of each stretch.
    """

    def __init__(self, seed: int, generators: Iterable[torch.Generator] = ()) -> None:
        self._seed = seed
        self._generators = tuple({id(g): g for g in generators}.values())
        self._own: tuple[_State, list[torch.Tensor]] | None = None

    def __enter__(self) -> Self:
        self._before = _read(), [generator.get_state() for generator in self._generators]
        if self._own is None:
            torch.default_generator.manual_seed(self._seed)
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)  # the global one is what users' transforms draw from
            for generator in self._generators:
                generator.manual_seed(self._seed)
        else:
            self._put(*self._own)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own = _read(), [generator.get_state() for generator in self._generators]
        self._put(*self._before)

    def _put(self, state: _State, generators: list[torch.Tensor]) -> None:
        torch.default_generator.set_state(state[0])
        random.setstate(state[1])
        np.random.set_state(state[2])
        for generator, own in zip(self._generators, generators, strict=True):
            generator.set_state(own)


def _read() -> _State:
    return torch.default_generator.get_state(), random.getstate(), np.random.get_state()
