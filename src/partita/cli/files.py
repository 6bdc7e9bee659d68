"""Files that a user names: read and written with a sentence where it cannot be done."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from ..errors import BadDocument, NotFound
from ..graph import kind_of, load

_T = TypeVar("_T")


def read_noun(noun: type[_T], path: Path, *, fix: str) -> _T:
    """A noun from its JSON file. `fix` is the command that writes such a file."""
    return load(noun, read_text(path, kind_of(noun), fix=fix), name=str(path))


def read_text(path: Path, what: str, *, fix: str) -> str:
    """The text of a file that is called `what`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{what} file {str(path)!r} is not there", fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument(f"{what} file {str(path)!r}", [f"cannot be read: {error}"], fix=fix) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse files that could not be written later, before any work is done for them."""
    problems = []
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            problems.append(f"{path}: the folder {str(path.parent)!r} is not there")
        elif path.is_dir():
            problems.append(f"{path}: is a folder")
    if problems:
        raise BadDocument("output", problems, fix="name a file in a folder that exists")


def write_text(path: Path, text: str) -> None:
    """Write a file that the user asked for."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadDocument(
            "output", [f"{path}: {error.strerror}"], fix="name a file that you may write"
        ) from None
