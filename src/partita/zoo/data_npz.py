"""Arrays in npz files, under the names that people give them.

    images | x | data | samples       with  labels | y | targets | target
    x_train, y_train, x_test, y_test        train_images, train_labels, val_images, ...
    train.npz, val.npz, test.npz            one file a split
    any other names beside the labels       the inputs of a model that takes several: see `data_records`

Rules: three or four dimensions are images, two are a table; whole numbers other than uint8 are refused as pixels;
nothing pickled is opened; all that is wrong with a file is told at once.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, PartitaError
from .data_arrays import Arrays
from .data_folders import ALIASES
from .data_records import Records, answers, open_records
from .data_source import Kind, Listing, Size
from .data_table_wanted import Wanted
from .data_tree import LARGEST, Tree

_SAMPLES = ("images", "image", "x", "data", "samples")
_LABELS = ("labels", "label", "y", "targets", "target")
_CHANNELS = (1, 3, 4)


def open_npz(tree: Tree, names: Sequence[str], size: Size, wanted: Wanted) -> Arrays | Records:
    """The samples of one file, or of a file for each split."""
    wanted.refuse(tree.where, ("label", "targets", "inputs"))
    if wanted.inputs or not any(_words(key.lower())[1] in _SAMPLES for key in _keys(tree, names[0])):
        files = ((name, _of_file(name, len(names)), _arrays(tree, name)) for name in names)
        return open_records(tree, files, wanted, _LABELS, _words)
    blocks: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    origins: list[str] = []
    splits: list[str] = []
    classes: tuple[str, ...] = ()
    for name in names:
        found = {key.lower(): array for key, array in _arrays(tree, name).items()}
        classes = classes or _classes(found)
        for split, samples, marks in _pairs(tree, name, found, wanted):
            blocks.append(_channels_first(tree, name, samples))
            labels.append(marks)
            origins.append(f"{name}:{split}" if split else name)
            splits.append(split or _of_file(name, len(names)))
    targets = np.concatenate(labels) if wanted.targets else None
    if targets is not None:
        labels = [np.full(len(marks), -1, np.int64) for marks in labels]
    top = int(max(marks.max() for marks in labels)) + 1
    _check(tree, blocks, labels if targets is None else (), classes, top)
    kind: Kind = "image" if blocks[0].ndim == 4 else "table"
    of = np.repeat(np.array(splits), [len(block) for block in blocks])
    listing = Listing(
        tree.where if len(names) > 1 else tree.title(names[0]),
        "npz",
        () if targets is not None else classes or tuple(str(n) for n in range(top)),
        np.concatenate(labels),
        {split: np.flatnonzero(of == split) for split in sorted(set(splits) - {""})},
        targets,
    )
    return Arrays(listing, tuple(blocks), tuple(origins), size, kind)


def _arrays(tree: Tree, name: str) -> dict[str, NDArray[Any]]:
    title = tree.title(name)
    try:
        with _opened(tree, name) as raw, np.load(raw, allow_pickle=False) as file:
            _check_size(title, sum(member.file_size for member in file.zip.infolist()))
            return {key: file[key] for key in file.files}
    except PartitaError:
        raise
    except Exception as problem:  # a reader of foreign bytes raises whatever it stumbles over
        pickled = "allow_pickle" in str(problem)
        raise BadDocument(
            title,
            ["holds pickled objects" if pickled else f"cannot be read: {str(problem).partition(chr(10))[0]}"],
            fix="store plain arrays with numpy.savez" if pickled else "fetch it again",
        ) from None


def _keys(tree: Tree, name: str) -> list[str]:
    """The names of the arrays; none where the file cannot be read: reading it will say why."""
    try:
        with _opened(tree, name) as raw, zipfile.ZipFile(raw) as file:
            return [member.removesuffix(".npy") for member in file.namelist()] or list(_SAMPLES)
    except (OSError, ValueError, zipfile.BadZipFile):
        return list(_SAMPLES)


def _check_size(title: str, total: int) -> None:
    """Before anything is unpacked."""
    if total > LARGEST:
        raise BadDocument(title, [f"{total} bytes are more than the {LARGEST} read at once"], fix="divide it")


def _opened(tree: Tree, name: str) -> BinaryIO:
    """The file; where it lies in a zip, its bytes."""
    place = tree.path(name)
    return BytesIO(tree.read(name)) if place is None else place.open("rb")


def _pairs(
    tree: Tree, name: str, found: dict[str, NDArray[Any]], wanted: Wanted
) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Samples and labels or targets, with the split that their names state."""
    asked = wanted.targets or ((wanted.label,) if wanted.label else ())
    labels = tuple(word.lower() for word in asked) or _LABELS
    rows, problems = [], []
    for key, samples in found.items():
        split, word = _words(key)
        if word not in _SAMPLES:
            continue
        mate = next((k for k in found if _words(k)[0] == split and _words(k)[1] in labels), None)
        if mate is None:
            problems.append(f"{key}: there are no labels for it")
            continue
        marks, problem = answers(found[mate], len(samples), measured=bool(wanted.targets))
        if problem:
            problems.append(f"{mate}: {problem}")
        else:
            rows.append((split, samples, marks))
    if not rows and not problems:
        problems.append(f"the arrays {', '.join(sorted(found)) or '(none)'} are none that we know")
    if problems:
        raise BadDocument(
            tree.title(name),
            problems,
            fix="name the arrays images and labels, or x_train, y_train, x_test, y_test; ?targets=y predicts numbers",
        )
    return rows


