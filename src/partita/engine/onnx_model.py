"""A captured ONNX model: its chain, and the parts of it that run.

Rules: parts and the whole run with the same settings; the whole is the file itself, run by ONNX Runtime, so that
nothing of ours stands between a model and the numbers its parts are compared with.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from ..errors import PartFailed
from ..graph import Chain
from .base import Array, Values
from .onnx_arrange import cheap, rearranged
from .onnx_divide import Division, divided, division
from .onnx_example import bindings, made_up, repeated
from .onnx_extract import part_bytes, write_parts
from .onnx_graph import RANDOM, walk_nodes
from .onnx_run import OnnxPart, RunSettings, open_session, reason
from .onnx_source import OnnxSource
from .onnx_tensor import outside

# ONNX Runtime holds a message several times over while it loads it; larger parts are mapped from a file.
_LARGEST_IN_MEMORY = 64 << 20


@final
@dataclass(frozen=True, eq=False, repr=False)
class OnnxModel:
    """What `capture_onnx` gives. `dims` are the sizes that the caller bound, `given` the caller's own inputs."""

    source: OnnxSource
    dims: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    settings: RunSettings = field(default_factory=RunSettings)
    given: Mapping[str, Array] | None = None
    folder: object = None
    """Keeps the temporary files of an optimised or divided model alive."""

    def __repr__(self) -> str:
        return f"OnnxModel({str(self.path)!r}, {len(self.chain)} stages, {self.settings})"

    @property
    def chain(self) -> Chain:
        """The model as stages."""
        return self.source.chain

    @property
    def path(self) -> Path:
        """The file that is cut: the one given, or the optimised one made from it."""
        return self.source.file.path

    @cached_property
    def random(self) -> tuple[str, ...]:
        """The names of nodes that draw random numbers, at any depth."""
        nodes = walk_nodes(self.source.file.proto.graph.node)
        return tuple(node.name or node.op_type for node in nodes if node.op_type in RANDOM - {"Dropout"})

    @cached_property
    def weights(self) -> str:
        """The digest of the files that hold the weights: two sides that agree on it compute the same."""
        self.source.file.check_unchanged()
        tensors = self.source.file.initializers
        beside = {outside(tensor, self.path).path for tensor in tensors if tensor.external}
        digest = hashlib.sha256()
        for path in (self.path, *sorted(path for path in beside if path is not None)):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return "sha256:" + digest.hexdigest()

    def with_settings(self, settings: RunSettings) -> OnnxModel:
        """The same model, to be run differently."""
        return replace(self, settings=settings)

    @cached_property
    def cheap(self) -> frozenset[int]:
        """The stages that may be run again in another part instead of sending what they make."""
        return cheap(self.source)

    def rearranged(self, order: Sequence[int] | None = None, recompute: Iterable[str] = ()) -> OnnxModel:
        """The same model with its stages in another topological order; those named in `recompute` disappear
        from the chain and run again in every part that reads them."""
        return replace(self, source=rearranged(self.source, order, recompute))

    def division(self, stage: str) -> Division:
        """Whether and how one stage can be divided."""
        return division(self.source, stage, self.settings)

    def divided(self, pieces: Mapping[str, int]) -> OnnxModel:
        """The same model with each named stage as so many, each with its own range of the weights, then joined.

        It lies in a temporary folder for as long as the model lives; its outputs are the same bit for bit.
        """
        source, folder = divided(self.source, pieces, self.settings, self.folder)
        return replace(self, source=source, folder=folder)

    def part(self, start: int, stop: int) -> OnnxPart:
        """The stages [start, stop), loaded."""
        self.chain.check_part(start, stop)
        inputs, outputs = self.chain.part_inputs(start, stop), self.chain.part_outputs(start, stop)
        session = None if start == stop else self._session(start, stop)
        return OnnxPart(session, start, stop, inputs, outputs, self.chain.digest, lambda: self.weights)

    def _session(self, start: int, stop: int) -> Any:
        model = part_bytes(self.source, start, stop, _LARGEST_IN_MEMORY)
        try:
            if model is not None:
                return open_session(model, self.settings)
            # What is mapped stays mapped after its file is gone.
            with tempfile.TemporaryDirectory(prefix="partita-") as folder:
                (file,) = write_parts(self, [(start, stop)], folder, external=True)
                return open_session(file.path, self.settings)
        except Exception as error:
            if hasattr(error, "fix"):
                raise
            raise PartFailed(
                f"ONNX Runtime cannot load part [{start}:{stop}]: {reason(error)}",
                fix="cut at another position; `partita inspect` lists them",
            ) from error

    def example(self, batch: int | None = None, seed: int = 0) -> Values:
        """The caller's own inputs, or made-up ones of the right types and shapes."""
        if self.given is not None:
            return repeated(self.chain, self.given, batch)
        return made_up(self.chain, self.source.graph, bindings(self.chain, batch, self.dims), seed)

    @cached_property
    def _whole(self) -> OnnxPart:
        self.source.file.check_unchanged()
        try:
            session = open_session(self.path, self.settings)
        except Exception as error:
            raise PartFailed(
                f"ONNX Runtime cannot load {self.path}: {reason(error)}",
                fix="run it in parts, or on a machine with more memory",
            ) from error
        return OnnxPart(session, 0, len(self.chain), self.chain.inputs, self.chain.outputs, self.chain.digest)

    def whole(self, values: Mapping[str, Array]) -> Values:
        """What ONNX Runtime gives for the whole file."""
        return self._whole.forward(values)
