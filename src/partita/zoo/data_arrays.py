"""Data sets that are arrays in files: CIFAR's binary version, MNIST's idx files, npz.

Rules: every length is checked against what the file says before anything is read from it; arrays on disk are mapped, not
copied; pickled versions are refused, because opening a pickle runs what is in it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, BadReference
from .data_images import fit
from .data_source import Kind, Listing, Size, pair
from .data_tree import LARGEST, Tree

_CIFAR_PIXELS = 3 * 32 * 32
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, eq=False)
class Arrays:
    """A source of samples that lie in arrays, one after the other: `blocks` from the files `origins`."""

    listing: Listing
    blocks: tuple[NDArray[Any], ...]
    origins: tuple[str, ...]
    size: Size = None
    kind: Kind = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample; channels first."""
        wanted = pair(self.size) if self.kind == "image" else None
        own: tuple[int, ...] = self.blocks[0].shape[1:]
        return (own[0], *wanted) if wanted else own

    def name(self, index: int) -> str:
        """File and row."""
        block, row = self._place(index)
        return f"{self.origins[block]}#{row}"

    def load(self, index: int) -> NDArray[Any]:
        """One sample."""
        block, row = self._place(index)
        sample = np.ascontiguousarray(self.blocks[block][row])
        wanted = pair(self.size)
        if self.kind != "image" or wanted is None or sample.shape[1:] == wanted:
            return sample
        if sample.dtype != np.uint8:
            raise BadDocument(
                self.listing.where,
                [f"images of {sample.dtype} cannot be scaled to {wanted}"],
                fix="leave size away, or store them as uint8",
            )
        return fit(sample, wanted)

    def stamp(self) -> str:
        """All bytes: arrays are hashed at a gigabyte a second."""
        digest = sha256()
        for block in self.blocks:
            digest.update(f"{block.shape} {block.dtype.str}".encode())
            for start in range(0, len(block), 4096):
                digest.update(np.ascontiguousarray(block[start : start + 4096]).data)
        return digest.hexdigest()

    def _place(self, index: int) -> tuple[int, int]:
        block = 0
        while index >= len(self.blocks[block]):
            index -= len(self.blocks[block])
            block += 1
        return block, index


def is_cifar(tree: Tree) -> bool:
    """Whether the binary files of CIFAR-10 or CIFAR-100 lie here, or their pickled ones, which are refused."""
    names = set(tree.top_files)
    if any(n.startswith("data_batch_") and n.endswith(".bin") for n in names) or "test_batch.bin" in names:
        return True
    if {"train.bin", "test.bin"} & names and "fine_label_names.txt" in names:
        return True
    pickled = [n for n in ("data_batch_1", "test_batch", "train", "test") if n in names]
    if pickled and tree.read(pickled[0], 1) == b"\x80":
        raise BadReference(
            f"{tree.title(pickled[0])} is a pickle, and opening a pickle runs what is in it",
            fix="take the binary version of the same data: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz",
        )
    return False


def open_cifar(tree: Tree, size: Size) -> Arrays:
    """Records of one or two label bytes and 3,072 pixels, channels first."""
    names = [n for n in tree.top_files if n.endswith(".bin")]
    fine = "fine_label_names.txt" in tree.sizes
    notes = "fine_label_names.txt" if fine else "batches.meta.txt"
    classes = tuple(tree.lines(notes)) if notes in tree.sizes else CIFAR10
    record = _CIFAR_PIXELS + (2 if fine else 1)
    problems = [
        f"{n}: {tree.sizes[n]} bytes are no whole number of records of {record} bytes"
        for n in names
        if tree.sizes[n] % record or not tree.sizes[n]
    ]
    if problems:
        raise BadDocument(tree.where, problems, fix="the files are cut off: fetch them again")
    tables = [tree.array(n).reshape(-1, record) for n in names]
    labels = [table[:, record - _CIFAR_PIXELS - 1].astype(np.int64) for table in tables]
    _check_labels(tree, zip(names, labels, strict=True), len(classes))
    blocks = tuple(table[:, -_CIFAR_PIXELS:].reshape(-1, 3, 32, 32) for table in tables)
    splits = ["test" if n.startswith("test") else "train" for n in names]
    layout = "CIFAR-100" if fine else "CIFAR-10"
    return Arrays(_listing(tree.where, layout, classes, labels, splits), blocks, tuple(names), size)


