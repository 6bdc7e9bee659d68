"""Inside the limits: an ONNX model of any size as a chain of functions, planned, cut, checked and run.

Rules: a name is loaded when it is asked for, because a function that runs one slice pays for every module it loads.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import Report, Row, Status, amount, check, check_plan
    from .document import (
        Exactness,
        Objective,
        Optimize,
        Preparation,
        Slice,
        SlicePlan,
        Totals,
        Transport,
        bindings,
    )
    from .explanation import alternatives, explain
    from .exporting import export
    from .hooks import Hooks, load_hooks
    from .inputs import check_inputs, made_inputs
    from .manifest import Manifest, SliceFile, check_slice, read_manifest, write_manifest
    from .original import Project, find_config, read_project
    from .original_memory import ProjectMemory, memory
    from .original_payload import Payload, TensorSize, payload_per_layer, payload_per_slice
    from .original_steps import Steps, load_steps
    from .original_verbs import (
        Decomposition,
        Inference,
        SliceSize,
        basic,
        decomposition,
        inference,
        max_slice_size,
    )
    from .planner import Prepared, Wish, arranged, capture, measured, neighbours, plan
    from .question import TIMED, SliceQuestion
    from .rehearsal import rehearse
    from .rehearse_report import Rehearsal, RehearsedSlice
    from .runner import Outcome, Slices, open_slices
    from .searching import search
    from .slicer import cut, equal_nodes, plan_at, prepare
    from .stage import Stage
    from .sweeping import Point, sweep
    from .verification import Verification, verify

# Module -> the public names that live there. No module is called like a name: it would stand in its way.
_HOMES = {
    "checks": "Report Row Status amount check check_plan",
    "document": "Exactness Objective Optimize Preparation Slice SlicePlan Totals Transport bindings",
    "explanation": "alternatives explain",
    "exporting": "export",
    "hooks": "Hooks load_hooks",
    "inputs": "check_inputs made_inputs",
    "manifest": "Manifest SliceFile check_slice read_manifest write_manifest",
    "original": "Project find_config read_project",
    "original_memory": "ProjectMemory memory",
    "original_payload": "Payload TensorSize payload_per_layer payload_per_slice",
    "original_steps": "Steps load_steps",
    "original_verbs": "Decomposition Inference SliceSize basic decomposition inference max_slice_size",
    "planner": "Prepared Wish arranged capture measured neighbours plan",
    "question": "SliceQuestion TIMED",
    "rehearsal": "rehearse",
    "rehearse_report": "Rehearsal RehearsedSlice",
    "runner": "Outcome Slices open_slices",
    "searching": "search",
    "slicer": "cut equal_nodes plan_at prepare",
    "stage": "Stage",
    "sweeping": "Point sweep",
    "verification": "Verification verify",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name, from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


__all__ = [
    "TIMED",
    "Decomposition",
    "Exactness",
    "Hooks",
    "Inference",
    "Manifest",
    "Objective",
    "Optimize",
    "Outcome",
    "Payload",
    "Point",
    "Preparation",
    "Prepared",
    "Project",
    "ProjectMemory",
    "Rehearsal",
    "RehearsedSlice",
    "Report",
    "Row",
    "Slice",
    "SliceFile",
    "SlicePlan",
    "SliceQuestion",
    "SliceSize",
    "Slices",
    "Stage",
    "Status",
    "Steps",
    "TensorSize",
    "Totals",
    "Transport",
    "Verification",
    "Wish",
    "alternatives",
    "amount",
    "arranged",
    "basic",
    "bindings",
    "capture",
    "check",
    "check_inputs",
    "check_plan",
    "check_slice",
    "cut",
    "decomposition",
    "equal_nodes",
    "explain",
    "export",
    "find_config",
    "inference",
    "load_hooks",
    "load_steps",
    "made_inputs",
    "max_slice_size",
    "measured",
    "memory",
    "neighbours",
    "open_slices",
    "payload_per_layer",
    "payload_per_slice",
    "plan",
    "plan_at",
    "prepare",
    "read_manifest",
    "read_project",
    "rehearse",
    "search",
    "sweep",
    "verify",
    "write_manifest",
]
