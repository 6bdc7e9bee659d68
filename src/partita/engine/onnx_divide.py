"""One node as several, each with its own range of the weight: how a node larger than a part is cut.

Rules: the result is a model like any other, with a file of its own; outputs stay the same bit for bit, and where
that cannot be had the node is refused, with the reason; stages that are not divided keep their names and order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import BadDocument, BadReference
from ..graph import Stage, TensorSpec
from .onnx_arrange import refold, stage_of
from .onnx_divide_file import write_divided
from .onnx_divide_nodes import Edit
from .onnx_divide_rules import Divider, Way
from .onnx_file import OnnxFile, read_file
from .onnx_graph import Graph, Step
from .onnx_run import RunSettings
from .onnx_source import OnnxSource


@dataclass(frozen=True, slots=True)
class Division:
    """Whether a stage can be divided: into at most `pieces` along `axis`, or 1 and the `reason` why not."""

    pieces: int
    axis: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return self.pieces > 1


def division(source: OnnxSource, stage: str, settings: RunSettings) -> Division:
    """How one stage can be divided."""
    places = {item.name: index for index, item in enumerate(source.chain.stages)}
    if stage not in places:
        raise BadDocument(
            "division", [f"there is no stage {stage!r}"], fix="`partita inspect` lists the stages"
        )
    way = Divider(source, settings).way(places[stage])
    return Division(1, reason=way) if isinstance(way, str) else Division(way.most, way.words)


def divided(
    source: OnnxSource, pieces: Mapping[str, int], settings: RunSettings, folder: object
) -> tuple[OnnxSource, object]:
    """The model with some stages divided, and what keeps its files; `folder` is what keeps those of `source`."""
    divider = Divider(source, settings)
    ways = _ways(divider, pieces)
    edit = Edit(source, divider.opset)
    for way, count in ways:
        edit.divide(way, count)
    try:
        path, kept = write_divided(edit, folder)
    except OSError as error:
        raise BadReference(
            f"cannot write the divided model: {error.strerror or error}; nothing was left",
            fix="make room for temporary files, or name another folder for them in TMPDIR",
        ) from error
    return _Understood(edit, read_file(path)).source(), kept


def _ways(divider: Divider, pieces: Mapping[str, int]) -> list[tuple[Way, int]]:
    places = {stage.name: index for index, stage in enumerate(divider.source.chain.stages)}
    found: list[str] = []
    ways: list[tuple[Way, int]] = []
    for name, count in pieces.items():
        if name not in places:
            found.append(f"there is no stage {name!r}")
            continue
        way = divider.way(places[name])
        if isinstance(way, str):
            found.append(f"stage {name!r} cannot be divided: {way}")
        elif not 2 <= count <= way.most:
            found.append(
                f"stage {name!r} can be divided into 2 to {way.most} {way.words}, not {count} pieces"
            )
        else:
            ways.append((way, count))
    if found:
        raise BadDocument("division", found, fix="divide other stages, or others into fewer pieces")
    return ways


@dataclass(frozen=True)
class _Understood:
    """The edited file as a source: known stages carried over, new ones described."""

    edit: Edit
    file: OnnxFile

    def source(self) -> OnnxSource:
        old = self.edit.source
        moved, new = self._moved()
        graph = self._graph(moved)
        base = {step.node.index: step for step in graph.steps() if step.node is not None}
        inner = self._inner(base, moved)
        sizes = {**old.chain.params, **self._sizes()}
        steps: list[Step] = []
        stages: list[Stage] = []
        for step, stage in zip(old.steps, old.chain.stages, strict=True):
            if step.node is None or step.node.index not in new:
                node = None if step.node is None else graph.nodes[moved[step.node.index]]
                free = tuple(sorted(moved[index] for index in step.free))
                steps.append(replace(step, node=node, free=free))
                stages.append(stage)
                continue
            for index in new[step.node.index]:
                if index in base and index not in graph.free:
                    steps.append(refold(base[index], inner))
                    stages.append(stage_of(graph.nodes[index].name, steps[-1], graph, sizes))
        used = {name for stage in stages for name in stage.params}
        chain = replace(
            old.chain,
            stages=tuple(stages),
            tensors=self._described(old.chain.tensors),
            params={name: size for name, size in sizes.items() if name in used},
        )
        return OnnxSource(self.file, graph, tuple(steps), chain, self._described(old.written), old.namer)

    def _moved(self) -> tuple[dict[int, int], dict[int, list[int]]]:
        """Where in the new file every old node stands, and what stands in the place of the divided ones."""
        moved: dict[int, int] = {}
        new: dict[int, list[int]] = {}
        at, gone = 0, self.edit.dropped_nodes()
        for node in self.edit.source.graph.nodes:
            if node.index in self.edit.nodes:
                count = len(self.edit.nodes[node.index])
                new[node.index] = list(range(at, at + count))
                at += count
            elif node.index not in gone:
                moved[node.index] = at
                at += 1
        return moved, new

    def _graph(self, moved: Mapping[int, int]) -> Graph:
        """The graph of the new file. Nodes without a name are called by their place, and it was the old one."""
        graph = Graph.of(self.file.proto)
        nodes = list(graph.nodes)
        for old, index in moved.items():
            nodes[index] = replace(nodes[index], name=self.edit.source.graph.nodes[old].name)
        return replace(graph, nodes=tuple(nodes))

    def _inner(self, base: Mapping[int, Step], moved: Mapping[int, int]) -> dict[str, Step]:
        """The stages that were folded into their readers before, by what they make."""
        old = self.edit.source
        folded = {index for step in old.steps for index in step.free} - old.graph.free
        return {name: base[moved[index]] for index in folded for name in old.graph.nodes[index].makes}

    def _sizes(self) -> dict[str, int]:
        new = {*self.edit.slabs.values(), *self.edit.constants}
        return {t.name: t.nbytes for t in self.file.initializers if t.name in new}

    def _described(self, known: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        old = self.edit.source
        specs = {**old.written, **known}
        return {**known, **{like.name: like.spec(specs[like.like]) for like in self.edit.likes}}
