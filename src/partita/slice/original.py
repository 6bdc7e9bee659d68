"""A project of the ONNX Decomposer: its two INI files, read as one typed object.

Rules: every wrong field of both files is told at once, by file, section and key; nothing is opened but the two files,
so that a project can be read before its model is there; all paths are absolute, because the original's are relative
to its `src` folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadDocument, NotFound

# The name since the project has one; before, a file that only named the project.
CONFIG_NAMES = ("general_config.ini", "projectname_config.ini")
_FIX = "general_config.ini: [project] project_name, number_of_slices; projects/NAME/NAME_config.ini: [project] onnx_model"


@dataclass(frozen=True)
class Project:
    """One project. `inputs` and `outputs` are as written, empty where the model decides.

    `input` and `preprocessed_input` are files, None where the configuration names none.
    """

    name: str
    root: Path
    config: Path
    slices: int
    model: Path
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input: Path | None = None
    preprocessed_input: Path | None = None
    region: str = ""
    bucket: str = ""

    @property
    def home(self) -> Path:
        """The project's own folder, with its steps."""
        return self.root / "projects" / self.name

    @property
    def steps(self) -> Path:
        """The file with `get_preprocessed_input` and `get_result`; the half for AWS names it differently."""
        local = self.home / f"{self.name}_steps.py"
        remote = self.home / f"{self.name}_lambda_steps.py"
        return remote if remote.is_file() and not local.is_file() else local

    @property
    def folder(self) -> Path:
        """Where its slices go."""
        return self.root / "models" / self.name / "slices"

    @property
    def event(self) -> Path:
        """The first event of a workflow over its slices."""
        return self.root / "events" / "event0.json"


def find_config(here: Path | None = None) -> Path:
    """The general configuration in this folder or the nearest one above it: the original is started in `src`."""
    start = (here or Path()).absolute()
    for folder in (start, *start.parents):
        for name in CONFIG_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise NotFound(
        f"there is no {CONFIG_NAMES[0]} in {start} or above it",
        fix="change into the project's folder, or name the file with --config PATH",
    )


def read_project(config: Path) -> Project:
    """The project that a general configuration names."""
    config = config.absolute()
    if not config.is_file():
        raise NotFound(f"there is no configuration {config}", fix="name the project's general_config.ini")
    problems: list[str] = []
    general = _Ini(config, problems)
    name = general.text("project", "project_name")
    if not name and not general.broken:
        problems.append(f"{config.name}: [project] project_name is missing")
    if name and (Path(name).name != name or name.startswith(".")):
        problems.append(f"{config.name}: [project] project_name {name!r} is no name of a folder")
        name = ""
    if not name:
        raise BadDocument(f"project in {config.parent}", problems, fix=_FIX)
    root = config.parent
    own = root / "projects" / name / f"{name}_config.ini"
    if not own.is_file():
        problems.append(
            f"{config.name}: [project] project_name {name!r}: there is no {own.relative_to(root)}"
        )
    special = _Ini(own, problems)
    project = _project(root, config, name, general, special, problems)
    if problems:
        raise BadDocument(f"project in {root}", problems, fix=_FIX)
    return project


def _project(
    root: Path, config: Path, name: str, general: _Ini, special: _Ini, problems: list[str]
) -> Project:
    models = root / "models" / name
    known = special.path.is_file() and not special.broken
    stated = special.text("project", "project_name")
    if stated and stated != name:
        problems.append(
            f"{special.path.name}: [project] project_name is {stated!r}, but {config.name} says {name!r}"
        )
    model = special.file("project", "onnx_model", models)
    if model is None and known:
        problems.append(f"{special.path.name}: [project] onnx_model is missing")
    return Project(
        name=name,
        root=root,
        config=config,
        slices=_number_of_slices(general, special, problems),
        model=model or models,
        inputs=special.names("project", "input_list_start"),
        outputs=special.names("project", "output_list_end"),
        input=special.file("input", "input", models),
        # The first projects kept it under another key.
        preprocessed_input=special.file("input", "preprocessed_input", models)
        or special.file("project", "input_image", models),
        region=special.text("aws", "aws_region"),
        bucket=special.text("aws", "s3_bucket"),
    )


def _number_of_slices(general: _Ini, special: _Ini, problems: list[str]) -> int:
    """From the general file, or from the project's own, where it used to stand."""
    for ini, section in ((general, "project"), (special, "number_of_slices")):
        text = ini.text(section, "number_of_slices")
        if not text:
            continue
        if text.isdecimal() and int(text) > 0:
            return int(text)
        problems.append(
            f"{ini.path.name}: [{section}] number_of_slices must be a whole number above 0, not {text!r}"
        )
        return 0
    if not general.broken and not special.broken:
        problems.append(f"{general.path.name}: [project] number_of_slices is missing")
    return 0


class _Ini:
    """One INI file; what is wrong with it is noted, and it counts as empty."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.broken = False
        self._problems = problems
        self._parser = ConfigParser(interpolation=None)
        if not path.is_file():
            return
        try:
            self._parser.read_string(path.read_text(encoding="utf-8-sig"), source=path.name)
        except (IniError, UnicodeDecodeError, OSError) as error:
            # What was read before the error is not to be trusted.
            self.broken, self._parser = True, ConfigParser(interpolation=None)
            problems.append(f"{path.name}: {' '.join(str(error).split())}")

    def text(self, section: str, key: str) -> str:
        """A value, or nothing."""
        return self._parser.get(section, key, fallback="").strip()

    def names(self, section: str, key: str) -> tuple[str, ...]:
        """A list of one name a line. Names hold colons, never spaces."""
        found = tuple(self._lines(section, key))
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            self._problems.append(f"{self.path.name}: [{section}] {key} names {twice[0]!r} twice")
        return found

    def _lines(self, section: str, key: str) -> Iterator[str]:
        for line in self.text(section, key).splitlines():
            if line.strip():
                yield line.strip()

    def file(self, section: str, key: str, folder: Path) -> Path | None:
        """A file inside a folder."""
        text = self.text(section, key)
        if not text:
            return None
        if "\n" in text or Path(text).is_absolute() or ".." in Path(text).parts:
            self._problems.append(
                f"{self.path.name}: [{section}] {key} {text!r} is no file inside {folder.parent.name}/{folder.name}"
            )
            return None
        return folder / text
