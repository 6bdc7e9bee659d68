"""The verbs of the ONNX Decomposer under their own names: on its configuration files and projects, as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..graph import print_size
from ..slice import (
    Decomposition,
    Inference,
    Payload,
    Project,
    basic,
    decomposition,
    find_config,
    inference,
    max_slice_size,
    memory,
    payload_per_layer,
    payload_per_slice,
    read_project,
)
from .render import Column, Screen, milliseconds

# Verb -> what it does, in the original's order.
VERBS = {
    "basic": "Cut a project's model into its number of slices, then run it.",
    "decomposition": "Cut a project's model into its number of slices.",
    "inference": "Run a project's slices on its own input.",
    "payload_per_layer": "Say what every layer of a project's model makes.",
    "payload_per_slice": "Say what every slice of a project hands on.",
    "max_slice_size": "Say how large every slice of a project is, the heaviest first.",
    "memory": "Measure what every slice of a project needs in memory, beside the model whole.",
}
_HELP = """{summary}

    Parameters
    ----------
    config
        The project's general_config.ini; looked for here and in the folders above if not given.
    json
        Print one JSON document.
    """


def original(verb: str) -> Callable[..., int]:
    """The command of a verb: they all take the same options."""

    def command(*, config: Path | None = None, json: bool = False) -> int:
        screen = Screen(as_json=json)
        project = read_project(config if config is not None else find_config())
        screen.result({"project": project.name, **_ACTS[verb](screen, project)})
        return 0

    command.__name__ = verb
    command.__doc__ = _HELP.format(summary=VERBS[verb])
    return command


def _basic(screen: Screen, project: Project) -> dict[str, Any]:
    cut, run = basic(project)
    return {**_show_cut(screen, cut), **_show_run(screen, run)}


def _show_cut(screen: Screen, done: Decomposition) -> dict[str, Any]:
    rows = [
        (index, file.path, print_size(file.bytes), ", ".join(file.inputs), ", ".join(file.outputs))
        for index, file in enumerate(done.manifest.files)
    ]
    columns = [
        Column("slice", right=True),
        Column("file"),
        Column("bytes", right=True),
        Column("in"),
        Column("out"),
    ]
    screen.table(f"{done.project.name} in {len(rows)} slices", columns, rows)
    if done.moved is not None:
        screen.say(f"older slices were moved to {done.moved}")
    for note in done.notes:
        screen.say(f"note: {note}")
    screen.say(f"slices in {done.folder}; the first event in {done.event}")
    return {
        "folder": str(done.folder),
        "event": str(done.event),
        "slices": [{"file": file.path, "bytes": file.bytes} for file in done.manifest.files],
        "notes": list(done.notes),
    }


def _show_run(screen: Screen, done: Inference) -> dict[str, Any]:
    screen.say("RESULTS:")
    screen.say(str(done.result))
    screen.say(f"all slices: {milliseconds(sum(done.outcome.seconds))}")
    return {"result": str(done.result), "seconds": list(done.outcome.seconds)}


def _payloads(screen: Screen, title: str, found: Sequence[Payload]) -> dict[str, Any]:
    rows = [
        (
            one.index,
            one.name,
            print_size(one.bytes),
            ", ".join(f"{t.name} {print_size(t.bytes) if t.bytes is not None else '?'}" for t in one.tensors),
        )
        for one in found
    ]
    screen.table(
        title, [Column("#", right=True), Column("name"), Column("bytes", right=True), Column("tensors")], rows
    )
    return {
        "payloads": [
            {
                "index": one.index,
                "name": one.name,
                "bytes": one.bytes,
                "tensors": {tensor.name: tensor.bytes for tensor in one.tensors},
            }
            for one in found
        ]
    }


def _sizes(screen: Screen, project: Project) -> dict[str, Any]:
    sizes = max_slice_size(project)
    rows = [(size.index, size.file, print_size(size.bytes)) for size in sizes]
    columns = [Column("slice", right=True), Column("file"), Column("bytes", right=True)]
    screen.table(f"{project.name}: the heaviest slice has {print_size(sizes[0].bytes)}", columns, rows)
    return {"slices": [{"index": s.index, "file": s.file, "bytes": s.bytes} for s in sizes]}


def _memory(screen: Screen, project: Project) -> dict[str, Any]:
    found = memory(project)
    uses = [
        *((f"slice {index}", use) for index, use in enumerate(found.slices)),
        ("the model whole", found.whole),
    ]
    rows = [(name, print_size(use.peak), print_size(use.grown), use.source) for name, use in uses]
    columns = [
        Column("what"),
        Column("peak", right=True),
        Column("above the runtime", right=True),
        Column("source"),
    ]
    screen.table(f"{project.name}: memory, each in a process of its own", columns, rows)
    return {"memory": {name: {"peak": use.peak, "base": use.base} for name, use in uses}}


_ACTS: dict[str, Callable[[Screen, Project], dict[str, Any]]] = {
    "basic": _basic,
    "decomposition": lambda screen, project: _show_cut(screen, decomposition(project)),
    "inference": lambda screen, project: _show_run(screen, inference(project)),
    "payload_per_layer": lambda screen, project: _payloads(
        screen, f"{project.name}: what every layer makes, the largest first", payload_per_layer(project)
    ),
    "payload_per_slice": lambda screen, project: _payloads(
        screen, f"{project.name}: what every slice hands on", payload_per_slice(project)
    ),
    "max_slice_size": _sizes,
    "memory": _memory,
}
