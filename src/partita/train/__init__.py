"""Learn across a cut: one network trained by an edge device and a cloud server together.

Rules: a name is loaded when it is asked for, because plans, traces and reports are read where there is no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .child import LocalCloud, local_cloud
    from .cloud import CloudServer
    from .comparing import Cell, Contest, Row, Survey, compare
    from .devices import check_device
    from .energy import EnergyMeter, StepEnergy, Watts, energy_of, parse_watts
    from .line import DirectLine, Line, Ticket
    from .loading import Batches, example_of
    from .losses import LOSSES
    from .notebook import Tracing
    from .optimizers import optimizing_of, parse_optimizing
    from .planner import question_of
    from .rates import parse_schedule
    from .reports import EpochReport, Event, StepReport
    from .roles import check_private
    from .room import House, Room
    from .room_limits import RoomLimits
    from .room_plan import Data
    from .seeds import step_seed
    from .session import Session
    from .settings import Feedback, Optimizing, Settings
    from .simulate_case import Case, slower
    from .simulate_links import parse_links
    from .simulate_made import made_moments
    from .simulate_moments import Moment, Slowdown, parse_slowdowns, read_moments, slowed
    from .simulate_original import original_cases
    from .simulate_run import Played
    from .simulating import Length, Replay, Sweep, replay, sweep_links
    from .trace import RunLine, Trace, TraceWriter, check_trace, read_trace

# Module -> the public names that live there.
_HOMES = {
    "child": "LocalCloud local_cloud",
    "cloud": "CloudServer",
    "comparing": "Cell Contest Row Survey compare",
    "devices": "check_device",
    "energy": "EnergyMeter StepEnergy Watts energy_of parse_watts",
    "line": "DirectLine Line Ticket",
    "loading": "Batches example_of",
    "losses": "LOSSES",
    "notebook": "Tracing",
    "optimizers": "optimizing_of parse_optimizing",
    "planner": "question_of",
    "rates": "parse_schedule",
    "reports": "EpochReport Event StepReport",
    "roles": "check_private",
    "room": "House Room",
    "room_limits": "RoomLimits",
    "room_plan": "Data",
    "seeds": "step_seed",
    "session": "Session",
    "settings": "Feedback Optimizing Settings",
    "simulate_case": "Case slower",
    "simulate_links": "parse_links",
    "simulate_made": "made_moments",
    "simulate_moments": "Moment Slowdown parse_slowdowns read_moments slowed",
    "simulate_original": "original_cases",
    "simulate_run": "Played",
    "simulating": "Length Replay Sweep replay sweep_links",
    "trace": "RunLine Trace TraceWriter check_trace read_trace",
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
    "LOSSES",
    "Batches",
    "Case",
    "Cell",
    "CloudServer",
    "Contest",
    "Data",
    "DirectLine",
    "EnergyMeter",
    "EpochReport",
    "Event",
    "Feedback",
    "House",
    "Length",
    "Line",
    "LocalCloud",
    "Moment",
    "Optimizing",
    "Played",
    "Replay",
    "Room",
    "RoomLimits",
    "Row",
    "RunLine",
    "Session",
    "Settings",
    "Slowdown",
    "StepEnergy",
    "StepReport",
    "Survey",
    "Sweep",
    "Ticket",
    "Trace",
    "TraceWriter",
    "Tracing",
    "Watts",
    "check_device",
    "check_private",
    "check_trace",
    "compare",
    "energy_of",
    "example_of",
    "local_cloud",
    "made_moments",
    "optimizing_of",
    "original_cases",
    "parse_links",
    "parse_optimizing",
    "parse_schedule",
    "parse_slowdowns",
    "parse_watts",
    "question_of",
    "read_moments",
    "read_trace",
    "replay",
    "slowed",
    "slower",
    "step_seed",
    "sweep_links",
]
