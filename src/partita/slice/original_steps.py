"""A project's own steps, before the first slice and after the last, run unchanged.

Rules: what they import from the original (`src.onnxmanager`, `src.constants`, `src.jsonmanager.json_manager`) is
served by stand-ins that exist only while the steps are imported or called; payloads come from memory, by tensor name;
afterwards modules, search path and working folder are as before; what goes wrong in them is told by file and function.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..engine import Array
from ..errors import BadReference, NotFound, PartitaError
from .original import Project

# The original is started in `src` with both folders on the search path: its modules go by two names each.
_ROOTS = ("src", "onnxmanager", "jsonmanager", "constants", "projects")
_KEPT = "payloads stay in memory here: json_manager.get_payload_data(NAME) gives them"
# Modules, search path and working folder belong to the whole process: one project's steps at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Steps:
    """The two functions of a project's steps."""

    get_preprocessed_input: Callable[[], Any]
    """What the first slice reads, as the steps make it from the project's files."""
    get_result: Callable[[Mapping[str, Array]], Any]
    """What the steps make of the payloads of one run, given by tensor name."""


def load_steps(project: Project) -> Steps:
    """Import `<project>_steps.py` as it is."""
    path = project.steps
    if not path.is_file():
        raise NotFound(
            f"project {project.name!r} has no {path.relative_to(project.root)}",
            fix="write it, with get_preprocessed_input() and get_result()",
        )
    payloads: dict[str, Array] = {}
    stage = _Stage(project, payloads)
    with stage.set(), _told(path, "importing it"):
        module = stage.load(path)
    wanted = ("get_preprocessed_input", "get_result")
    missing = [f"{name}()" for name in wanted if not callable(getattr(module, name, None))]
    if missing:
        raise BadReference(
            f"{path} has no {' and no '.join(missing)}", fix="define both; the project's README shows them"
        )

    def get_preprocessed_input() -> Any:
        with stage.set(), _told(path, "get_preprocessed_input()"):
            return module.get_preprocessed_input()

    def get_result(values: Mapping[str, Array]) -> Any:
        with stage.set(), _told(path, "get_result()"):
            payloads.clear()
            payloads.update(values)
            try:
                return module.get_result()
            finally:
                payloads.clear()

    return Steps(get_preprocessed_input, get_result)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """What foreign code raises, as one sentence. What it prints is a remark: results go to stdout."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except PartitaError:
        raise
    except ModuleNotFoundError as error:
        raise BadReference(
            f"{path}: {what} needs the module {error.name!r}, which is not here",
            fix=f"install what {path.name} imports; of the original there are src.constants, src.onnxmanager and "
            "src.jsonmanager.json_manager",
        ) from error
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise BadReference(
            f"{path}: {what} failed: {type(error).__name__}: {first}",
            fix="correct the steps, or the files that the project's configuration names",
        ) from error


class _StandIn(ModuleType):
    """A module of the original with the names that steps can use; any other name says what there is."""

    def __init__(
        self, name: str, offers: Mapping[str, object], absent: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, "Stands in for a module of the original.")
        self.__dict__.update(offers)
        self.__dict__["_offers"], self.__dict__["_absent"] = tuple(offers), dict(absent or {})

    def __getattr__(self, name: str) -> Any:
        offers, absent = self.__dict__.get("_offers", ()), self.__dict__.get("_absent", {})
        if name.startswith("__"):
            raise AttributeError(name)
        why = absent.get(name) or f"it has {', '.join(sorted(offers)) or 'nothing'}"
        raise AttributeError(f"{self.__name__} has no {name!r} here: {why}")


class _Stage:
    """The surroundings in which one project's steps run."""

    def __init__(self, project: Project, payloads: Mapping[str, Array]) -> None:
        self._project = project
        self._payloads = payloads
        self._modules = self._stand_ins()
        # For AWS everything lies beside the code; locally `../models` is seen from any folder inside the root.
        inside = (project.root / "src", project.root / "projects")
        self._folder = (
            project.root if _for_aws(project) else next((f for f in inside if f.is_dir()), project.root)
        )

    @contextmanager
    def set(self) -> Iterator[None]:
        """Everything in its place for a while."""
        with _ONE_AT_A_TIME:
            before = dict(sys.modules)
            path, folder, written = list(sys.path), Path.cwd(), sys.dont_write_bytecode
            for name in [n for n in sys.modules if n.partition(".")[0] in _ROOTS]:
                del sys.modules[name]
            sys.modules.update(self._modules)
            sys.path[:0] = [str(self._project.root), str(self._project.root / "src")]
            sys.dont_write_bytecode = True
            os.chdir(self._folder)
            try:
                yield
            finally:
                os.chdir(folder)
                sys.dont_write_bytecode = written
                sys.path[:] = path
                self._clear(before)

    def _clear(self, before: Mapping[str, ModuleType]) -> None:
        """Forget the stand-ins and what was imported from the project's folder; keep libraries."""
        for name in [n for n in sys.modules if n not in before or sys.modules[n] is not before[n]]:
            here = self._is_ours(name, sys.modules[name])
            if here:
                # The steps go on with the same modules when they are called again.
                self._modules[name] = sys.modules.pop(name)
        for name, module in before.items():
            if name.partition(".")[0] in _ROOTS:
                sys.modules[name] = module

    def _is_ours(self, name: str, module: ModuleType) -> bool:
        if name.partition(".")[0] in _ROOTS:
            return True
        file = getattr(module, "__file__", None)
        return (
            bool(file)
            and Path(str(file)).is_relative_to(self._project.root)
            and "site-packages" not in str(file)
        )

    def load(self, path: Path) -> ModuleType:
        """The steps as a module, under the name that the original gives them."""
        name = f"projects.{self._project.name}.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:  # pragma: no cover - every .py file has a loader
            raise AssertionError(path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def _stand_ins(self) -> dict[str, ModuleType]:
        project = self._project
        constants = _StandIn("src.constants", _constants(project))
        onnxmanager = _StandIn("src.onnxmanager", {**_paths(project), "constants": constants}, _ABSENT)
        json_manager = _StandIn(
            "src.jsonmanager.json_manager",
            {"get_payload_data": self._payload, "get_payload_content": self._payload},
        )
        jsonmanager = _StandIn("src.jsonmanager", {"json_manager": json_manager})
        source = _StandIn(
            "src", {"constants": constants, "onnxmanager": onnxmanager, "jsonmanager": jsonmanager}
        )
        projects = _StandIn("projects", {})
        home = _StandIn(f"projects.{project.name}", {})
        # With a search path they are packages: what the project itself has beside its steps is found.
        onnxmanager.__path__ = jsonmanager.__path__ = []
        source.__path__ = [str(project.root / "src")]
        projects.__path__, home.__path__ = [str(project.root / "projects")], [str(project.home)]
        short = {"constants": constants, "onnxmanager": onnxmanager, "jsonmanager": jsonmanager}
        return {
            "src": source,
            **short,
            **{f"src.{name}": module for name, module in short.items()},
            "jsonmanager.json_manager": json_manager,
            "src.jsonmanager.json_manager": json_manager,
            "projects": projects,
            f"projects.{project.name}": home,
        }

    def _payload(self, key: str) -> Any:
        """A payload as the original's JSON gave it: nested lists of Python numbers."""
        if key not in self._payloads:
            raise NotFound(
                f"{self._project.steps}: there is no payload {key!r}: this run made "
                f"{', '.join(map(repr, self._payloads)) or 'none yet'}",
                fix="ask for an output of the model; output_list_end names them",
            )
        value = self._payloads[key]
        # The types that numpy does not have itself become Python numbers through one that it has.
        return (value.astype(np.float32) if value.dtype.kind == "V" else value).tolist()


def _for_aws(project: Project) -> bool:
    return project.steps.stem.endswith("_lambda_steps")


def _constants(project: Project) -> dict[str, object]:
    """What the configuration says, by the original's names."""
    ready = project.preprocessed_input
    # There the prepared input lies beside the code, or where the local half keeps it.
    beside = None if ready is None or not _for_aws(project) else project.root / ready.name
    offered: dict[str, object] = {
        "PROJECT_NAME": project.name,
        "NUMBER_OF_SLICES": project.slices,
        "ONNX_MODEL": project.model.name,
        "INPUT_LIST_START": list(project.inputs),
        "OUTPUT_LIST_END": list(project.outputs),
        "AWS_REGION": project.region,
        "S3_BUCKET": project.bucket,
        "PROJECT_STEPS_MODULE": f"projects.{project.name}.{project.steps.stem}",
    }
    if project.input is not None:
        offered["INPUT"] = project.input.name
    if ready is not None:
        name = ready.name if beside is None else str(beside if beside.is_file() else ready)
        offered["PREPROCESSED_INPUT"] = offered["INPUT_IMAGE"] = name
    return offered


def _paths(project: Project) -> dict[str, object]:
    """Where things are, by the original's names. A folder ends with a slash there."""
    offered: dict[str, object] = {
        "MODEL_PATH": str(project.model),
        "SLICES_PATH": f"{project.folder}/",
        "SLICES_PATH_S3": "models/slices/",
        "EVENTS_PATH": f"{project.event.parent}/",
        "EVENT_PATH": str(project.event.parent / "event.json"),
    }
    if project.preprocessed_input is not None:
        offered["INPUT_IMAGE_PATH"] = str(project.preprocessed_input)
    return offered


_ABSENT = {
    **dict.fromkeys(("JSON_ROOT_PATH", "JSON_PAYLOAD_PATH", "DICTIONARY_PATH"), _KEPT),
    "INPUT_IMAGE_PATH": "the project's configuration has no [input] preprocessed_input",
}
