"""Answer in time: networks with exits, and how deep each request runs.

Rules: a name is loaded when it is asked for, because a device that serves has no use for what trains.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrivals import Arrival, Burst, Stream, draw, read_trace, write_trace
    from .attribution import EnergyLedger
    from .audit import Audit, Tightening
    from .calibrate_binomial import accuracy_interval
    from .calibrate_evidence import (
        Evidence,
        evidence_of_answers,
        evidence_of_logits,
        evidence_of_losses,
        evidence_of_truth,
    )
    from .calibrating import Examination, calibrate, examine, with_accuracy
    from .execute import ConditionalExecutor
    from .execute_loop import RunSummary, condition_files, execute_files, execute_for, read_policy
    from .exits import MultiExit
    from .exits_build import MODELS, build_exits
    from .exits_cut import with_exits
    from .exits_flops import flops
    from .explain import Explanation, explain_request, reason_request
    from .exporting import export
    from .model import ExitModel, made_inputs
    from .model_features import Features
    from .model_manifest import ExitModelManifest, read_manifest
    from .policy import Policy, upgrade
    from .policy_advice import policy_notes
    from .policy_condition import CompoundCondition, SingleCondition
    from .policy_grammar import policy_schema
    from .policy_profile import profile_from_original
    from .policy_read import parse_policy
    from .policy_words import BooleanOperators, CompareOperators, Facts, Metrics, Task, TaskState
    from .profile import Measuring, load_profile, profile_model, save_profile
    from .profile import notes as profile_notes
    from .profile_truth import Truth, collect
    from .scheduler import Scheduler
    from .scheduler_orders import Admitted, Answer, Batch, Rejected, Request, Tenant
    from .scheduler_orders import Settings as SchedulerSettings
    from .setup import bounded, scheduler_for
    from .simulate_report import Report, Tally
    from .simulating import Truth as TruthTable
    from .simulating import simulate
    from .tables import Bounds, Calibration, ExitCost, ExitProfile, StageTime
    from .train_run import load_run, read_run
    from .train_spec import Progress, Run, RunResult, TrainSpec
    from .training import train

# Module -> the public names that live there, `own:public` where the two differ.
_HOMES = {
    "arrivals": "Arrival Burst Stream draw read_trace write_trace",
    "attribution": "EnergyLedger",
    "audit": "Audit Tightening",
    "calibrate_binomial": "accuracy_interval",
    "calibrate_evidence": "Evidence evidence_of_answers evidence_of_logits evidence_of_losses evidence_of_truth",
    "calibrating": "Examination calibrate examine with_accuracy",
    "execute": "ConditionalExecutor",
    "execute_loop": "RunSummary condition_files execute_files execute_for read_policy",
    "exits": "MultiExit",
    "exits_build": "MODELS build_exits",
    "exits_cut": "with_exits",
    "exits_flops": "flops",
    "explain": "Explanation explain_request reason_request",
    "exporting": "export",
    "model": "ExitModel made_inputs",
    "model_features": "Features",
    "model_manifest": "ExitModelManifest read_manifest",
    "policy": "Policy upgrade",
    "policy_condition": "CompoundCondition SingleCondition",
    "policy_advice": "policy_notes",
    "policy_profile": "profile_from_original",
    "policy_read": "parse_policy",
    "policy_grammar": "policy_schema",
    "policy_words": "BooleanOperators CompareOperators Facts Metrics Task TaskState",
    "profile": "Measuring load_profile notes:profile_notes profile_model save_profile",
    "profile_truth": "Truth collect",
    "scheduler": "Scheduler",
    "scheduler_orders": "Admitted Answer Batch Rejected Request Settings:SchedulerSettings Tenant",
    "setup": "bounded scheduler_for",
    "simulate_report": "Report Tally",
    "simulating": "Truth:TruthTable simulate",
    "tables": "Bounds Calibration ExitCost ExitProfile StageTime",
    "train_run": "load_run read_run",
    "train_spec": "Progress Run RunResult TrainSpec",
    "training": "train",
}
_HOME = {
    name.partition(":")[2] or name: (module, name.partition(":")[0])
    for module, names in _HOMES.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    """A public name, from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own = _HOME[name]
    value = getattr(import_module(f".{module}", __name__), own)
    globals()[name] = value
    return value


__all__ = [
    "MODELS",
    "Admitted",
    "Answer",
    "Arrival",
    "Audit",
    "Batch",
    "BooleanOperators",
    "Bounds",
    "Burst",
    "Calibration",
    "CompareOperators",
    "CompoundCondition",
    "ConditionalExecutor",
    "EnergyLedger",
    "Evidence",
    "Examination",
    "ExitCost",
    "ExitModel",
    "ExitModelManifest",
    "ExitProfile",
    "Explanation",
    "Facts",
    "Features",
    "Measuring",
    "Metrics",
    "MultiExit",
    "Policy",
    "Progress",
    "Rejected",
    "Report",
    "Request",
    "Run",
    "RunResult",
    "RunSummary",
    "Scheduler",
    "SchedulerSettings",
    "SingleCondition",
    "StageTime",
    "Stream",
    "Tally",
    "Task",
    "TaskState",
    "Tenant",
    "Tightening",
    "TrainSpec",
    "Truth",
    "TruthTable",
    "accuracy_interval",
    "bounded",
    "build_exits",
    "calibrate",
    "collect",
    "condition_files",
    "draw",
    "evidence_of_answers",
    "evidence_of_logits",
    "evidence_of_losses",
    "evidence_of_truth",
    "examine",
    "execute_files",
    "execute_for",
    "explain_request",
    "export",
    "flops",
    "load_profile",
    "load_run",
    "made_inputs",
    "parse_policy",
    "policy_notes",
    "policy_schema",
    "profile_from_original",
    "profile_model",
    "profile_notes",
    "read_manifest",
    "read_policy",
    "read_run",
    "read_trace",
    "reason_request",
    "save_profile",
    "scheduler_for",
    "simulate",
    "train",
    "upgrade",
    "with_accuracy",
    "with_exits",
    "write_trace",
]
