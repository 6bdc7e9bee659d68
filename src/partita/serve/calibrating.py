"""When an early answer can be trusted: tables and thresholds from held-out samples, with a stated bound.

Rules: the bound is exact for exchangeable samples and says nothing about others; thresholds are off unless a drop was
asked for and proven; whatever the user should know beside the numbers (too few samples, no labels, nothing passed) is
a note in plain words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadDocument
from .calibrate_binomial import accuracy_interval, samples_needed, upper_bound
from .calibrate_evidence import Evidence, Floats, evidence_of_logits
from .calibrate_thresholds import NEVER, Found, certify, common_path, exits_taken, learned_path
from .tables import Calibration, ExitProfile

Path = Literal["learned", "common"]

# A bin counts as if it held this many samples of the exit's average besides its own.
_PSEUDO_COUNTS: Final = 10.0
# The path has two numbers an exit: measured, a tenth to a third of 4,000 samples serve equally well.
_LEARN_SHARE: Final = 0.2
# A path learned from fewer samples than this follows their noise.
_FEWEST_TO_LEARN: Final = 100
_FEW: Final = 200
# How sure the share of contradicted answers is, from which the audit judges drift.
_AUDIT_CONFIDENCE: Final = 0.99
_ASK: Final = "as in max_drop=0.01, confidence=0.95, bins=20"


@dataclass(frozen=True)
class Examination:
    """A calibration, and how it was come by.

    `intervals` hold each exit's accuracy (consistency without labels) at the confidence asked for. Under the thresholds:
    `answered` is the share of samples that leaves at each exit; `loss` the mean loss (the last exit right, the answer
    wrong) of the samples that tested them; `drop` the accuracy given up on all samples, less than the loss where early
    exits are right and the last is wrong; `saved` the share of cost. `contradicted` bounds the share of early answers
    that the last exit would change: what `Audit` expects while nothing drifts; None where the samples do not tell.
    """

    calibration: Calibration
    intervals: tuple[tuple[float, float], ...]
    answered: tuple[float, ...]
    notes: tuple[str, ...] = ()
    path: str = ""
    loss: float | None = None
    drop: float = 0.0
    saved: float = 0.0
    contradicted: float | None = None

    @property
    def measure(self) -> str:
        """What the shares are called: without labels they are no accuracy."""
        return "accuracy" if self.calibration.labelled else "consistency with the last exit"


def calibrate(
    logits: Sequence[ArrayLike],
    labels: ArrayLike | None = None,
    *,
    max_drop: float | None = None,
    confidence: float = 0.95,
    bins: int = 20,
    costs: Sequence[float] | None = None,
    digest: str = "",
) -> Calibration:
    """The calibration from the logits of every exit (samples by classes). `examine` tells more."""
    evidence = evidence_of_logits(logits, labels)
    return examine(
        evidence, max_drop=max_drop, confidence=confidence, bins=bins, costs=costs, digest=digest
    ).calibration


def examine(
    evidence: Evidence,
    *,
    max_drop: float | None = None,
    confidence: float = 0.95,
    bins: int = 20,
    costs: Sequence[float] | None = None,
    path: Path = "learned",
    digest: str = "",
) -> Examination:
    """Tables, and thresholds under which accuracy drops by at most `max_drop` with probability `confidence`.

    `costs` count from the input to each exit, in any unit; without them stages cost the same. The path of thresholds
    tried is `learned` on a fifth of the samples, or `common`: one threshold for all exits.
    """
    spent = _checked(evidence, max_drop, confidence, bins, costs)
    notes = _notes(evidence)
    found, walked = None, ""
    if max_drop is not None:
        found, walked = _search(evidence, spent, path, (max_drop, confidence), notes)
    thresholds = found.thresholds if found else (*(NEVER,) * (evidence.exits - 1), 0.0)
    taken = exits_taken(evidence.confidence, thresholds)
    edges = _edges(evidence, bins)
    calibration = Calibration(
        edges=edges,
        worth=_worth(evidence, edges),
        accuracy=tuple(map(float, evidence.worth.mean(axis=1))),
        thresholds=thresholds,
        stays=_stays(evidence, thresholds),
        samples=evidence.samples,
        max_drop=max_drop,
        confidence=None if max_drop is None else confidence,
        labelled=evidence.labelled,
        digest=digest,
    )
    early = int(np.count_nonzero(taken < evidence.exits - 1))
    changed = int(np.count_nonzero(evidence.contradicted(taken)))
    # Right or wrong alone does not tell whether two wrong answers are the same.
    comparable = evidence.answers is not None or not evidence.labelled
    return Examination(
        calibration,
        intervals=_intervals(evidence, confidence),
        answered=tuple(float(np.mean(taken == k)) for k in range(evidence.exits)),
        notes=tuple(notes),
        path=walked if found else "",
        loss=found.losses / found.samples if found else None,
        drop=float(np.mean(evidence.worth[-1] - evidence.worth[taken, np.arange(evidence.samples)])),
        saved=float(1.0 - np.mean(np.asarray(spent)[taken]) / spent[-1]),
        contradicted=upper_bound(changed, early, _AUDIT_CONFIDENCE) if early and comparable else None,
    )


def with_accuracy(profile: ExitProfile, examination: Examination) -> ExitProfile:
    """The profile with each exit's accuracy and the ends of its interval; unchanged where the samples had no labels."""
    calibration = examination.calibration
    if len(profile.exits) != len(calibration.accuracy):
        problem = f"accuracy: {len(calibration.accuracy)} exits, but the profile has {len(profile.exits)}"
        raise BadDocument("calibration", [problem], fix="calibrate and profile the same model folder")
    if not calibration.labelled:
        return profile
    exits = tuple(
        replace(cost, accuracy=accuracy, accuracy_low=low, accuracy_high=high)
        for cost, accuracy, (low, high) in zip(
            profile.exits, calibration.accuracy, examination.intervals, strict=True
        )
    )
    return replace(profile, exits=exits, samples=calibration.samples)