def is_idx(tree: Tree, name: str) -> bool:
    """Whether a file begins like MNIST's: two zeros, the code of unsigned bytes, one or three dimensions."""
    head = _opening(tree, name)
    return len(head) == 4 and head[:3] == b"\0\0\x08"


def open_idx(tree: Tree, names: Sequence[str], size: Size) -> Arrays:
    """Pairs of image and label files, told apart by their dimensions and paired by how their names begin."""
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in names:
        (images if _opening(tree, name)[3] > 1 else labels)[_stem(name)] = name
    problems = [f"{n}: no labels for it" for s, n in images.items() if s not in labels]
    problems += [f"{n}: no images for it" for s, n in labels.items() if s not in images]
    if problems:
        raise BadDocument(
            tree.where,
            problems,
            fix="pairs are train-images-* with train-labels-*, t10k-images-* with t10k-labels-*",
        )
    stems = sorted(images, key=lambda s: (_idx_split(s) != "train", s))
    blocks, found = [], []
    for stem in stems:
        pixels, marks = _idx(tree, images[stem]), _idx(tree, labels[stem])
        if len(pixels) != len(marks):
            problems.append(f"{images[stem]} has {len(pixels)} images, {labels[stem]} {len(marks)} labels")
        # Height and width, or channels before them.
        blocks.append(pixels[:, None] if pixels.ndim == 3 else pixels)
        found.append(marks.astype(np.int64))
    if len({block.shape[1:] for block in blocks}) > 1:
        problems.append("images of several sizes")
    if problems:
        raise BadDocument(tree.where, problems, fix="fetch the files again")
    classes = tuple(str(n) for n in range(int(max(marks.max() for marks in found)) + 1))
    listing = _listing(tree.where, "MNIST", classes, found, [_idx_split(s) for s in stems])
    return Arrays(listing, tuple(blocks), tuple(images[s] for s in stems), size)


def _opening(tree: Tree, name: str) -> bytes:
    head = tree.read(name, 4)
    if head[:2] != b"\x1f\x8b":
        return head
    try:
        return zlib.decompressobj(31).decompress(tree.read(name, 4096), 4)
    except zlib.error:
        return head


def _idx(tree: Tree, name: str) -> NDArray[np.uint8]:
    data = tree.array(name)
    if bytes(data[:2]) == b"\x1f\x8b":
        try:
            with gzip.open(tree.path(name) or BytesIO(tree.read(name))) as file:
                data = np.frombuffer(file.read(LARGEST), np.uint8)
        except (OSError, EOFError, zlib.error) as problem:
            raise BadDocument(
                tree.title(name), [f"cannot be unpacked: {problem}"], fix="fetch it again"
            ) from None
    dimensions = int(data[3])
    start = 4 + 4 * dimensions
    sizes = tuple(int(n) for n in np.frombuffer(bytes(data[4:start]), ">u4")) if len(data) >= start else ()
    if len(sizes) != dimensions or len(data) - start != prod(sizes) or not prod(sizes):
        stated = "x".join(map(str, sizes)) or "nothing"
        raise BadDocument(
            tree.title(name),
            [f"states {stated} and holds {max(0, len(data) - start)} bytes"],
            fix="the file is cut off: fetch it again",
        )
    return data[start:].reshape(sizes)


def _stem(name: str) -> str:
    """What images and labels have in common: `train`, `t10k`, `emnist-letters-test`."""
    for word in ("-images", "-labels", "_images", "_labels", ".images", ".labels"):
        if word in name:
            return name.partition(word)[0]
    return ""


def _idx_split(stem: str) -> str:
    return "test" if "t10k" in stem or "test" in stem else "train" if "train" in stem else ""


def _check_labels(tree: Tree, found: Any, classes: int) -> None:
    problems = [
        f"{name}: label {int(labels.max() if labels.max() >= classes else labels.min())} "
        f"is out of range: there are {classes} classes"
        for name, labels in found
        if len(labels) and (labels.max() >= classes or labels.min() < 0)
    ]
    if problems:
        raise BadDocument(tree.where, problems, fix="fetch the files again, or correct the labels")


def _listing(
    where: str,
    layout: str,
    classes: tuple[str, ...],
    labels: Sequence[NDArray[np.int64]],
    splits: Sequence[str],
) -> Listing:
    """Labels of several blocks in a row; a block whose split is empty stands for no split."""
    of = np.repeat(np.array(splits), [len(block) for block in labels])
    parts = {split: np.flatnonzero(of == split) for split in sorted(set(splits) - {""})}
    return Listing(where, layout, classes, np.concatenate(labels), parts)
