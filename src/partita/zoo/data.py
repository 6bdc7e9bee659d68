"""Data from disk: a folder, a zip or a file is recognised by what is in it, and its samples are read when asked for.

    folders of images, sounds or texts by class    CIFAR's binary files    MNIST's idx files    npz
    tables: texts, numbers, categories             plain lines             made:shapes, made:digits, ...

Rules: what lies there is recognised by its contents, never by the name of the folder alone; a reference that names
nothing we know says what was found and what is known; torch is not needed, Pillow only for images in files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ..errors import BadReference, NotFound
from .data_arrays import Arrays
from .data_audio import AudioFiles
from .data_images import ImageFiles
from .data_made import PREFIX, Made, open_made
from .data_recognise import recognise
from .data_records import Records
from .data_set import GREY, RGB, DataSet, Normalisation
from .data_source import Listing, Size, Source, pair
from .data_split import SEED, Indices, Roll, limited, parse_split, select
from .data_table import Table
from .data_table_wanted import Wanted, parse_wanted
from .data_text import Texts
from .data_tree import open_data_tree
from .data_vocabulary import LENGTH, Encoded, Encoder, Vocabulary
from .reference import parse_reference


def open_data(  # noqa: PLR0913  # the public door: all but one have defaults
    reference: str | Path,
    *,
    split: str = "train",
    seed: int = SEED,
    size: Size = None,
    limit: int | None = None,
    classes: Sequence[str] | int | None = None,
    skip_broken: bool = False,
    vocabulary: Encoder | Path | str | None = None,
    label: str | None = None,
) -> DataSet:
    """The samples behind a reference.

    `split` is train, val or test, or several as `train+val`; what the data leaves open is drawn with `seed`. `size` is
    the height and width of images, the values of a sound, the words of a text. `limit` takes so many samples, even over
    the classes; `classes` takes some, by name in the order given, or the first so many. `skip_broken` leaves out
    samples that cannot be read. `vocabulary` replaces the one that is built from the training texts. `label` names
    the column of a table, or the array of an npz, that is to be learnt; more can be said of them behind `?`.
    """
    parse_split(split)
    _check(size, limit, seed)
    source = _source(str(reference), size, label)
    listing, where = source.listing, source.listing.where
    group = source.group if isinstance(source, AudioFiles) and source.grouped else None
    roll = Roll(listing.labels, source.name, group)
    indices = select(split, listing.parts, roll, seed, where)
    learnt = source
    if classes is not None:
        source = _with_listing(source, _chosen(listing, classes))
        indices = indices[source.listing.labels[indices] >= 0]
        if not len(indices):
            raise BadReference(
                f"{where} has no samples of {', '.join(source.listing.classes)} for {split}",
                fix="ask for other classes, or for another split",
            )
    if limit is not None:
        indices = limited(indices, limit, Roll(source.listing.labels, source.name), seed)
    if isinstance(source, Texts):
        encoder = _encoder(vocabulary, learnt, roll, seed)
        return DataSet(Encoded(source, encoder, _length(size)), indices, split, None, skip_broken)
    if vocabulary is not None:
        raise BadReference(f"{where} is no text, and takes no vocabulary", fix="leave vocabulary away")
    return DataSet(source, indices, split, _normalisation(source), skip_broken)


def _check(size: Size, limit: int | None, seed: int) -> None:
    problems = []
    if size is not None and min(pair(size) or (0,)) < 1:
        problems.append(f"size: {size!r} is not above 0")
    if limit is not None and limit < 1:
        problems.append(f"limit: {limit!r} is not above 0")
    if seed < 0:
        problems.append(f"seed: {seed!r} is below 0")
    if problems:
        raise BadReference("; ".join(problems), fix="write numbers from 1 upwards, or leave them away")


def _source(reference: str, size: Size, label: str | None) -> Source:
    if reference.startswith(PREFIX):
        Wanted(label=label or "").refuse(reference)
        name, _, query = reference.removeprefix(PREFIX).partition("?")
        # Numbers behind ? are read as for models.
        return open_made(reference, name, parse_reference(f"made:set?{query}").options, size)
    place, query = Path(reference).expanduser(), ""
    if not place.exists() and "?" in reference:
        text, _, query = reference.rpartition("?")
        place = Path(text).expanduser()
    if not place.exists():
        beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        near = get_close_matches(place.name, beside, n=3)
        raise NotFound(
            f"there is no data at {reference!r}",
            fix=f"did you mean {', '.join(near)}?" if near else "give a folder, a file, or made:shapes",
        )
    return recognise(open_data_tree(place), size, parse_wanted(query, label))


def _chosen(listing: Listing, classes: Sequence[str] | int) -> Listing:
    """A listing of some classes: the others' labels become -1."""
    known = listing.classes
    if listing.targets is not None:
        raise BadReference(
            f"classes: {listing.where} has none: it holds numbers to predict", fix="leave classes away"
        )
    wanted = known[:classes] if isinstance(classes, int) else tuple(dict.fromkeys(classes))
    if not wanted or (isinstance(classes, int) and not 1 <= classes <= len(known)):
        raise BadReference(
            f"classes: {classes!r} of the {len(known)} of {listing.where}",
            fix=f"write 1 to {len(known)}, or names",
        )
    if strange := [name for name in wanted if name not in known]:
        near = get_close_matches(strange[0], known, n=3)
        raise BadReference(
            f"classes: {listing.where} has no {', '.join(map(repr, strange))}",
            fix=f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(known[:10])}",
        )
    number = np.full(len(known) + 1, -1, np.int64)
    number[[known.index(name) for name in wanted]] = np.arange(len(wanted))
    return replace(listing, classes=wanted, labels=number[listing.labels])


def _with_listing(source: Source, listing: Listing) -> Source:
    match source:
        case ImageFiles() | AudioFiles():
            return replace(source, filed=replace(source.filed, listing=listing))
        case Arrays() | Made() | Texts() | Table() | Records():
            return replace(source, listing=listing)
        case _:
            raise AssertionError(source)


def _normalisation(source: Source) -> Normalisation | None:
    if source.kind != "image":
        return None
    return {1: GREY, 3: RGB}.get(source.shape[0])


def _length(size: Size) -> int:
    wanted = pair(size)
    return wanted[-1] if wanted else LENGTH


def _encoder(given: Encoder | Path | str | None, source: Source, roll: Roll, seed: int) -> Encoder:
    """The vocabulary given, or that of the training texts: of all classes and without a limit, so that it is the same
    for every split."""
    if isinstance(given, str | Path):
        return Vocabulary.read(given)
    if given is not None:
        return given
    assert isinstance(source, Texts)  # noqa: S101 - only texts come here
    return Vocabulary.built(source.text(int(index)) for index in _training(source.listing, roll, seed))


def _training(listing: Listing, roll: Roll, seed: int) -> Indices:
    """Training samples; of data that brings none, the first split it brings."""
    own = [name for name in ("train", "val", "test") if len(listing.parts.get(name, ()))]
    return select("train" if "train" in own or not own else own[0], listing.parts, roll, seed, listing.where)
