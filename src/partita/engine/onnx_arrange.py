"""The stages of a captured ONNX model in another order, and cheap ones run again by their readers.

Rules: the file is not touched, because any set of its nodes runs in the file's own order; what is run again is
cheap, gives the same bits every time and carries hardly any weights; a stage that disappears is in every reader,
so that whatever part is cut has all it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import BadDocument
from ..graph import DType, Stage
from .onnx_graph import Graph, Step
from .onnx_source import OnnxSource

# Operators of the standard set that read each value once and do next to nothing with it.
_SHAPES = "Shape Size Reshape Flatten Squeeze Unsqueeze Expand Transpose Tile Concat Split Slice Pad Identity"
_PICKS = "Gather GatherElements GatherND Where Trilu Range Constant ConstantOfShape EyeLike Cast CastLike"
_NUMBERS = "Add Sub Mul Div Mod Neg Abs Sign Ceil Floor Round Sqrt Min Max Clip Relu CumSum"
_LOGIC = "And Or Xor Not Equal Less LessOrEqual Greater GreaterOrEqual IsNaN IsInf"
_CHEAP = frozenset(f"{_SHAPES} {_PICKS} {_NUMBERS} {_LOGIC}".split())
# Shapes, axes and scales; a bias of a thousand numbers is the largest that is worth carrying twice.
_LARGEST_WEIGHTS = 4096


def cheap(source: OnnxSource) -> frozenset[int]:
    """The stages that may be run again in another part instead of sending what they make."""
    return frozenset(index for index in range(len(source.steps)) if not _dear(source, index))


def _dear(source: OnnxSource, index: int) -> str:
    """Why a stage may not be run a second time; empty where it may."""
    chain, stage, node = source.chain, source.chain.stages[index], source.steps[index].node
    if node is None:
        return "it is a weight that the model returns"
    returned = [name for name in stage.outputs if name in chain.outputs]
    if returned:
        return f"the model returns its output {returned[0]!r}"
    local = {key[:2] for key in source.graph.functions}
    if node.domain not in ("", "ai.onnx") or (node.domain, node.op) in local or node.op not in _CHEAP:
        return f"{node.op} is not among the cheap operators of the standard set"
    size = sum(chain.params[name] for name in stage.params)
    if size > _LARGEST_WEIGHTS:
        return f"it uses {size} bytes of weights, and {_LARGEST_WEIGHTS} are the most"
    for name in (*stage.inputs, *stage.outputs):
        dtype = chain.tensors[name].dtype
        if not dtype.travels or dtype is DType.STRING:
            return f"{name!r} is a {dtype}"
    return ""


def rearranged(source: OnnxSource, order: Sequence[int] | None, recompute: Iterable[str]) -> OnnxSource:
    """The same source with its stages in another topological order, and the named ones folded into their readers."""
    indices = range(len(source.steps)) if order is None else order
    again = tuple(dict.fromkeys(recompute))
    problems = [*_misplaced(source, indices), *_refused(source, again)]
    if problems:
        raise BadDocument(
            "arrangement",
            problems,
            fix="give an order in which every stage follows those it reads, and recompute only stages in `cheap`",
        )
    chain = source.chain
    pairs = [(source.steps[index], chain.stages[index]) for index in indices]
    folded = {
        name: (step, stage) for step, stage in pairs if stage.name in again for name in (step.makes or ())
    }
    kept = [_folded(step, stage, folded) for step, stage in pairs if stage.name not in again]
    stages = tuple(stage for _, stage in kept)
    gone = {name for step, _ in folded.values() for name in step.makes}
    # ONNX chains block no position: what may be cut follows from the tensors that cross, which the chain sees.
    new = replace(
        chain,
        stages=stages,
        tensors={name: spec for name, spec in chain.tensors.items() if name not in gone},
    )
    return replace(source, steps=tuple(step for step, _ in kept), chain=new)


def _misplaced(source: OnnxSource, order: Sequence[int]) -> list[str]:
    chain = source.chain
    if sorted(order) != list(range(len(chain))):
        return [f"order: must name each of the {len(chain)} stages once, by index"]
    made = set(chain.inputs)
    found = []
    for index in order:
        stage = chain.stages[index]
        missing = [name for name in stage.inputs if name not in made]
        if missing:
            after = chain.stages[chain.maker(missing[0])].name
            found.append(f"order: stage {stage.name!r} reads {missing[0]!r} and must follow {after!r}")
        made.update(stage.outputs)
    return found


def _refused(source: OnnxSource, again: Iterable[str]) -> list[str]:
    places = {stage.name: index for index, stage in enumerate(source.chain.stages)}
    found = [f"recompute: there is no stage {name!r}" for name in again if name not in places]
    reasons = ((name, _dear(source, places[name])) for name in again if name in places)
    return [*found, *(f"recompute: stage {name!r}: {reason}" for name, reason in reasons if reason)]


def _folded(step: Step, stage: Stage, folded: Mapping[str, tuple[Step, Stage]]) -> tuple[Step, Stage]:
    """One stage with the folded ones that it reads, directly or through each other."""
    taken: dict[int, tuple[Step, Stage]] = {}
    reads: dict[str, None] = {}
    waiting = list(reversed(step.reads))
    while waiting:
        name = waiting.pop()
        if name not in folded:
            reads[name] = None
            continue
        inner, inner_stage = folded[name]
        if inner.node is not None and inner.node.index not in taken:
            taken[inner.node.index] = (inner, inner_stage)
            waiting += reversed(inner.reads)
    if not taken:
        return step, stage
    inside = list(taken.values())
    free = {*step.free, *taken, *(index for inner, _ in inside for index in inner.free)}
    weights = dict.fromkeys((*step.weights, *(name for inner, _ in inside for name in inner.weights)))
    params = dict.fromkeys((*stage.params, *(name for _, other in inside for name in other.params)))
    new = replace(step, reads=tuple(reads), free=tuple(sorted(free)), weights=tuple(weights))
    ops = stage.ops + sum(other.ops for _, other in inside)
    return new, replace(stage, inputs=tuple(reads), params=tuple(params), ops=ops)


def refold(step: Step, inner: Mapping[str, Step]) -> Step:
    """A step with those of `inner` (by the names they make) folded into it."""
    nothing = Stage("", (), ())
    return _folded(step, nothing, {name: (other, nothing) for name, other in inner.items()})[0]


def stage_of(name: str, step: Step, graph: Graph, params: Mapping[str, Any]) -> Stage:
    """An ordinary step as a stage."""
    indices = (*step.free, *((step.node.index,) if step.node else ()))
    nodes = [graph.nodes[index] for index in indices]
    constants = [made for node in nodes if node.op == "Constant" for made in node.makes if made in params]
    return Stage(
        name,
        step.reads,
        step.makes,
        tuple(dict.fromkeys((*step.weights, *constants))),
        ops=sum(node.ops for node in nodes),
    )
