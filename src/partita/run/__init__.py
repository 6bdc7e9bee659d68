"""Parts at work: a place that serves them, a driver that runs a plan across places."""

from .codec_option import codec_option
from .driver import Driver, StepTimes, check_plan
from .local import local_place, local_remote, shaped
from .pace import Pace
from .place import Place
from .remote import Remote, Reply
from .serve import PlaceServer
from .steps import RunReport, run_steps
from .weights import state_digest, weights_digest

__all__ = [
    "Driver",
    "Pace",
    "Place",
    "PlaceServer",
    "Remote",
    "Reply",
    "RunReport",
    "StepTimes",
    "check_plan",
    "codec_option",
    "local_place",
    "local_remote",
    "run_steps",
    "shaped",
    "state_digest",
    "weights_digest",
]
