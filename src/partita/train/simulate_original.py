"""The networks and devices of the original research project, as cases: from its tables, on its terms.

Rules: the raw inputs never leave the edge there, so one block at least stays with it; the chair is turned around, the
cloud holds the inputs and the first blocks, the edge the images and the loss; one cut only, because the tables know
nothing of three parts; what the tables do not say is not made up but noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import BadDocument
from ..graph import CodecCost, Profile
from ..profile import ImportedModel, import_csv
from .planner import question_of
from .settings import Settings
from .simulate_case import Case

# A name for people -> the name in the tables, and what it is.
NETWORKS: Final = {
    "resnet50": ("resnet50", "ResNet-50 on CIFAR-10"),
    "resnet50-imagenet": ("type1_resnet50_imgnet", "ResNet-50 on Tiny ImageNet, trained in full"),
    "resnet50-frozen": ("type2_resnet50_imgnet", "ResNet-50 on Tiny ImageNet, first 10 blocks frozen"),
    "mobilenetv3": ("mobilenetv3_large", "MobileNetV3 large on CIFAR-10"),
    "vgg19": ("vgg19", "VGG-19 on CIFAR-10"),
    "bilstm": ("rnn", "BiLSTM on IMDB"),
    "chair": ("chair", "chair generator, cloud first"),
}
_CLOUD: Final = "cloud"
# So many first blocks are not trained, and ask for no gradients.
_FROZEN: Final = {"resnet50-frozen": 10}
_NOTES: Final = (
    "the seconds of a cut are whole training steps, replay included, also where K = 0 would need none",
    "the tables do not say how large the weights are: a move costs its drain only",
)


def original_cases(
    folder: str | Path,
    *,
    networks: Sequence[str] = (),
    devices: Sequence[str] = (),
    codecs: Sequence[str] = ("raw", "int8"),
    max_window: int = 4,
    formula: bool = False,
) -> tuple[Case, ...]:
    """Every network on every edge device of the tables, or those that are named.

    `formula` counts what the original's decision formula counts: a codec costs no time and no accuracy, gradients
    always travel, and a window costs nothing.
    """
    models = import_csv(folder)
    known = {name: models[key] for name, (key, _) in NETWORKS.items() if key in models}
    known |= {key: model for key, model in models.items() if key not in {k for k, _ in NETWORKS.values()}}
    cases, problems = [], []
    for name in networks or known:
        if (model := known.get(name.lower())) is None:
            problems.append(f"--network: {name!r} is not one of {', '.join(known)}")
            continue
        edges = {device.lower(): device for device in model.profiles if device.lower() != _CLOUD}
        chosen = [device.lower() for device in devices] or list(edges)
        cases += [
            _case(name.lower(), model, edges[device], codecs, max_window, formula=formula)
            for device in chosen
            if device in edges and _cloud(model) is not None
        ]
    everywhere = {device.lower(): device for model in known.values() for device in model.profiles}
    problems += [
        f"--device: {device!r} is not one of {', '.join(d for n, d in everywhere.items() if n != _CLOUD)}"
        for device in devices
        if device.lower() not in everywhere or device.lower() == _CLOUD
    ]
    if not cases and not problems:
        problems.append("no network here has both a device and the cloud in its table")
    if problems:
        raise BadDocument(
            "the original's profiles", problems, fix="leave --network and --device away for all"
        )
    return tuple(cases)


def _cloud(model: ImportedModel) -> Profile | None:
    return next((profile for name, profile in model.profiles.items() if name.lower() == _CLOUD), None)


def _case(
    name: str, model: ImportedModel, device: str, codecs: Sequence[str], max_window: int, *, formula: bool
) -> Case:
    edge, cloud = model.profiles[device], _cloud(model)
    if cloud is None:  # pragma: no cover - asked before
        raise AssertionError(name)
    if formula:
        edge, cloud = (_without_cost(profile, codecs) for profile in (edge, cloud))
    turned = bool(edge.after)
    settings = Settings(
        batch=edge.batches[0],
        labels_private=turned,
        min_front=0 if turned else 1,
        max_window=max_window,
    )
    question = replace(
        question_of(settings, frozen=0 if formula else _FROZEN.get(name, 0)),
        codecs=tuple(codecs),
        # With the inputs in the cloud, what comes back to the edge counts as the second cut.
        two_cuts=turned,
        inputs_at_cloud=turned,
        min_tail=1 if turned else 0,
    )
    if formula:
        question = replace(question, jitter=False, worth=0.0, beta=0.0)
    what = NETWORKS.get(name, ("", name))[1]
    return Case(f"{what}, {device}", model.chain, {"edge": edge, "cloud": cloud}, question, notes=_NOTES)


def _without_cost(profile: Profile, codecs: Sequence[str]) -> Profile:
    """The formula of the original counts no seconds for a codec."""
    costs: Mapping[str, CodecCost] = dict.fromkeys(codecs, CodecCost(0.0, 0.0))
    return replace(profile, codecs=costs, source=f"{profile.source}; codecs taken to cost no time")
