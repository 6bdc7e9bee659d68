"""A user's own steps before and after a model: `preprocess` makes its inputs, `postprocess` reads its outputs.

Rules: what goes wrong inside is told by the user's file, line and function, never by ours; a hook that is not
there does nothing.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, final

import numpy as np

from ..engine import Array, Values
from ..errors import BadDocument, BadReference

_NAMES: Final = ("preprocess", "postprocess")
_FIX: Final = "define preprocess(input) -> dict of numpy arrays, postprocess(outputs) -> anything, or both"


@final
@dataclass(frozen=True)
class Hooks:
    """The steps of one file; without a file there are none."""

    path: Path | None = None
    before: Callable[[Any], Any] | None = None
    after: Callable[[Values], Any] | None = None

    def preprocess(self, given: Any) -> Values:
        """The model's inputs from whatever the user's function takes."""
        made = given if self.before is None else self._call("preprocess", self.before, given)
        if not isinstance(made, Mapping):
            self._refuse("preprocess", [f"gave {type(made).__name__}, not a dict of numpy arrays"])
        wrong = [
            f"gave {type(value).__name__} under {name!r}, not a numpy array"
            for name, value in made.items()
            if not isinstance(value, np.ndarray)
        ]
        wrong += [f"gave the name {name!r}, which is no text" for name in made if not isinstance(name, str)]
        if wrong:
            self._refuse("preprocess", wrong)
        return dict(made)

    def postprocess(self, outputs: Mapping[str, Array]) -> Any:
        """What the user's function makes of the outputs; the outputs themselves where there is none."""
        return dict(outputs) if self.after is None else self._call("postprocess", self.after, dict(outputs))

    def _call(self, name: str, function: Callable[[Any], Any], given: Any) -> Any:
        path = self.path or Path()
        with _beside(path):
            try:
                return function(given)
            except (Exception, SystemExit) as error:
                raise BadDocument(
                    f"hooks {path}",
                    [f"{name}: {_where(error, path)}"],
                    fix="correct the file; its functions can be tried without partita",
                ) from None

    def _refuse(self, name: str, problems: list[str]) -> NoReturn:
        what = "inputs" if self.path is None else f"hooks {self.path}"
        raise BadDocument(what, [f"{name} {problem}" for problem in problems], fix=_FIX)


def load_hooks(path: str | Path) -> Hooks:
    """The steps in a Python file of the user's."""
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise BadReference(f"hooks {path}: {error.strerror}", fix="give the path of a Python file") from None
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    with _beside(path):
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own file
        except (Exception, SystemExit) as error:
            raise BadDocument(f"hooks {path}", [_where(error, path)], fix="correct the file") from None
    found = {name: getattr(module, name, None) for name in _NAMES}
    wrong = [
        f"{name} is {type(hook).__name__}, not a function"
        for name, hook in found.items()
        if hook is not None and not callable(hook)
    ]
    if all(hook is None for hook in found.values()):
        wrong.append("it has neither preprocess nor postprocess")
    if wrong:
        raise BadDocument(f"hooks {path}", wrong, fix=_FIX)
    return Hooks(path, found["preprocess"], found["postprocess"])


def _where(error: BaseException, path: Path) -> str:
    """`line 7: ValueError: what it says`, with the last line of the user's own file."""
    kind, said = type(error).__name__, str(error)
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {kind}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{kind}" + (f": {said}" if said else "")


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """The file's folder can be imported from, as when it is run as a script."""
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
