"""What every exit says about held-out samples: the evidence that accuracy and calibration stand on.

Rules: every sample runs through every exit once; without labels the last exit's answers stand for the truth, and the
result says so; the file holds plain arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..engine import Array
from ..errors import BadDocument, NotFound
from .model import ExitModel, Given
from .model_features import answers

TRUTH = "truth.npz"
_BATCH = 64
# Logits of more than this many values (256 MB) are not kept in the file.
_MOST_LOGITS = 1 << 26


@dataclass(frozen=True, eq=False)
class Truth:
    """Samples by exits. `confidence` and `correct` have the shape [samples, exits], `logits` [samples, exits,
    classes] or None where they were too many to keep, `labels` [samples]. `labelled` is False where the labels are the last exit's own answers."""

    confidence: Array
    correct: Array
    logits: Array | None
    labels: Array
    labelled: bool = True
    digest: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> tuple[float, ...]:
        """The share of right answers of every exit."""
        return tuple(float(share) for share in self.correct.mean(axis=0))

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all."""
        path = Path(path)
        beside = path.with_name(f"{path.name}.new")
        arrays = {
            "confidence": self.confidence,
            "correct": self.correct,
            "labels": self.labels,
            "labelled": np.asarray(self.labelled),
            "digest": np.asarray(self.digest),
        }
        if self.logits is not None and self.logits.size <= _MOST_LOGITS:
            arrays["logits"] = self.logits
        with beside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # arrays by name
        return beside.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Truth:
        """Read it back, or that of a training run."""
        path = Path(path)
        if not path.is_file():
            raise NotFound(
                f"there is no file {path}", fix="collect it: partita serve profile MODEL --data HELD_OUT"
            )
        try:
            with np.load(path, allow_pickle=False) as held:
                arrays = {name: held[name] for name in held.files}
            confidence, correct, labels = (arrays[name] for name in ("confidence", "correct", "labels"))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise BadDocument(
                f"truth {str(path)!r}", ["is no npz archive with its arrays"], fix="collect it again"
            ) from error
        logits = arrays.get("logits")
        sizes = {confidence.shape, correct.shape, *([] if logits is None else [logits.shape[:2]])}
        if len(sizes) > 1 or confidence.ndim != 2 or labels.shape != confidence.shape[:1]:
            raise BadDocument(
                f"truth {str(path)!r}", ["its arrays are of different sizes"], fix="collect it again"
            )
        return cls(
            confidence,
            correct.astype(bool),
            logits,
            labels,
            bool(arrays.get("labelled", True)),
            str(arrays.get("digest", "")),
        )


def collect(
    model: ExitModel, inputs: Given, labels: Sequence[int] | Array | None, *, batch: int = _BATCH
) -> Truth:
    """Run held-out samples through every exit. `labels` are classes by index, or None where nobody knows them."""
    whole = _arrays(model, inputs)
    count = len(next(iter(whole.values())))
    wanted = None if labels is None else np.asarray(labels)
    _check(model, wanted, count)
    size = model.manifest.batch or batch
    rows = [_logits(model, whole, start, min(size, count - start), size) for start in range(0, count, size)]
    logits = np.concatenate(rows) if rows else np.zeros((0, len(model.exits), model.classes), np.float32)
    truth = logits[:, -1].argmax(axis=1) if wanted is None else wanted.astype(np.int64)
    confidence = np.stack([answers(logits[:, k]).confidence for k in range(len(model.exits))], axis=1)
    correct = logits.argmax(axis=2) == truth[:, None]
    return Truth(confidence, correct, logits, truth, wanted is not None, model.digest)


def _arrays(model: ExitModel, inputs: Given) -> dict[str, Array]:
    specs = model.manifest.inputs
    if isinstance(inputs, Mapping):
        found = dict(inputs)
    else:
        found = dict(
            zip([s.name for s in specs], [inputs] if isinstance(inputs, np.ndarray) else inputs, strict=False)
        )
    missing = [f"{spec.name}: is missing" for spec in specs if spec.name not in found]
    sizes = {len(value) for value in found.values()}
    if missing or len(sizes) > 1 or 0 in sizes:
        problems = missing or [f"there are {' and '.join(map(str, sorted(sizes)))} samples"]
        raise BadDocument(
            "held-out data", problems, fix="give the same samples, at least one, for every input"
        )
    return found


def _check(model: ExitModel, labels: Array | None, count: int) -> None:
    if labels is None:
        return
    problems = []
    if labels.ndim != 1 or len(labels) != count:
        problems.append(f"labels: shape {list(labels.shape)} for {count} samples")
    elif labels.dtype.kind not in "iu":
        problems.append(f"labels: {labels.dtype} is no type of whole numbers")
    elif labels.min() < 0 or labels.max() >= model.classes:
        problems.append(
            f"labels: {labels.min()} to {labels.max()}, and the network knows classes 0 to {model.classes - 1}"
        )
    if problems:
        raise BadDocument("held-out data", problems, fix="give one class by index for every sample")


def _logits(model: ExitModel, whole: Mapping[str, Array], start: int, count: int, size: int) -> Array:
    """The logits of every exit for some samples, [samples, exits, classes]."""
    part = {name: value[start : start + count] for name, value in whole.items()}
    short = size - count if model.manifest.batch is not None else 0
    if short:  # a fixed batch is filled with its first sample, which is counted once
        part = {
            name: np.concatenate([value, np.repeat(value[:1], short, axis=0)]) for name, value in part.items()
        }
    if not model.manifest.stages:
        return np.stack([model.run_to(k, part)[:count] for k in range(len(model.exits))], axis=1)
    held, found = model.start(part), []
    for k in range(len(model.exits)):
        held, logits = model.run_stage(k, held)
        found.append(logits[:count])
    return np.stack(found, axis=1)
