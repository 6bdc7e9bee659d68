"""A part of a network with exits, run from memory or a temporary file.

Rules: what it takes and gives is what the source says; nothing stays on disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import PartFailed
from .base import Array, Values
from .onnx_exits_file import write_shared
from .onnx_run import OnnxPart, RunSettings, open_session, reason
from .onnx_source import OnnxSource


@dataclass(frozen=True)
class OneFile:
    """An ONNX file as it is, run whole at a level of optimisation: the oracle of everything that is cut from it."""

    path: Path
    settings: RunSettings

    def run(self, values: Mapping[str, Array]) -> Values:
        """All of its outputs."""
        part = OnnxPart.load(self.path, self.settings)
        return part.forward({name: values[name] for name in part.inputs})


def ran(source: OnnxSource, values: Mapping[str, Array], settings: RunSettings) -> Values:
    """What a source gives."""
    with tempfile.TemporaryDirectory(prefix="partita-") as folder:
        write_shared({"part": (source, "part.data")}, Path(folder))
        try:
            session = open_session(Path(folder) / "part.onnx", settings)
        except Exception as error:
            raise PartFailed(
                f"ONNX Runtime cannot load a part of {source.chain.name}: {reason(error)}",
                fix="export the network with another opset, or with optimize none",
            ) from error
        part = OnnxPart.noted(session, None)
        return part.forward({name: values[name] for name in part.inputs})
