"""The pages that are written from the code: the command line to stdout, the platforms into their page (`make docs`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from cyclopts import App

from ..plan import platforms, print_platforms
from .app import EXIT_DEFECT, EXIT_INTERRUPTED, VERBS

PLATFORMS_FROM = "## The platforms that come with Partita"
_HEAD = f"""# The command line

Written by `make docs` from the commands themselves.

Every command prints tables for people on a terminal, and one JSON document with `--json`; progress and remarks go to
stderr. Exit codes: 0 done, 2 what was asked cannot be done, 3 this machine failed, 4 the other side failed, 5 a platform's
limits do not allow it, {EXIT_DEFECT} a defect of Partita, {EXIT_INTERRUPTED} interrupted; see [errors](errors.md).

Three environment variables: `PARTITA_TRACEBACK=1` shows the traceback of an error; `COLUMNS` sets the width of tables that
are not printed on a terminal; `ORT_DISABLE_TELEMETRY` is set to 1, so that ONNX Runtime reports nothing, unless you set
it yourself.
"""


def commands() -> Iterator[tuple[str, App]]:
    """Every command that can be run, by its full name."""
    for verb in VERBS:
        app = import_module(f".{verb.replace('-', '_')}", __package__).app
        if app.default_command is not None:
            yield verb, app
        for name in app:
            if not name.startswith("-"):
                yield f"{verb} {name}", app[name]


def options(app: App) -> Iterator[tuple[str, str, str]]:
    """The arguments of a command: their names, what they take by default, what they mean."""
    for argument in app.assemble_argument_collection(parse_docstring=True):
        if not argument.show:
            continue
        # A switch has a negative of its own, unless it is one.
        names = [n for n in argument.names if not n.startswith(("--no-", "--empty-"))] or [
            n for n in argument.names if not n.startswith("--no-no-")
        ]
        parameter = argument.field_info
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        shown = names[0].lstrip("-").upper() if positional else ", ".join(names)
        default = "" if parameter.required else _default(parameter.default)
        yield (
            shown,
            "required" if parameter.required else default,
            " ".join((argument.parameter.help or "").split()),
        )


def _default(value: object) -> str:
    return "" if value in (None, False, ()) else f"`{value}`"


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, app in commands():
        rows = [f"| `{shown}` | {default} | {text} |" for shown, default, text in options(app)]
        summary = (app.default_command.__doc__ or "").strip().split("\n")[0] if app.default_command else ""
        parts.append(
            "\n".join(
                [
                    f"## `partita {name}`",
                    "",
                    summary,
                    "",
                    "| argument | default | meaning |",
                    "|---|---|---|",
                    *rows,
                    "",
                ]
            )
        )
    return "\n".join(parts)


def platforms_page(text: str) -> str:
    """The page of platforms with its tables as the data is now; what people wrote above them stays."""
    head, _, _ = text.partition(PLATFORMS_FROM)
    return f"{head}{PLATFORMS_FROM}\n\n{print_platforms(platforms().values())}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.write_text(platforms_page(target.read_text()))
    else:
        sys.stdout.write(page())
