"""The case behind `partita train simulate --profile`: two profile files, and the model that they were taken of.

Rules: the model is the one named; else a chain file beside a profile; else what the profile's own reference names,
captured again. It is used only if the profiles were taken of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BadDocument, NotFound, PartitaError
from ..graph import Chain, Profile, load
from ..train import Case, Settings, question_of
from .files import read_noun, read_text
from .model import ModelOptions

PLACES = ("edge", "cloud")
_PROFILE = "write one on each device: partita profile MODEL --backward -o profile.json"
_CHAIN = "write one: partita inspect MODEL -o model.chain.json"


def own_case(
    model: str,
    texts: Sequence[str],
    *,
    batch: int | None,
    codecs: Sequence[str],
    max_window: int,
    labels_private: bool,
    min_front: int,
    two_cuts: bool,
) -> Case:
    """What is simulated, from files of the user's own."""
    files = _files(texts)
    profiles = {place: read_noun(Profile, path, fix=_PROFILE) for place, path in files.items()}
    chain = _chain(model, files, profiles)
    size = batch if batch is not None else _batch(profiles)
    known = set.intersection(*(set(profile.codecs) for profile in profiles.values())) | {"raw"}
    left_out = [name for name in codecs if name not in known]
    notes = [f"codec {name} is left out: a profile does not say what it costs" for name in left_out]
    settings = Settings(batch=size, max_window=max_window, labels_private=labels_private, min_front=min_front)
    question = replace(
        question_of(settings),
        codecs=tuple(name for name in codecs if name in known) or ("raw",),
        two_cuts=two_cuts,
    )
    devices = " and ".join(profile.device.name for profile in profiles.values())
    return Case(f"{chain.name} on {devices}", chain, profiles, question, notes=tuple(notes))


def _files(texts: Sequence[str]) -> dict[str, Path]:
    """`edge=tx2.json`, or the edge's file first and then the cloud's."""
    found: dict[str, Path] = {}
    problems = []
    for text in texts:
        place, named, rest = text.partition("=")
        if not named or place not in PLACES:
            place, rest = next((p for p in PLACES if p not in found), ""), text
        if not place or place in found or not rest:
            problems.append(f"{text!r} is one too many")
            continue
        found[place] = Path(rest)
    problems += [f"there is no profile of the {place}" for place in PLACES if place not in found]
    if problems:
        raise BadDocument("--profile", problems, fix="give --profile edge.json --profile cloud.json")
    return {place: found[place] for place in PLACES}


def _batch(profiles: dict[str, Profile]) -> int:
    both = set.intersection(*(set(profile.batches) for profile in profiles.values()))
    return max(both) if both else min(max(profile.batches) for profile in profiles.values())


def _chain(model: str, files: dict[str, Path], profiles: dict[str, Profile]) -> Chain:
    if model.endswith(".json"):
        return load(Chain, read_text(Path(model), "chain", fix=_CHAIN), name=model)
    if model:
        return ModelOptions().capture(model).chain
    digest = profiles[PLACES[0]].digest
    for folder in dict.fromkeys(path.parent for path in files.values()):
        for path in sorted(folder.glob("*chain*.json")):
            try:
                chain = load(Chain, read_text(path, "chain", fix=_CHAIN), name=str(path))
            except PartitaError:
                continue
            if chain.digest == digest:
                return chain
    reference = profiles[PLACES[0]].model
    try:
        return ModelOptions().capture(reference).chain
    except PartitaError as error:
        raise NotFound(
            f"the profiles are of {reference!r}, which cannot be read here ({error.problem}), and no chain file beside "
            "them is of it",
            fix=f"name the model, or {_CHAIN}",
        ) from None
