"""Inside the limits: an ONNX model of any size as a chain of functions, planned, cut, checked and run."""

from .check import Report, Row, Status, amount, check, check_plan
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
from .explain import alternatives, explain
from .export import export
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
from .planner import Prepared, Wish, arranged, capture, measured, plan
from .question import SliceQuestion
from .rehearse import rehearse
from .rehearse_report import Rehearsal, RehearsedSlice
from .runner import Outcome, Slices, open_slices
from .search import search
from .slicer import cut, equal_nodes, plan_at, prepare
from .stage import Stage
from .sweep import Point, sweep
from .verify import Verification, verify

__all__ = [
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
