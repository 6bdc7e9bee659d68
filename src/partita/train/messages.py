"""What edge and cloud say to each other in a training. The edge asks, the cloud answers every request once, in order.

    begin a run      Begin -> Begun        Model... -> Begun      Measure -> Measured
    change plans     Prepare -> Prepared   Give... -> Result   Take... -> Taken   Commit | Abandon -> Result
    train            Step -> Features | Slopes      Slope -> Slopes      Examine -> Features | Verdict
    checkpoints      Save -> Saved         Recall -> Result

Rules: tensors ride with the messages under the names that the chain gives them, encoded by the lane of their
direction; labels are called `label/...`, sample ids `ids`, the state of the random numbers `rng`; whatever fails is
answered by `Failed`. Versions number plans: a message of another version than the one in force is refused.
"""

from __future__ import annotations

from typing import Final

from ..wire import WORK, Count, Message, Name, Seconds, Sentence, Vocabulary

__all__ = [
    "TRAINING",
    "Abandon",
    "Begin",
    "Begun",
    "Commit",
    "Examine",
    "Features",
    "Give",
    "Hasten",
    "Measure",
    "Measured",
    "Model",
    "Prepare",
    "Prepared",
    "Recall",
    "Save",
    "Saved",
    "Slope",
    "Slopes",
    "Step",
    "Take",
    "Taken",
    "Verdict",
]

LABEL: Final = "label/"
IDS: Final = "ids"
RNG: Final = "rng"


class Begin(Message, frozen=True):
    """Train `run` here: a model by digest, under these settings (JSON). `run` is a secret of 128 bits or more."""

    request: Count
    run: Name
    model: Name
    digest: Name
    settings: Sentence


class Begun(Message, frozen=True):
    """Whether the model is known here; the steps at which this side has checkpoints of the run; the device."""

    request: Count
    known: bool
    steps: tuple[Count, ...] = ()
    device: Name = ""


class Model(Message, frozen=True):
    """A piece of the model as data (tensor `model`, bytes) or of the loss (tensor `loss`); answered by Begun at the last."""

    request: Count
    last: bool


class Measure(Message, frozen=True):
    """Measure the model here at this batch size, with these codecs. The answer carries the profile as bytes."""

    request: Count
    batch: Count
    codecs: tuple[Name, ...] = ()


class Measured(Message, frozen=True):
    """The profile, as JSON in the tensor `profile`."""

    request: Count


class Prepare(Message, frozen=True):
    """Get ready for plan `version`, without leaving the one in force; nothing is under way."""

    request: Count
    version: Count
    plan: Sentence


class Prepared(Message, frozen=True):
    """The states (parameters and buffers) that this side would hold and has not; all others it has."""

    request: Count
    missing: tuple[Name, ...] = ()


class Give(Message, frozen=True):
    """State that the other side lacks: `weight/NAME`, `optimizer/NAME/KEY`. `last` ends it."""

    request: Count
    version: Count
    last: bool


class Take(Message, frozen=True):
    """Send me the state of these names, as in Give."""

    request: Count
    names: tuple[Name, ...]


class Taken(Message, frozen=True):
    """The state that was asked for, and its digest."""

    request: Count
    digest: Name = ""


class Commit(Message, frozen=True):
    """Plan `version` is in force; what was given has this digest."""

    request: Count
    version: Count
    digest: Name = ""


class Abandon(Message, frozen=True):
    """Plan `version` will not be; the one before stays in force."""

    request: Count
    version: Count


class Step(Message, frozen=True):
    """Forward one batch through this side's part, and back too if it owns the loss. `rate` is the learning rate."""

    request: Count
    version: Count
    step: Count
    rate: Seconds


class Features(Message, frozen=True):
    """What this side's part made of a batch, and the seconds that took."""

    request: Count
    step: Count
    seconds: Seconds = 0.0


class Slope(Message, frozen=True):
    """The gradients of what this side's part made of an earlier batch."""

    request: Count
    version: Count
    step: Count
    rate: Seconds


class Slopes(Message, frozen=True):
    """The gradients of what this side was given, the seconds that took, and what the loss said if it is here."""

    request: Count
    step: Count
    seconds: Seconds = 0.0
    loss: float = 0.0
    right: int = -1
    count: Count = 0


class Hasten(Message, frozen=True):
    """The link became slow: say what waits to leave in fewer bytes, at the price of some of its precision."""

    request: Count


class Examine(Message, frozen=True):
    """Forward one batch in eval mode; judge it too if labels come with it."""

    request: Count
    version: Count


class Verdict(Message, frozen=True):
    """The loss summed over samples, how many answers were right (-1: that is no question here), of how many."""

    request: Count
    loss: float
    right: int
    count: Count


class Save(Message, frozen=True):
    """Write a checkpoint of this step; nothing is under way."""

    request: Count
    step: Count


class Saved(Message, frozen=True):
    """It is on disk."""

    request: Count
    step: Count


class Recall(Message, frozen=True):
    """Go back to the checkpoint of this step, under the plan that it holds, as `version`."""

    request: Count
    step: Count
    version: Count


TRAINING: Final[Vocabulary] = WORK.extended(
    Begin, Begun, Model, Measure, Measured, Prepare, Prepared, Give, Take, Taken, Commit, Abandon, Step, Features, Slope,
    Slopes, Hasten, Examine, Verdict, Save, Saved, Recall,
)  # fmt: skip
