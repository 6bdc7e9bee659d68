"""One digest of arrays by name: what two sides compare, and what a checkpoint is checked by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from ..engine import Array

__all__ = ["values_digest"]


def values_digest(values: Mapping[str, Array], about: str = "") -> str:
    """The SHA-256 of a text and of names, types, shapes and bytes, in whatever order they come and lie in memory."""
    found = hashlib.sha256(f"{len(values)} {about}\n".encode())
    for name in sorted(values):
        array = np.asarray(values[name], order="C")
        found.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
