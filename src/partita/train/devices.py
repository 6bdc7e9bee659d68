"""Whether torch can compute on a device, said before anything is built for it."""

from __future__ import annotations

import torch

from ..errors import BadDocument


def check_device(device: str) -> None:
    """Refuse a device that is not here."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        first = next(iter(str(problem).splitlines()), "")
        raise BadDocument(
            "--device", [f"{device!r} cannot be used: {first}"], fix="`partita doctor` lists what is here"
        ) from None
