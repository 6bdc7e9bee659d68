"""From the command line to a verb, and from any error to a sentence and an exit code.

Rules: only the module of the verb that was asked for is imported, so that `partita --help` answers at once;
no traceback reaches a user (PARTITA_TRACEBACK=1 shows it); with --json errors are JSON too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import PartitaError, UserError

if TYPE_CHECKING:
    from cyclopts import App

# Verb -> what it does, in the order in which a newcomer meets them.
VERBS = {
    "inspect": "Show where a model can be cut, and what crosses each cut.",
    "profile": "Measure what each stage of a model costs here; `profile link` measures a connection.",
    "plan": "Decide which part runs where, and explain why.",
    "run-parts": "Run a model in parts, here in two processes or across two machines.",
    "train": "Train one network on an edge device and a cloud together, planned live.",
    "slice": "Run an ONNX model of any size inside the limits of serverless functions.",
    "serve": "Train, calibrate and run networks with exits, each request within its bound.",
    "doctor": "Say what this machine has, and what each missing piece would enable.",
    "certs": "Make tokens and certificates for edge and cloud.",
    "demo": "See it all work in a minute or two, offline.",
}
# EX_SOFTWARE of sysexits: a defect of ours, which no class of the error tree describes.
EXIT_DEFECT = 70
# 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED = 130


SUMMARY = "Run neural networks in parts, across edge and cloud: cut, measure, plan, run."
START = "Start with `partita demo`, or `partita inspect torchvision:resnet18`."


def overview() -> str:
    """What `partita` and `partita --help` print: written here, because no library renders it in a tenth of a second."""
    rows = [f"  {verb:<11}{what}" for verb, what in VERBS.items()]
    rows += ["  --help     This page; `partita COMMAND --help` for one command.", "  --version  The version."]
    return "\n".join([SUMMARY, "", "Usage: partita COMMAND [OPTIONS]", "", "Commands:", *rows, "", START, ""])


def build(verb: str = "") -> App:
    """The application: one verb in full, the others by name only; without a verb, all by name."""
    from cyclopts import App

    from .. import __version__

    app = App(
        name="partita",
        help=SUMMARY,
        version=__version__,
        help_epilogue=START,
    )
    for name, summary in VERBS.items():
        if name == verb:
            app.command(import_module(f".{name.replace('-', '_')}", __package__).app)
        else:
            app.command(App(name=name, help=summary))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code says who was at fault."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words and words[0] in VERBS else ""
    as_json = "--json" in words
    if words in ([], ["--help"], ["-h"]):
        sys.stdout.write(overview())
        return 0
    try:
        return _run(words, verb)
    except PartitaError as error:
        return _fail(error, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does; the write at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PARTITA_TRACEBACK"):
            raise
        sys.stderr.write(
            f"error: {type(error).__name__}: {error}\n"
            "  fix: this is a defect of Partita. Run again with PARTITA_TRACEBACK=1 and report what it prints, "
            "with the output of `partita doctor`.\n"
        )
        return EXIT_DEFECT


def _run(words: list[str], verb: str) -> int:
    from cyclopts import CycloptsError

    try:
        code = build(verb)(words, result_action="return_value", exit_on_error=False, print_error=False)
    except CycloptsError as error:
        deeper = verb in ("train", "slice", "serve") and len(words) > 1 and not words[1].startswith("-")
        wanted = " ".join(["partita", *words[: 2 if deeper else 1 if verb else 0], "--help"])
        raise UserError(str(error).strip(), fix=f"see `{wanted}`") from None
    return code if isinstance(code, int) else 0


def _fail(error: PartitaError, *, as_json: bool) -> int:
    if os.environ.get("PARTITA_TRACEBACK"):
        raise error
    if as_json:
        import json

        sys.stdout.write(json.dumps(error.as_dict(), ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"error: {error}\n")
    return error.exit_code