def _search(
    evidence: Evidence, costs: tuple[float, ...], path: Path, asked: tuple[float, float], notes: list[str]
) -> tuple[Found | None, str]:
    """The greediest thresholds that are proven, and the path they were found on; else a note that says why none are."""
    max_drop, confidence = asked
    needed = samples_needed(max_drop, confidence)
    promise = f"a drop of at most {max_drop:.2%} with confidence {confidence:g}"
    if evidence.exits == 1:
        notes.append("there is one exit: no threshold to choose")
        return None, ""
    if evidence.samples < needed:
        notes.append(
            f"thresholds are off: {promise} needs {needed} samples at the very least, here are {evidence.samples}"
        )
        return None, ""
    for_path = int(evidence.samples * _LEARN_SHARE)
    # Files are often sorted by class: the two parts must be drawn, not cut.
    order = np.random.default_rng(0).permutation(evidence.samples)
    learned = path == "learned" and for_path >= _FEWEST_TO_LEARN and evidence.samples - for_path >= 2 * needed
    if learned:
        tried = learned_path(evidence.part(order[:for_path]), costs)
        found = certify(evidence.part(order[for_path:]), tried, max_drop, confidence)
    else:
        found = certify(evidence, common_path(evidence.exits), max_drop, confidence)
    if path == "learned" and not learned:
        notes.append(
            f"one threshold for all exits: {evidence.samples} samples are too few to learn one for each, "
            f"{max(5 * _FEWEST_TO_LEARN, round(2 * needed / (1 - _LEARN_SHARE)))} would do"
        )
    if found is None or all(one > 1 for one in found.thresholds[:-1]):
        notes.append(f"thresholds are off: no early answer could be proven to keep {promise}")
        return None, ""
    return found, "learned" if learned else "common"


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if not evidence.labelled:
        notes.append(
            "no labels: the last exit's answers were taken for the truth, so shares are consistency, not accuracy"
        )
    if evidence.samples < _FEW:
        notes.append(
            f"{evidence.samples} samples are few: use {_FEW} or more for tables, about 2000 for good ones"
        )
    best = np.maximum.accumulate(evidence.worth.mean(axis=1))
    dominated = [str(k) for k in range(1, evidence.exits) if evidence.worth[k].mean() <= best[k - 1]]
    if dominated and evidence.labelled:
        notes.append(f"no more accurate than an earlier exit: {', '.join(dominated)}")
    return notes