def _words(key: str) -> tuple[str, str]:
    """Split and meaning of an array's name: `x_train` and `train_images` are the train's samples."""
    for word, rest in (key.partition("_")[::2], key.rpartition("_")[::-2]):
        if word.lower() in ALIASES and rest:
            return ALIASES[word.lower()], rest
    return "", key


def _of_file(name: str, files: int) -> str:
    return ALIASES.get(name.rpartition(".")[0].rpartition("/")[2], "") if files > 1 else ""


def _classes(found: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    names = found.get("classes", found.get("class_names"))
    return tuple(str(n) for n in names) if names is not None and names.dtype.kind in "US" else ()


def _channels_first(tree: Tree, name: str, samples: NDArray[Any]) -> NDArray[Any]:
    if samples.ndim in (3, 4) and samples.dtype.kind not in "f" and samples.dtype != np.uint8:
        problem = f"pixels of {samples.dtype}: uint8, or floats from 0 to 1, can be told apart"
    elif samples.ndim == 2 and samples.dtype.kind in "iuf":
        return samples.astype(np.float32)
    elif samples.ndim == 3:
        return _floats(samples[:, None])
    elif samples.ndim == 4 and samples.shape[1] in _CHANNELS:
        return _floats(samples)
    elif samples.ndim == 4 and samples.shape[3] in _CHANNELS:
        return _floats(np.moveaxis(samples, 3, 1))
    else:
        problem = f"samples of shape {samples.shape} are neither images nor a table"
    raise BadDocument(
        tree.title(name), [problem], fix="store [n, height, width, channels] as uint8, or [n, columns]"
    )


def _floats(samples: NDArray[Any]) -> NDArray[Any]:
    return samples if samples.dtype == np.uint8 else samples.astype(np.float32)


def _check(
    tree: Tree,
    blocks: Sequence[NDArray[Any]],
    labels: Sequence[NDArray[Any]],
    classes: Sequence[str],
    top: int,
) -> None:
    problems = []
    if len({(block.shape[1:], block.dtype) for block in blocks}) > 1:
        problems.append("the splits hold samples of several shapes or types")
    if min((int(marks.min()) for marks in labels), default=0) < 0:
        problems.append("labels: there are negative ones")
    if classes and top > len(classes):
        problems.append(f"labels: {top - 1} is out of range: there are {len(classes)} classes")
    problems += [
        f"pixels of {block.dtype} range from {block.min():.3g} to {block.max():.3g}"
        for block in blocks
        if block.ndim == 4 and block.dtype != np.uint8 and not (block.min() >= 0 and block.max() <= 1)
    ]
    if problems:
        raise BadDocument(
            tree.where, problems, fix="store pixels as uint8 or as floats from 0 to 1, labels from 0 upwards"
        )