def _edges(evidence: Evidence, bins: int) -> tuple[float, ...]:
    """Inner borders that part the confidences of all exits but the last, where decisions fall, into equal shares."""
    deciding = evidence.confidence[: max(1, evidence.exits - 1)]
    edges = np.quantile(deciding, np.arange(1, bins) / bins)
    # A bin that nothing can be in would only carry the average: many confidences can be exactly 1.
    return tuple(map(float, np.unique(edges[edges > deciding.min()])))


def _worth(evidence: Evidence, edges: tuple[float, ...]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    mean = evidence.worth.mean(axis=1)
    tables = []
    for k in range(evidence.exits):
        at = np.searchsorted(np.asarray(edges), evidence.confidence[k], side="right")
        counts = np.bincount(at, minlength=len(edges) + 1)
        sums = np.stack([np.bincount(at, row, minlength=len(edges) + 1) for row in evidence.worth], axis=1)
        shrunk = (sums + _PSEUDO_COUNTS * mean) / (counts + _PSEUDO_COUNTS)[:, None]
        tables.append(tuple(tuple(map(float, row)) for row in shrunk))
    return tuple(tables)


def _stays(evidence: Evidence, thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """Of those that reach an exit, the share that goes on; where nobody reaches it, of all. None pass the last."""
    reached = np.ones(evidence.samples, bool)
    stays = []
    for k, threshold in enumerate(thresholds[:-1]):
        unsure: Floats = evidence.confidence[k] < threshold
        stays.append(float(np.mean(unsure[reached] if reached.any() else unsure)))
        reached = reached & unsure
    return (*stays, 0.0)


def _intervals(evidence: Evidence, confidence: float) -> tuple[tuple[float, float], ...]:
    if evidence.binary:
        rights = evidence.worth.sum(axis=1)
        return tuple(accuracy_interval(round(right), evidence.samples, confidence) for right in rights)
    # Hoeffding's bound holds for any worth between 0 and 1, however it is spread.
    reach = float(np.sqrt(np.log(2 / (1 - confidence)) / (2 * evidence.samples)))
    means = evidence.worth.mean(axis=1)
    return tuple((max(0.0, float(one) - reach), min(1.0, float(one) + reach)) for one in means)


def _checked(
    evidence: Evidence, max_drop: float | None, confidence: float, bins: int, costs: Sequence[float] | None
) -> tuple[float, ...]:
    """The costs, once every argument is seen to be sound."""
    problems = []
    if max_drop is not None and not 0 < max_drop < 1:
        problems.append(f"max_drop: {max_drop!r} is not between 0 and 1")
    if not 0 < confidence < 1:
        problems.append(f"confidence: {confidence!r} is not between 0 and 1")
    if bins < 1:
        problems.append(f"bins: {bins!r} is not 1 or more")
    spent = tuple(costs) if costs is not None else tuple(float(k + 1) for k in range(evidence.exits))
    if len(spent) != evidence.exits:
        problems.append(f"costs: {len(spent)} for {evidence.exits} exits")
    elif list(spent) != sorted(spent) or not 0 < spent[0] <= spent[-1] < float("inf"):
        problems.append(f"costs: {list(spent)} do not grow from above 0")
    if problems:
        raise BadDocument("calibration", problems, fix=_ASK)
    return spent
